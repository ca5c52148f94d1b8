"""Contour boxes of a map at every gray level at once, by two sweeps over its sorted pixels.

OpenCV's contours of ``gray > level`` are the outer boundaries of its 8-connected objects and the boundaries of its
holes, 4-connected parts of the background that do not touch the border. From the highest level down objects only
grow and merge; from the lowest level up holes do. So one sweep each over the pixels gives the boxes of all levels,
where a contour search at each level would visit every pixel 255 times.

A sweep is cheap because few pixels decide anything. Let pixels be ordered by gray, ties by position. What a pixel
does to the regions placed before it depends only on which of its eight neighbours come before it: none, and it
starts a region; neighbours that touch each other, and it joins their region; several groups apart, and it may
merge regions. On a smooth map of 224 x 224 some hundreds of the 50,000 pixels start or merge. The eight comparisons
are made for all pixels first, in vector instructions; tables of 256 entries say the rest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .compiled import compiled
from .filled import fill_holes

BoxArray = NDArray[np.int64]

NUM_LEVELS = 255
# The eight neighbours (y, x) in a ring: those at odd places share an edge with the pixel, the others a corner.
RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
SHARE_AN_EDGE = 0b10101010


def iou_by_level(
    gray: NDArray[np.uint8], boxes: BoxArray, with_largest: bool = True
) -> tuple[NDArray[np.float64], ...]:
    """IoU between contour boxes of ``gray > level`` and ground truth, for every level from 0 to 254.

    Args:
        gray: (H, W) 8-bit map.
        boxes: (M, 4) ground-truth boxes x0, y0, x1, y1 with M >= 1, inclusive pixels.
        with_largest: work out the curves of the largest contour too; else only the first curve.

    Returns:
        Arrays (255,): the best IoU of any contour with any box, of the contour of greatest area with any box, and of
        the contour of greatest area with the first box. Without a contour the box is (0, 0, 0, 0).
    """
    pixels = _sorted_pixels(gray, (gray.shape[1] + 1).bit_length())
    not_wanted = np.empty(0, dtype=np.int64)
    hole_iou, num_holes, _, _ = _sweep(pixels, _HOLES, boxes, not_wanted)
    object_iou, num_objects, largest, is_clear = _sweep(
        pixels, _OBJECTS, boxes, num_holes if with_largest else not_wanted
    )
    nothing = iou_of_each(np.zeros((1, 4), dtype=np.int64), boxes)[0]
    multi = np.where(num_objects > 0, np.maximum(object_iou, hole_iou), nothing)
    if not with_largest:
        return (multi,)
    for level in np.flatnonzero(~is_clear).tolist():
        largest[level] = largest_contour_box(gray, level)
    return multi, *iou_of_each(largest, boxes)


def outer_iou_by_level(gray: NDArray[np.uint8], boxes: BoxArray) -> NDArray[np.float64]:
    """Best IoU of outer contours alone, OpenCV's RETR_EXTERNAL: no boundary of a hole, and nothing that lies in one.

    Args:
        gray: (H, W) 8-bit map.
        boxes: (M, 4) ground-truth boxes, as for :func:`iou_by_level`.

    Returns:
        (255,) for every level from 0 to 254.
    """
    pixels = _sorted_pixels(fill_holes(gray), (gray.shape[1] + 1).bit_length())
    best, num_objects, _, _ = _sweep(pixels, _OBJECTS, boxes, np.empty(0, dtype=np.int64))
    nothing = iou_of_each(np.zeros((1, 4), dtype=np.int64), boxes)[0]
    curve: NDArray[np.float64] = np.where(num_objects > 0, best, nothing)
    return curve


def largest_contour_box(gray: NDArray[np.uint8], level: int) -> BoxArray:
    """Box (4,) of the contour of greatest area of ``gray > level``, the first one on ties, as OpenCV finds it."""
    height, width = gray.shape
    _, binary = cv2.threshold(gray, level, 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros(4, dtype=np.int64)
    x, y, w, h = cv2.boundingRect(max(contours, key=cv2.contourArea))
    return np.array([x, y, min(x + w, width - 1), min(y + h, height - 1)], dtype=np.int64)


class _Kind(NamedTuple):
    """What tells the sweep over objects from the sweep over holes."""

    first_level: int
    step: int  # from level to level
    offset: int  # from a level to the gray of the pixels placed at it
    flip: int  # turns the pattern of neighbours that are later in ascending order into those placed before
    groups: NDArray[np.int64]  # (256, 5): for each pattern, how many groups apart, and a neighbour of each
    before: int  # pixels that the contour's box ...
    after: int  # ... goes beyond the region


class _Pixels(NamedTuple):
    order: Any  # all pixels in ascending order, as y * stride + x in the map padded by one on each side
    starts: Any  # (257,) where each gray begins in it
    later: Any  # for each padded pixel, bit i set if the neighbour RING[i] is later in that order
    shift: int
    stride: int  # a power of two, 2 ** shift
    height: int
    width: int
    num_maxima: int  # pixels that start an object: no neighbour is later
    num_minima: int  # pixels that start a hole: no neighbour that shares an edge is earlier


def _groups_of_patterns(connectivity: int) -> NDArray[np.int64]:
    """For each set of neighbours, groups that stay apart if the pixel itself is left out: (count, member of each)."""
    table = np.zeros((256, 5), dtype=np.int64)
    for pattern in range(256):
        left = [i for i in range(8) if pattern >> i & 1]
        while left:
            group = [left.pop()]
            for i in group:  # grows while it is walked through
                touching = [j for j in left if _touch(RING[i], RING[j], connectivity)]
                group += touching
                left = [j for j in left if j not in touching]
            reachable = [i for i in group if connectivity == 8 or SHARE_AN_EDGE >> i & 1]
            if reachable:
                table[pattern, 0] += 1
                table[pattern, table[pattern, 0]] = reachable[0]
    return table


def _touch(a: tuple[int, int], b: tuple[int, int], connectivity: int) -> bool:
    dy, dx = abs(a[0] - b[0]), abs(a[1] - b[1])
    return max(dy, dx) == 1 if connectivity == 8 else dy + dx == 1


def _area_of_patterns() -> NDArray[np.int64]:
    """Twice the area that a pixel adds to its object.

    The area that OpenCV gives an outer boundary without holes is the number of 2 x 2 blocks inside with four pixels
    plus half of those with three: each block counts once when its third, once when its fourth pixel is placed.
    """
    corners = [[(i - 1) % 8, i, i + 1] for i in range(0, 8, 2)]
    return np.array([sum(sum(p >> i & 1 for i in corner) >= 2 for corner in corners) for p in range(256)])


_OBJECTS = _Kind(NUM_LEVELS - 1, -1, 1, 0, _groups_of_patterns(8), 0, 1)
_HOLES = _Kind(0, 1, 0, 255, _groups_of_patterns(4), 1, 2)
_AREA = _area_of_patterns()


@compiled
def _iou_with_boxes(x0: Any, y0: Any, x1: Any, y1: Any, boxes: Any) -> Any:
    """Best IoU of a box with ground-truth boxes, and IoU with the first; pixels are inclusive."""
    best = 0.0
    first = 0.0
    area = (x1 - x0 + 1) * (y1 - y0 + 1)
    for m in range(boxes.shape[0]):
        width = min(x1, boxes[m, 2]) - max(x0, boxes[m, 0]) + 1
        height = min(y1, boxes[m, 3]) - max(y0, boxes[m, 1]) + 1
        if width > 0 and height > 0:
            other = (boxes[m, 2] - boxes[m, 0] + 1) * (boxes[m, 3] - boxes[m, 1] + 1)
            intersection = width * height
            iou = intersection / (area + other - intersection)
            best = max(best, iou)
            if m == 0:
                first = iou
    return best, first


@compiled
def iou_of_each(estimated: Any, boxes: Any) -> Any:
    """For estimated boxes (L, 4), the best IoU with any of ``boxes`` (M, 4), and the IoU with the first; (L,) each."""
    best, first = np.empty(len(estimated)), np.empty(len(estimated))
    for i in range(len(estimated)):
        x0, y0, x1, y1 = estimated[i]
        best[i], first[i] = _iou_with_boxes(x0, y0, x1, y1, boxes)
    return best, first


@compiled
def _sorted_pixels(gray: Any, shift: Any) -> Any:
    height, width = gray.shape
    stride = 1 << shift
    padded = np.full((height + 2, stride), -1, dtype=np.int16)  # outside comes before every pixel
    starts = np.zeros(257, dtype=np.int64)
    for y in range(height):
        for x in range(width):
            padded[y + 1, x + 1] = gray[y, x]
            starts[gray[y, x] + 1] += 1
    starts = np.cumsum(starts)
    cursor = starts.copy()
    order = np.empty(height * width, dtype=np.int32)
    later = np.zeros((height + 2, stride), dtype=np.uint8)
    num_maxima, num_minima = 0, 0
    for y in range(1, height + 1):
        above, row, below, bits = padded[y - 1], padded[y], padded[y + 1], later[y]
        for x in range(1, width + 1):  # no branch in here, so that it becomes vector instructions
            value = row[x]
            bits[x] = (
                (above[x - 1] > value) * 1
                | (above[x] > value) * 2
                | (above[x + 1] > value) * 4
                | (row[x + 1] >= value) * 8
                | (below[x + 1] >= value) * 16
                | (below[x] >= value) * 32
                | (below[x - 1] >= value) * 64
                | (row[x - 1] > value) * 128
            )
        for x in range(1, width + 1):
            num_maxima += bits[x] == 0
            num_minima += bits[x] & SHARE_AN_EDGE == SHARE_AN_EDGE
        for x in range(1, width + 1):
            value = row[x]
            order[cursor[value]] = y * stride + x
            cursor[value] += 1
    return _Pixels(order, starts, later.ravel(), shift, stride, height, width, num_maxima, num_minima)


@compiled
def _find(parent: Any, region: Any) -> Any:
    while parent[region] != region:
        parent[region] = parent[parent[region]]
        region = parent[region]
    return region


@compiled
def _sweep(pixels: Any, kind: Any, boxes: Any, num_holes: Any) -> Any:
    """Place pixels level by level; return, for each level, the best IoU and the number of regions.

    Region 0 is the outside of the map: what joins it is no hole, for good. Objects never do. With ``num_holes``
    (255,), also the box of the largest object, and whether it is certain.
    """
    num_starts = pixels.num_maxima if kind.step < 0 else pixels.num_minima
    steps = np.array([y * pixels.stride + x for y, x in RING])
    region_of = np.zeros(pixels.later.size, dtype=np.int32)  # of each padded pixel, once it is placed
    parent = np.zeros(num_starts + 1, dtype=np.int32)  # (R + 1,): every start of a region, and the outside
    corners = np.empty((num_starts + 1, 4), dtype=np.int32)  # x0, y0, x1, y1 of each region
    area = np.zeros(num_starts + 1, dtype=np.int64)
    iou = np.zeros(num_starts + 1)
    is_stale = np.zeros(num_starts + 1, dtype=np.bool_)
    live = np.empty(num_starts + 1, dtype=np.int32)
    num_live, num_regions = 0, 1
    best, count = np.zeros(NUM_LEVELS), np.zeros(NUM_LEVELS, dtype=np.int64)  # (255,) each, as all that is returned
    largest, is_clear = np.zeros((NUM_LEVELS, 4), dtype=np.int64), np.ones(NUM_LEVELS, dtype=np.bool_)
    for i in range(NUM_LEVELS):
        if num_live == 0 and num_regions > num_starts:
            break  # the last hole has joined the outside
        level = kind.first_level + i * kind.step
        first, end = pixels.starts[level + kind.offset], pixels.starts[level + kind.offset + 1]
        for j in range(end - first):
            pixel = pixels.order[first + j if kind.step > 0 else end - 1 - j]
            pattern = pixels.later[pixel] ^ kind.flip
            num_groups = kind.groups[pattern, 0]
            if num_groups == 0:
                region = num_regions
                num_regions += 1
                parent[region] = region
                corners[region, :2] = pixels.later.size
                corners[region, 2:] = 0
                live[num_live] = region
                num_live += 1
            else:
                region = _find(parent, region_of[pixel + steps[kind.groups[pattern, 1]]])
                for group in range(2, num_groups + 1):
                    other = _find(parent, region_of[pixel + steps[kind.groups[pattern, group]]])
                    region = _merge(parent, corners, area, min(region, other), max(region, other))
            if region == 0:
                continue
            region_of[pixel] = region
            area[region] += _AREA[pattern]
            _widen(corners, region, (pixel & (pixels.stride - 1)) - 1, (pixel >> pixels.shift) - 1)
            is_stale[region] = True
        num_live = _drop_merged(parent, live, num_live)
        count[level] = num_live
        best[level] = _best_iou(pixels, kind, boxes, live[:num_live], corners, iou, is_stale)
        if len(num_holes) and num_live:
            top, is_clear[level] = _largest_region(live[:num_live], corners, area, num_holes[level])
            largest[level] = _contour_box(pixels, kind, corners[top])
    return best, count, largest, is_clear


@compiled
def _merge(parent: Any, corners: Any, area: Any, stays: Any, goes: Any) -> Any:
    """Join two regions, boxes and areas included, unless they are one; return the one that stays."""
    if stays != goes:
        parent[goes] = stays
        area[stays] += area[goes]
        _widen(corners, stays, corners[goes, 0], corners[goes, 1])
        _widen(corners, stays, corners[goes, 2], corners[goes, 3])
    return stays


@compiled
def _widen(corners: Any, region: Any, x: Any, y: Any) -> None:
    """Let the box of a region hold the pixel (x, y)."""
    corners[region, 0] = min(corners[region, 0], x)
    corners[region, 1] = min(corners[region, 1], y)
    corners[region, 2] = max(corners[region, 2], x)
    corners[region, 3] = max(corners[region, 3], y)


@compiled
def _drop_merged(parent: Any, live: Any, num_live: Any) -> Any:
    kept = 0
    for i in range(num_live):
        live[kept] = live[i]
        kept += parent[live[i]] == live[i]
    return kept


@compiled
def _contour_box(pixels: Any, kind: Any, corners: Any) -> Any:
    """Box of a region's contour, which ends one pixel after it; around a hole it runs over the object's pixels."""
    x1 = min(corners[2] + kind.after, pixels.width - 1)
    y1 = min(corners[3] + kind.after, pixels.height - 1)
    return corners[0] - kind.before, corners[1] - kind.before, x1, y1


@compiled
def _best_iou(pixels: Any, kind: Any, boxes: Any, live: Any, corners: Any, iou: Any, is_stale: Any) -> Any:
    best = 0.0
    for region in live:
        if is_stale[region]:
            x0, y0, x1, y1 = _contour_box(pixels, kind, corners[region])
            iou[region] = _iou_with_boxes(x0, y0, x1, y1, boxes)[0]
            is_stale[region] = False
        best = max(best, iou[region])
    return best


@compiled
def _largest_region(live: Any, corners: Any, area: Any, num_holes: Any) -> Any:
    """Find the object of greatest area, and whether it is certainly the greatest.

    What holes add to the area of a contour is not known, but no contour is larger than its box.
    """
    top = live[0]
    for region in live[1:]:
        if area[region] > area[top]:
            top = region
    for region in live:
        x0, y0, x1, y1 = corners[region]
        if region != top and area[top] <= (2 * (x1 - x0) * (y1 - y0) if num_holes else area[region]):
            return top, False
    return top, True
