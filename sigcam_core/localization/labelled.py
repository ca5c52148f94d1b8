"""What the labels themselves score: a map that is 1 in the pixels of the labelled box and 0 elsewhere.

Boxes are scaled to the map by truncation, and a box ends one pixel after its contour, so that a map that is right about
every pixel of the image still misses some boxes: small ones, and those of small images most of all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .contours import BoxArray, iou_of_each
from .protocol import MAP_SIZE


def labelled_boxes(boxes: BoxArray, image_size: tuple[int, int], size: int = MAP_SIZE) -> BoxArray:
    """Compute the boxes that the protocol finds in maps of the labelled pixels, one map per box.

    A box covers the pixels x0 to x1 and y0 to y1 of its image, both ends included, and every pixel of the map that one
    of them reaches.

    Args:
        boxes: (M, 4) x0, y0, x1, y1 in pixels of the image.
        image_size: (width, height) of the image.
        size: side of the map, pixels.

    Returns:
        (M, 4) in pixels of the map; they end one pixel after the contour, if the map does not end before.

    >>> labelled_boxes(np.array([[0, 0, 63, 63], [10, 4, 10, 40]]), (64, 64)).tolist()
    [[0, 0, 223, 223], [35, 14, 39, 144]]
    """
    sides = np.array(image_size)
    low = boxes[:, :2] * size // sides
    past = -(-(boxes[:, 2:] + 1) * size // sides)  # rounded up: one after the last, where the contour's box ends
    inside: BoxArray = np.concatenate([low, past], axis=1).clip(0, size - 1)
    return inside


def labelled_iou(
    boxes: Sequence[BoxArray], image_sizes: Sequence[tuple[int, int]], scaled: Sequence[BoxArray], size: int = MAP_SIZE
) -> NDArray[np.float64]:
    """IoU of the labelled pixels with the boxes that the protocol compares with, the best of each image.

    Args:
        boxes: for each of N images, (M, 4) boxes in its pixels, M >= 1.
        image_sizes: (width, height) of each image.
        scaled: the same boxes scaled to the map, as :func:`sigcam_core.prepare.images.scaled_boxes` gives them.
        size: side of the map, pixels.

    Returns:
        (N,) in [0, 1]; the share of at least δ is the MaxBoxAcc(δ) of maps that know every labelled pixel.
    """
    each = zip(boxes, image_sizes, scaled, strict=True)
    return np.array([iou_of_each(labelled_boxes(own, sides, size), truth)[0].max() for own, sides, truth in each])
