"""The page of the crossed controls, on tables that are made up."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from companion.chapters.crossed import (
    CLASS_METRICS,
    FACTORS,
    TITLES,
    WHERE_METRICS,
    bias_figures,
    comparisons_table,
    crossed_table,
    cue_told,
    factor_figure,
    findings_table,
    flat_controls,
    heads_figures,
    read_cue,
    scorer_figures,
)
from companion.chapters.real_images import localization_figures, with_baselines
from companion.controls.names import COMPARISONS
from companion.show.results import Measured
from sigcam_core.common.errors import SigcamError
from sigcam_core.summarise.csv import write_csv

ROWS = {
    ("softmax optimum", "logit", "signed"): (50.0, 60.0),
    ("softmax optimum", "centred", "signed"): (50.01, 60.04),
    ("softmax optimum", "finer", "signed"): (50.01, 61.0),
    ("sigmoid optimum", "logit", "truncated"): (58.0, 40.0),
    ("none", "centre", "signed"): (70.0, 25.0),
    ("none", "class-free", "signed"): (57.0, 25.01),
}


def one(name: str = "controls-cars", centre: float = 70.0) -> Measured:
    figures = [
        (*row, metric, centre if (row[1], metric) == ("centre", "maxboxacc_v2") else value, value - 1, value + 1)
        for row, values in ROWS.items()
        for metric, value in zip(("maxboxacc_v2", "grid_2x2"), values, strict=True)
    ]
    differences = [
        ("truncation_sigmoid", "a", "b", metric, change, change - 1, change + 1, change - 2, change + 2)
        for metric, change in (("maxboxacc_v2_held_out", 3.0), ("grid_2x2", -30.0))
    ]
    scorers = [
        (*row, scorer, drop, 10.0, sure)
        for row in ROWS
        for scorer, drop, sure in (("softmax optimum", 30.0, 80.0), ("sigmoid optimum", 40.0, 50.0))
    ]
    row_keys = ["head", "scalar", "weights"]
    tables = {
        "figures": pd.DataFrame(figures, columns=[*row_keys, "metric", "value", "low", "high"]),
        "differences": pd.DataFrame(
            differences,
            columns=["comparison", "first", "second", "metric", "difference", "low", "high", "low_all", "high_all"],
        ),
        "scorers": pd.DataFrame(
            scorers, columns=[*row_keys, "scorer", "average_drop", "increase_in_confidence", "confidence"]
        ),
        "likeness": pd.DataFrame([{"head": "sigmoid optimum", "weights": "signed", "correlation": 0.123}]),
        "heads": pd.DataFrame(
            [{"head": "softmax optimum", "gauge_energy": 1.5e-9, "val_top1": 60.0, "test_top1": 61.0}]
        ),
    }
    tables["log_odds"] = pd.DataFrame([{"head": "softmax optimum", "all_classes": 0.9, "label": 0.8}])
    experiment = {"dataset": "cars", "backbone": "lite", "origin": "probe"}
    return Measured(
        name, tables, {"experiment": experiment, "softmax": "softmax optimum", "sigmoid": "sigmoid optimum"}
    )


def test_what_moves_nothing_is_folded_and_what_moves_something_is_not() -> None:
    table = crossed_table(one(), ("maxboxacc_v2", "grid_2x2"))
    softmax = table[table["head"].str.startswith("softmax")]
    assert softmax["explained"].tolist() == ["logit, centred logit", "Finer-CAM"]
    assert softmax["MaxBoxAccV2"].iloc[0] == "50.0 ± 1.0"
    assert len(table) == len(ROWS) - 1


def test_maps_without_a_head_are_never_folded() -> None:
    table = crossed_table(one(), ("grid_2x2",), ("none",))
    assert table["explained"].tolist() == ["centre, no image", "class-free: sum of feature maps"]


def test_metrics_that_nobody_measured_are_left_out() -> None:
    assert "PxAP" not in crossed_table(one(), WHERE_METRICS)
    assert list(crossed_table(one(), CLASS_METRICS).columns[3:]) == [TITLES["grid_2x2"]]


def test_findings_follow_the_numbers() -> None:
    table = findings_table({"a": one()})
    assert list(table.columns) == ["change", "moves", "cars (linear probe at its optimum)"]
    assert table["change"].tolist() == ["truncating the sigmoid map"] * 2  # nothing else was measured
    assert table["cars (linear probe at its optimum)"].tolist() == ["+3.0 [+1.0, +5.0]", "-30.0 [-32.0, -28.0]"]


def test_every_factor_is_a_comparison_and_is_drawn() -> None:
    assert set(FACTORS) <= set(COMPARISONS)
    figure = factor_figure({"a": one(), "b": one("controls-other")}, ("grid_2x2", "average_drop"))
    marks = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() not in ("None", None)]
    assert marks == [-30.0, -30.0]
    assert figure.axes[1].get_xlabel() == "points, ← better"
    plt.close(figure)
    with pytest.raises(SigcamError, match="nothing to draw"):
        factor_figure({})


def test_differences_are_in_words_with_simultaneous_intervals() -> None:
    table = comparisons_table(one(), ("grid_2x2",))
    assert table.to_dict("records") == [
        {"difference": COMPARISONS["truncation_sigmoid"].words, TITLES["grid_2x2"]: "-30.0 [-32.0, -28.0]"}
    ]


def test_scorers_show_their_own_confidence_first() -> None:
    table = scorer_figures(one())
    assert table["head"].iloc[0] == "confidence on the whole image"
    assert table["by sigmoid, at its optimum"].tolist()[:2] == [50.0, 40.0]


def test_heads_show_their_gauge_and_their_likeness() -> None:
    (row,) = heads_figures(one()).to_dict("records")
    assert (row["gauge energy"], row["test Top-1"]) == ("1.5e-09", "61.0")
    assert row["correlation with log-odds, all classes"] == "0.900"


def test_rows_without_a_class_stand_below_the_methods() -> None:
    wsol = pd.DataFrame([("cam", "softmax", "maxboxacc_v2", 60.0, 59.0, 61.0, "standard")])
    wsol.columns = ["method", "head", "metric", "value", "low", "high", "protocol"]
    experiment = Measured("cars", {"wsol": wsol}, {})
    table = localization_figures(with_baselines({"cars": experiment}, {"controls-cars": one()})["cars"])
    assert table["method"].tolist() == ["cam", "centre", "class-free"]
    assert table["maxboxacc_v2"].tolist()[1] == "70.0 [69.0, 71.0]"
    assert len(localization_figures(with_baselines({"cars": experiment}, {})["cars"])) == 1


def test_values_for_the_prose_name_the_two_heads_that_are_compared() -> None:
    values, formatted = flat_controls({"a": one()})
    assert values["cars_sigmoid_logit_truncated_grid_2x2"] == 40.0
    assert formatted["cars_none_class_free_signed_maxboxacc_v2"] == "57.0"
    assert values["cars_truncation_sigmoid_grid_2x2_interval"] == "[-32.0, -28.0]"
    assert formatted["cars_gauge_softmax_optimum"] == "1.5e-09"
    assert formatted["cars_likeness_sigmoid_signed"] == "0.12"


def test_bias_is_told_of_the_estimators_at_what_they_aim_at(tmp_path: Path) -> None:
    columns = [
        "experiment",
        "method",
        "quantity",
        "metric",
        "estimator",
        "target",
        "N",
        "bias",
        "coverage",
        "mean_width",
    ]
    table = pd.DataFrame(
        [
            ("a", "cam", "figure", "maxboxacc_v2", "maximum_percentile", "maximum", 100, 0.9, 85.0, 8.0),
            ("a", "cam", "figure", "maxboxacc_v2", "held_out_percentile", "at_thresholds", 100, -0.01, 94.6, 9.0),
            ("a", "cam", "figure", "maxboxacc_v2", "held_out_percentile", "maximum", 100, -0.7, 90.0, 9.0),
            ("a", "cam", "figure", "maxboxacc@30", "maximum_percentile", "maximum", 100, 0.1, 90.0, 8.0),
        ],
        columns=columns,
    )
    write_csv(tmp_path / "threshold_bias" / "bias.csv", table)
    shown = bias_figures(tmp_path)
    assert shown["estimator"].tolist() == ["maximum percentile", "held out percentile"]
    assert shown["bias"].tolist() == ["+0.90", "-0.01"]
    with pytest.raises(SigcamError, match=r"cue/shares.csv does not exist: run `python -m companion publish cue"):
        read_cue(tmp_path)


def test_the_cue_is_told_by_its_share_at_both_ends() -> None:
    rows = [
        (correlation, head, "signed", "cue", "share", value)
        for head, values in (("softmax", (5.0, 40.0)), ("sigmoid", (6.0, 3.0)))
        for correlation, value in zip((0.0, 1.0), values, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["correlation", "head", "map", "part", "metric", "value"])
    sentence = cue_told(table)
    assert "from 0% of images to 100%" in sentence
    assert sentence.endswith("goes from 5 to 40 % (softmax) and 6 to 3 % (sigmoid).")
