"""Contour boxes of a map at every gray level at once, by two component trees.

OpenCV's contours of ``gray > level`` are the outer boundaries of its 8-connected objects and the boundaries of its
holes, 4-connected parts of the background that do not touch the border. From the highest level down objects only
grow and merge; from the lowest level up holes do. So two sweeps over the pixels, each placed once and joined to the
neighbours already placed, give the boxes of all levels, where a contour search at each level would visit every pixel
255 times.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

BoxArray = NDArray[np.int64]


def iou_by_level(gray: NDArray[np.uint8], boxes: BoxArray) -> tuple[NDArray[np.float64], ...]:
    """IoU between contour boxes of ``gray > level`` and ground truth, for every level from 0 to 254.

    Args:
        gray: (H, W) 8-bit map.
        boxes: (M, 4) ground-truth boxes x0, y0, x1, y1 with M >= 1, inclusive pixels.

    Returns:
        Three arrays (255,): the best IoU of any contour with any box, of the contour of greatest area with any box,
        and of the contour of greatest area with the first box. Without a contour the box is (0, 0, 0, 0).
    """
    order, starts = _order_by_gray(gray)
    hole_iou, num_holes = _sweep_holes(gray, order, starts, boxes)
    object_iou, largest, is_clear = _sweep_objects(gray, order, starts, boxes, num_holes)
    for level in np.flatnonzero(~is_clear).tolist():
        largest[level] = largest_contour_box(gray, level)
    best, first = _iou_of_each(largest, boxes)
    return np.maximum(object_iou, hole_iou), best, first


def largest_contour_box(gray: NDArray[np.uint8], level: int) -> BoxArray:
    """Box (4,) of the contour of greatest area of ``gray > level``, the first one on ties, as OpenCV finds it."""
    height, width = gray.shape
    _, binary = cv2.threshold(gray, level, 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros(4, dtype=np.int64)
    x, y, w, h = cv2.boundingRect(max(contours, key=cv2.contourArea))
    return np.array([x, y, min(x + w, width - 1), min(y + h, height - 1)], dtype=np.int64)


@njit(cache=True)
def _iou_with_boxes(box: Any, boxes: Any) -> Any:
    """Best IoU of a box with ground-truth boxes, and IoU with the first; pixels are inclusive."""
    best = 0.0
    first = 0.0
    area = (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
    for m in range(boxes.shape[0]):
        width = min(box[2], boxes[m, 2]) - max(box[0], boxes[m, 0]) + 1
        height = min(box[3], boxes[m, 3]) - max(box[1], boxes[m, 1]) + 1
        if width > 0 and height > 0:
            other = (boxes[m, 2] - boxes[m, 0] + 1) * (boxes[m, 3] - boxes[m, 1] + 1)
            intersection = width * height
            iou = intersection / (area + other - intersection)
            best = max(best, iou)
            if m == 0:
                first = iou
    return best, first


@njit(cache=True)
def _iou_of_each(estimated: Any, boxes: Any) -> Any:
    best, first = np.empty(len(estimated)), np.empty(len(estimated))
    for i in range(len(estimated)):
        best[i], first[i] = _iou_with_boxes(estimated[i], boxes)
    return best, first


@njit(cache=True)
def _order_by_gray(gray: Any) -> Any:
    """Pixels, as indices into the map padded by one on each side, in ascending gray; and where each gray starts."""
    height, width = gray.shape
    starts = np.zeros(257, dtype=np.int64)
    for y in range(height):
        for x in range(width):
            starts[gray[y, x] + 1] += 1
    for value in range(256):
        starts[value + 1] += starts[value]
    order = np.empty(height * width, dtype=np.int32)
    cursor = starts.copy()
    for y in range(height):
        for x in range(width):
            value = gray[y, x]
            order[cursor[value]] = (y + 1) * (width + 2) + x + 1
            cursor[value] += 1
    return order, starts


@njit(cache=True)
def _find(parent: Any, pixel: Any) -> Any:
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel


@njit(cache=True)
def _merge(parent: Any, corners: Any, area: Any, a: Any, b: Any) -> Any:
    """Join the trees of roots ``a`` and ``b``, boxes and areas included; return the root that stays."""
    parent[b] = a
    corners[a, 0] = min(corners[a, 0], corners[b, 0])
    corners[a, 1] = min(corners[a, 1], corners[b, 1])
    corners[a, 2] = max(corners[a, 2], corners[b, 2])
    corners[a, 3] = max(corners[a, 3], corners[b, 3])
    area[a] += area[b]
    return a


@njit(cache=True)
def _start(parent: Any, corners: Any, pixel: Any, x: Any, y: Any) -> None:
    """Make ``pixel`` the root of a tree of its own."""
    parent[pixel] = pixel
    corners[pixel, 0] = corners[pixel, 2] = x
    corners[pixel, 1] = corners[pixel, 3] = y


@njit(cache=True)
def _widen(corners: Any, root: Any, x: Any, y: Any) -> None:
    """Let the box of the tree ``root`` hold the pixel (x, y)."""
    corners[root, 0] = min(corners[root, 0], x)
    corners[root, 1] = min(corners[root, 1], y)
    corners[root, 2] = max(corners[root, 2], x)
    corners[root, 3] = max(corners[root, 3], y)


@njit(cache=True)
def _sweep_holes(gray: Any, order: Any, starts: Any, boxes: Any) -> Any:
    """From the lowest level up: best IoU of hole boundaries, and the number of holes, at each level.

    The boundary of a hole runs over the object's pixels around it, one pixel outside of it on each side.
    """
    height, width = gray.shape
    stride = width + 2
    parent = np.full((height + 2) * stride, -1, dtype=np.int32)
    corners = np.empty(((height + 2) * stride, 4), dtype=np.int32)
    area = np.zeros((height + 2) * stride, dtype=np.int32)  # not needed for holes, but shared with _merge
    iou = np.zeros((height + 2) * stride)
    is_stale = np.zeros((height + 2) * stride, dtype=np.bool_)
    live = np.empty(height * width, dtype=np.int32)
    num_live = 0
    best = np.zeros(255)
    count = np.zeros(255, dtype=np.int64)
    box = np.empty(4, dtype=np.int64)
    steps = (-stride, -1, 1, stride)
    # The loop that joins neighbours stands in both sweeps: as a shared function it made them measurably slower.
    for level in range(255):
        for position in range(starts[level], starts[level + 1]):
            pixel = order[position]
            y, x = pixel // stride - 1, pixel % stride - 1
            root = -1
            for step in steps:
                neighbour = pixel + step
                if parent[neighbour] >= 0:
                    other = _find(parent, neighbour)
                    if root < 0:
                        root = other
                        parent[pixel] = root
                    elif other != root:
                        root = _merge(parent, corners, area, root, other)
            if root < 0:
                root = pixel
                live[num_live] = pixel
                num_live += 1
                _start(parent, corners, pixel, x, y)
            _widen(corners, root, x, y)
            is_stale[root] = True
        kept = 0
        for i in range(num_live):
            root = live[i]
            x0, y0, x1, y1 = corners[root, 0], corners[root, 1], corners[root, 2], corners[root, 3]
            if parent[root] != root or x0 == 0 or y0 == 0 or x1 == width - 1 or y1 == height - 1:
                continue  # merged into another, or joined to the border for good
            live[kept] = root
            kept += 1
            if is_stale[root]:
                box[0], box[1] = x0 - 1, y0 - 1
                box[2], box[3] = min(x1 + 2, width - 1), min(y1 + 2, height - 1)
                iou[root] = _iou_with_boxes(box, boxes)[0]
                is_stale[root] = False
            best[level] = max(best[level], iou[root])
        num_live = kept
        count[level] = kept
    return best, count


@njit(cache=True)
def _sweep_objects(gray: Any, order: Any, starts: Any, boxes: Any, num_holes: Any) -> Any:
    """From the highest level down: best IoU of objects, and the box of the largest, at each level.

    The area that OpenCV gives an outer boundary is the number of 2 x 2 blocks inside with four pixels plus half of
    those with three. Holes add to it what only their shape tells; where holes or ties leave the largest object open,
    ``is_clear`` is False.
    """
    height, width = gray.shape
    stride = width + 2
    parent = np.full((height + 2) * stride, -1, dtype=np.int32)
    corners = np.empty(((height + 2) * stride, 4), dtype=np.int32)
    area = np.zeros((height + 2) * stride, dtype=np.int32)  # twice the area, to stay whole
    iou = np.zeros((height + 2) * stride)
    is_stale = np.zeros((height + 2) * stride, dtype=np.bool_)
    live = np.empty(height * width, dtype=np.int32)
    num_live = 0
    best = np.zeros(255)
    largest = np.zeros((255, 4), dtype=np.int64)
    is_clear = np.ones(255, dtype=np.bool_)
    box = np.zeros(4, dtype=np.int64)
    # The eight neighbours in a ring, so that three in a row complete a 2 x 2 block.
    ring = (-stride - 1, -stride, -stride + 1, 1, stride + 1, stride, stride - 1, -1)
    placed = np.zeros(8, dtype=np.bool_)
    for level in range(254, -1, -1):
        for position in range(starts[level + 1], starts[level + 2]):
            pixel = order[position]
            y, x = pixel // stride - 1, pixel % stride - 1
            root = -1
            for i in range(8):
                neighbour = pixel + ring[i]
                placed[i] = parent[neighbour] >= 0
                if placed[i]:
                    other = _find(parent, neighbour)
                    if root < 0:
                        root = other
                        parent[pixel] = root
                    elif other != root:
                        root = _merge(parent, corners, area, root, other)
            if root < 0:
                root = pixel
                live[num_live] = pixel
                num_live += 1
                _start(parent, corners, pixel, x, y)
            _widen(corners, root, x, y)
            for i in range(0, 8, 2):
                if int(placed[i - 1]) + int(placed[i]) + int(placed[i + 1]) >= 2:
                    area[root] += 1
            is_stale[root] = True
        kept = 0
        top, runner_up, top_root = -1, -1, -1
        for i in range(num_live):
            root = live[i]
            if parent[root] != root:
                continue
            live[kept] = root
            kept += 1
            if is_stale[root]:
                box[0], box[1] = corners[root, 0], corners[root, 1]
                box[2], box[3] = min(corners[root, 2] + 1, width - 1), min(corners[root, 3] + 1, height - 1)
                iou[root] = _iou_with_boxes(box, boxes)[0]
                is_stale[root] = False
            best[level] = max(best[level], iou[root])
            if area[root] > top:
                top, runner_up, top_root = area[root], top, root
            else:
                runner_up = max(runner_up, area[root])
        num_live = kept
        if kept == 0:
            box[:] = 0
            best[level] = _iou_with_boxes(box, boxes)[0]
            continue
        largest[level, 0], largest[level, 1] = corners[top_root, 0], corners[top_root, 1]
        largest[level, 2] = min(corners[top_root, 2] + 1, width - 1)
        largest[level, 3] = min(corners[top_root, 3] + 1, height - 1)
        is_clear[level] = kept == 1 or (num_holes[level] == 0 and top > runner_up)
    return best, largest, is_clear
