"""Rank correlation under the weights of the bootstrap: of all resamples at once, without drawing any."""

from __future__ import annotations

import numpy as np

from sigcam_core.common.resampling import FloatArray


def weighted_ranks(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Ranks of M values in B samples in which each occurs as often as its weight says; ties share their mean rank.

    Args:
        values: (M,).
        weights: (B, M), not negative.

    Returns:
        (B, M), counted from 1; the rank of a value that a sample lacks means nothing.

    >>> weighted_ranks(np.array([5.0, 1.0, 1.0]), np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]]))
    array([[3. , 1.5, 1.5],
           [2.5, 1. , 1. ]])
    """
    order = np.argsort(values, kind="stable")
    is_new = np.diff(values[order], prepend=np.nan) != 0  # the first of each group of ties
    counts = np.add.reduceat(weights[:, order], np.flatnonzero(is_new), axis=1)  # (B, groups)
    mean_ranks = np.cumsum(counts, axis=1) - (counts - 1) / 2
    ranks = np.empty_like(weights)
    ranks[:, order] = mean_ranks[:, np.cumsum(is_new) - 1]
    return ranks


def rank_correlation(first: FloatArray, second: FloatArray, weights: FloatArray) -> FloatArray:
    """Spearman's rank correlation of M pairs in each of B weighted samples.

    Args:
        first: (M,).
        second: (M,). A pair of which either is NaN does not count.
        weights: (B, M), how often each pair occurs; of one drawn with others, such as the parts of an image, the same.

    Returns:
        (B,); NaN where all ranks of either are the same.

    >>> rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([3.0, 4.0, 5.0]), np.ones((1, 3)))
    array([1.])
    """
    known = ~(np.isnan(first) | np.isnan(second))
    first, second, weights = first[known], second[known], weights[:, known]
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        one, other = (
            ranks - (weights * ranks).sum(axis=1, keepdims=True) / total
            for ranks in (weighted_ranks(first, weights), weighted_ranks(second, weights))
        )
        spread = (weights * one**2).sum(axis=1) * (weights * other**2).sum(axis=1)
        correlation: FloatArray = (weights * one * other).sum(axis=1) / np.sqrt(spread)
    return correlation
