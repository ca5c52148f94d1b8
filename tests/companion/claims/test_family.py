"""One family over all numbers of a claim, and decisions at the edge."""

import numpy as np
import pytest

from companion.claims.family import EDGE, ENOUGH_RESAMPLES, Number, decide_at, in_family, widening
from companion.claims.verdicts import Decision


def test_one_number_keeps_its_interval_and_each_side_grows_by_itself() -> None:
    lopsided = Number(1.0, 0.5, 1.2, 1000)
    assert in_family(lopsided, 1) == lopsided
    wide = in_family(lopsided, 20)
    factor = (wide.high - 1.0) / 0.2
    assert wide.low == pytest.approx(1.0 - 0.5 * factor)
    assert factor == pytest.approx(3.0233 / 1.9600, abs=1e-3)  # of a printed table: z(1 - .05/40) and z(.975)
    assert (wide.value, wide.resamples) == (1.0, 1000)


def test_a_value_outside_its_interval_never_narrows_it() -> None:
    outside = Number(1.0, 1.1, 1.2, 1000)  # as a percentile interval of a biased figure may be
    assert in_family(outside, 5).low == 1.0


def test_widened_intervals_hold_together_as_often_as_they_say() -> None:
    """Independent numbers of two data sets: all ten hold in about 95 % of repetitions, their own intervals in 60 %."""
    errors = np.random.default_rng(0).normal(size=(20_000, 10))
    own = np.abs(errors) < 1.959964
    family = np.abs(errors) < 1.959964 * widening(10)
    assert own.all(axis=1).mean() < 0.65
    assert 0.945 < family.all(axis=1).mean() < 0.957


@pytest.mark.parametrize(
    ("low", "high", "decision", "is_at_edge"),
    [
        (EDGE + 0.01, 1.5, "favours", False),
        (EDGE - 0.01, 1.5, "favours", True),
        (-0.01, 1.5, "undecided", True),
        (-EDGE - 0.01, 1.5, "undecided", False),
        (-0.5, 1 - EDGE - 0.01, "equivalent", False),
        (-0.5, 1 - EDGE + 0.01, "equivalent", True),
        (-0.5, 1 + EDGE - 0.01, "undecided", True),
        (-1.5, -EDGE + 0.01, "against", True),
        (-3.0, -2.0, "against", False),
    ],
)
def test_a_decision_at_the_edge_needs_many_draws(low: float, high: float, decision: Decision, is_at_edge: bool) -> None:
    middle = (low + high) / 2
    many = Number(middle, low, high, ENOUGH_RESAMPLES)
    few = Number(middle, low, high, ENOUGH_RESAMPLES - 1)
    assert decide_at(many, "positive", smallest=1) == (decision, is_at_edge)
    assert decide_at(few, "positive", smallest=1) == ("undecided" if is_at_edge else decision, is_at_edge)


def test_an_exact_number_has_no_edge() -> None:
    assert decide_at(Number(0.011, 0.011, 0.011), "positive", reference=0.01) == ("favours", False)
