"""Statistics, bootstrap differences, and the tables made of them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from made_up_evidence import NUM_IMAGES, made_up_evidence

from companion.paper.beside import beside_paper
from companion.show.shown import show
from sigcam_core.common import resampling
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.resampling import bootstrap_weights
from sigcam_core.fidelity.evidence import fidelity_statistics
from sigcam_core.localization.evidence import LOCALIZATION, wsol_statistics
from sigcam_core.localization.protocol import PROTOCOLS
from sigcam_core.summarise import tables
from sigcam_core.summarise.tables import (
    head_differences,
    matched_coverage,
    paired_difference,
    table_of,
    table_with_intervals,
    tables_of,
)

KINDS = [("softmax", "cam"), ("sigmoid", "cam"), ("softmax", "gradcam"), ("sigmoid", "gradcam")]


def test_drop_at_matched_coverage_by_hand() -> None:
    points = matched_coverage(pd.concat([made_up_evidence(), made_up_evidence("sigmoid", "gradcam")]))
    assert points[["network", "method", "head"]].drop_duplicates().shape[0] == 2
    for _, curve in points.groupby("head"):
        assert curve["coverage"].tolist() == [0, 50, 100]
        # Half kept, the scores are 0.2, 0.3, 0.4, 0.5 of 0.4.
        assert curve["average_drop"].tolist() == pytest.approx([50, 100 * (0.5 + 0.25) / 4, 0], abs=1e-5)


def test_differences_are_paired() -> None:
    softmax = made_up_evidence()
    sigmoid = made_up_evidence("sigmoid")
    shuffled = pd.concat([softmax, sigmoid.sample(frac=1, random_state=1)])
    differences = head_differences(shuffled, wsol_statistics, resamples=50)
    # The same rows under another name: no difference in any resample, which unpaired draws would not give.
    assert (differences[["difference", "low", "high"]] == 0).all().all()


def test_the_interval_covers_the_difference_and_moves_with_it() -> None:
    sigmoid = made_up_evidence("sigmoid")
    sigmoid["coverage"] += 0.1
    differences = head_differences(pd.concat([made_up_evidence(), sigmoid]), fidelity_statistics, resamples=200)
    row = differences.set_index("metric").loc["coverage"]
    assert [row["difference"], row["low"], row["high"]] == pytest.approx([10, 10, 10])


def test_intervals_stand_around_the_figures_of_the_table() -> None:
    evidence = pd.concat([made_up_evidence(), made_up_evidence("sigmoid", seed=1)])
    for statistics in (wsol_statistics, fidelity_statistics):
        figures = table_of(evidence, statistics).set_index("head")
        table = table_with_intervals(evidence, statistics, resamples=200)
        assert table.columns.tolist() == ["network", "method", "head", "metric", "value", "low", "high"]
        assert len(table) == 2 * (figures.shape[1] - 2)
        for row in table.itertuples():
            assert row.value == pytest.approx(figures.loc[row.head, row.metric])
            assert row.low <= row.value <= row.high
        assert (table["low"] < table["high"]).any()


def test_an_interval_holds_95_percent_of_the_resamples() -> None:
    rows = made_up_evidence()
    means = bootstrap_weights(NUM_IMAGES, 1000, seed=5) @ rows["coverage"].to_numpy() * 100 / NUM_IMAGES
    table = table_with_intervals(rows, fidelity_statistics, resamples=1000, seed=5).set_index("metric")
    low, high = table.loc["coverage", "low"], table.loc["coverage", "high"]
    # Resamples of the same images are equal but for rounding, and may lie on the interval's end.
    assert [(means < low).sum(), (means > high).sum()] == pytest.approx([25, 25], abs=3)


def test_another_seed_draws_other_resamples_of_the_same_figures() -> None:
    one, again, other = (table_with_intervals(made_up_evidence(), fidelity_statistics, 50, seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, again)
    pd.testing.assert_series_equal(one["value"], other["value"])
    assert (one["low"] != other["low"]).any()


def test_equal_evidence_differs_by_nothing_in_any_resample() -> None:
    rows = made_up_evidence()
    table = paired_difference(rows, rows.copy(), wsol_statistics, resamples=50)
    assert table.columns.tolist() == ["metric", "first", "second", "difference", "low", "high"]
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)
    figures = table_of(rows, wsol_statistics).iloc[0]
    for row in table.itertuples():
        assert row.first == row.second == pytest.approx(figures[row.metric])


def test_a_difference_is_second_minus_first() -> None:
    first, second = made_up_evidence(), made_up_evidence()
    second["coverage"] -= 0.2
    second["coverage"] += 0.01 * np.arange(NUM_IMAGES)
    row = paired_difference(first, second, fidelity_statistics, resamples=200).set_index("metric").loc["coverage"]
    assert row["second"] - row["first"] == pytest.approx(row["difference"]) == pytest.approx(-20 + 2.5)
    assert -20 <= row["low"] < row["difference"] < row["high"] <= -15


def test_only_the_same_images_in_the_same_order_can_be_paired() -> None:
    rows = made_up_evidence()
    for other in (rows.iloc[1:], rows.iloc[::-1], rows.assign(image_id=[f"other{i}" for i in range(NUM_IMAGES)])):
        with pytest.raises(SigcamError, match="needs the same images in the same order on both sides"):
            paired_difference(rows, other, wsol_statistics)


def test_our_rows_stand_above_the_papers() -> None:
    ours = table_of(made_up_evidence(), wsol_statistics)
    table = beside_paper(ours, "shapes", "table1_wsol")
    assert table["source"].tolist() == ["this book"] + ["paper"] * 24
    assert table.loc[0, "dataset"] == "shapes"
    row = table.query("network == 'resnet50' and method == 'cam' and head == 'sigmoid' and dataset == 'imagenet-1k'")
    assert row["maxboxacc_v2"].item() == 64.73
    assert "64.73" in show(table, "caption").to_html()


@pytest.mark.parametrize(
    ("statistics", "sentence"),
    [
        (partial(wsol_statistics, protocol="lenient"), "unknown protocol 'lenient'"),
        (partial(fidelity_statistics, scorer="mean"), "unknown scorer 'mean'"),
    ],
)
def test_unknown_choices_get_one_sentence(statistics: partial, sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        table_of(made_up_evidence(), statistics)


def test_heads_that_cannot_be_paired_get_one_sentence() -> None:
    evidence = pd.concat([made_up_evidence(), made_up_evidence("sigmoid").iloc[1:]])
    with pytest.raises(SigcamError, match="must be evaluated on the same images"):
        head_differences(evidence, wsol_statistics)
    with pytest.raises(SigcamError, match="no evidence"):
        table_of(made_up_evidence().iloc[:0], wsol_statistics)


def partly() -> pd.DataFrame:
    """Both heads of six images, of which the first has no mask and the last two no box."""
    evidence = pd.concat([made_up_evidence(), made_up_evidence("sigmoid", seed=1)], ignore_index=True)
    return evidence.assign(
        object_histogram=evidence["object_histogram"].mask(evidence["image_id"] == "image0", None),
        best_iou_multi=evidence["best_iou_multi"].mask(evidence["image_id"].isin(["image4", "image5"]), None),
    )


def test_tables_say_on_how_many_images_a_figure_rests_where_it_is_not_all() -> None:
    expected = {"top1_cls": 6, "gt_loc": 4, "maxboxacc@50": 4, "pxap": 5}
    wide = table_of(partly(), wsol_statistics)
    assert wide[["images_with_boxes", "images_with_masks"]].to_numpy().tolist() == [[4, 5]] * 2
    assert "4</td>" in show(wide, "caption").to_html()  # a count has no decimals
    for make in (table_with_intervals, head_differences):
        table = make(partly(), wsol_statistics, 50)
        counts = table.groupby("metric")["images"].unique()
        assert {metric: counts[metric].tolist() for metric in expected} == {k: [v] for k, v in expected.items()}
    heads = [rows for _, rows in partly().groupby("head")]
    pair = paired_difference(*heads, wsol_statistics, 50).set_index("metric")
    assert pair.loc[list(expected), "images"].to_dict() == expected
    tables = tables_of(partly(), 50)
    assert [name for name, table in tables.items() if "images" in table] == ["wsol", "wsol_differences"]


def test_tables_of_complete_evidence_have_no_such_column() -> None:
    evidence = pd.concat([made_up_evidence(), made_up_evidence("sigmoid", seed=1)], ignore_index=True)
    for table in (*tables_of(evidence, 20).values(), table_of(evidence, wsol_statistics)):
        assert not [name for name in table if "images" in name]


def test_intervals_of_few_images_are_of_the_resamples_that_draw_one() -> None:
    evidence = partly()
    alone = evidence["best_iou_multi"].where(evidence["image_id"] == "image2", None)
    table = table_with_intervals(evidence.assign(best_iou_multi=alone), wsol_statistics, 100)
    row = table[(table["metric"] == "gt_loc") & (table["head"] == "softmax")].iloc[0]
    assert row[["value", "low", "high", "images"]].tolist() == [100, 100, 100, 1]


def test_all_tables_equal_those_made_one_by_one_and_no_statistic_is_computed_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = [made_up_evidence(head, method, seed) for seed, (head, method) in enumerate(KINDS)]
    evidence = pd.concat(parts, ignore_index=True)
    expected = {
        "": [table_with_intervals(evidence, partial(wsol_statistics, protocol=one), 50) for one in PROTOCOLS],
        "_differences": [head_differences(evidence, partial(wsol_statistics, protocol=one), 50) for one in PROTOCOLS],
    }
    asked: list[tuple[str, str]] = []

    def noting(rows: pd.DataFrame, weights: np.ndarray, protocol: str) -> dict[str, np.ndarray]:
        asked.append((rows["head"].iloc[0], rows["method"].iloc[0]))
        return wsol_statistics(rows, weights, protocol)

    monkeypatch.setattr(tables, "FAMILIES", (replace(LOCALIZATION, statistics=noting),))
    made = tables_of(evidence, resamples=50)
    for suffix, several in expected.items():
        whole = pd.concat([one.assign(protocol=name) for name, one in zip(PROTOCOLS, several, strict=True)])
        pd.testing.assert_frame_equal(made[f"wsol{suffix}"], whole.reset_index(drop=True))
    assert sorted(asked) == sorted(KINDS * len(PROTOCOLS))


def test_tables_do_not_depend_on_how_many_resamples_are_made_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = pd.concat([made_up_evidence(head) for head in ("softmax", "sigmoid")], ignore_index=True)
    whole = tables_of(evidence, resamples=50)
    monkeypatch.setattr(resampling, "WEIGHTS_AT_ONCE", 7 * NUM_IMAGES)
    parted = tables_of(evidence, resamples=50)
    assert parted.keys() == whole.keys()
    for name, table in whole.items():
        pd.testing.assert_frame_equal(parted[name], table, rtol=1e-12)
