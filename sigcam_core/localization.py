"""Weakly supervised object localisation as metrics: MaxBoxAcc, MaxBoxAccV2 and PxAP (Choe et al. 2020).

They follow the interface of torchmetrics, so that distributed runs add up. What they do for one map is in
:mod:`sigcam_core.protocol`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from .contours import BoxArray
from .errors import fail
from .protocol import (
    IOU_PERCENTAGES,
    NUM_BINS,
    THRESHOLDS,
    best_iou_per_threshold,
    check_boxes,
    check_masks,
    check_score_maps,
    iou_curves,
    pixel_average_precision,
    score_histograms,
)

__all__ = ["MaxBoxAcc", "PixelAP", "best_iou_per_threshold"]


class MaxBoxAcc(Metric):
    """MaxBoxAcc at IoU 30, 50 and 70 %, and MaxBoxAccV2, their mean (Choe et al. 2020, Section 3.2).

    MaxBoxAcc(delta) is the greatest share of images, over the 1,000 thresholds, whose best IoU reaches delta.

    Args:
        multi_contour: take the best contour (V2), or only the largest.

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

    def __init__(self, multi_contour: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multi_contour = multi_contour
        shape = (len(IOU_PERCENTAGES), len(THRESHOLDS))
        self.add_state("hits", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, score_maps: Tensor, boxes: Sequence[Tensor | BoxArray]) -> None:
        """Add score maps (N, H, W) in [0, 1] and, for each, its ground-truth boxes (M, 4) at the maps' size.

        Raises:
            SigcamError: for maps with NaN or outside [0, 1], malformed boxes, or counts that differ.
        """
        maps = check_score_maps(score_maps).cpu().numpy()
        for score_map, gt_boxes in zip(maps, check_boxes(boxes, maps.shape), strict=True):
            curve = iou_curves(score_map, gt_boxes)["multi" if self.multi_contour else "largest"]
            hits = np.stack([curve >= percentage / 100 for percentage in IOU_PERCENTAGES])
            self.hits += torch.from_numpy(hits).to(self.hits.device)
            self.num_images += 1

    def compute(self) -> dict[str, Tensor]:
        """Percentages ``maxboxacc@30``, ``maxboxacc@50``, ``maxboxacc@70`` and ``maxboxacc_v2``."""
        if self.num_images == 0:
            fail("MaxBoxAcc has no images: call update first.")
        accuracy = 100 * self.hits.max(dim=1).values.double() / self.num_images
        values = {f"maxboxacc@{p}": value for p, value in zip(IOU_PERCENTAGES, accuracy, strict=True)}
        return {**values, "maxboxacc_v2": accuracy.mean()}


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

    def update(self, score_maps: Tensor, masks: Tensor) -> None:
        """Add score maps (N, H, W) in [0, 1] and masks (N, H, W): 1 object, 0 background, 255 ignore.

        Raises:
            SigcamError: for maps with NaN or outside [0, 1], other mask values, or shapes that differ.
        """
        maps = check_score_maps(score_maps).cpu().numpy()
        for score_map, mask in zip(maps, check_masks(masks, maps.shape), strict=True):
            self.histograms += torch.from_numpy(score_histograms(score_map, mask)).to(self.histograms.device)

    def compute(self) -> dict[str, Tensor]:
        """Percentage ``pxap``."""
        return {"pxap": torch.tensor(pixel_average_precision(self.histograms.cpu().numpy()), dtype=torch.float64)}
