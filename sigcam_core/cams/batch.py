"""A batch of images with all that its maps are judged by: made by one pass of the backbone, measured many times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..common.errors import fail
from ..dual.branch import HEADS, DualBranch
from .distinct import distinct_maps
from .maps import MapOptions, maps_from_features


@dataclass(frozen=True, eq=False)
class MapBatch:
    """N images, what the network says of them, and R maps each.

    Attributes:
        dual: the network.
        images: (N, 3, H, W) normalised.
        labels: (N,) classes of the images.
        predicted: (N,) classes that the softmax branch predicts.
        logits: by head, (N, C).
        options: which maps; ``options.rows`` names the R.
        label_maps: (N, R, h, w) of the labels, by which localisation is measured.
        predicted_maps: (N, R, h, w) of the predicted classes, by which fidelity is measured; those of the labels where
            fidelity is not wanted.
        boxes: N arrays (M, 4) at the size of the protocol's maps; M may be 0.
        masks: N uint8 arrays (S, S) at that size, ``None`` for an image that has none; ``None`` where none has.
        num_perturbed: how many of the images, the first, get insertion and deletion.
        perturbation_steps: of these curves.
        explained: (N,) bool, which images are explained for fidelity; ``None`` for all.
    """

    dual: DualBranch
    images: Tensor
    labels: Tensor
    predicted: Tensor
    logits: dict[str, Tensor]
    options: MapOptions
    label_maps: Tensor
    predicted_maps: Tensor
    boxes: list[NDArray[np.int64]]
    masks: Sequence[NDArray[np.uint8] | None] | None = None
    num_perturbed: int = 0
    perturbation_steps: int = 10
    explained: Tensor | None = None

    @cached_property
    def distinct(self) -> tuple[Tensor, Tensor]:
        """Image and row (P, 2) of each distinct map of the predicted classes, and which of the P a map is, (N, R)."""
        return distinct_maps(self.predicted_maps)


def predict(dual: DualBranch, features: Tensor, num_classes: int) -> tuple[dict[str, Tensor], Tensor]:
    """Logits (N, C) of both heads, and the classes (N,) that the softmax branch predicts.

    Args:
        dual: the network.
        features: of N images.
        num_classes: that labels may have; the network must know as many.

    Raises:
        SigcamError: if the network knows fewer classes.
    """
    with torch.no_grad():
        logits = {head: dual.head(head)(features) for head in HEADS}
    known = logits["softmax"].shape[1]
    if known < num_classes:
        fail(f"the data set has {num_classes} classes, but the network knows {known}: choose a network trained on it.")
    return logits, logits["softmax"].argmax(dim=1)


def maps_of_labels_and_predictions(
    dual: DualBranch, images: Tensor, features: Tensor, labels: Tensor, predicted: Tensor, options: MapOptions
) -> tuple[Tensor, Tensor]:
    """Compute maps (N, R, h, w) of the labels and of the predicted classes, equal where the prediction is right.

    Args:
        dual: the network.
        images: (N, 3, H, W) normalised, for methods that take more passes.
        features: of the images.
        labels: (N,) classes, taken as checked.
        predicted: (N,) classes.
        options: which maps.
    """

    def stack(chosen: Tensor | slice, class_idx: Tensor) -> Tensor:
        maps = maps_from_features(dual, features[chosen], class_idx[chosen], options, images[chosen])
        return torch.stack([maps[row] for row in options.rows], dim=1)

    label_maps = stack(slice(None), labels)
    wrong = predicted != labels
    if not bool(wrong.any()):
        return label_maps, label_maps
    predicted_maps = label_maps.clone()
    predicted_maps[wrong] = stack(wrong, predicted)
    return label_maps, predicted_maps
