"""A head by our recipe beside the paper's: evaluated on the same images, and by the recipe that was chosen."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import small_run

from companion import heads
from companion.studies.our_recipe import OURS, OURS_OF_LAYERS, compare_with_our_recipe
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.run import Extent, Run
from sigcam_core.stations import record_of
from sigcam_core.train.recipes import SIGMOID_RECIPES

MEASURED = Extent(perturbed_images=0, explained_images=9)


@pytest.mark.parametrize(("backbone", "name"), [("small_cnn", OURS), ("small_cnn_mlp", OURS_OF_LAYERS)])
def test_both_heads_are_evaluated_on_the_same_images(
    backbone: str, name: str, trained: Callable[[str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(SIGMOID_RECIPES[name], epochs=2, frozen_layers=2)
    monkeypatch.setitem(SIGMOID_RECIPES, name, short)
    monkeypatch.setattr(
        heads, "grid_around", lambda recipe: [replace(recipe, learning_rate=rate) for rate in (1e-9, 0.03)]
    )
    run = small_run.copy_of(trained(backbone), tmp_path / "work")
    table = compare_with_our_recipe(run, MEASURED, lambda _: None)
    ours = replace(run, sigmoid_recipe=name)
    rate = record_of(ours.sigmoid_head)["recipe"]["learning_rate"]
    if name == OURS:
        (path,) = (run.work_dir / "choices").glob("*-sigmoid-*.csv")
        choice = pd.read_csv(path)
        assert choice["learning_rate"].tolist() == [1e-9, 0.03]
        assert rate == choice.loc[choice["val_loss"].idxmin(), "learning_rate"]
    else:
        assert rate == short.learning_rate
    evidence = [read_evidence(one.evidence).query("head == 'sigmoid'") for one in (run, ours)]
    assert table["difference"].to_numpy() == pytest.approx((table["ours"] - table["paper"]).to_numpy(), abs=1e-9)
    method = evidence[0]["method"].iloc[0]
    rows = evidence[1][evidence[1]["method"] == method]
    expected = 100 * rows["coverage"].mean()
    (found,) = table.query("metric == 'coverage' and method == @method and scorer == 'softmax'")["ours"]
    assert found == pytest.approx(expected, rel=1e-4)
