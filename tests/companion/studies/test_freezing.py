"""The comparison of freezing: every figure is that of the evidence of either head."""

import numpy as np
import pytest
from small_measurement import KEYS, Made, sigmoid_top1

from companion.studies.freezing import sigmoid_top1 as compared_top1
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.fidelity.evidence import fidelity_statistics
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.summarise.tables import table_of


def test_freezing_is_compared_on_the_same_images(made: Made) -> None:
    rows = made.table("freezing")
    assert rows["difference"].to_numpy() == pytest.approx((rows["official"] - rows["eval"]).to_numpy())
    recipes = {"eval": "crops", "official": "crops-official-freezing"}
    for column, recipe in recipes.items():
        run = made.run(sigmoid_recipe=recipe)
        evidence = read_evidence(run.evidence)
        found = rows.set_index(["method", "head", "metric"])[column]
        for statistics in (wsol_statistics, fidelity_statistics):
            for (method, head), figures in table_of(evidence, statistics).groupby(["method", "head"]):
                for metric in figures.columns.drop(KEYS):
                    assert found[method, head, metric] == pytest.approx(figures[metric].item())
        assert rows.set_index("metric").loc["sigmoid_top1", column] == pytest.approx(sigmoid_top1(run))


def test_the_softmax_branch_is_the_same_under_both(made: Made) -> None:
    softmax = made.table("freezing").query("head == 'softmax'")
    assert len(softmax)
    assert (softmax[["difference", "low", "high"]] == 0).all(axis=None)


def test_the_interval_of_top1_is_that_of_a_paired_difference() -> None:
    generator = np.random.default_rng(3)
    first = 100.0 * (generator.random(4000) < 0.7)
    second = np.where(generator.random(4000) < 0.9, first, 100 - first)  # one in ten is decided otherwise
    row = compared_top1(first, second).iloc[0]
    change = second - first
    half = 1.96 * change.std() / np.sqrt(len(change))  # the central limit theorem's
    assert row["difference"] == pytest.approx(change.mean())
    assert [row["first"], row["second"]] == pytest.approx([first.mean(), second.mean()])
    assert row["low"] == pytest.approx(change.mean() - half, abs=0.1 * half)
    assert row["high"] == pytest.approx(change.mean() + half, abs=0.1 * half)
