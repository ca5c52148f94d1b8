"""The checks of the measures on a few generated images, from heads to tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_measurement import TINY, Made, copy_of

from companion.controls import along, checks, publish
from companion.controls import study as controls
from companion.controls.names import COMPARISONS, FURTHER_COMPARISONS, FURTHER_TITLES, OWN_BRANCH
from companion.predictions import FILE
from sigcam_core.common.files import read_json, sha256_of_file


@pytest.fixture(scope="module")
def checked(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tables."""
    folder = tmp_path_factory.mktemp("checks")
    work_dir = copy_of(made, folder, "checks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controls, "GRIDS", 3)
        patch.setattr(controls, "SURE", 0.0)
        patch.setattr(checks, "RESAMPLES", 20)
        patch.setattr(publish, "CELLS", (2,))
        patch.setattr(checks, "PATH_RESAMPLES", 20)
        patch.setattr(along, "PATH_IMAGES", 5)
        patch.setattr(along, "PATH_GRIDS", 2)
        checks.publish_checks(replace(TINY, perturbed_images=3), folder / "tables", work_dir, lambda _: None)
    return folder / "tables"


def table(checked: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(checked / f"{name}.csv")


def test_negatives_and_fixed_boxes_stand_beside_the_maps(checked: Path) -> None:
    figures = table(checked, "figures").set_index(["head", "scalar", "weights", "metric"])["value"].sort_index()
    assert {"whole image", "best fixed box", "centre", "class-free"} <= set(figures["none"].index.get_level_values(0))
    for head, scalar, weights in (
        ("softmax", "logit", "negative"),
        ("sigmoid optimum", "logit", "truncated, negative"),
        ("none", "centre", "negative"),
    ):
        metrics = set(figures[head, scalar, weights].index)
        assert {"maxboxacc_v2", "maxboxacc_v2_outer", "boxacc_v2_otsu", "maxboxacc_v2_held_out"} <= metrics
        assert not {"grid_2x2", "average_drop"} & metrics
    outer = figures.xs("maxboxacc_v2_outer", level="metric")
    assert (outer <= figures.xs("maxboxacc_v2", level="metric")[outer.index] + 1e-9).all()
    negative = outer["none", "centre", "negative"]
    assert negative <= outer["none", "whole image", "signed"] + 100 / 24 / 3 * 2  # but for rounding at the edges


def test_grids_are_asked_without_a_zero(checked: Path) -> None:
    figures = table(checked, "figures")
    grids = figures[figures["metric"].str.startswith("grid_2x2")].pivot_table(
        index=["head", "scalar", "weights"], columns="metric", values="value"
    )
    assert list(grids) == ["grid_2x2", "grid_2x2_named", "grid_2x2_top"]
    centre = grids.loc["none", "centre", "signed"]
    assert centre["grid_2x2_named"] == centre["grid_2x2_top"] == pytest.approx(25)


def test_what_was_compared_before_is_not_compared_again(checked: Path) -> None:
    differences = table(checked, "differences")
    assert set(differences["comparison"]) == set(COMPARISONS) | set(FURTHER_COMPARISONS)
    before = differences[differences["comparison"].isin(COMPARISONS)]
    assert set(before["metric"]) == {
        name for name in FURTHER_TITLES if not name.startswith("grid_3x3") and name not in OWN_BRANCH
    }
    assert {"maxboxacc_v2", "grid_2x2"} <= set(differences["metric"])
    assert set(table(checked, "gains")["metric"]) == set(before["metric"])


def test_every_penalty_has_its_maps_and_top1(checked: Path) -> None:
    path = table(checked, "penalty_path")
    assert set(path["head"]) == {"sigmoid"}
    assert path.groupby("l2")["weights"].unique().map(set).eq({"signed", "truncated"}).all()
    assert path["l2"].nunique() == 8
    assert path.groupby("l2")["chosen"].all().sum() == 1
    assert {"maxboxacc_v2", "grid_2x2", "grid_2x2_top", "average_drop", "average_drop_own"} <= set(path["metric"])
    chosen = path[path["chosen"] & (path["weights"] == "truncated")].set_index("metric")["value"]
    figures = table(checked, "figures").set_index(["head", "scalar", "weights", "metric"])["value"].sort_index()
    for metric in ("maxboxacc_v2", "maxboxacc_v2_held_out", "gt_loc"):
        assert chosen[metric] == pytest.approx(figures["sigmoid optimum", "logit", "truncated", metric])
    heads = table(checked, "heads").set_index("head")["test_top1"]
    assert path[path["chosen"]]["test_top1"].unique() == pytest.approx([heads["sigmoid optimum"]])


def test_heads_are_permuted_and_channels_removed_of_the_sgd_head_too(checked: Path) -> None:
    names = {"softmax", "sigmoid", "sigmoid from softmax", "sigmoid optimum", "sigmoid sgd"}
    assert set(table(checked, "randomised")["head"]) == names | {"none"}
    assert set(table(checked, "influence")["head"]) == names | {"difference"}
    gauge = table(checked, "gauge_sigmoid")
    assert set(gauge["optimizer"]) == {"SGD", "SGD, weight decay", "Adam", "AdamW", "optimum"}
    assert gauge["theory"].isna().all()
    assert np.isfinite(gauge["gauge_energy"]).all()


def test_the_record_names_the_boxes_and_what_was_expected(checked: Path) -> None:
    record = read_json(checked / "record.json")
    assert record["predictions"] == {"file": FILE.name, "sha256": sha256_of_file(FILE)}
    assert record["fixed_boxes"]["whole image"] == [0, 0, 223, 223]
    assert {"located_test", "grids_2", "path_scored", "randomised", "influence"} <= set(record["seconds"])
