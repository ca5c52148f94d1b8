"""The comparison of freezing: every figure is that of the evidence of either head."""

import pytest
from small_measurement import KEYS, Made, sigmoid_top1

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
