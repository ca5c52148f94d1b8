"""The localisation protocol of Choe et al. 2020 for one map: thresholds, IoU curves, score histograms.

The protocol is matched exactly, its habits included: score maps become 8-bit by truncation, boundaries of holes
count as boxes, boxes end one pixel after their contour, and IoU counts pixels inclusively.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .contours import BoxArray, iou_by_level
from .errors import fail

THRESHOLDS: NDArray[np.float64] = np.arange(0.0, 1.0, 0.001)
"""The 1,000 thresholds tau of the protocol, as fractions of a map's greatest value."""
IOU_PERCENTAGES = (30, 50, 70)
GT_LOC_THRESHOLD_INDEX = 200  # tau = .2
GT_LOC_IOU = 0.5
NUM_GRAY_LEVELS = 255
LEVELS: NDArray[np.int64] = (THRESHOLDS * NUM_GRAY_LEVELS).astype(np.int64)
"""Gray level that each threshold cuts at in a map whose maximum is 1."""
FIRST_THRESHOLD_OF_LEVEL: NDArray[np.int64] = np.searchsorted(LEVELS, np.arange(NUM_GRAY_LEVELS))
HISTOGRAM_EDGES: NDArray[np.float64] = np.append(THRESHOLDS, [1.0, 2.0, 3.0])
NUM_BINS = len(HISTOGRAM_EDGES) - 1
OBJECT, BACKGROUND, IGNORE = 1, 0, 255


def iou_curves(score_map: NDArray[np.floating[Any]], boxes: BoxArray) -> dict[str, NDArray[np.float64]]:
    """IoU with the ground truth at all 1,000 thresholds, for every way of choosing boxes.

    Args:
        score_map: (H, W) scores in [0, 1].
        boxes: (M, 4) ground-truth boxes at the size of the map.

    Returns:
        ``multi``: best IoU of any contour with any box; ``largest``: of the largest contour with any box;
        ``largest_first``: of the largest contour with the first box. Each (1000,).
    """
    gray = np.ascontiguousarray((score_map * 255).astype(np.uint8))
    levels = (THRESHOLDS * np.max(gray)).astype(np.int64)
    curves = iou_by_level(gray, np.ascontiguousarray(boxes))
    return {name: curve[levels] for name, curve in zip(("multi", "largest", "largest_first"), curves, strict=True)}


def best_iou_per_threshold(
    score_map: Tensor | NDArray[np.floating[Any]], boxes: Tensor | BoxArray, multi_contour: bool = True
) -> NDArray[np.float64]:
    """Best IoU with any ground-truth box at tau = 0, .001, ..., .999 (Choe et al. 2020, Section 3.2).

    Args:
        score_map: (H, W) scores in [0, 1].
        boxes: (M, 4) ground-truth boxes x0, y0, x1, y1 at the size of the map, M >= 1.
        multi_contour: take the best contour (MaxBoxAccV2), or only the largest (MaxBoxAcc as first published).

    Returns:
        (1000,) best IoU.

    Raises:
        SigcamError: if the map is not two-dimensional, leaves [0, 1] or holds NaN, or a box is malformed.
    """
    checked_map = check_score_maps(_to_tensor(score_map)[None])[0].cpu().numpy()
    checked_boxes = check_boxes([boxes], checked_map.shape)[0]
    return iou_curves(checked_map, checked_boxes)["multi" if multi_contour else "largest"]


def score_histograms(score_map: NDArray[np.floating[Any]], mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Counts of object and of background pixels a score bin, ignored pixels left out.

    Args:
        score_map: (H, W) scores in [0, 1].
        mask: (H, W) 1 object, 0 background, 255 ignore.

    Returns:
        (2, 1002) counts: row 0 for the object, row 1 for the background. Bins start at the 1,000 thresholds, at
        1 and at 2.
    """
    score_map = score_map.astype(np.float64)
    bins = (1000 * score_map).astype(np.int64)
    # The product may round across an edge; the edges themselves decide.
    bins -= score_map < HISTOGRAM_EDGES[bins]
    bins += score_map >= HISTOGRAM_EDGES[bins + 1]
    return np.stack([np.bincount(bins[mask == value], minlength=NUM_BINS) for value in (OBJECT, BACKGROUND)])


def pixel_average_precision(histograms: NDArray[np.int64]) -> float:
    """PxAP from summed histograms: sum over thresholds of precision times recall step, in % (Choe et al. 2020).

    Args:
        histograms: (2, 1002) counts of object and background pixels.

    Raises:
        SigcamError: if no pixel belongs to an object.
    """
    true_positive, false_positive = np.cumsum(histograms[:, ::-1].astype(np.int64), axis=1)
    num_object = true_positive[-1]
    if num_object == 0:
        fail("PxAP is undefined: no mask has an object pixel.")
    recall = true_positive / num_object
    predicted = true_positive + false_positive
    precision = np.divide(true_positive, predicted, out=np.zeros(len(predicted)), where=predicted > 0)
    # The first bin (scores of 2 and more) is empty for maps in [0, 1] and only starts the recall axis.
    return float(100 * (precision[1:] * np.diff(recall)).sum())


def check_score_maps(score_maps: Tensor) -> Tensor:
    """Return the maps if they are (N, H, W), finite and within [0, 1].

    Raises:
        SigcamError: naming the first map that is not.
    """
    score_maps = _to_tensor(score_maps)
    if score_maps.ndim != 3:
        fail(f"score maps must have shape (N, height, width), got {tuple(score_maps.shape)}.")
    inside = ((score_maps >= 0) & (score_maps <= 1)).flatten(1).all(dim=1)  # NaN compares false
    if not bool(inside.all()):
        position = int((~inside).nonzero()[0, 0])
        fail(f"score map {position} holds NaN or values outside [0, 1]: pass maps through normalize_maps first.")
    return score_maps


def check_boxes(boxes: Sequence[Tensor | BoxArray], shape: tuple[int, ...]) -> list[BoxArray]:
    """Return the boxes as arrays if there is one (M, 4) set for each map, M >= 1, within the map.

    Args:
        boxes: for each map, boxes x0, y0, x1, y1.
        shape: (N, height, width), or (height, width) for one map.

    Raises:
        SigcamError: naming the first box that is malformed.
    """
    height, width = shape[-2:]
    num_maps = shape[0] if len(shape) == 3 else 1
    if len(boxes) != num_maps:
        fail(f"there are {num_maps} score maps but {len(boxes)} sets of boxes: pass one set for each map.")
    checked = []
    for position, image_boxes in enumerate(boxes):
        array = np.asarray(image_boxes).astype(np.int64)
        if array.ndim != 2 or array.shape[1] != 4 or len(array) == 0:
            fail(f"boxes of map {position} must have shape (M, 4) with M >= 1, got {array.shape}.")
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
        SigcamError: if they do not.
    """
    array = _to_tensor(masks).cpu().numpy()
    if array.shape != shape:
        fail(f"masks have shape {array.shape} but score maps have {shape}: pass one mask of equal size for each map.")
    if not np.isin(array, (BACKGROUND, OBJECT, IGNORE)).all():
        fail("masks may hold 0 (background), 1 (object) and 255 (ignore) only.")
    return array.astype(np.uint8)


def _to_tensor(values: Any) -> Tensor:
    return values if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))
