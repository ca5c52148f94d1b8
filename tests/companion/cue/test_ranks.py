"""Weighted rank correlations are SciPy's on samples that are really drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from companion.cue.ranks import rank_correlation, weighted_ranks
from sigcam_core.common.resampling import bootstrap_weights


@given(st.integers(0, 1000))
def test_weights_do_what_drawing_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(4, 20))
    first, second = rng.integers(0, 6, (2, count)).astype(float)  # with ties
    weights = bootstrap_weights(count, 5, seed)
    ranks, correlations = weighted_ranks(first, weights), rank_correlation(first, second, weights)
    for row, rank, correlation in zip(weights.astype(int), ranks, correlations, strict=True):
        one, other = np.repeat(first, row), np.repeat(second, row)
        assert np.repeat(rank, row) == pytest.approx(rankdata(one))
        if len(set(one)) > 1 and len(set(other)) > 1:
            assert correlation == pytest.approx(spearmanr(one, other).statistic)
        else:
            assert np.isnan(correlation)


def test_any_rising_function_agrees_wholly() -> None:
    values = np.random.default_rng(0).normal(size=30)
    weights = bootstrap_weights(30, 10, 0)
    assert rank_correlation(values, np.exp(values), weights) == pytest.approx(np.ones(10))
    assert rank_correlation(values, -(values**3), weights) == pytest.approx(-np.ones(10))


def test_pairs_that_are_not_known_do_not_count() -> None:
    first, second = np.array([1.0, np.nan, 2.0, 3.0, 9.0]), np.array([5.0, 1.0, 6.0, 7.0, np.nan])
    assert rank_correlation(first, second, np.ones((1, 5))) == pytest.approx(1)
