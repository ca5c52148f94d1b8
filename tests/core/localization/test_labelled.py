"""Boxes of the labelled pixels against maps that are drawn pixel by pixel and judged by the metrics for maps."""

import numpy as np
import pytest
import torch

from sigcam_core.localization.labelled import labelled_boxes, labelled_iou
from sigcam_core.localization.metrics import MaxBoxAcc
from sigcam_core.prepare.images import scale_boxes


def random_box(generator: np.random.Generator, width: int, height: int) -> list[int]:
    x0, x1 = sorted(generator.integers(0, width, 2).tolist())
    y0, y1 = sorted(generator.integers(0, height, 2).tolist())
    return [x0, y0, x1, y1]


def reached(first: int, last: int, side: int, size: int) -> list[bool]:
    """Which pixels of one axis of the map meet a labelled pixel of the image."""
    labelled = range(first, last + 1)
    return [any((one + 1) * size > k * side and one * size < (k + 1) * side for one in labelled) for k in range(size)]


def drawn(box: list[int], width: int, height: int, size: int) -> np.ndarray:
    """A map that is 1 wherever a labelled pixel of the image reaches."""
    x0, y0, x1, y1 = box
    return np.outer(reached(y0, y1, height, size), reached(x0, x1, width, size)).astype(np.float64)


@pytest.mark.parametrize("size", [64, 97])
def test_the_share_of_boxes_that_are_met_is_maxboxacc_of_the_drawn_maps(size: int) -> None:
    generator = np.random.default_rng(0)
    sides = [(16, 16), (16, 11), (64, 30), (200, 101)] * 5
    boxes = [random_box(generator, *both) for both in sides]
    boxes[0] = [3, 2, 3, 9]  # flat
    scaled = [scale_boxes([box], both, (size, size)) for box, both in zip(boxes, sides, strict=True)]
    maps = np.stack([drawn(box, *both, size) for box, both in zip(boxes, sides, strict=True)])
    accuracy = MaxBoxAcc()
    accuracy.update(torch.from_numpy(maps), scaled)
    iou = labelled_iou([np.array([box]) for box in boxes], sides, scaled, size)
    expected = {f"maxboxacc@{p}": 100 * float((iou >= p / 100).mean()) for p in (30, 50, 70)}
    assert expected["maxboxacc@30"] > expected["maxboxacc@70"] > 0
    assert {name: float(accuracy.compute()[name]) for name in expected} == pytest.approx(expected)


def test_a_whole_image_of_64_pixels_loses_its_last_rows_and_columns() -> None:
    whole = np.array([[0, 0, 63, 63]])
    assert scale_boxes(whole, (64, 64), (224, 224)).tolist() == [[0, 0, 220, 220]]
    assert labelled_boxes(whole, (64, 64)).tolist() == [[0, 0, 223, 223]]
    assert labelled_iou([whole], [(64, 64)], [np.array([[0, 0, 220, 220]])]) == pytest.approx(221**2 / 224**2)


def test_a_flat_box_is_missed_by_its_own_pixels() -> None:
    flat = np.array([[10, 4, 10, 40]])
    scaled = scale_boxes(flat, (64, 64), (224, 224))  # one pixel wide where the image's is three and a half
    assert scaled.tolist() == [[35, 14, 35, 140]]
    assert labelled_iou([flat], [(64, 64)], [scaled])[0] == pytest.approx(127 / (5 * 131))


def test_the_best_of_several_boxes_counts_and_an_end_past_the_edge_is_cut() -> None:
    boxes = np.array([[10, 4, 10, 40], [0, 0, 64, 64]])
    scaled = scale_boxes(boxes, (64, 64), (224, 224))
    assert labelled_boxes(boxes, (64, 64))[1].tolist() == [0, 0, 223, 223]
    assert labelled_iou([boxes], [(64, 64)], [scaled])[0] == pytest.approx(224**2 / 225**2)
