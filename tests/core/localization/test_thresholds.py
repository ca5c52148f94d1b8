"""Thresholds without boxes against scikit-image and against counting."""

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from sigcam_core.localization.thresholds import LEVEL_RULES, half_level, otsu_level


@pytest.mark.parametrize("seed", range(8))
def test_otsu_keeps_the_pixels_that_scikit_image_keeps(seed: int) -> None:
    generator = np.random.default_rng(seed)
    background = generator.normal(60, 25, (30, 40))
    gray = np.where(generator.random((30, 40)) < 0.3, background + 90, background).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(gray > otsu_level(gray), gray > threshold_otsu(gray))


@pytest.mark.parametrize("seed", range(4))
def test_at_most_half_of_the_pixels_are_above_and_more_one_level_below(seed: int) -> None:
    gray = np.random.default_rng(seed).integers(0, 40, (9, 11)).astype(np.uint8)
    level = half_level(gray)
    assert (gray > level).mean() <= 0.5 < (gray > level - 1).mean()


@pytest.mark.parametrize("rule", LEVEL_RULES.values(), ids=LEVEL_RULES)
def test_a_level_is_one_of_the_protocol_s_whatever_the_map(rule: object) -> None:
    for gray in (np.zeros((4, 4)), np.full((4, 4), 255), np.array([[0, 255]]), np.array([[255, 255, 0]])):
        assert 0 <= rule(gray.astype(np.uint8)) <= 254  # type: ignore[operator]
