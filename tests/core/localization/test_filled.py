"""Filled holes against the reconstruction of scikit-image, and against connected parts at each level."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_fill_holes
from skimage.morphology import reconstruction

from sigcam_core.localization.filled import fill_holes

GRAYS = st.sampled_from([0, 1, 2, 100, 254, 255])


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=GRAYS))
def test_every_level_equals_its_holes_filled(gray: np.ndarray) -> None:
    filled = fill_holes(gray)
    for level in (0, 1, 2, 100, 253, 254):
        np.testing.assert_array_equal(filled > level, binary_fill_holes(gray > level))


@pytest.mark.parametrize("seed", range(3))
def test_noise_equals_reconstruction_by_erosion(seed: int) -> None:
    gray = np.random.default_rng(seed).integers(0, 256, (90, 61)).astype(np.uint8)
    marker = gray.copy()
    marker[1:-1, 1:-1] = 255
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    np.testing.assert_array_equal(fill_holes(gray), reconstruction(marker, gray, "erosion", cross).astype(np.uint8))


def test_a_spiral_leads_out_however_often_it_winds() -> None:
    gray = np.full((41, 41), 200, dtype=np.uint8)
    y, x, side = 20, 20, 2
    for turn in range(40):  # a path of width one, with walls of width one between its windings
        dy, dx = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn % 4]
        for _ in range(side):
            y, x = y + dy, x + dx
            if not (0 <= y < 41 and 0 <= x < 41):
                break
            gray[y, x] = 5
        side += 2 * (turn % 2)
    assert gray[20, 21] == 5
    np.testing.assert_array_equal(fill_holes(gray), gray)
