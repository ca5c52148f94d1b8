"""Whether a map needs the weights of its head: the same map of a head whose weights were permuted.

A sanity check of Adebayo et al. 2018, at the last layer: what a map shares with that of a head that has learned nothing
is not of the class. Two permutations are drawn from a seed. Over *classes*, each class takes the weights of another, as
if the labels had been exchanged; over *channels*, each class keeps its weights and gives them to other channels, the
same ones for all classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sigcam_core.common.resampling import figure_and_resamples, interval

from .maps import LinearHead, other_classes
from .names import BASELINES, NO_HEAD

DRAWS = 5  # permutations of either kind
PERMUTED = ("classes", "channels")
Weights = Callable[[Tensor, Tensor], Tensor]


def _centred(weight: Tensor, class_idx: Tensor) -> Tensor:
    return weight[class_idx] - weight.mean(dim=0)


MAP_KINDS: dict[str, tuple[Weights, bool]] = {
    "CAM": (lambda weight, idx: weight[idx], False),
    "truncated CAM, Layer-CAM": (lambda weight, idx: weight[idx].clamp(min=0), False),
    "Grad-CAM, XGrad-CAM": (lambda weight, idx: weight[idx], True),
    "centred CAM": (_centred, False),
    "centred and truncated CAM": (lambda weight, idx: _centred(weight, idx).clamp(min=0), False),
}
"""Channel weights (N, K) of a map from a head's (C, K) and classes (N,), and whether negative places are cut.

On a linear head the methods that are named together are one map."""


def randomised_table(
    features: Tensor, class_idx: Tensor, heads: Mapping[str, LinearHead], resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Correlation of maps with those of permuted heads, the mean over images and draws.

    Args:
        features: (N, K, h, w) feature maps.
        class_idx: (N,) classes of the maps.
        heads: by name.
        resamples: of the bootstrap over images.
        seed: of the permutations and of the bootstrap.

    Returns:
        Columns ``head, map, permuted, correlation, low, high, images``: Pearson's over the places of the feature map;
        images of which one of the two maps is the same everywhere have none. Maps without a head keep theirs, 1, since
        they do not depend on one.
    """
    rows = []
    for name, head in heads.items():
        permuted = {kind: [_permuted(head.weight, kind, seed + draw) for draw in range(DRAWS)] for kind in PERMUTED}
        for map_name, (weights_of, is_cut) in MAP_KINDS.items():
            own = _unit_maps(features, weights_of(head.weight, class_idx), is_cut)
            for kind, others in permuted.items():
                values = torch.stack(
                    [(own * _unit_maps(features, weights_of(other, class_idx), is_cut)).sum(dim=1) for other in others]
                )
                rows.append((name, map_name, kind, *_mean(values.numpy(), resamples, seed)))
    whole = [(NO_HEAD, one, kind, 1.0, 1.0, 1.0, len(features)) for one in BASELINES for kind in PERMUTED]
    columns = ["head", "map", "permuted", "correlation", "low", "high", "images"]
    return pd.DataFrame(rows + whole, columns=columns)


def _permuted(weight: Tensor, kind: str, seed: int) -> Tensor:
    """Permute a head's weights (C, K) over other classes, none its own, or over other channels."""
    if kind == "channels":
        order = np.random.default_rng([seed, 0]).permutation(weight.shape[1])
        return weight[:, torch.from_numpy(order)]
    classes = torch.arange(len(weight))
    # One step for all classes, so that it is a permutation: each class has another's weights, and each its turn.
    step = other_classes(torch.tensor([0]), len(weight), torch.tensor([seed]))
    return weight[(classes + step) % len(weight)]


def _unit_maps(features: Tensor, weights: Tensor, is_cut: bool) -> Tensor:
    """Scale maps (N, h w) to mean zero and length one; NaN where a map is the same everywhere."""
    maps = torch.einsum("nk,nkp->np", weights, features.flatten(2)).double()
    maps = maps.clamp(min=0) if is_cut else maps
    maps = maps - maps.mean(dim=1, keepdim=True)
    unit: Tensor = maps / maps.norm(dim=1, keepdim=True)
    return unit


def _mean(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float, float, int]:
    """Average values (D, N) over draws and images, with a 95 % interval over images and how many images have any."""
    there = ~np.isnan(values).all(axis=0)
    each = np.nanmean(values[:, there], axis=0)
    if not len(each):
        return np.nan, np.nan, np.nan, 0
    weights = figure_and_resamples(len(each), resamples, seed)
    means = (weights @ each) / weights.sum(axis=1)
    return float(means[0]), *interval(means[1:]), len(each)
