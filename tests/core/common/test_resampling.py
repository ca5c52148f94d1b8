"""Draws of the bootstrap."""

import numpy as np
import pytest

from sigcam_core.common import resampling
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.resampling import bootstrap_weights, figure_and_resamples, interval, some_resamples_at_a_time

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
    with pytest.raises(SigcamError, match="not one of 4 resamples draws an image that this value rests on"):
        interval(np.full(4, np.nan))


def test_some_resamples_at_a_time_are_the_same_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "WEIGHTS_AT_ONCE", 3 * NUM_IMAGES + 1)
    parts = list(some_resamples_at_a_time(NUM_IMAGES, 10, seed=3))
    assert [len(part) for part in parts] == [3, 3, 3, 2]
    assert {part.dtype for part in parts} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(np.concatenate(parts), figure_and_resamples(NUM_IMAGES, 10, seed=3))
    monkeypatch.setattr(resampling, "WEIGHTS_AT_ONCE", 1)
    assert [part.shape for part in some_resamples_at_a_time(NUM_IMAGES, 2, seed=3)] == 3 * [(1, NUM_IMAGES)]
