"""Fidelity metrics of ResNet-50: ours against the forward passes they need, and against two libraries."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from torch import Tensor, nn
from torchcam.metrics import DeletionInsertionMetric

from benchmarks.case import Case
from benchmarks.timing import Row, side_by_side
from sigcam_core import cam_maps, normalize_maps
from sigcam_core.cams.distinct import distinct_maps
from sigcam_core.fidelity.explained import score_explained_images
from sigcam_core.fidelity.perturbation import Score, deletion_auc, insertion_auc, perturbation_curves
from sigcam_core.fidelity.scores import class_scores

STEPS = 10


class GivenMaps:
    """Hands torchcam's metric the score maps that it shall judge."""

    def __init__(self, model: nn.Module, maps: Tensor) -> None:
        self.model, self.maps = model, maps

    def __call__(self, *unused: Any, **also_unused: Any) -> list[Tensor]:
        """Return the maps, one set per layer."""
        return [self.maps]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        """Return the maps of the only layer."""
        return cams[0]

    def _hooks_off(self) -> Any:
        return torch.no_grad()


def measure_fidelity(case: Case, repeats: int) -> list[Row]:
    """Rows for scoring ten maps, and for insertion and deletion.

    Args:
        case: the network and the images; the metrics of many passes take a quarter of them, at least one.
        repeats: pairs of runs.
    """
    few = case.first(max(1, len(case.images) // 4))
    return [_passes_row(case, repeats), _grad_cam_row(few, repeats), _insertion_row(few, repeats)]


def _passes_row(case: Case, repeats: int) -> Row:
    """Ten maps made and scored by both branches, against nothing but the forward passes of as many distinct images."""
    dual, images, count = case.dual, case.images, len(case.images)
    maps = cam_maps(dual, images, case.class_idx)
    num_distinct = len(distinct_maps(torch.stack(list(maps.values()), dim=1))[0])

    def ours() -> None:
        score_explained_images(dual, images, case.class_idx, cam_maps(dual, images, case.class_idx))

    @torch.no_grad()
    def passes_alone() -> None:
        for left in range(count + num_distinct, 0, -count):
            dual(images[:left])

    pairs = side_by_side(ours, passes_alone, repeats, case.forward)
    return pairs.row("ten maps, scored by both heads", case.setting, "the forward passes alone", count, goal=1 / 1.15)


def _grad_cam_row(case: Case, repeats: int) -> Row:
    maps = cam_maps(case.dual, case.images, case.class_idx)
    network, score = _scorer(case)
    targets = [ClassifierOutputSoftmaxTarget(k) for k in case.class_idx.tolist()]

    @torch.no_grad()
    def ours() -> Tensor:
        before = score(case.images, torch.arange(len(case.images)))
        after = score_explained_images(case.dual, case.images, case.class_idx, maps).scores["softmax"]
        return (before[:, None] - after).clamp(min=0).cpu()

    @torch.no_grad()
    def theirs() -> Tensor:
        drops = []
        for values in maps.values():
            score_maps = normalize_maps(values, case.size).float().cpu().numpy()
            drops.append(DropInConfidence()(case.images, score_maps, targets, network))
            IncreaseInConfidence()(case.images, score_maps, targets, network)
        return torch.from_numpy(np.stack(drops, axis=1))

    pairs = side_by_side(ours, theirs, repeats, case.forward)
    difference = float((pairs.results[0] - pairs.results[1]).abs().max())
    return pairs.row("drop and increase, ten maps", case.setting, "grad-cam", len(case.images), None, difference)


def _insertion_row(case: Case, repeats: int) -> Row:
    network, score = _scorer(case)
    score_maps = _score_maps(case)

    def ours() -> tuple[float, float]:
        curves = perturbation_curves(score, case.images, score_maps, STEPS)
        return float(deletion_auc(curves).mean()), float(insertion_auc(curves).mean())

    def theirs() -> tuple[float, float]:
        metric = DeletionInsertionMetric(GivenMaps(network, score_maps), partial(torch.softmax, dim=-1), steps=STEPS)
        metric.update(case.images, case.class_idx.tolist())
        return metric.summary()["deletion_auc"], metric.summary()["insertion_auc"]

    pairs = side_by_side(ours, theirs, repeats, case.forward)
    difference = max(abs(a - b) for a, b in zip(*pairs.results, strict=True))
    task = f"insertion and deletion, {STEPS} steps"
    return pairs.row(task, case.setting, "torchcam", len(case.images), None, difference)


def _scorer(case: Case) -> tuple[nn.Sequential, Score]:
    """Return the classifier, and a function that gives its probability of each image's class."""
    network = nn.Sequential(case.dual.backbone, case.dual.softmax_head)
    return network, lambda batch, index: class_scores(network(batch), case.class_idx[index])


def _score_maps(case: Case) -> Tensor:
    maps = cam_maps(case.dual, case.images, case.class_idx, ["gradcam"], ["softmax"])
    return normalize_maps(maps["softmax", "gradcam"], case.size)
