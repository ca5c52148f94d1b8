"""The chapter on invariance: one photo, one network, and heads that softmax cannot tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from sigcam_core.cams.scalars import Contrast, coefficients
from sigcam_core.cams.score_maps import normalize_maps
from sigcam_core.common.errors import fail
from sigcam_core.dual.branch import DualBranch
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.invariance import (
    ShiftedHead,
    gauge_energy,
    mean_map_variance_ratio,
    shift_weights,
    shifted_head,
    telling_deltas,
)
from sigcam_core.prepare.images import normalize
from sigcam_core.summarise.drawing import Panel, to_pictures

from ..show.figures import invariance_figure
from ..show.names import SCALAR_TITLES
from ..show.saved import Chapter, Value

EXPLAINED = {
    "logit": ("logit", Contrast()),
    "finer": ("finer", Contrast()),
    "finer_full": ("finer", Contrast(gamma=1.0)),
    "centred": ("centred", Contrast()),
    "log_odds": ("log_odds", Contrast()),
}
"""Scalar and contrast by name, from coefficients that sum to 1 to those that sum to 0."""


class Orbit(NamedTuple):
    """Members of one head's orbit, as they see one image."""

    images: Tensor  #: uint8 (1, 3, S, S)
    features: Tensor  #: (K, h, w) feature maps of the image
    weight: Tensor  #: (C, K) of the head as it was trained
    class_idx: int  #: the predicted class, whose maps are shown
    heads: dict[str, ShiftedHead]  #: by name, the head as it was trained first

    def changes(self) -> dict[str, float]:
        """Compute the largest change of any of the C probabilities between the first head and each head."""
        start = next(iter(self.heads.values())).probabilities
        return {name: float((head.probabilities - start).abs().max()) for name, head in self.heads.items()}


def orbit_of(dual: DualBranch, images: Tensor) -> Orbit:
    """Compute the heads of :func:`sigcam_core.invariance.telling_deltas` on one image, in float64.

    Args:
        dual: the network, whose softmax head is global average pooling and one linear layer.
        images: uint8 (1, 3, S, S).

    Raises:
        SigcamError: if the head is another.
    """
    weight = linear_head_weight(dual.softmax_head)
    if weight is None:
        fail("the orbit needs a head of global average pooling and one linear layer: choose such a network.")
    weight = weight.detach()
    linear = [module for module in dual.softmax_head.modules() if isinstance(module, torch.nn.Linear)][-1]
    form = dual.input_format
    features = dual.extract(normalize(images, form.mean, form.std))[0]  # (K, h, w)
    bias = linear.bias.detach()
    class_idx = int(shifted_head(features, weight, bias, torch.zeros(len(features)), 0).logits.argmax())
    start = shifted_head(features, weight, bias, torch.zeros(len(features)), class_idx)
    deltas = telling_deltas(features, weight, start.class_map, class_idx)
    heads = {name: shifted_head(features, weight, bias, delta, class_idx) for name, delta in deltas.items()}
    return Orbit(images, features, weight, class_idx, heads)


def scalar_changes(orbit: Orbit, seed: int = 0) -> dict[str, float]:
    """Compute the largest change of each scalar's map under a random shift, relative to the map's largest magnitude.

    The shift is drawn from a normal distribution with the standard deviation of the head's weights, in float64.

    Args:
        orbit: what :func:`orbit_of` gives.
        seed: of the shift.

    Returns:
        By the names of :data:`EXPLAINED`. Up to rounding it is 0 where the coefficients sum to zero.
    """
    features, weight = orbit.features.double(), orbit.weight.double()
    delta = torch.randn(len(features), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    delta *= weight.std()
    before = orbit.heads["original"].logits  # (C,)
    after = before + delta @ features.mean(dim=(1, 2))
    class_idx = torch.tensor([orbit.class_idx])
    changes = {}
    for name, (scalar, contrast) in EXPLAINED.items():
        first, second = (
            torch.einsum("k,khw->hw", (coefficients(scalar, logits[None], class_idx, contrast) @ rows)[0], features)
            for logits, rows in ((before, weight), (after, shift_weights(weight, delta)))
        )
        changes[name] = float((second - first).abs().max() / first.abs().max())
    return changes


def orbit_figure(orbit: Orbit, title: str, class_names: Sequence[str]) -> Figure:
    """Plot the image, each head's map over it, and below them each head's three largest probabilities.

    Args:
        orbit: what :func:`orbit_of` gives.
        title: of the image.
        class_names: the C names.
    """
    picture = to_pictures(orbit.images)[0]  # (S, S, 3)
    panels = [Panel(title, picture)]
    for name, head in orbit.heads.items():
        score_map = normalize_maps(head.class_map[None], picture.shape[:2])[0].numpy()
        panels.append(Panel(f"{name}\np = {head.probabilities[orbit.class_idx]:.4f}", picture, score_map))
    top = next(iter(orbit.heads.values())).probabilities.topk(3).indices.tolist()
    probabilities = {name: head.probabilities[top].tolist() for name, head in orbit.heads.items()}
    return invariance_figure(panels, probabilities, [class_names[k] for k in top])


def invariance_chapter(orbit: Orbit, **names: str) -> Chapter:
    """Numbers of the heads that softmax cannot tell apart.

    Args:
        orbit: what :func:`orbit_of` gives.
        names: of the network, photo and class, for the prose.
    """
    start, shifted, collapsed = next(iter(orbit.heads.values())), orbit.heads["any map"], orbit.heads["sign collapse"]
    logit_change = shifted.logits - start.logits  # (C,), one number for all classes up to rounding
    before, after = (head.class_map.flatten().numpy() for head in (start, collapsed))
    ratio = mean_map_variance_ratio(orbit.features[None], orbit.weight, torch.tensor([orbit.class_idx]))
    values: dict[str, Value] = {
        **names,
        "probability_before": float(start.probabilities[orbit.class_idx]),
        "probability_after_shift": float(shifted.probabilities[orbit.class_idx]),
        "probability_after_sign_collapse": float(collapsed.probabilities[orbit.class_idx]),
        "max_probability_difference": max(orbit.changes().values()),
        "max_logit_shift_difference": float((logit_change - logit_change.mean()).abs().max()),
        "map_correlation_after_collapse": float(np.corrcoef(before, after)[0, 1]),
        "gauge_energy_imagenet": gauge_energy(orbit.weight),
        "gauge_energy_iid": 1 / len(orbit.weight),
        "mean_map_variance_ratio": ratio.item(),
        "num_classes": len(orbit.weight),
    }
    changes = {f"change_{name}": change for name, change in scalar_changes(orbit).items()}
    values |= changes
    tiny = ("max_probability_difference", "max_logit_shift_difference", "mean_map_variance_ratio")
    formatted = {name: f"{values[name]:.1e}" for name in (*tiny, "gauge_energy_imagenet", "gauge_energy_iid")}
    formatted |= {name: f"{value:.4f}" for name, value in values.items() if name.startswith("probability")}
    formatted |= {name: f"{change:.2g}" for name, change in changes.items()}
    return Chapter(values, formatted=formatted)


def orbit_tables(orbit: Orbit) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tabulate what the heads leave unchanged, and what they change.

    Args:
        orbit: what :func:`orbit_of` gives.

    Returns:
        One row per head: the probability of the class, and the largest change of any. One row per scalar: the largest
        change of its map, see :func:`scalar_changes`. As text.
    """
    heads = [
        (name, f"{float(orbit.heads[name].probabilities[orbit.class_idx]):.15f}", f"{change:.1e}")
        for name, change in orbit.changes().items()
    ]
    titles = SCALAR_TITLES | {"finer": "Finer-CAM, γ = 0.6", "finer_full": "Finer-CAM, γ = 1"}
    scalars = [(titles[name], f"{value:.2g}") for name, value in scalar_changes(orbit).items()]
    columns = ["head", "probability", "largest change of any"]
    return pd.DataFrame(heads, columns=columns), pd.DataFrame(scalars, columns=["scalar", "largest change"])


SAME_PROBABILITY = 1e-6
"""The largest change of a probability that rounding may make."""


def invariance_sentence(values: Mapping[str, Value]) -> str:
    """One network, several heads: do they agree, and does a map turn into its negative?

    Args:
        values: of :func:`invariance_chapter`.
    """
    change, correlation = float(values["max_probability_difference"]), float(values["map_correlation_after_collapse"])
    agree = "agree" if change <= SAME_PROBABILITY else "do not agree"
    negative = "is the negative" if correlation < -0.999 else "is not the negative"
    return (
        f"Five heads {agree} on all {values['num_classes']:,} probabilities of a photo (the largest change is "
        f"{change:.0e}), and draw five maps, one of which {negative} of the first (correlation {correlation:.3f})."
    )
