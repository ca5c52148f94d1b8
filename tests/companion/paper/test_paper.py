"""The figures of the paper are those that the paper prints."""

import pandas as pd
import pytest

from companion.paper.tables import PAPER_TABLES, paper_table
from sigcam_core import METHODS, SigcamError


@pytest.mark.parametrize(
    ("table", "where", "column", "value"),
    [
        ("table1_wsol", ("imagenet-1k", "resnet50", "cam", "sigmoid"), "maxboxacc_v2", 64.73),
        ("table1_wsol", ("imagenet-1k", "vgg16", "gradcam", "softmax"), "gt_loc", 49.02),
        ("table1_wsol", ("openimages-30k", "inception_v3", "cam", "sigmoid"), "pxap", 63.65),
        ("table2_fidelity", ("stanford-cars", "vgg16", "xgradcam", "softmax"), "increase_in_confidence", 9.14),
        ("table2_fidelity", ("cub-200-2011", "resnet50", "cam", "sigmoid"), "average_drop", 13.86),
    ],
)
def test_figures_of_tables_1_and_2(table: str, where: tuple[str, ...], column: str, value: float) -> None:
    row = paper_table(table).set_index(["dataset", "backbone", "method", "head"]).loc[where]
    assert row[column] == value


@pytest.mark.parametrize(
    ("backbone", "quantity", "baseline", "dual_branch"),
    [
        ("resnet50", "parameters", 25.56, 27.61),
        ("vgg16", "inference_time_with_cam", 84.7, 101.2),
        ("inception_v3", "training_time", 50.42, 52.84),
    ],
)
def test_figures_of_table_3(backbone: str, quantity: str, baseline: float, dual_branch: float) -> None:
    row = paper_table("table3_overhead").set_index(["backbone", "quantity"]).loc[(backbone, quantity)]
    assert (row["baseline"], row["dual_branch"]) == (baseline, dual_branch)


@pytest.mark.parametrize("table", PAPER_TABLES)
def test_every_line_is_there_once_and_every_figure_is_possible(table: str) -> None:
    rows = paper_table(table)
    keys = [column for column in rows if rows[column].dtype.kind not in "fi"]
    assert not rows.duplicated(keys).any()
    numbers = rows.drop(columns=keys)
    printed = numbers.stack().dropna()
    assert (printed > 0).all()
    assert not numbers.isna().all(axis=1).any()
    if table == "table3_overhead":
        assert (rows["dual_branch"] > rows["baseline"]).all()
    else:
        assert (printed <= 100).all()
        pairs = rows.groupby([key for key in keys if key != "head"])["head"].agg(sorted)
        assert pairs.map(lambda heads: heads == ["sigmoid", "softmax"]).all()
        assert set(rows["method"]) <= set(METHODS)


def test_resnet_rows_coincide_as_theory_says_of_a_linear_head() -> None:
    rows = paper_table("table2_fidelity").query("backbone == 'resnet50' and dataset == 'cub-200-2011'")
    figures = rows.set_index(["method", "head"])[["average_drop", "increase_in_confidence"]]
    pd.testing.assert_series_equal(
        figures.loc[("gradcam", "softmax")], figures.loc[("xgradcam", "softmax")], check_names=False
    )


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(SigcamError, match="unknown table of the paper 'table4': choose one of table1_wsol"):
        paper_table("table4")
