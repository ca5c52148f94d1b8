"""A table of differences: paired, second minus first, with intervals for one and for all."""

import numpy as np
import pandas as pd
import pytest

from companion.controls.comparisons import differences_table
from companion.controls.simultaneous import simultaneous_intervals
from sigcam_core.common.errors import SigcamError

COLUMNS = ["comparison", "first", "second", "metric", "difference", "low", "high", "low_all", "high_all"]


def made_up_rows() -> dict[str, dict[str, np.ndarray]]:
    """Three rows that share most of their noise; the last lacks a metric and has one of its own."""
    generator = np.random.default_rng(0)
    shared = generator.normal(0, 5, 1001)
    rows = {}
    for number, name in enumerate(("softmax/logit/signed", "sigmoid/logit/signed", "centre")):
        figures = {metric: shared + generator.normal(50 + number, 1, 1001) for metric in ("gt_loc", "pxap")}
        rows[name] = figures
    del rows["centre"]["pxap"]
    rows["centre"]["coverage"] = generator.normal(size=1001)
    return rows


PAIRS = [
    ("sigmoid_vs_softmax_signed", "softmax/logit/signed", "sigmoid/logit/signed"),
    ("centre_vs_sigmoid", "sigmoid/logit/signed", "centre"),
]


def test_every_pair_and_shared_metric_has_a_line_by_hand() -> None:
    rows = made_up_rows()
    table = differences_table(rows, PAIRS)
    assert table.columns.tolist() == COLUMNS
    softmax, sigmoid, centre = rows
    assert table[["comparison", "first", "second", "metric"]].to_numpy().tolist() == [
        ["sigmoid_vs_softmax_signed", softmax, sigmoid, "gt_loc"],
        ["sigmoid_vs_softmax_signed", softmax, sigmoid, "pxap"],
        ["centre_vs_sigmoid", sigmoid, centre, "gt_loc"],
    ]
    for line in table.itertuples():
        change = rows[line.second][line.metric] - rows[line.first][line.metric]
        assert line.difference == change[0]
        # Paired: the shared noise of 5 points, which would give some 28, has gone.
        assert line.high - line.low == pytest.approx(2 * 1.96 * np.sqrt(2), rel=0.1)
        assert [line.low, line.high] == np.percentile(change[1:], [2.5, 97.5]).tolist()


def test_all_lines_are_one_family() -> None:
    rows = made_up_rows()
    table = differences_table(rows, PAIRS)
    changes = np.stack([rows[line.second][line.metric] - rows[line.first][line.metric] for line in table.itertuples()])
    low, high, critical = simultaneous_intervals(changes[:, 0], changes[:, 1:])
    assert table["low_all"].tolist() == low.tolist()
    assert table["high_all"].tolist() == high.tolist()
    alone = differences_table(rows, PAIRS[1:])
    assert alone["high_all"].item() < table["high_all"].iloc[-1]
    assert (alone[["low", "high"]].to_numpy() == table[["low", "high"]].to_numpy()[-1:]).all()
    assert critical > 2.1


def test_a_row_differs_from_itself_by_nothing() -> None:
    table = differences_table(made_up_rows(), [("same", "centre", "centre"), *PAIRS])
    assert (table.loc[table["comparison"] == "same", COLUMNS[4:]] == 0).all(axis=None)


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([], "no pair to compare"),
        ([("one", "centre", "left")], "comparison one asks for row 'left': choose from softmax/logit/signed, "),
        ([("one", "centre", "short")], "comparison one, gt_loc: all values must come from the same draws"),
        ([("one", "short", "short"), PAIRS[0]], "all values must come from the same draws"),
        ([("one", "centre", "other")], "rows 'centre' and 'other' have no metric in common"),
    ],
)
def test_bad_input_gets_one_sentence(pairs: list[tuple[str, str, str]], sentence: str) -> None:
    rows = made_up_rows() | {"short": {"gt_loc": np.zeros(9)}, "other": {"drop_at_50": np.zeros(1001)}}
    with pytest.raises(SigcamError, match=sentence):
        differences_table(rows, pairs)


def test_a_resample_that_lacks_a_figure_is_left_out_of_it_and_of_what_holds_for_all() -> None:
    rows, whole = made_up_rows(), made_up_rows()
    missing = np.zeros(1001, dtype=bool)
    missing[[5, 700]] = True
    for name, figures in rows.items():
        figures["gt_loc"][missing] = np.nan
        whole[name] = {metric: values[~missing] for metric, values in figures.items()}
    table, expected = differences_table(rows, PAIRS), differences_table(whole, PAIRS)
    of_all = table["metric"] == "pxap"
    pd.testing.assert_frame_equal(table[~of_all], expected[~of_all])
    columns = ["low_all", "high_all"]
    pd.testing.assert_frame_equal(table.loc[of_all, columns], expected.loc[of_all, columns])
    own = differences_table(made_up_rows(), PAIRS)[of_all]
    pd.testing.assert_frame_equal(table.loc[of_all, ["low", "high"]], own[["low", "high"]])
