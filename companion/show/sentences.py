"""Counts of differences in words, for sentences that are made from numbers and turn when these do.

A difference counts as a gain or a loss only if its whole interval lies on one side of zero.
"""

from __future__ import annotations

import pandas as pd

from .shown import sentence_list


def sides(differences: pd.DataFrame, metric: str, lower_is_better: bool = False) -> tuple[int, int, int]:
    """Count the rows of paired differences that are better, worse, and not distinguishable from zero.

    Args:
        differences: with columns ``metric, low, high``.
        metric: which.
        lower_is_better: whether a negative difference is the better.
    """
    rows = differences[differences["metric"] == metric].dropna(subset=["low", "high"])
    above, below = int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
    better, worse = (below, above) if lower_is_better else (above, below)
    return better, worse, len(rows) - above - below


def count_words(counts: tuple[int, int, int], words: tuple[str, str, str]) -> str:
    """Write counts with their words, those that are not zero.

    >>> count_words((2, 0, 1), ("higher", "lower", "undecided"))
    'higher in 2 and undecided in 1 of 3 rows'
    """
    parts = [f"{word} in {count}" for count, word in zip(counts, words, strict=True) if count]
    return f"{sentence_list(parts)} of {sum(counts)} rows"
