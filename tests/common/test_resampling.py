"""Draws of the bootstrap."""

import numpy as np
import pytest

from sigcam_core.common.errors import SigcamError
from sigcam_core.common.resampling import bootstrap_weights, interval

NUM_IMAGES = 6


def test_bootstrap_weights_draw_as_many_images_as_there_are() -> None:
    weights = bootstrap_weights(NUM_IMAGES, 100, seed=3)
    assert (weights.sum(axis=1) == NUM_IMAGES).all()
    np.testing.assert_array_equal(weights, bootstrap_weights(NUM_IMAGES, 100, seed=3))
    assert (weights != bootstrap_weights(NUM_IMAGES, 100, seed=4)).any()


def test_an_interval_is_of_the_resamples_that_have_the_figure() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    with_gaps = np.insert(values, [3, 500, 999], np.nan)
    assert interval(with_gaps) == interval(values) == tuple(np.percentile(values, [2.5, 97.5]))
    with pytest.raises(SigcamError, match="not one of 4 resamples draws an image that this figure rests on"):
        interval(np.full(4, np.nan))
