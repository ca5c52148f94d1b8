"""What a map scores that knows nothing: one Gaussian in the centre, the same for every image (Choe et al. 2020).

Cut at any threshold it gives one centred box, so the thresholds of the protocol sweep the side of a centred square.
All images share these boxes, of which few differ. Sizes and boxes of a data set suffice; nothing looks at an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..common.errors import check_choice, fail
from ..common.resampling import FloatArray, Statistics
from .contours import BoxArray, largest_contour_box
from .protocol import (
    GT_LOC_IOU,
    GT_LOC_THRESHOLD_INDEX,
    IOU_PERCENTAGES,
    MAP_SIZE,
    PROTOCOLS,
    check_boxes,
    levels_of,
    to_gray,
)

DEVIATION = 0.25
"""Standard deviation of the Gaussian, in sides of the map; two of them reach the edge.

It decides which square stands at which threshold. MaxBoxAcc, a maximum over thresholds, does not depend on it as long
as the squares that matter are among those that 8 bits tell apart; GT-Loc, at one threshold, does.
"""


def centre_map(size: int = MAP_SIZE, deviation: float = DEVIATION) -> NDArray[np.float64]:
    """Draw a Gaussian in the centre of a square map, stretched to [0, 1].

    Args:
        size: side of the map, pixels.
        deviation: standard deviation, in sides of the map.

    Returns:
        (size, size) scores.

    Raises:
        SigcamError: if the map has no centre and edge, or the deviation is not positive.

    >>> centre_map(4)[1].round(3).tolist()
    [0.269, 1.0, 1.0, 0.269]
    """
    if size < 3 or not deviation > 0:
        fail(f"a centred map of side {size} and deviation {deviation} is none: give 3 or more pixels, and above 0.")
    offsets = np.arange(size) - (size - 1) / 2
    profile = np.exp(-0.5 * (offsets / (deviation * size)) ** 2)
    scores = profile[:, None] * profile
    low, high = scores.min(), scores.max()
    stretched: NDArray[np.float64] = (scores - low) / (high - low)
    return stretched


def centre_box_accuracy(
    boxes: Sequence[BoxArray],
    weights: FloatArray | None = None,
    protocol: str = "standard",
    size: int = MAP_SIZE,
    deviation: float = DEVIATION,
) -> Statistics:
    """Localisation figures in % of :func:`centre_map` as the map of every image.

    They equal those of :class:`~sigcam_core.localization.metrics.MaxBoxAcc` and
    :class:`~sigcam_core.localization.metrics.LocalizationAccuracy`, given that map once for each image.

    Args:
        boxes: for each of N images, (M, 4) ground-truth boxes scaled to the map, M >= 1.
        weights: (B, N) resampling weights; left out, the values themselves, B = 1.
        protocol: GT-Loc against ``"standard"`` any box, or ``"paper"`` the first box only.
        size: side of the map, pixels.
        deviation: of the map, in sides of it.

    Returns:
        Each metric as (B,): ``gt_loc``, ``maxboxacc@30/50/70`` and ``maxboxacc_v2``.

    Raises:
        SigcamError: if there is no image, a box is malformed, or the protocol is unknown.

    >>> boxes = [np.array([[56, 56, 168, 168]]), np.array([[0, 0, 20, 20]])]
    >>> centre_box_accuracy(boxes)["maxboxacc@70"].tolist()
    [50.0]
    """
    check_choice("protocol", protocol, PROTOCOLS)
    if len(boxes) == 0:
        fail("the centre of no image has no accuracy: pass the boxes of at least one.")
    checked = check_boxes(boxes, (len(boxes), size, size))
    weights = np.ones((1, len(boxes))) if weights is None else weights
    gray = to_gray(centre_map(size, deviation))
    levels = levels_of(gray)  # (1000,)
    squares, square_of = np.unique(
        [largest_contour_box(gray, level) for level in np.unique(levels).tolist()], axis=0, return_inverse=True
    )
    truth = np.concatenate(checked)  # (K, 4), those of one image in a row
    first = np.cumsum([0, *map(len, checked[:-1])])  # (N,) where those of each image begin
    iou = _iou(squares, truth)  # (S, K)
    best = np.maximum.reduceat(iou, first, axis=1)  # (S, N)
    gt_loc_square = square_of[np.unique(levels).searchsorted(levels[GT_LOC_THRESHOLD_INDEX])]
    gt_loc_iou = (best if protocol == "standard" else iou[:, first])[gt_loc_square]
    count = weights.sum(axis=1)
    statistics = {"gt_loc": 100 * (weights @ (gt_loc_iou >= GT_LOC_IOU)) / count}
    for percentage in IOU_PERCENTAGES:
        hits = (best >= percentage / 100).astype(np.float64)
        statistics[f"maxboxacc@{percentage}"] = 100 * (weights @ hits.T).max(axis=1) / count
    statistics["maxboxacc_v2"] = np.mean([statistics[f"maxboxacc@{p}"] for p in IOU_PERCENTAGES], axis=0)
    return statistics


def _iou(squares: BoxArray, truth: BoxArray) -> NDArray[np.float64]:
    """IoU (S, K) of S boxes (S, 4) with K boxes (K, 4); pixels are inclusive."""
    low = np.maximum(squares[:, None, :2], truth[:, :2])  # (S, K, 2)
    high = np.minimum(squares[:, None, 2:], truth[:, 2:])
    intersection = np.maximum(high - low + 1, 0).prod(axis=2)
    union = _area(squares)[:, None] + _area(truth) - intersection
    iou: NDArray[np.float64] = intersection / union
    return iou


def _area(boxes: BoxArray) -> NDArray[np.int64]:
    area: NDArray[np.int64] = (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1)
    return area
