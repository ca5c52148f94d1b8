"""Chapters of several data sets: one is as it was, several stand below one another and beside the paper's rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_evidence import made_up_evidence

from companion.chapters.coverage import drops_at_equal_coverage
from companion.chapters.several import labelled, records_of, several
from companion.chapters.table2 import fidelity_chapter, fidelity_chapters
from companion.paper.beside import beside_paper
from companion.paper.tables import paper_table
from companion.show.saved import Chapter
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import write_json
from sigcam_core.fidelity.evidence import FIDELITY
from sigcam_core.run import Run, Shown


@pytest.fixture
def evidence() -> pd.DataFrame:
    return pd.concat([made_up_evidence(), made_up_evidence("sigmoid", seed=1)], ignore_index=True)


def chapter_of(figure: float, **values: int) -> Chapter:
    table = pd.DataFrame([{"network": "vgg16", "method": "cam", "head": "softmax", "maxboxacc_v2": figure}])
    return Chapter({"top1": 3.0, **values}, {"table1": table})


def test_one_chapter_is_as_it_is(evidence: pd.DataFrame) -> None:
    one, expected = (
        fidelity_chapters({"cub": evidence}, "sigmoid", 20),
        fidelity_chapter(evidence, "cub", "sigmoid", 20),
    )
    assert one.values == expected.values
    assert one.tables.keys() == expected.tables.keys()
    for name, table in expected.tables.items():
        pd.testing.assert_frame_equal(one.tables[name], table)


def test_several_are_told_apart_by_their_data_set() -> None:
    whole = several({"cub": chapter_of(50, test_images=7), "imagenet": chapter_of(60, test_images=9)})
    assert whole.tables["table1"][["dataset", "maxboxacc_v2"]].to_numpy().tolist() == [["cub", 50], ["imagenet", 60]]
    assert whole.values == {
        "dataset": "cub, imagenet",
        "test_images": "7 and 9",
        "cub_test_images": 7,
        "imagenet_test_images": 9,
    }
    assert labelled(whole.tables["table1"])["network"].tolist() == ["cub vgg16", "imagenet vgg16"]


def test_records_are_those_beside_the_evidence_of_each_run(tmp_path: Path) -> None:
    runs = [Run("shapes", network, 0, tmp_path) for network in ("small_cnn", "small_cnn_mlp")]
    for number, run in enumerate(runs):
        write_json(run.evidence.with_suffix(".json"), {"seconds": number})
    records = records_of([Shown(run, "any") for run in runs])
    assert records == {run.full_name: {"seconds": number} for number, run in enumerate(runs)}


def test_each_of_our_rows_is_followed_by_the_papers_of_the_same_names() -> None:
    ours = pd.DataFrame(
        [
            {"dataset": dataset, "network": network, "method": method, "head": head, "maxboxacc_v2": 1.0}
            for dataset, network, method, head in [
                ("imagenet", "resnet50", "cam", "sigmoid"),
                ("imagenet", "resnet50", "layercam", "sigmoid"),  # not in the paper's Table 1
                ("tiny_imagenet", "resnet50", "cam", "sigmoid"),
                ("imagenet", "vgg16", "gradcam", "softmax"),
            ]
        ]
    )
    table = beside_paper(ours, "", "table1_wsol")
    first = table.head(6)
    assert first["source"].tolist() == ["this book", "paper", "this book", "this book", "this book", "paper"]
    assert first["maxboxacc_v2"].tolist() == [1, 64.73, 1, 1, 1, 52.49]
    assert first["dataset"].tolist()[:2] == ["imagenet", "imagenet-1k"]
    # Nothing of the paper's is lost, and nothing is there twice.
    rest = table[table["source"] == "paper"].drop(columns="source")
    theirs = paper_table("table1_wsol").rename(columns={"backbone": "network"})[rest.columns]
    order = ["dataset", "network", "method", "head"]
    pd.testing.assert_frame_equal(
        rest.sort_values(order, ignore_index=True), theirs.sort_values(order, ignore_index=True)
    )


def test_rows_of_table_3_are_paired_by_quantity() -> None:
    ours = pd.DataFrame(
        {
            "dataset": "imagenet",
            "network": "vgg16",
            "quantity": ["parameters", "training_time"],
            "unit": ["M", "h"],
            "baseline": 1.0,
            "dual_branch": 2.0,
            "ratio": 2.0,
        }
    )
    assert beside_paper(ours, "", "table3_overhead")["baseline"].tolist()[:4] == [1, 20.46, 1, 17.67]


def test_data_sets_without_fidelity_are_left_out(evidence: pd.DataFrame) -> None:
    without = evidence.assign(**{name: None for name, _ in FIDELITY.columns})
    chapter = fidelity_chapters({"imagenet": without, "cub": evidence}, resamples=5)
    assert chapter.values["dataset"] == "cub"
    with pytest.raises(SigcamError, match="fidelity was not measured on imagenet, openimages: evaluate with it"):
        fidelity_chapters({"imagenet": without, "openimages": without})


def test_curves_of_two_data_sets_are_two_rows_at_equal_coverage(evidence: pd.DataFrame) -> None:
    chapter = fidelity_chapters({"cub": evidence, "stanford_cars": evidence}, resamples=5)
    wide = drops_at_equal_coverage(labelled(chapter.tables["table2_matched_coverage"]))
    one = drops_at_equal_coverage(fidelity_chapter(evidence, "cub", resamples=5).tables["table2_matched_coverage"])
    assert len(wide) == 2 * len(one)
    np.testing.assert_array_equal(wide["keep 50 %"], np.tile(one["keep 50 %"], 2))
