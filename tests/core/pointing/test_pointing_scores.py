"""Hits and shares of the pointing games against worked examples and a naive loop over pixels."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Tensor

from sigcam_core.pointing.metrics import EnergyPointingGame, GridPointingGame
from sigcam_core.pointing.scores import (
    boxes_to_masks,
    cell_shares,
    energy_shares,
    named_cells,
    pointing_hits,
    top_shares,
)

SIDE = 12  # of the shorter side
WIDTH = 15
VALUES = st.integers(-3, 3).map(float)
BOX = st.tuples(*[st.integers(0, SIDE - 1)] * 4).map(
    lambda c: [min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3])]
)
BOXES = st.lists(BOX, min_size=1, max_size=3).map(np.array)


def one_peak(x: int, y: int, side: int = 40) -> Tensor:
    maps = torch.zeros(1, side, side)
    maps[0, y, x] = 2.0
    return maps


def in_any(boxes: NDArray[np.int64], x: int, y: int) -> bool:
    return any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in boxes.tolist())


# The pointing game


@given(arrays(np.float64, (SIDE, WIDTH), elements=VALUES), BOXES, st.sampled_from([0, 1, 1.5, 3]))
def test_a_hit_is_a_pixel_of_a_box_near_the_first_maximum(
    values: NDArray[np.float64], boxes: NDArray[np.int64], tolerance: float
) -> None:
    y, x = divmod(int(np.flatnonzero(values.ravel() == values.max())[0]), WIDTH)
    near = [
        in_any(boxes, column, row)
        for row in range(SIDE)
        for column in range(WIDTH)
        if np.hypot(column - x, row - y) <= tolerance
    ]
    expected = any(near) and values.min() < values.max()
    assert pointing_hits(torch.from_numpy(values)[None], [boxes], tolerance).tolist() == [expected]


@pytest.mark.parametrize(
    ("x", "y", "tolerance", "hit"),
    [
        (10, 10, 0, True),
        (20, 20, 0, True),
        (21, 20, 0, False),
        (35, 20, 15, True),
        (36, 20, 15, False),
        (32, 29, 15, True),  # 12, 9: 15 pixels from the corner
        (33, 29, 15, False),
        (0, 10, 10, True),
    ],
)
def test_the_tolerance_is_a_circle_around_the_maximum(x: int, y: int, tolerance: float, hit: bool) -> None:
    assert pointing_hits(one_peak(x, y), [[[10, 10, 20, 20]]], tolerance).item() == hit


def test_shifting_box_and_map_together_changes_nothing_and_apart_ends_the_hit() -> None:
    for shift in (0, 5, 9):
        box = np.array([[4 + shift, 4 + shift, 8 + shift, 8 + shift]])
        assert pointing_hits(one_peak(6 + shift, 6 + shift), [box], 0).item()
    box = np.array([[4, 4, 8, 8]])
    hits = [pointing_hits(one_peak(6 + shift, 6), [box], tolerance=3).item() for shift in range(8)]
    assert hits == [True] * 6 + [False] * 2


def test_the_maximum_is_found_in_maps_that_are_not_square() -> None:
    for height, width in ((12, 15), (15, 12)):
        maps = torch.zeros(1, height, width)
        maps[0, height - 2, 3] = 1
        assert pointing_hits(maps, [[[3, height - 2, 3, height - 2]]], tolerance=0).item()


def test_boxes_belong_to_their_own_maps_and_a_constant_map_points_nowhere() -> None:
    maps = torch.cat([one_peak(3, 3), one_peak(30, 30), torch.ones(1, 40, 40)])
    boxes = [[[25, 25, 35, 35]], [[0, 0, 5, 5], [25, 25, 35, 35]], [[0, 0, 39, 39]]]
    assert pointing_hits(maps, boxes, 0).tolist() == [False, True, False]


# Energy


@given(arrays(np.float64, (SIDE, WIDTH), elements=VALUES), BOXES)
def test_energy_is_a_sum_over_pixels(values: NDArray[np.float64], boxes: NDArray[np.int64]) -> None:
    inside = total = 0.0
    for y in range(SIDE):
        for x in range(WIDTH):
            energy = max(values[y, x], 0.0)
            total += energy
            inside += energy * in_any(boxes, x, y)
    metric = EnergyPointingGame()
    metric.update(torch.from_numpy(values)[None], [boxes])
    found = metric.compute()
    assert float(found["energy_pointing"]) == pytest.approx(100 * inside / total if total else 0.0)
    assert float(found["without_energy"]) == (0.0 if total else 100.0)


def test_a_uniform_map_scores_the_share_of_the_box_and_a_perfect_one_everything() -> None:
    box = np.array([[2, 3, 5, 6]])
    inside = boxes_to_masks([box], (10, 20)).float()
    assert inside.sum() == 16
    maps = torch.stack([torch.full((10, 20), 0.7), 3 * inside[0], -3 * inside[0], 0.1 - inside[0]])
    assert energy_shares(maps, inside > 0).tolist() == pytest.approx([16 / 200, 1.0, 0.0, 0.0])


# Grids


@given(st.integers(2, 3), st.integers(1, 3), st.data())
@settings(max_examples=30)
def test_grid_shares_are_sums_over_cells(n: int, cell: int, data: st.DataObject) -> None:
    shape = (2, n * n, n * cell, n * 2 * cell)
    values = data.draw(arrays(np.float64, shape, elements=VALUES))
    expected = np.zeros((2, n * n))
    for grid in range(2):
        for position in range(n * n):
            row, column = divmod(position, n)
            total = own = 0.0
            for (y, x), value in np.ndenumerate(values[grid, position]):
                total += max(value, 0.0)
                own += max(value, 0.0) * (y // cell == row and x // (2 * cell) == column)
            expected[grid, position] = own / total if total else 0.0
    np.testing.assert_allclose(cell_shares(torch.from_numpy(values), n), expected)
    metric = GridPointingGame(n)
    metric.update(torch.from_numpy(values))
    assert float(metric.compute()["grid_pointing"]) == pytest.approx(100 * expected.mean())


@given(arrays(np.float64, (2, 4, 4, 6), elements=st.integers(-3, 3).map(float)), st.integers(-5, 5), st.integers(1, 4))
def test_the_highest_pixels_and_the_cell_named_do_not_ask_where_zero_lies(
    values: NDArray[np.float64], added: int, factor: int
) -> None:
    maps = torch.from_numpy(values)
    changed = factor * maps + added
    for measure in (top_shares, named_cells):
        np.testing.assert_allclose(measure(changed, 2), measure(maps, 2))


@given(arrays(np.float64, (1, 9, 6, 3), elements=VALUES))
def test_the_highest_pixels_and_the_cell_named_are_counted_cell_by_cell(values: NDArray[np.float64]) -> None:
    top, named = top_shares(torch.from_numpy(values), 3)[0], named_cells(torch.from_numpy(values), 3)[0]
    for own, one in enumerate(values[0]):
        cells = [one[2 * row : 2 * row + 2, column : column + 1].ravel() for row in range(3) for column in range(3)]
        means = np.array([cell.mean() for cell in cells])
        assert float(named[own]) == pytest.approx((means[own] == means.max()) / (means == means.max()).sum())
        # Ties are drawn in every order; on average each has the same share of the places that are left.
        last = np.sort(one.ravel())[-2]
        above, tied = (one > last).sum(), (one == last).sum()
        expected = ((cells[own] > last).sum() + (cells[own] == last).sum() * (2 - above) / tied) / 2
        assert float(top[own]) == pytest.approx(expected)
    assert float(top_shares(torch.zeros(1, 9, 6, 3), 3).mean()) == pytest.approx(1 / 9)


def test_no_station_waits_for_torchmetrics() -> None:
    """It loads whole libraries of text and sound, 2.6 of 4.2 seconds, at every start of a command and a notebook."""
    code = "import sys, sigcam_core.stations; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
