"""Thresholds that need no box: each map's own gray level, by a rule that is fixed beforehand.

MaxBoxAcc takes the level that is best on the boxes it is judged by, and a held-out level takes boxes of other images.
Where supervision is weak there are none; what a map is worth then, these say (Murtaza et al. 2025 ask for that).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from .contours import NUM_LEVELS

SHARE = 0.5
"""Of the pixels that :func:`half_level` keeps, the value that favours neither small objects nor large ones."""


def otsu_level(gray: NDArray[np.uint8]) -> int:
    """Find the level that parts a map into the two groups of least variance within (Otsu 1979), by OpenCV.

    Args:
        gray: (H, W) 8-bit map.

    Returns:
        From 0 to 254; what is above it is kept.

    >>> otsu_level(np.array([[10, 12, 200, 210]], dtype=np.uint8))
    12
    """
    level, _ = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return min(int(level), NUM_LEVELS - 1)


def half_level(gray: NDArray[np.uint8]) -> int:
    """Find the lowest level above which at most half of the pixels are.

    Args:
        gray: (H, W) 8-bit map.

    Returns:
        From 0 to 254.

    >>> half_level(np.array([[10, 12, 200, 210]], dtype=np.uint8))
    12
    """
    above = gray.size - np.bincount(gray.ravel(), minlength=256).cumsum()  # (256,) pixels above each level
    return min(int((above <= SHARE * gray.size).argmax()), NUM_LEVELS - 1)


LEVEL_RULES: dict[str, Callable[[NDArray[np.uint8]], int]] = {"otsu": otsu_level, "half": half_level}
"""From a map (H, W) in 8 bits to the gray level that it is cut at, by name."""
