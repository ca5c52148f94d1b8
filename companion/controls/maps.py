"""Control maps: many maps of an image from its feature maps alone, by linear heads and by no head at all.

A class activation map of global average pooling and one linear layer is the product of K channel weights with the
feature maps. So every head, every scalar that is explained, either treatment of negative weights, and most maps that
know nothing of the class, are rows of weights; all maps of a batch are one product, and no network runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sigcam_core.cams.scalars import SCALARS, coefficients, scalar_of_head
from sigcam_core.common.errors import check_choice, fail

from .names import (
    BASELINES,
    CENTRE,
    CLASS_FREE,
    FIXED,
    NEGATIVES,
    NO_HEAD,
    RANDOM_POSITIVE,
    SHIFTED,
    WEIGHTS,
    WRONG_CLASS,
)

HEAD_SCALARS = (*SCALARS, SHIFTED, WRONG_CLASS)
"""What may be explained of a head, a scalar of its logits or one of the two above."""
CENTRE_WIDTH = 0.25  # standard deviation, of the side; the boxes are the same squares for any width


@dataclass(frozen=True)
class LinearHead:
    """Weights behind global average pooling.

    Attributes:
        weight: (C, K).
        bias: (C,).
        is_sigmoid: whether its classes are independent, so that the log-odds of a class is its logit.
        shift: c of :data:`~companion.controls.names.SHIFTED`, in units of the mean absolute weight.
    """

    weight: Tensor
    bias: Tensor
    is_sigmoid: bool = False
    shift: float = 0.0

    def logits(self, pooled: Tensor) -> Tensor:
        """Logits (N, C) of pooled features (N, K)."""
        return pooled @ self.weight.T + self.bias


@dataclass(frozen=True, order=True)
class Control:
    """One row of a table of control maps.

    Attributes:
        head: name of the head, or :data:`~companion.controls.names.NO_HEAD`.
        scalar: one of :data:`HEAD_SCALARS`; without a head, of :data:`~companion.controls.names.BASELINES`, or of
            :data:`~companion.controls.names.FIXED`, which are boxes and have no map.
        weights: one of :data:`~companion.controls.names.WEIGHTS`, or of the values of
            :data:`~companion.controls.names.NEGATIVES` for the negative of such a map.

    Raises:
        SigcamError: for an unknown name.

    >>> Control("softmax", "centred", "signed").name
    'softmax/centred/signed'
    """

    head: str
    scalar: str = "logit"
    weights: str = "signed"

    def __post_init__(self) -> None:
        check_choice("scalar", self.scalar, (*BASELINES, *FIXED) if self.head == NO_HEAD else HEAD_SCALARS)
        check_choice("treatment of weights", self.weights, (*WEIGHTS, *NEGATIVES.values()))

    @property
    def name(self) -> str:
        """Head, scalar and weights in one word."""
        return f"{self.head}/{self.scalar}/{self.weights}"

    @property
    def is_negative(self) -> bool:
        """Whether it is the negative of a map."""
        return self.weights in NEGATIVES.values()

    @property
    def is_truncated(self) -> bool:
        """Whether negative channel weights are cut to zero."""
        return self.weights in ("truncated", NEGATIVES["truncated"])


def control_maps(
    features: Tensor,
    class_idx: Tensor,
    controls: Sequence[Control],
    heads: Mapping[str, LinearHead],
    image_seeds: Tensor,
) -> Tensor:
    """All control maps of a batch, before normalisation.

    Args:
        features: (N, K, h, w) feature maps.
        class_idx: (N,) classes to explain, taken as checked.
        controls: the R rows.
        heads: by name.
        image_seeds: (N,) whole numbers that decide the random rows of an image, whatever batch it is in.

    Returns:
        (N, R, h, w).

    Raises:
        SigcamError: for a row of a head that is not given.

    >>> features = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # two channels of 1 x 2 places
    >>> head = LinearHead(torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.zeros(2))
    >>> rows = [Control("softmax"), Control("softmax", weights="truncated"), Control("none", "class-free")]
    >>> control_maps(features, torch.tensor([0]), rows, {"softmax": head}, torch.tensor([0]))
    tensor([[[[-2.,  2.]],
    <BLANKLINE>
             [[ 1.,  2.]],
    <BLANKLINE>
             [[ 4.,  2.]]]])
    """
    weights = channel_weights(features.mean(dim=(2, 3)), class_idx, controls, heads, image_seeds)  # (N, R, K)
    maps = (weights @ features.flatten(2)).view(len(features), len(controls), *features.shape[2:])
    for position, control in enumerate(controls):
        if control.scalar == CENTRE:
            maps[:, position] = centre_of(features.shape[2], features.shape[3]).to(maps)
        if control.is_negative:
            maps[:, position] *= -1
    return maps


def channel_weights(
    pooled: Tensor, class_idx: Tensor, controls: Sequence[Control], heads: Mapping[str, LinearHead], image_seeds: Tensor
) -> Tensor:
    """Channel weights (N, R, K) of every row; zeros for ``CENTRE``, whose map is no sum of feature maps.

    Those of a negative are those of the map itself.

    Args:
        pooled: (N, K) features, averaged over their places.
        class_idx: (N,) classes to explain, taken as checked.
        controls: the R rows.
        heads: by name.
        image_seeds: (N,), see :func:`control_maps`.

    Raises:
        SigcamError: for a row of a head that is not given.
    """
    signed: dict[tuple[str, str], Tensor] = {}
    for control in controls:
        key = (control.head, control.scalar)
        if key in signed:
            continue
        if control.head == NO_HEAD:
            signed[key] = _weights_without_head(control.scalar, pooled, image_seeds)
        elif control.head in heads:
            signed[key] = _weights_of_head(control.scalar, heads[control.head], pooled, class_idx, image_seeds)
        else:
            fail(f"there is no head {control.head!r} for row {control.name}: give one of {', '.join(heads)}.")
    rows = [signed[c.head, c.scalar].clamp(min=0) if c.is_truncated else signed[c.head, c.scalar] for c in controls]
    return torch.stack(rows, dim=1)


def _weights_of_head(scalar: str, head: LinearHead, pooled: Tensor, class_idx: Tensor, image_seeds: Tensor) -> Tensor:
    """Channel weights (N, K): the gradient of the scalar with respect to the pooled features."""
    if scalar == SHIFTED:
        return head.weight[class_idx] + head.shift * head.weight.abs().mean()
    if scalar == WRONG_CLASS:
        return head.weight[other_classes(class_idx, len(head.weight), image_seeds)]
    explained = scalar_of_head(scalar, "sigmoid" if head.is_sigmoid else "softmax")
    if explained == "logit":
        return head.weight[class_idx]
    return coefficients(explained, head.logits(pooled), class_idx) @ head.weight


def _weights_without_head(baseline: str, pooled: Tensor, image_seeds: Tensor) -> Tensor:
    if baseline == CENTRE:
        return torch.zeros_like(pooled)
    if baseline == CLASS_FREE:
        return torch.ones_like(pooled)
    draws = [np.random.default_rng([int(seed), 1]).standard_normal(pooled.shape[1]) for seed in image_seeds.tolist()]
    weights = torch.from_numpy(np.stack(draws)).to(pooled)
    return weights.abs() if baseline == RANDOM_POSITIVE else weights


def other_classes(class_idx: Tensor, num_classes: int, image_seeds: Tensor) -> Tensor:
    """For each image, a class drawn from those that are not its own.

    Args:
        class_idx: (N,) the images' own.
        num_classes: C, at least 2.
        image_seeds: (N,) whole numbers that decide the draws.

    Returns:
        (N,) int64.

    Raises:
        SigcamError: if there is no other class.

    >>> other_classes(torch.tensor([0, 1]), 2, torch.tensor([5, 6]))
    tensor([1, 0])
    """
    if num_classes < 2:
        fail("there is no wrong class to draw: the network knows one class only.")
    steps = [int(np.random.default_rng([int(seed), 0]).integers(1, num_classes)) for seed in image_seeds.tolist()]
    return (class_idx + torch.tensor(steps, device=class_idx.device)) % num_classes


def centre_of(height: int, width: int) -> Tensor:
    """Make the map (height, width) of no network: a Gaussian at the centre (Choe et al. 2020), in float64."""
    rows, columns = ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) / n for n in (height, width))
    return torch.exp(-(rows[:, None] ** 2 + columns[None, :] ** 2) / (2 * CENTRE_WIDTH**2))
