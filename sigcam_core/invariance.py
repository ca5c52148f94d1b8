"""Softmax cannot see a shift of its weights that all classes share; these functions make the shift visible.

For every delta in R^K the head w'_ik = w_ik + delta_i has the same softmax probabilities and the class
activation maps CAM_k + sum_i delta_i A_i (Oh and Noh 2025, Section 3).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .common.checks import Array, check_class_idx, to_tensor
from .common.errors import fail
from .common.floats import widened


def shift_weights(weight: Array, delta: Array) -> Tensor:
    """Add ``delta`` to the weights of every class.

    Args:
        weight: (C, K) weights of a linear head.
        delta: (K,) shift, one number per channel.

    Returns:
        (C, K) weights with the same softmax probabilities for every input.

    Raises:
        SigcamError: if the shapes do not fit.

    >>> shift_weights(torch.zeros(2, 3), torch.tensor([1.0, 2.0, 3.0]))
    tensor([[1., 2., 3.],
            [1., 2., 3.]])
    """
    weight, delta = _checked_weight(weight), to_tensor(delta)
    if delta.shape != weight.shape[1:]:
        fail(f"delta must have shape ({weight.shape[1]},), one number per channel, got {tuple(delta.shape)}.")
    return weight + delta


def center_weights(weight: Array) -> Tensor:
    """Return the canonical member of the head's orbit: weights that sum to zero over the classes.

    It is the one member of least Frobenius norm, and it needs no training.

    Args:
        weight: (C, K) weights of a linear head.

    Returns:
        (C, K) weights ``weight - weight.mean(0)``.
    """
    weight = _checked_weight(weight)
    return weight - weight.mean(dim=0, keepdim=True)


def gauge_energy(weight: Array) -> float:
    """Return the fraction of a head's squared norm that all classes share: C ||mean_k w||^2 / ||W||_F^2.

    0 for centred weights, 1 for weights that are equal for all classes, 1/C expected for independent,
    identically distributed weights of mean zero. Softmax cannot see this part; sigmoids can, and there it is called
    common energy. It is a number of the head and bounds no map: see :func:`mean_map_variance_ratio`.

    Args:
        weight: (C, K) weights of a linear head. The value depends on which classes the head has: of 200 random rows of
            a head of 1,000 classes it is near that of independent weights, even where all 1,000 rows sum to zero.

    Raises:
        SigcamError: if all weights are zero, since the fraction is then undefined.

    >>> gauge_energy(torch.tensor([[1.0], [0.0]])), gauge_energy(torch.tensor([[0.5], [0.5]]))
    (0.5, 1.0)
    """
    weight = widened(_checked_weight(weight).detach())
    total = weight.square().sum()
    if total == 0:
        fail("gauge_energy is undefined for a head whose weights are all zero.")
    return float(weight.shape[0] * weight.mean(dim=0).square().sum() / total)


def mean_map_variance_ratio(features: Array, weight: Array, class_idx: Tensor) -> Tensor:
    """Return the variance over positions of the mean of all classes' maps, over the variance of the class's own map.

    It says of a map what :func:`gauge_energy` says of a head: how much of it the softmax predictions leave open. It is
    0 for centred weights. The class's map and the canonical one, which centred weights draw, correlate over positions
    by at least the square root of one minus the ratio. It exceeds 1 where the two parts of the class's map cancel.

    Args:
        features: (N, K, h, w) feature maps.
        weight: (C, K) weights of a linear head.
        class_idx: (N,) int64 classes of the maps.

    Returns:
        (N,) float64 ratios; NaN or infinity where the class's map is the same everywhere.

    Raises:
        SigcamError: if the shapes do not fit, or for class indices that are out of range.

    Gauge energy can be small while the classes share much of a map, if they share a channel of strong contrast:

    >>> weight = torch.tensor([[0.05, 1.0], [0.05, -1.0]])
    >>> features = torch.tensor([[[[16.0, 16.0, 0.0, 0.0]], [[1.0, 0.0, 1.0, 0.0]]]])  # (1, 2, 1, 4)
    >>> round(gauge_energy(weight), 4), round(mean_map_variance_ratio(features, weight, torch.tensor([0])).item(), 2)
    (0.0025, 0.39)
    """
    weight, features = _checked_weight(weight), to_tensor(features)
    if features.ndim != 4 or features.shape[1] != weight.shape[1] or class_idx.shape != features.shape[:1]:
        fail(
            f"{weight.shape[1]} channels need features of shape (N, {weight.shape[1]}, h, w) and (N,) class indices, "
            f"got {tuple(features.shape)} and {tuple(class_idx.shape)}."
        )
    check_class_idx(class_idx, len(weight))
    maps, rows = widened(features.detach()).flatten(2), widened(weight.detach())
    class_maps = torch.einsum("nk,nkp->np", rows[class_idx], maps)
    mean_maps = torch.einsum("k,nkp->np", rows.mean(dim=0), maps)
    return mean_maps.var(dim=1, correction=0) / class_maps.var(dim=1, correction=0)


def sign_collapse_delta(weight: Array, class_idx: int) -> Tensor:
    """Return the shift delta_i = -2 w_ik, which turns CAM_k into -CAM_k and leaves every probability as it was.

    Args:
        weight: (C, K) weights of a linear head.
        class_idx: the class k.

    Returns:
        (K,) shift.
    """
    weight = _checked_weight(weight)
    if not 0 <= class_idx < weight.shape[0]:
        fail(f"class index {class_idx} is out of range: there are {weight.shape[0]} classes.")
    return -2 * weight[class_idx]


def erasing_delta(weight: Array) -> Tensor:
    """Compute the shift delta_i = -max_k w_ik: no weight of any class stays positive, so ReLU erases every map.

    Args:
        weight: (C, K) weights of a linear head.

    Returns:
        (K,) shift (Oh and Noh 2025, Section 3).

    >>> shift_weights(torch.eye(2), erasing_delta(torch.eye(2)))
    tensor([[ 0., -1.],
            [-1.,  0.]])
    """
    weight = _checked_weight(weight)
    return -weight.max(dim=0).values


def _checked_weight(weight: Array) -> Tensor:
    tensor = to_tensor(weight)
    if tensor.ndim != 2:
        fail(f"the weights of a linear head must be a (C, K) matrix, got shape {tuple(tensor.shape)}.")
    return tensor


class ShiftedHead(NamedTuple):
    """What one member of a head's orbit gives for one image."""

    class_map: Tensor  # (h, w), the class activation map of the chosen class
    probabilities: Tensor  # (C,)
    logits: Tensor  # (C,)


def shifted_head(features: Tensor, weight: Tensor, bias: Tensor, delta: Tensor, class_idx: int) -> ShiftedHead:
    """Apply a GAP + linear head whose weights are shifted by ``delta``, in float64.

    Args:
        features: (K, h, w) feature maps of one image.
        weight: (C, K).
        bias: (C,).
        delta: (K,) shift.
        class_idx: class of the map.
    """
    features, shifted = widened(features), shift_weights(widened(weight), widened(delta))
    logits = shifted @ features.mean(dim=(1, 2)) + widened(bias)
    class_map = torch.einsum("k,khw->hw", shifted[class_idx], features)
    return ShiftedHead(class_map, logits.softmax(dim=0), logits)


def delta_for_map(features: Tensor, class_map: Tensor, target: Tensor) -> Tensor:
    """Find the least shift that turns a class map into the nearest map to ``target`` in the feature maps' span.

    With at least as many independent feature maps as pixels the target is met exactly.

    Args:
        features: (K, h, w) feature maps of one image.
        class_map: (h, w) map to start from.
        target: (h, w) map wanted.

    Returns:
        (K,) float64 shift.
    """
    basis = widened(features).flatten(1).T  # (h w, K)
    missing = (widened(target) - widened(class_map)).flatten()
    delta: Tensor = torch.linalg.pinv(basis) @ missing
    return delta


def telling_deltas(features: Tensor, weight: Tensor, class_map: Tensor, class_idx: int) -> dict[str, Tensor]:
    """Five members of a head's orbit whose maps could hardly differ more, as shifts (K,) of its weights.

    ``original``: none. ``one channel``: delta = c e_i of the channel i that answers most outside the centre of the map.
    ``any map``: the least shift to a blob in the upper left corner. ``sign collapse``: to the negative of the map.
    ``centred``: the canonical member.

    Args:
        features: (K, h, w) feature maps of one image, at least 5 x 5.
        weight: (C, K) of the head.
        class_map: (h, w) of the class.
        class_idx: the class k.
    """
    height, width = class_map.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    corner = torch.exp(-((rows - 1.0) ** 2 + (columns - 1.0) ** 2) / 3)
    centre = torch.zeros(height, width)
    centre[2:-2, 2:-2] = 1
    channel = int(((features * (1 - centre)).sum((1, 2)) - 3 * (features * centre).sum((1, 2))).argmax())
    one_channel = torch.zeros(len(features))
    one_channel[channel] = 3 * class_map.max() / features[channel].max()  # enough to outshine the rest
    target = corner * (class_map.max() - class_map.min())
    return {
        "original": torch.zeros(len(features)),
        "one channel": one_channel,
        "any map": delta_for_map(features, class_map, target),
        "sign collapse": sign_collapse_delta(weight, class_idx),
        "centred": center_weights(weight)[0] - weight[0],
    }
