"""The localisation protocol, a map at a time on one core: ours against the plain way with OpenCV and NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.timing import ForwardPass, Pairs, Row, side_by_side
from sigcam_core import normalize_maps
from sigcam_core.localization.metrics import MaxBoxAcc
from sigcam_core.localization.protocol import HISTOGRAM_EDGES, THRESHOLDS, best_iou_per_threshold, score_histograms

Maps = NDArray[np.float64]
Boxes = list[NDArray[np.int64]]

MAP_SIZE = 224
ONE_CORE = f"maps at {MAP_SIZE} px, one core"
FEATURE_SIZES = ((7, 12.0), (14, 25.0), (28, None))  # with the least speed-up that was aimed at


def boxes_at_each_threshold(
    score_map: NDArray[np.float64], boxes: NDArray[np.int64], multi_contour: bool = True
) -> NDArray[np.float64]:
    """Best IoU (1000,) the way the protocol is written: a contour search at each of the 1,000 thresholds."""
    height, width = score_map.shape
    gray = (score_map * 255).astype(np.uint8)
    best = np.zeros(len(THRESHOLDS))
    for i, threshold in enumerate(THRESHOLDS):
        _, binary = cv2.threshold(gray, int(threshold * gray.max()), 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        if contours and not multi_contour:
            contours = [max(contours, key=cv2.contourArea)]
        estimated = np.zeros((1, 4), dtype=np.int64)
        if contours:
            x, y, w, h = np.array([cv2.boundingRect(contour) for contour in contours]).T
            estimated = np.stack([x, y, np.minimum(x + w, width - 1), np.minimum(y + h, height - 1)], axis=1)
        best[i] = iou_of_pairs(estimated, boxes).max()
    return best


def iou_of_pairs(boxes: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU (L, M) of every pair of boxes, inclusive pixels."""
    a, b = boxes[:, None], others[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    intersection = (high - low + 1).clip(min=0).prod(axis=2)
    area, other_area = ((c[..., 2:] - c[..., :2] + 1).prod(axis=2) for c in (a, b))
    iou: NDArray[np.float64] = intersection / (area + other_area - intersection)
    return iou


def histograms_by_numpy(score_map: NDArray[np.float64], mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Score histograms (2, 1002) of object and background pixels by np.histogram."""
    return np.stack([np.histogram(score_map[mask == value], bins=HISTOGRAM_EDGES)[0] for value in (1, 0)])


def resize_by_opencv(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resize maps and stretch them to [0, 1] one by one, as the protocol does."""
    resized = np.stack([cv2.resize(m, (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_CUBIC) for m in maps])
    low, high = (f(resized, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    stretched: NDArray[np.float64] = (resized - low) / (high - low)
    return stretched


def measure_localization(num_maps: int, repeats: int, forward: ForwardPass) -> list[Row]:
    """Rows for boxes, score histograms and resizing, on one core; and for boxes of a batch on all cores.

    Args:
        num_maps: maps of each kind.
        repeats: pairs of runs.
        forward: the yardstick; on one core, too, where the row is.
    """
    generator = np.random.default_rng(0)
    boxes = [np.array([[40, 50, 150, 180]])] * num_maps
    maps = {size: torch.from_numpy(generator.random((num_maps, size, size))) for size, _ in FEATURE_SIZES}
    score_maps = {size: normalize_maps(values, (MAP_SIZE, MAP_SIZE)) for size, values in maps.items()}
    with _one_core():
        rows = [
            _boxes_row(
                score_maps[size].numpy(),
                boxes,
                f"boxes at 1,000 thresholds, {size} x {size} maps",
                goal,
                repeats,
                forward,
            )
            for size, goal in FEATURE_SIZES
        ]
        largest = "box of the largest contour, 14 x 14 maps"
        rows += [
            _boxes_row(score_maps[14].numpy(), boxes, largest, None, repeats, forward, multi=False),
            _histograms_row(score_maps[7].numpy(), repeats, forward),
            _resizing_row(maps[7], repeats, forward),
        ]
    return [*rows, _cores_row(score_maps[14], boxes, repeats, forward)]


@contextmanager
def _one_core() -> Iterator[None]:
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)


def _boxes_row(
    arrays: Maps, boxes: Boxes, task: str, goal: float | None, repeats: int, forward: ForwardPass, multi: bool = True
) -> Row:
    def ours() -> list[NDArray[np.float64]]:
        return [best_iou_per_threshold(m, b, multi) for m, b in zip(arrays, boxes, strict=True)]

    def plain() -> list[NDArray[np.float64]]:
        return [boxes_at_each_threshold(m, b, multi) for m, b in zip(arrays, boxes, strict=True)]

    pairs = side_by_side(ours, plain, repeats, forward)
    return pairs.row(task, ONE_CORE, "OpenCV at each threshold", len(arrays), goal, _difference(pairs), "map")


def _histograms_row(arrays: Maps, repeats: int, forward: ForwardPass) -> Row:
    mask = np.zeros((MAP_SIZE, MAP_SIZE), dtype=np.uint8)  # an object, with a band beside it that is ignored
    mask[50:180, 40:150] = 1
    mask[180:190, 40:150] = 255

    def ours() -> list[NDArray[np.int64]]:
        return [score_histograms(m, mask) for m in arrays]

    def by_numpy() -> list[NDArray[np.int64]]:
        return [histograms_by_numpy(m, mask) for m in arrays]

    pairs = side_by_side(ours, by_numpy, repeats, forward)
    return pairs.row("score histograms of PxAP", ONE_CORE, "np.histogram", len(arrays), 5.0, _difference(pairs), "map")


def _resizing_row(maps: torch.Tensor, repeats: int, forward: ForwardPass) -> Row:
    def ours() -> NDArray[np.float64]:
        return normalize_maps(maps, (MAP_SIZE, MAP_SIZE)).numpy()

    def by_opencv() -> NDArray[np.float64]:
        return resize_by_opencv(maps.numpy())

    pairs = side_by_side(ours, by_opencv, repeats, forward)
    return pairs.row("resize and stretch, 7 x 7 maps", ONE_CORE, "OpenCV", len(maps), None, _difference(pairs), "map")


def _difference(pairs: Pairs) -> float:
    ours, peer = (np.stack(result) for result in pairs.results)
    return float(np.abs(ours - peer).max())


def _cores_row(score_maps: torch.Tensor, boxes: Boxes, repeats: int, forward: ForwardPass) -> Row:
    def update() -> None:
        MaxBoxAcc().update(score_maps, boxes)

    def update_on_one() -> None:
        with _one_core():
            update()

    pairs, task = side_by_side(update, update_on_one, repeats, forward), "MaxBoxAcc of a batch, 14 x 14 maps"
    return pairs.row(task, f"maps at {MAP_SIZE} px, all cores", "ours on one core", len(boxes), unit="map")
