"""Weakly supervised object localisation as metrics: MaxBoxAcc, GT-Loc, Top-1 Loc and PxAP (Choe et al. 2020).

They follow the interface of torchmetrics, so that distributed runs add up, and keep counts only, so that memory does
not grow with the data set. What they do for one map is in :mod:`sigcam_core.localization.protocol`.

In a :class:`torchmetrics.MetricCollection` metrics of different options count for themselves. Intervals come from
evidence (:func:`sigcam_core.summarise.tables.table_with_intervals`), whose draws all maps share. The wrapper of
torchmetrics works too if it gets tensors alone, since it redraws nothing else: boxes in one tensor (N, M, 4), in
which rows of four -1 stand for no box. It cannot stack values that have names, so its copies are asked:

>>> from torch.nn.utils.rnn import pad_sequence
>>> from torchmetrics.wrappers import BootStrapper
>>> score_maps = torch.zeros(2, 32, 32)
>>> score_maps[0, 8:24, 8:24] = score_maps[1, 0:8, 0:8] = 1
>>> boxes = [torch.tensor([[8, 8, 24, 24]]), torch.tensor([[20, 20, 30, 30], [0, 0, 8, 8]])]
>>> bootstrap = BootStrapper(MaxBoxAcc(), num_bootstraps=20, sampling_strategy="multinomial")
>>> bootstrap.update(score_maps, pad_sequence(boxes, batch_first=True, padding_value=-1))
>>> {float(copy.compute()["maxboxacc_v2"]) for copy in bootstrap.metrics}
{100.0}
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from ..common.checks import Array, check_score_maps, to_tensor
from ..common.cores import over_cores
from ..common.errors import check_choice, fail
from ..common.floats import widened
from ..common.metric_wrappers import check_redrawn, set_apart
from .protocol import (
    GT_LOC_IOU,
    IOU_PERCENTAGES,
    NUM_BINS,
    PROTOCOLS,
    THRESHOLDS,
    Boxes,
    best_iou_per_threshold,
    check_boxes,
    check_masks,
    curve_name,
    gt_loc_iou,
    iou_curves,
    pixel_average_precision,
    score_histograms,
)

__all__ = ["LocalizationAccuracy", "MaxBoxAcc", "PixelAP", "best_iou_per_threshold"]


class MaxBoxAcc(Metric):
    """MaxBoxAcc at IoU 30, 50 and 70 %, and MaxBoxAccV2, their mean (Choe et al. 2020, Section 3.2).

    MaxBoxAcc(delta) is the greatest share of images, over the 1,000 thresholds, whose best IoU reaches delta.

    Args:
        multi_contour: take the best contour (V2), or only the largest.
        with_holes: let boundaries of holes count as boxes, as the protocol does; without, OpenCV's RETR_EXTERNAL takes
            the place of its RETR_TREE.

    Raises:
        SigcamError: if holes are left out of the largest contour.

    >>> metric = MaxBoxAcc()
    >>> score_map = torch.zeros(1, 32, 32)
    >>> score_map[0, 8:24, 8:24] = 1
    >>> metric.update(score_map, [np.array([[8, 8, 24, 24]])])
    >>> metric.compute()["maxboxacc_v2"]
    tensor(100., dtype=torch.float64)
    """

    full_state_update = False
    hits: Tensor
    num_images: Tensor

    def __init__(self, multi_contour: bool = True, with_holes: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.curve = curve_name(multi_contour, with_holes)
        shape = (len(IOU_PERCENTAGES), len(THRESHOLDS))
        self.add_state("hits", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.tensor(0), dist_reduce_fx="sum")
        set_apart(self, multi_contour=bool(multi_contour), with_holes=bool(with_holes))

    def update(self, score_maps: Array, boxes: Boxes) -> None:
        """Add score maps (N, H, W) in [0, 1] and, for each, its ground-truth boxes (M, 4) at the maps' size.

        One tensor (N, M, 4) of boxes may be padded with rows of -1.

        Raises:
            SigcamError: for maps with NaN or outside [0, 1], malformed boxes, or counts that differ; for boxes in a
                list under a BootStrapper.
        """
        check_redrawn(score_maps, boxes)
        maps = check_score_maps(score_maps).numpy(force=True)
        checked_boxes = check_boxes(boxes, maps.shape)
        if not checked_boxes:
            return
        find = partial(iou_curves, with_largest=self.curve == "largest", with_outer=self.curve == "outer")
        curves = over_cores(find, maps, checked_boxes)
        best_iou = np.stack([curve[self.curve] for curve in curves])
        hits = np.stack([(best_iou >= percentage / 100).sum(axis=0) for percentage in IOU_PERCENTAGES])
        self.hits += torch.from_numpy(hits).to(self.hits.device)
        self.num_images += len(maps)

    def compute(self) -> dict[str, Tensor]:
        """Percentages ``maxboxacc@30``, ``maxboxacc@50``, ``maxboxacc@70`` and ``maxboxacc_v2``."""
        if self.num_images == 0:
            fail("MaxBoxAcc has no images: call update first.")
        accuracy = 100 * widened(self.hits.max(dim=1).values) / self.num_images
        values = {f"maxboxacc@{p}": value for p, value in zip(IOU_PERCENTAGES, accuracy, strict=True)}
        return {**values, "maxboxacc_v2": accuracy.mean()}


class LocalizationAccuracy(Metric):
    """GT-Loc and Top-1 Loc: the largest contour at tau = .2 against ground truth, IoU of at least .5.

    GT-Loc counts the images whose box is right; Top-1 Loc those whose class is right too.

    Args:
        protocol: ``"standard"`` accepts any ground-truth box (Choe et al. 2020); ``"paper"`` compares with the first
            box only, as the official code of Oh and Noh 2025 does.

    >>> metric = LocalizationAccuracy()
    >>> score_map = torch.zeros(2, 32, 32)
    >>> score_map[:, 8:24, 8:24] = 1
    >>> metric.update(score_map, [np.array([[8, 8, 24, 24]])] * 2, torch.tensor([True, False]))
    >>> {name: float(value) for name, value in metric.compute().items()}
    {'gt_loc': 100.0, 'top1_loc': 50.0}
    """

    full_state_update = False
    located: Tensor
    located_and_correct: Tensor
    num_images: Tensor

    def __init__(self, protocol: str = "standard", **kwargs: Any) -> None:
        check_choice("protocol", protocol, PROTOCOLS)
        super().__init__(**kwargs)
        self.protocol = protocol
        for name in ("located", "located_and_correct", "num_images"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")
        set_apart(self, protocol=protocol)

    def update(self, score_maps: Array, boxes: Boxes, is_correct: Array) -> None:
        """Add score maps (N, H, W), boxes as for :class:`MaxBoxAcc`, and whether each class is right, (N,) bool.

        Raises:
            SigcamError: for maps with NaN or outside [0, 1], malformed boxes, counts or a type that differ; for
                anything but tensors under a BootStrapper.
        """
        check_redrawn(score_maps, boxes, is_correct)
        maps = check_score_maps(score_maps).numpy(force=True)
        checked_boxes = check_boxes(boxes, maps.shape)
        is_correct = to_tensor(is_correct)
        if is_correct.dtype != torch.bool or is_correct.shape != (len(maps),):
            fail(
                f"is_correct must be one bool for each of the {len(maps)} score maps, "
                f"got {is_correct.dtype} of shape {tuple(is_correct.shape)}."
            )
        iou = torch.tensor(over_cores(gt_loc_iou, maps, checked_boxes), dtype=torch.float64).view(-1, 2)
        located = iou[:, PROTOCOLS.index(self.protocol)] >= GT_LOC_IOU
        self.located += located.sum().to(self.located.device)
        self.located_and_correct += (located & is_correct.cpu()).sum().to(self.located.device)
        self.num_images += len(maps)

    def compute(self) -> dict[str, Tensor]:
        """Percentages ``gt_loc`` and ``top1_loc``."""
        if self.num_images == 0:
            fail("LocalizationAccuracy has no images: call update first.")
        counts = {"gt_loc": self.located, "top1_loc": self.located_and_correct}
        return {name: 100 * widened(count) / self.num_images for name, count in counts.items()}


class PixelAP(Metric):
    """Pixel average precision of score maps against masks (Choe et al. 2020, Section 3.2), in exact counts.

    >>> metric = PixelAP()
    >>> mask = torch.zeros(1, 4, 4, dtype=torch.uint8)
    >>> mask[0, :2] = 1
    >>> metric.update(mask.double(), mask)
    >>> metric.compute()["pxap"]
    tensor(100., dtype=torch.float64)
    """

    full_state_update = False
    histograms: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("histograms", torch.zeros((2, NUM_BINS), dtype=torch.int64), dist_reduce_fx="sum")
        set_apart(self)

    def update(self, score_maps: Array, masks: Array) -> None:
        """Add score maps (N, H, W) in [0, 1] and masks (N, H, W): 1 object, 0 background, 255 ignore.

        Raises:
            SigcamError: for maps with NaN or outside [0, 1], other mask values, a mask that holds 255 but no 1, or
                shapes that differ; for anything but tensors under a BootStrapper.
        """
        check_redrawn(score_maps, masks)
        maps = check_score_maps(score_maps).numpy(force=True)
        for counts in over_cores(score_histograms, maps, check_masks(masks, maps.shape)):
            self.histograms += torch.from_numpy(counts).to(self.histograms.device)

    def compute(self) -> dict[str, Tensor]:
        """Percentage ``pxap``."""
        if self.histograms.sum() == 0:
            fail("PixelAP has no images: call update first, with masks that do not ignore every pixel.")
        return {
            "pxap": torch.tensor(float(pixel_average_precision(self.histograms.cpu().numpy())), dtype=torch.float64)
        }
