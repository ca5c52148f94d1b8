"""Simultaneous intervals hold together as often as they say."""

import numpy as np
import pytest

from companion.controls.simultaneous import simultaneous_intervals
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.resampling import bootstrap_weights


def test_all_intervals_hold_together_in_95_percent_of_data_sets_and_pointwise_ones_do_not() -> None:
    num_sets, num_images, num_figures = 500, 200, 12
    generator = np.random.default_rng(0)
    weights = bootstrap_weights(num_images, 1000, seed=1) / num_images
    truth = generator.normal(size=num_figures)
    scales = np.geomspace(0.1, 10, num_figures)  # studentised: the widest must not decide for all
    together = pointwise = 0
    least = np.zeros(num_figures)
    for _ in range(num_sets):
        shared = generator.normal(size=(num_images, 1))
        images = truth + scales * (0.6 * shared + 0.8 * generator.normal(size=(num_images, num_figures)))
        figures, resamples = images.mean(axis=0), (weights @ images).T
        low, high, _ = simultaneous_intervals(figures, resamples)
        holds = (low <= truth) & (truth <= high)
        least += holds
        together += holds.all()
        one_low, one_high = np.percentile(resamples, [2.5, 97.5], axis=1)
        pointwise += ((one_low <= truth) & (truth <= one_high)).all()
    tolerance = 3 * np.sqrt(0.95 * 0.05 / num_sets)  # three standard deviations of the binomial share
    assert together / num_sets == pytest.approx(0.95, abs=tolerance)
    assert pointwise / num_sets < 0.75
    # No figure, however wide its spread, misses more often than the others.
    assert least.min() / num_sets > 0.97


def test_one_figure_has_the_usual_interval() -> None:
    draws = np.random.default_rng(0).normal(3, 2, size=(1, 100_000))
    low, high, critical = simultaneous_intervals(np.array([3.0]), draws)
    assert critical == pytest.approx(1.96, abs=0.02)
    assert [low.item(), high.item()] == pytest.approx([3 - 1.96 * 2, 3 + 1.96 * 2], abs=0.05)


def test_the_same_figure_twice_costs_nothing_and_independent_ones_as_sidak_says() -> None:
    draws = np.random.default_rng(0).normal(size=(20, 50_000))
    copies = np.repeat(draws[:1], 20, axis=0) * np.arange(1, 21)[:, None]
    alone = simultaneous_intervals(np.zeros(1), draws[:1])[2]
    assert simultaneous_intervals(np.zeros(20), copies)[2] == pytest.approx(alone)
    # Sidak: the normal quantile of (1 + .95^(1/20)) / 2.
    assert simultaneous_intervals(np.zeros(20), draws)[2] == pytest.approx(3.016, abs=0.03)


def test_a_figure_without_spread_has_no_width_and_changes_nothing_for_others() -> None:
    draws = np.random.default_rng(0).normal(size=(3, 1000))
    constant = np.array([[0.1 * 3 * 7.0], [0.0]]) + np.array([[1e-15], [0.0]]) * draws[:2]  # but for rounding
    figures = np.array([2.1, 0.0, 0.0, 0.0, 0.0])
    low, high, critical = simultaneous_intervals(figures, np.vstack([constant, draws]))
    others = simultaneous_intervals(figures[2:], draws)
    np.testing.assert_array_equal(low, np.append(figures[:2], others[0]))
    np.testing.assert_array_equal(high, np.append(figures[:2], others[1]))
    assert critical == others[2]
    low, high, critical = simultaneous_intervals(figures[:2], constant)
    assert (low.tolist(), high.tolist(), critical) == ([2.1, 0.0], [2.1, 0.0], 0.0)


def test_a_biased_figure_gets_a_wider_interval() -> None:
    draws = np.random.default_rng(0).normal(size=(2, 5000))
    straight, biased = (simultaneous_intervals(np.zeros(2), draws + shift)[2] for shift in (0, 0.5))
    assert biased > straight + 0.2


@pytest.mark.parametrize(
    ("figures", "resamples", "confidence", "sentence"),
    [
        (np.zeros(2), np.zeros((3, 9)), 0.95, r"must be \(M,\) and resamples \(M, B\)"),
        (np.zeros(0), np.zeros((0, 9)), 0.95, "with M >= 1"),
        (np.zeros(2), np.zeros((2, 1)), 0.95, "at least 2 resamples"),
        (np.zeros(2), np.full((2, 9), np.nan), 0.95, "finite"),
        (np.zeros(2), np.zeros((2, 9)), 95, "confidence 95 is out of range"),
    ],
)
def test_bad_input_gets_one_sentence(
    figures: np.ndarray, resamples: np.ndarray, confidence: float, sentence: str
) -> None:
    with pytest.raises(SigcamError, match=sentence):
        simultaneous_intervals(figures, resamples, confidence)
