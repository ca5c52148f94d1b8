"""Intervals that hold for all numbers of a claim at once, and decisions that lie at the edge.

Tables have 95 % intervals of one number. A claim rests on several numbers from several data sets, so each interval is
widened by Bonferroni's correction until all of them hold together in 95 % of repetitions. It needs no common draws,
so it spans data sets that share none, and it errs to the wide side where numbers are correlated.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from .verdicts import Decision, Sign, decide

CONFIDENCE = 0.95
EDGE = 0.05
"""In points. A bound this near to a border might lie on its other side with other draws of the bootstrap."""
ENOUGH_RESAMPLES = 10_000
"""Draws of the bootstrap that a decision at the edge needs."""


@dataclass(frozen=True)
class Number:
    """A number that was measured.

    Attributes:
        value: the number.
        low: end of its own 95 % interval; the value itself for a number without uncertainty.
        high: the other end.
        resamples: draws of the bootstrap that made the interval; 0 for a number without uncertainty.
    """

    value: float
    low: float
    high: float
    resamples: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether it has no uncertainty over images."""
        return self.resamples == 0


def widening(count: int) -> float:
    """By which factor intervals of one number at 95 % grow until ``count`` of them hold together.

    The ratio of two normal quantiles, Bonferroni's over that of one number.

    >>> round(widening(1), 3), round(widening(10), 3)
    (1.0, 1.432)
    """
    quantile = NormalDist().inv_cdf
    return quantile(1 - (1 - CONFIDENCE) / (2 * count)) / quantile(1 - (1 - CONFIDENCE) / 2)


def in_family(number: Number, count: int) -> Number:
    """Widen the interval of a number to a family of ``count``; each side by itself, so that it stays lopsided."""
    factor = widening(count)
    low = number.value - factor * max(0.0, number.value - number.low)
    high = number.value + factor * max(0.0, number.high - number.value)
    return Number(number.value, low, high, number.resamples)


def decide_at(number: Number, expected: Sign, reference: float = 0.0, smallest: float = 0.0) -> tuple[Decision, bool]:
    """Decide on a number, and say whether it lies at the edge.

    A decision at the edge that rests on fewer than :data:`ENOUGH_RESAMPLES` draws is ``"undecided"``: another seed of
    the bootstrap might turn it.

    Args:
        number: with the interval that decides.
        expected: see :func:`companion.claims.verdicts.decide`.
        reference: see there.
        smallest: see there.

    >>> decide_at(Number(0.5, 0.02, 1.2, 1000), "positive"), decide_at(Number(0.5, 0.02, 1.2, 10_000), "positive")
    (('undecided', True), ('favours', True))
    """
    decision = decide(number.low, number.high, expected, reference, smallest)
    if number.is_exact:
        return decision, False
    moved = {
        decide(number.low + by, number.high + other, expected, reference, smallest)
        for by in (-EDGE, EDGE)
        for other in (-EDGE, EDGE)
    }
    is_at_edge = moved != {decision}
    if is_at_edge and number.resamples < ENOUGH_RESAMPLES:
        return "undecided", True
    return decision, is_at_edge
