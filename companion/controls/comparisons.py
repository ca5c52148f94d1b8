"""Tables of many differences, with intervals that hold for one of them and intervals that hold for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from sigcam_core.common.errors import fail
from sigcam_core.common.resampling import FloatArray, interval

from .simultaneous import simultaneous_intervals

Kept = Callable[[str, str], bool]
"""Whether a comparison by a metric, of these names, is a line of a table."""
COLUMNS = ["comparison", "first", "second", "metric", "difference", "low", "high", "low_all", "high_all"]


def differences_table(
    resampled: Mapping[str, Mapping[str, FloatArray]],
    pairs: Sequence[tuple[str, str, str]],
    keep: Kept = lambda comparison, metric: True,
) -> pd.DataFrame:
    """Second minus first of every pair of rows, for every metric that both have.

    Args:
        resampled: by row and metric, (1 + B,): the value itself, then its resamples, as weights of
            :func:`sigcam_core.common.resampling.figure_and_resamples` give them. All rows share the draws.
        pairs: name of the comparison, first row, second row.
        keep: which comparisons and metrics are lines of the table.

    Returns:
        Columns ``comparison, first, second, metric, difference, low, high, low_all, high_all``, in points. ``low`` and
        ``high`` end the 95 % percentile interval of this one difference. ``low_all`` and ``high_all`` end intervals
        that hold in 95 % of data sets for all lines of this table at once, all pairs and metrics
        (:func:`companion.controls.simultaneous.simultaneous_intervals`): another choice of pairs has others.

    Raises:
        SigcamError: if there is no pair, a row is unknown, two rows share no metric, or draws differ in number.
    """
    keys: list[tuple[str, str, str, str]] = []
    lines: list[FloatArray] = []
    for comparison, first, second in pairs:
        if unknown := {first, second} - set(resampled):
            fail(f"comparison {comparison} asks for row {min(unknown)!r}: choose from {', '.join(resampled)}.")
        one, other = resampled[first], resampled[second]
        metrics = [metric for metric in one if metric in other]
        if not metrics:
            fail(f"comparison {comparison}: rows {first!r} and {second!r} have no metric in common.")
        for metric in (name for name in metrics if keep(comparison, name)):
            if one[metric].shape != other[metric].shape or (lines and one[metric].shape != lines[0].shape):
                fail(f"comparison {comparison}, {metric}: all values must come from the same draws of the bootstrap.")
            keys.append((comparison, first, second, metric))
            lines.append(other[metric] - one[metric])
    if not lines:
        fail("there is no pair to compare: name at least one.")
    values = np.stack(lines)  # (M, 1 + B)
    draws = values[:, 1:]
    if np.isnan(draws).any():  # of the few images that a value rests on, a resample may draw none
        draws = draws[:, ~np.isnan(draws).any(axis=0)]
    low, high = np.array([interval(line[1:]) for line in values]).T
    low_all, high_all, _ = simultaneous_intervals(values[:, 0], draws)
    table = pd.DataFrame(keys, columns=COLUMNS[:4])
    return table.assign(difference=values[:, 0], low=low, high=high, low_all=low_all, high_all=high_all)
