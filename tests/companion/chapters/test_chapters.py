"""Chapters say of evidence what its tables say, under the names that the prose uses."""

import numpy as np
import pandas as pd
import pytest
from made_up_evidence import NUM_IMAGES, made_up_evidence

from companion.chapters.coverage import drops_at_equal_coverage
from companion.chapters.table1 import localization_chapter
from companion.chapters.table2 import fidelity_chapter
from companion.chapters.table3 import overhead_chapter
from companion.chapters.training import training_histories
from companion.paper.beside import beside_paper
from sigcam_core.fidelity.evidence import fidelity_statistics
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.summarise.tables import table_of


@pytest.fixture
def evidence() -> pd.DataFrame:
    return pd.concat([made_up_evidence(), made_up_evidence("sigmoid", seed=1)], ignore_index=True)


def test_values_of_table_1_are_those_of_its_tables(evidence: pd.DataFrame) -> None:
    chapter = localization_chapter(evidence, "shapes", "paper", resamples=20)
    expected = table_of(evidence, lambda rows, weights: wsol_statistics(rows, weights, "paper")).set_index("head")
    pd.testing.assert_frame_equal(chapter.tables["table1"].set_index("head"), expected)
    assert chapter.values["gap_cam_sigmoid_pxap"] == expected.loc["sigmoid", "pxap"]
    assert chapter.values["test_images"] == NUM_IMAGES
    row = chapter.tables["table1_differences"].set_index("metric").loc["pxap"]
    change = expected.loc["sigmoid", "pxap"] - expected.loc["softmax", "pxap"]
    assert chapter.values["gap_cam_pxap_difference"] == row["difference"] == pytest.approx(change)


@pytest.mark.parametrize(("protocol", "gt_loc"), [("standard", 100), ("paper", 0)])
def test_the_centre_is_a_row_of_table_1(evidence: pd.DataFrame, protocol: str, gt_loc: float) -> None:
    boxes = [np.array([[0, 0, 20, 20], [12, 12, 212, 212]])] * NUM_IMAGES
    chapter = localization_chapter(evidence, "shapes", protocol, 20, boxes=boxes)
    without = localization_chapter(evidence, "shapes", protocol, 20)
    table = chapter.tables["table1"]
    pd.testing.assert_frame_equal(table.iloc[:-1], without.tables["table1"])
    row = table.iloc[-1]
    assert row[["network", "method", "head"]].tolist() == ["none", "centre", "none"]
    assert (row["maxboxacc_v2"], row["gt_loc"]) == (100, gt_loc)
    assert row[["top1_cls", "top1_loc", "pxap"]].isna().all()  # it names no class
    assert chapter.values["none_centre_none_maxboxacc_v2"] == 100
    pd.testing.assert_frame_equal(chapter.tables["table1_differences"], without.tables["table1_differences"])
    beside = beside_paper(table, "shapes", "table1_wsol")
    assert beside.loc[beside["method"] == "centre", ["source", "dataset"]].to_numpy().tolist() == [
        ["this book", "shapes"]
    ]


def test_the_centre_is_of_the_images_that_have_a_box_as_the_other_rows_are(evidence: pd.DataFrame) -> None:
    box, nothing = np.array([[12, 12, 212, 212]]), np.zeros((0, 4), dtype=np.int64)
    without = evidence["image_id"] == "image0"
    evidence.loc[without, ["gt_loc_iou_any", "gt_loc_iou_first"]] = np.nan
    evidence["best_iou_multi"] = evidence["best_iou_multi"].mask(without, None)
    chapter = localization_chapter(evidence, "photos", resamples=5, boxes=[nothing, *[box] * (NUM_IMAGES - 1)])
    table = chapter.tables["table1"].set_index("method")
    assert table.loc["centre", "maxboxacc_v2"] == 100
    assert table["images_with_boxes"].tolist() == [NUM_IMAGES - 1] * 3
    assert "images_with_masks" not in table
    beside = beside_paper(chapter.tables["table1"], "photos", "table1_wsol")
    assert beside["images_with_boxes"].iloc[:3].tolist() == [NUM_IMAGES - 1] * 3
    assert beside["images_with_boxes"].iloc[3:].isna().all()
    no_box = localization_chapter(evidence, "photos", resamples=5, boxes=[nothing] * NUM_IMAGES)
    assert "centre" not in set(no_box.tables["table1"]["method"])


def test_values_of_table_2_are_those_of_its_tables(evidence: pd.DataFrame) -> None:
    chapter = fidelity_chapter(evidence, "shapes", "sigmoid", resamples=20)
    expected = table_of(evidence, lambda rows, weights: fidelity_statistics(rows, weights, "sigmoid")).set_index("head")
    assert chapter.values["gap_cam_softmax_average_drop"] == expected.loc["softmax", "average_drop"]
    assert (chapter.values["perturbed_images"], chapter.values["scorer"]) == (4, "sigmoid")
    crossed = chapter.tables["table2_scorers"].set_index("head")
    assert crossed.loc["softmax", "average drop, scored by softmax branch"] == pytest.approx(25)
    assert crossed.loc["softmax", "average drop, scored by sigmoid branch"] == pytest.approx(0)
    wide = drops_at_equal_coverage(chapter.tables["table2_matched_coverage"])
    assert wide.columns.tolist() == ["network", "method", "head", "keep 50 %"]  # the curves have no other share shown


def test_a_chapter_on_overhead_names_what_was_trained_here() -> None:
    figures = {"parameters": (10, 14), "inference_time_with_cam": (2.0, 2.2), "inference_ratio": 1.1}
    measured = {"small_cnn-gap": figures | {"training_time": (20.0, 25.0)}, "other": figures}
    chapter = overhead_chapter(measured, ["small_cnn-gap"], "a machine")
    assert chapter.values == {
        "device": "a machine",
        "gap_parameters": 10,
        "gap_extra_parameters": 4,
        "gap_inference_ratio": 1.1,
        "gap_training_ratio": 1.25,
    }
    assert chapter.tables["table3"]["network"].value_counts().to_dict() == {"small_cnn-gap": 3, "other": 2}


def test_histories_are_named_by_network_and_head() -> None:
    record = {"history": [{"epoch": 1, "loss": 2.0}]}
    assert list(training_histories({"a": (record, record)})) == ["a, softmax classifier", "a, sigmoid head"]
