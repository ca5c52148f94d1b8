"""The localisation protocol of Choe et al. 2020 for one map: thresholds, IoU curves, score histograms.

The protocol is matched exactly, its habits included: score maps become 8-bit by truncation, boundaries of holes
count as boxes, boxes end one pixel after their contour, and IoU counts pixels inclusively.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..common.checks import BACKGROUND, IGNORE, OBJECT, check_object_value, check_score_maps, to_tensor
from ..common.errors import fail
from .compiled import compiled
from .contours import NUM_LEVELS, BoxArray, iou_by_level, iou_of_each, largest_contour_box, outer_iou_by_level

MAP_SIZE = 224  # pixels; the protocol of Choe et al. 2020 scores maps, boxes and masks at this size
THRESHOLDS: NDArray[np.float64] = np.arange(0.0, 1.0, 0.001)
"""The 1,000 thresholds tau of the protocol, as fractions of a map's greatest value."""
IOU_PERCENTAGES = (30, 50, 70)
PROTOCOLS = ("standard", "paper")
"""GT-Loc and Top-1 Loc against any ground-truth box, or against the first only, as the official code does."""
GT_LOC_THRESHOLD_INDEX = 200  # tau = .2
GT_LOC_IOU = 0.5
LEVELS: NDArray[np.int64] = (THRESHOLDS * NUM_LEVELS).astype(np.int64)
"""Gray level that each threshold cuts at in a map whose maximum is 1."""
FIRST_THRESHOLD_OF_LEVEL: NDArray[np.int64] = np.searchsorted(LEVELS, np.arange(NUM_LEVELS))
HISTOGRAM_EDGES: NDArray[np.float64] = np.append(THRESHOLDS, [1.0, 2.0, 3.0])
NUM_BINS = len(HISTOGRAM_EDGES) - 1
NO_BOX = -1  # fills the rows of a padded tensor of boxes

Boxes = Sequence[Tensor | BoxArray] | Tensor
"""Boxes of N maps, (M, 4) for each, or one tensor (N, M, 4) which rows of four -1 fill up."""


def iou_curves(
    score_map: NDArray[np.floating[Any]], boxes: BoxArray, with_largest: bool = True, with_outer: bool = False
) -> dict[str, NDArray[np.float64]]:
    """IoU with the ground truth at all 1,000 thresholds, for every way of choosing boxes.

    Args:
        score_map: (H, W) scores in [0, 1].
        boxes: (M, 4) ground-truth boxes at the size of the map.
        with_largest: give the curves of the largest contour too.
        with_outer: give the curve of outer contours alone too.

    Returns:
        ``multi``: best IoU of any contour with any box; ``largest``: of the largest contour with any box;
        ``largest_first``: of the largest contour with the first box; ``outer``: best IoU of any outer contour with any
        box, where boundaries of holes and what lies in holes do not count. Each (1000,).
    """
    gray, boxes = to_gray(score_map), np.ascontiguousarray(boxes)
    curves = dict(zip(("multi", "largest", "largest_first"), iou_by_level(gray, boxes, with_largest), strict=False))
    if with_outer:
        curves["outer"] = outer_iou_by_level(gray, boxes)
    levels = levels_of(gray)
    return {name: curve[levels] for name, curve in curves.items()}


def gt_loc_box(score_map: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Find the box that GT-Loc judges: that of the largest contour at tau = .2 (Choe et al. 2020).

    Args:
        score_map: (H, W) scores in [0, 1].

    Returns:
        (4,) x0, y0, x1, y1 in pixels of the map.

    >>> score_map = np.zeros((20, 30))
    >>> score_map[5:10, 8:16] = 1
    >>> gt_loc_box(score_map).tolist()
    [8, 5, 16, 10]
    """
    gray = to_gray(score_map)
    return largest_contour_box(gray, int(levels_of(gray)[GT_LOC_THRESHOLD_INDEX]))


def gt_loc_iou(score_map: NDArray[np.floating[Any]], boxes: BoxArray) -> tuple[float, float]:
    """IoU of the largest contour at tau = .2 with any box, and with the first box: what GT-Loc asks about.

    Args:
        score_map: (H, W) scores in [0, 1].
        boxes: (M, 4) ground-truth boxes at the size of the map.

    Returns:
        IoU in [0, 1] with the best of the M boxes, and with the first.
    """
    any_box, first_box = iou_of_each(gt_loc_box(score_map)[None], boxes)
    return float(any_box[0]), float(first_box[0])


def to_gray(score_map: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Convert a map (H, W) of scores in [0, 1] to 8 bits (H, W), rounded down as the protocol does."""
    gray: NDArray[np.uint8] = np.ascontiguousarray((score_map * 255).astype(np.uint8))
    return gray


def levels_of(gray: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the gray level (1000,) at which each threshold cuts a map."""
    levels: NDArray[np.int64] = (THRESHOLDS * gray.max()).astype(np.int64)
    return levels


def best_iou_per_threshold(
    score_map: Tensor | NDArray[np.floating[Any]],
    boxes: Tensor | BoxArray,
    multi_contour: bool = True,
    with_holes: bool = True,
) -> NDArray[np.float64]:
    """Best IoU with any ground-truth box at tau = 0, .001, ..., .999 (Choe et al. 2020, Section 3.2).

    Args:
        score_map: (H, W) scores in [0, 1].
        boxes: (M, 4) ground-truth boxes x0, y0, x1, y1 at the size of the map, M >= 1.
        multi_contour: take the best contour (MaxBoxAccV2), or only the largest (MaxBoxAcc as first published).
        with_holes: let boundaries of holes count as boxes, as the protocol does; of several contours alone.

    Returns:
        (1000,) best IoU.

    Raises:
        SigcamError: if the map is not two-dimensional, leaves [0, 1] or holds NaN, a box is malformed, or holes are
            left out of the largest contour.
    """
    checked_map = check_score_maps(to_tensor(score_map)[None])[0].numpy(force=True)
    checked_boxes = check_boxes([boxes], checked_map.shape)[0]
    curve = curve_name(multi_contour, with_holes)
    return iou_curves(checked_map, checked_boxes, curve == "largest", curve == "outer")[curve]


def curve_name(multi_contour: bool, with_holes: bool) -> str:
    """Which of the curves of :func:`iou_curves` a way of choosing boxes is.

    Raises:
        SigcamError: if holes are left out of the largest contour.
    """
    if not multi_contour and not with_holes:
        fail("the largest contour is found with holes as the protocol does: leave with_holes on, or multi_contour.")
    return "multi" if multi_contour and with_holes else "outer" if multi_contour else "largest"


def score_histograms(score_map: NDArray[np.floating[Any]], mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count object and background pixels per score bin, without ignored pixels.

    Args:
        score_map: (H, W) scores in [0, 1].
        mask: (H, W) 1 object, 0 background, 255 ignore.

    Returns:
        (2, 1002) counts: row 0 for the object, row 1 for the background. Bins start at the 1,000 thresholds, at
        1 and at 2.
    """
    counts = np.zeros((4, 1024), dtype=np.uint32)
    _count_scores(score_map.ravel(), mask.ravel(), HISTOGRAM_EDGES, counts.ravel())
    return counts[[OBJECT, BACKGROUND], :NUM_BINS].astype(np.int64)


@compiled
def _count_scores(scores: Any, mask: Any, edges: Any, counts: Any) -> None:
    """Count into four rows of 1,024 bins, by the last two bits of the mask; that of ignored pixels is not read."""
    for i in range(len(scores)):
        score = np.float64(scores[i])
        bin_index = np.uint32(np.int32(score * 1000))
        # The product may round up across an edge, but never down: no edge times 1,000 is below its index.
        bin_index -= score < edges[bin_index]
        counts[(np.uint32(mask[i] & 3) << np.uint32(10)) + bin_index] += np.uint32(1)


def pixel_average_precision(histograms: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """PxAP from summed histograms: sum over thresholds of precision times recall step, in % (Choe et al. 2020).

    Args:
        histograms: (..., 2, 1002) counts of object and background pixels, of one data set or of resamples.

    Returns:
        (...) percentages; NaN for one of several that has no object pixel, as a resample may have none.

    Raises:
        SigcamError: if none has an object pixel.
    """
    counts = histograms[..., ::-1].cumsum(axis=-1)
    true_positive, false_positive = counts[..., 0, :], counts[..., 1, :]  # (..., 1002), from the highest score down
    num_object = true_positive[..., -1:]
    if not num_object.any():
        fail("PxAP is undefined: no mask has an object pixel.")
    recall = true_positive / np.where(num_object > 0, num_object, np.nan)
    predicted = true_positive + false_positive
    precision = np.divide(true_positive, predicted, out=np.zeros(predicted.shape), where=predicted > 0)
    # The first bin (scores of 2 and more) is empty for maps in [0, 1] and only starts the recall axis.
    average_precision: NDArray[np.float64] = 100 * (precision[..., 1:] * np.diff(recall, axis=-1)).sum(axis=-1)
    return average_precision


def check_boxes(boxes: Boxes, shape: tuple[int, ...]) -> list[BoxArray]:
    """Return the boxes as arrays if there is one (M, 4) set for each map, M >= 1, within the map.

    Args:
        boxes: for each map, boxes x0, y0, x1, y1. In one tensor or array (N, M, 4), rows of four -1 are no boxes.
        shape: (N, height, width), or (height, width) for one map.

    Raises:
        SigcamError: naming the first box that is malformed.
    """
    height, width = shape[-2:]
    num_maps = shape[0] if len(shape) == 3 else 1
    if len(boxes) != num_maps:
        fail(f"there are {num_maps} score maps but {len(boxes)} sets of boxes: pass one set for each map.")
    is_padded = getattr(boxes, "ndim", 0) == 3
    checked = []
    for position, image_boxes in enumerate(boxes):
        try:
            numbers = to_tensor(image_boxes).numpy(force=True).astype(np.float64)
        except (TypeError, ValueError):
            fail(f"boxes of map {position} must be numbers of shape (M, 4), four for each box.")
        if is_padded:
            numbers = numbers[(numbers != NO_BOX).any(axis=1)]
        if numbers.ndim != 2 or numbers.shape[1] != 4 or len(numbers) == 0:
            fail(f"boxes of map {position} must have shape (M, 4) with M >= 1, got {numbers.shape}.")
        if not np.isfinite(numbers).all():
            fail(f"boxes of map {position} hold NaN or infinity: give pixels.")
        array = numbers.astype(np.int64)  # rounded towards zero, as the protocol does
        x0, y0, x1, y1 = array.T
        bad = (x0 < 0) | (y0 < 0) | (x1 < x0) | (y1 < y0) | (x1 > width) | (y1 > height)
        if bad.any():
            box = array[bad][0].tolist()
            fail(
                f"box {box} of map {position} is not x0 <= x1, y0 <= y1 within {width} x {height} pixels: "
                "scale boxes to the size of the map."
            )
        checked.append(array)
    return checked


def check_masks(masks: Tensor | NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the masks as an array if they fit the maps and hold only 0, 1 and 255.

    Raises:
        SigcamError: if they do not, or one holds 255 but no 1, as masks do that mean the object by 255.
    """
    array = to_tensor(masks).numpy(force=True)
    if array.shape != shape:
        fail(f"masks have shape {array.shape} but score maps have {shape}: pass one mask of equal size for each map.")
    if not np.isin(array, (BACKGROUND, OBJECT, IGNORE)).all():
        fail("masks may hold 0 (background), 1 (object) and 255 (ignore) only.")
    for position, mask in enumerate(array):
        check_object_value(mask, f"mask {position}")
    return array.astype(np.uint8)
