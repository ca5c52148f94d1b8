"""Tables of the checks, on figures that are made up: every number is found where it belongs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from companion.chapters import checks as page
from companion.controls.names import FURTHER_TITLES, TITLES
from companion.predictions import predictions_record
from companion.show.results import Measured
from sigcam_core.common.files import write_json

ROWS = (
    ("softmax", "logit", "signed"),
    ("softmax", "logit", "negative"),
    ("sigmoid optimum", "logit", "truncated"),
    ("sigmoid optimum", "logit", "truncated, negative"),
    ("sigmoid optimum", "centred", "signed"),
    ("none", "centre", "signed"),
    ("none", "centre", "negative"),
    ("none", "whole image", "signed"),
    ("none", "random weights", "signed"),
)


def one() -> Measured:
    """Every figure is another number."""
    figures = [
        (*row, metric, 10.0 * place + number, 10.0 * place + number - 1, 10.0 * place + number + 1)
        for place, row in enumerate(ROWS)
        for number, metric in enumerate(("maxboxacc_v2", "maxboxacc_v2_outer", "grid_2x2", "grid_2x2_top"))
    ]
    randomised = [
        (head, kind, permuted, 0.1 * place, 0.1 * place - 0.05, 0.1 * place + 0.05, 9)
        for place, (head, kind) in enumerate((("softmax", "CAM"), ("sigmoid optimum", "CAM"), ("none", "centre")))
        for permuted in ("classes", "channels")
    ]
    influence = [
        (head, "as trained", removed, score, metric, value + 0.5 * (removed == "mean"), value, value, 5)
        for head, score in (("softmax", "own probability"), ("difference", "classifier's probability"))
        for removed in ("zero", "mean")
        for metric, value in {"rank_weight": 0.1, "rank_contribution": 0.2, "sign": 70.0}.items()
    ]
    path = [
        ("sigmoid", l2, l2 == 1e-3, "signed", 50.0, metric, value, value, value)
        for l2 in (1e-2, 1e-3)
        for metric, value in {"maxboxacc_v2": 60 + 100 * l2, "average_drop_own": 30.0}.items()
    ]
    energies = pd.DataFrame(
        [("AdamW", "zero", 0, 0.2, 60.0), ("AdamW", "zero", 1, 0.4, 62.0), ("optimum", None, -1, 0.01, 61.0)],
        columns=["optimizer", "start", "seed", "gauge_energy", "top1"],
    )
    differences = [("truncation_sigmoid", "a", "b", "grid_2x2_top", -3.25, -4, -2, -5.04, -1)]
    interval = ["low", "high"]
    tables = {
        "figures": pd.DataFrame(figures, columns=["head", "scalar", "weights", "metric", "value", *interval]),
        "randomised": pd.DataFrame(randomised, columns=["head", "map", "permuted", "correlation", *interval, "images"]),
        "influence": pd.DataFrame(
            influence, columns=["head", "weights", "removed", "score", "metric", "value", *interval, "classes"]
        ),
        "penalty_path": pd.DataFrame(
            path, columns=["head", "l2", "chosen", "weights", "test_top1", "metric", "value", *interval]
        ),
        "gauge_sigmoid": energies,
        "differences": pd.DataFrame(
            differences,
            columns=["comparison", "first", "second", "metric", "difference", *interval, "low_all", "high_all"],
        ),
    }
    experiment = {"dataset": "stanford_cars", "backbone": "efficientnet_lite0", "origin": "probe"}
    record = {"softmax": "softmax", "sigmoid": "sigmoid optimum", "experiment": experiment}
    return Measured("checks-stanford_cars-efficientnet_lite0-probe", tables, record)


def test_negatives_and_boxes_stand_beside_their_maps() -> None:
    table = page.box_figures(one())
    assert list(table) == ["head", "map", TITLES["maxboxacc_v2"], FURTHER_TITLES["maxboxacc_v2_outer"]]
    by_map = {(row["head"], row["map"]): row[TITLES["maxboxacc_v2"]] for row in table.to_dict("records")}
    assert by_map["softmax, as given or by AdamW", "logit"] == "0.0 ± 1.0"
    assert by_map["sigmoid, at its optimum", "logit, truncated, negative"] == "30.0 ± 1.0"
    assert by_map["no head", "centre, no image, negative"] == "60.0 ± 1.0"
    assert by_map["no head", "whole image, no map"] == "70.0 ± 1.0"
    assert len(table) == 7  # neither what is centred nor random weights


def test_grids_are_of_heads_as_trained_and_centred() -> None:
    table = page.grid_figures(one())
    assert list(table)[2:] == [TITLES["grid_2x2"], FURTHER_TITLES["grid_2x2_top"]]
    assert "centred logit" in table["map"].to_list()
    assert "no head" not in table["head"].to_list()


def test_permuted_heads_have_one_row_a_map_and_data_set() -> None:
    table = page.randomised_figures({"one": one()}).set_index(["map", "permuted over"])
    assert table.loc[("CAM", "channels"), "sigmoid"] == "0.10 [0.05, 0.15]"
    assert table.loc[("centre, no image", "classes"), ["softmax", "no head"]].tolist() == ["–", "0.20 [0.15, 0.25]"]


def test_influence_is_of_channels_set_to_zero() -> None:
    table = page.influence_figures(one()).set_index("head")
    assert table.loc["compared sigmoid − softmax", "with weight times activation"] == "0.20 [0.20, 0.20]"
    assert table["signs right, %"].tolist() == ["70.0 [70.0, 70.0]"] * 2


def test_the_path_marks_the_penalty_that_was_chosen() -> None:
    table = page.path_figures(one())
    assert table["chosen"].tolist() == ["", "chosen"]
    assert table[TITLES["maxboxacc_v2"]].tolist() == pytest.approx([61, 60.1])


def test_energies_are_means_over_seeds() -> None:
    table = page.energy_figures(one())
    assert table["shared energy"].tolist() == ["0.3", "0.01"]
    assert table["start"].tolist() == ["zero", ""]


def test_the_sentence_and_the_flat_names() -> None:
    assert page.checks_sentence({"one": one()}) == (
        "MaxBoxAccV2 of a centred Gaussian and of its negative: 50.0 and 60.0 on Stanford Cars (linear probe), "
        "61.0 by outer contours."
    )
    values, text = page.flat_checks({"one": one()})
    name = "stanford_cars_efficientnet_lite0_probe"
    assert values[f"{name}_sigmoid_logit_truncated_negative_maxboxacc_v2"] == 30
    assert text[f"{name}_truncation_sigmoid_grid_2x2_top"] == "-3.2"
    assert values[f"{name}_truncation_sigmoid_grid_2x2_top_interval"] == "[-5.0, -1.0]"


def test_predictions_are_shown_in_words(tmp_path: Path) -> None:
    assert page.predictions_table(tmp_path).empty
    folder = tmp_path / "checks-shapes-small_cnn-scratch"
    write_json(folder / "record.json", {"predictions": predictions_record() | {"sha256": "another"}})
    assert page.predictions_table(tmp_path).empty
