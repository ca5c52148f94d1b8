"""One box for all images: what localisation scores without any map, at every threshold.

The whole image, and the box that serves some images best, to be judged on others. Neither looks at an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import fail
from .compiled import compiled
from .contours import BoxArray, iou_of_each
from .protocol import IOU_PERCENTAGES, MAP_SIZE

STEP = 8
"""Pixels of 224 between the edges of boxes that are tried."""


def whole_image(size: int = MAP_SIZE) -> BoxArray:
    """Return the box (4,) of all pixels of a map of ``size`` x ``size``."""
    return np.array([0, 0, size - 1, size - 1], dtype=np.int64)


def fixed_box_iou(box: BoxArray, boxes: Sequence[BoxArray]) -> NDArray[np.float32]:
    """IoU of one box with the best of each image's boxes.

    Args:
        box: (4,) x0, y0, x1, y1, inclusive pixels of the map.
        boxes: of N images, (M, 4) each; M may be 0.

    Returns:
        (N,); NaN for an image without a box.
    """
    one = np.ascontiguousarray(box[None])
    best = [float(iou_of_each(one, np.ascontiguousarray(own))[0][0]) if len(own) else np.nan for own in boxes]
    return np.array(best, dtype=np.float32)


def best_fixed_box(boxes: Sequence[BoxArray], size: int = MAP_SIZE, step: int = STEP) -> BoxArray:
    """Find the one box that has the greatest mean BoxAcc at IoU .3, .5 and .7, of all whose edges lie on a lattice.

    It is as good as a map can be that is the same for every image and marks one box. Choose it on images that are held
    out: on those that it is judged by, it would be fitted to them.

    Args:
        boxes: of N images, (M, 4) each, at the size of the map; images without a box do not count.
        size: side of the map, pixels.
        step: pixels between the edges that are tried; the last is the edge of the map.

    Returns:
        (4,) x0, y0, x1, y1; the first of equals, by x0, x1, y0 and y1.

    Raises:
        SigcamError: if no image has a box.

    >>> best_fixed_box([np.array([[16, 8, 48, 40]]), np.array([[16, 8, 47, 41]])], size=64).tolist()
    [8, 8, 48, 40]
    """
    there = [own for own in boxes if len(own)]
    if not there:
        fail("no image has a box, so that no box is the best of them: pass the boxes of at least one.")
    first = np.cumsum([0, *map(len, there)])
    edges = np.unique(np.append(np.arange(0, size, step), size - 1))
    limits = np.array(IOU_PERCENTAGES) / 100
    return np.array(_search(np.concatenate(there), first, edges, limits), dtype=np.int64)


@compiled
def _search(truth: Any, first: Any, edges: Any, limits: Any) -> Any:
    """Count, for every box of the lattice, how often it passes a limit; (4,) of the most."""
    num_edges, num_images = len(edges), len(first) - 1
    most, best = -1, (0, 0, 0, 0)
    width = np.empty(len(truth), dtype=np.int64)  # of the intersection
    area = (truth[:, 2] - truth[:, 0] + 1) * (truth[:, 3] - truth[:, 1] + 1)
    for left in range(num_edges):
        for right in range(left + 1, num_edges):
            x0, x1 = edges[left], edges[right]
            for m in range(len(truth)):
                width[m] = max(min(x1, truth[m, 2]) - max(x0, truth[m, 0]) + 1, 0)
            for top in range(num_edges):
                for bottom in range(top + 1, num_edges):
                    y0, y1 = edges[top], edges[bottom]
                    own = (x1 - x0 + 1) * (y1 - y0 + 1)
                    passed = 0
                    for n in range(num_images):
                        iou = 0.0
                        for m in range(first[n], first[n + 1]):
                            height = max(min(y1, truth[m, 3]) - max(y0, truth[m, 1]) + 1, 0)
                            common = width[m] * height
                            iou = max(iou, common / (own + area[m] - common))
                        for limit in limits:
                            passed += iou >= limit
                    if passed > most:
                        most, best = passed, (x0, y0, x1, y1)
    return best
