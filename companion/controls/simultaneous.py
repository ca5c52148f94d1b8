"""Intervals that hold together: a family of differences of which none may be missed by chance.

One 95 % interval misses in 1 of 20 data sets; of 100 such intervals, some miss in almost every one. The intervals here
are as wide as it takes for all of a family to hold in 95 % of data sets. Since all differences share the draws of the
bootstrap, their correlation is taken into account: metrics that move together cost little.
"""

from __future__ import annotations

import numpy as np

from sigcam_core.common.errors import fail
from sigcam_core.common.resampling import FloatArray

NEGLIGIBLE = 1e-9
"""Range of resamples, relative to the value where that is above 1, that is rounding and no spread."""


def simultaneous_intervals(
    figures: FloatArray, resamples: FloatArray, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray, float]:
    """Compute intervals of M values that hold all at once: the bootstrap of the greatest studentised deviation.

    With s_m the standard deviation of value m's resamples, c is the quantile over the draws of
    ``max_m |resample_m - figure_m| / s_m``, and interval m is figure_m -+ c s_m: the max-t method of Westfall and Young
    1993 (Section 2.3), as Romano and Wolf 2005 use it for many comparisons. Deviations are from the figure, not from
    the mean of its resamples, so that a biased value gets the wider interval that it needs.

    Args:
        figures: (M,) of the whole data.
        resamples: (M, B) of the same figures, all M of draw b from the same images.
        confidence: probability that all M intervals hold.

    Returns:
        Lower ends (M,), upper ends (M,), and the critical value c. A value whose resamples are all equal has an
        interval without width and takes no part in c; if all are so, c is 0.

    Raises:
        SigcamError: if shapes do not fit, there are fewer than 2 draws, a number is not finite, or the confidence is
            not between 0 and 1.

    >>> draws = np.random.default_rng(0).normal(size=(100, 2000))
    >>> low, high, critical = simultaneous_intervals(np.zeros(100), draws)
    >>> 3.3 < critical < 3.7  # 1.96 would do for one value
    True
    """
    if figures.ndim != 1 or resamples.ndim != 2 or len(figures) != len(resamples) or len(figures) == 0:
        fail(f"figures must be (M,) and resamples (M, B) with M >= 1, got {figures.shape} and {resamples.shape}.")
    if resamples.shape[1] < 2:
        fail(f"simultaneous intervals need at least 2 resamples, got {resamples.shape[1]}.")
    if not (np.isfinite(figures).all() and np.isfinite(resamples).all()):
        fail("simultaneous intervals need finite numbers: leave out values that are NaN or infinite in a resample.")
    if not 0 < confidence < 1:
        fail(f"confidence {confidence} is out of range: give a number between 0 and 1.")
    spread = resamples.std(axis=1, ddof=1)
    varies = np.ptp(resamples, axis=1) > NEGLIGIBLE * np.maximum(1, np.abs(figures))
    spread[~varies] = 0
    if not varies.any():
        return figures.copy(), figures.copy(), 0.0
    deviations = np.abs(resamples[varies] - figures[varies, None]) / spread[varies, None]
    # Among the draws, and never below the quantile: a coarse bootstrap errs to the wide side.
    critical = float(np.quantile(deviations.max(axis=0), confidence, method="higher"))
    return figures - critical * spread, figures + critical * spread, critical
