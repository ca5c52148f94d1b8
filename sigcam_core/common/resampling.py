"""The bootstrap over images: weights that say how often each image is drawn.

Every statistic takes weights W (B, N): row b says how often each image is drawn in resample b. A row of ones gives
the value itself. Whatever is compared shares the draws, so that its difference is paired.

Where a value rests on some of the images, those that have a mask say, their columns of W are its weights. A resample
that draws none of them has no such value; it is NaN there, and the interval is of the other resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import fail

FloatArray = NDArray[np.float64]
NUMBERS_AT_ONCE = 2**20
WEIGHTS_AT_ONCE = 2**23
"""Weights of some resamples of many images, 64 MB; a thousand of 50,000 images would take 400."""
Statistics = dict[str, FloatArray]
"""By name of the metric, its value in each of B resamples (B,)."""


def bootstrap_weights(num_images: int, resamples: int, seed: int) -> FloatArray:
    """Weights (resamples, N) of N images drawn with replacement (Efron 1979).

    Raises:
        SigcamError: if there is no image or no resample.

    >>> bootstrap_weights(4, 3, seed=0).sum(axis=1)
    array([4., 4., 4.])
    """
    if num_images < 1 or resamples < 1:
        fail(f"a bootstrap needs at least 1 image and 1 resample, got {num_images} and {resamples}.")
    weights = np.empty((resamples, num_images))
    _fill(weights, seed)
    return weights


def _fill(weights: NDArray[Any], seed: int) -> None:
    """Draw the rows of weights a few at a time: all at once would take three times their memory."""
    generator = np.random.default_rng(seed)
    num_images = weights.shape[1]
    shares = np.full(num_images, 1 / num_images)
    for rows in np.array_split(weights, -(-weights.size // NUMBERS_AT_ONCE)):
        rows[:] = generator.multinomial(num_images, shares, size=len(rows))


@lru_cache(maxsize=1)
def figure_and_resamples(num_images: int, resamples: int, seed: int) -> FloatArray:
    """Draw weights (1 + resamples, N): ones, which give the value itself, then :func:`bootstrap_weights`.

    The last are kept, not to be written to, since a table asks for the same ones for each of its rows.
    """
    weights = _counts(num_images, resamples, seed).astype(np.float64)
    weights.flags.writeable = False
    return weights


def some_resamples_at_a_time(num_images: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """Yield the rows of :func:`figure_and_resamples`, in as many parts as memory asks for.

    Args:
        num_images: N.
        resamples: B.
        seed: of the draws.

    Yields:
        (b, N) weights, of at most :data:`WEIGHTS_AT_ONCE` numbers where a row is not longer.

    >>> sum(len(part) for part in some_resamples_at_a_time(4, 10, seed=0))
    11
    """
    counts = _counts(num_images, resamples, seed)
    rows = max(1, WEIGHTS_AT_ONCE // num_images)
    for start in range(0, len(counts), rows):
        yield counts[start : start + rows].astype(np.float64)


@lru_cache(maxsize=1)
def _counts(num_images: int, resamples: int, seed: int) -> NDArray[np.uint16]:
    """Draw the same as a whole in a quarter of the memory, read-only: nobody draws an image 65,536 times."""
    counts = np.ones((1 + resamples, num_images), np.uint16)
    _fill(counts[1:], seed)
    counts.flags.writeable = False
    return counts


def drawn_images(weights: FloatArray) -> FloatArray:
    """Say how many images each resample draws, (B,): by this a sum becomes a mean, which is NaN where none is drawn.

    Args:
        weights: (B, N) of those images that the value rests on.

    >>> drawn_images(np.array([[2.0, 1.0], [0.0, 0.0]]))
    array([ 3., nan])
    """
    count = weights.sum(axis=1)
    return np.where(count > 0, count, np.nan)


def interval(values: FloatArray) -> tuple[float, float]:
    """Compute the ends of the 95 % interval of resampled values (B,): their percentiles 2.5 and 97.5.

    Resamples without the value, NaN, are left out.

    Raises:
        SigcamError: if no resample has the value.
    """
    there = values[~np.isnan(values)]
    if len(there) == 0:
        fail(f"not one of {len(values)} resamples draws an image that this value rests on: draw more resamples.")
    low, high = np.percentile(there, [2.5, 97.5])
    return float(low), float(high)
