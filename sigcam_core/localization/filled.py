"""Maps without holes, whose contours are the outer ones alone.

OpenCV's RETR_EXTERNAL lists the outer boundaries of objects that lie in no hole of another. These are the boundaries of
what is left once every hole is filled with all that lies in it, and holes are filled at every gray level at once.
"""

from __future__ import annotations

from typing import Any

from .compiled import compiled


@compiled
def fill_holes(gray: Any) -> Any:
    """Raise every pixel to the least level at which it is not enclosed.

    From a pixel to the border of the map there are paths from edge to edge; each has a greatest value, and the least of
    these is the level. Two scans, from the upper left and from the lower right, spread levels from pixel to pixel until
    nothing changes (morphological reconstruction, Vincent 1993, by its sequential algorithm): a few of each on a smooth
    map, more where holes wind.

    Args:
        gray: (H, W) uint8.

    Returns:
        (H, W) uint8: for every level, ``filled > level`` is ``gray > level`` with its holes filled, those parts of the
        background that do not reach the border from edge to edge.
    """
    height, width = gray.shape
    filled = gray.copy()
    filled[1:-1, 1:-1] = 255
    has_changed = True
    while has_changed:
        has_changed = False
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                level = max(gray[y, x], min(filled[y, x], filled[y - 1, x], filled[y, x - 1]))
                filled[y, x] = level
        for y in range(height - 2, 0, -1):
            for x in range(width - 2, 0, -1):
                level = max(gray[y, x], min(filled[y, x], filled[y + 1, x], filled[y, x + 1]))
                has_changed |= level != filled[y, x]
                filled[y, x] = level
    return filled
