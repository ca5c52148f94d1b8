"""Predictions name rows that exist, and their outcome is what the interval says."""

from pathlib import Path

import pandas as pd
import pytest

from companion.experiments import EXPERIMENTS
from companion.paper.predictions import (
    CAME_TRUE,
    COLUMNS,
    DID_NOT,
    NOT_MEASURED,
    UNDECIDED,
    outcome,
    predicted_and_measured,
    predictions,
)
from companion.show.results import MEASURED
from sigcam_core.common.files import write_json


def test_every_prediction_is_of_an_experiment_and_can_fail() -> None:
    for one in predictions():
        assert one["experiment"] in EXPERIMENTS
        assert {"at_least", "at_most"} & set(one)
        assert one["says"].endswith(".")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (2, 8, CAME_TRUE),
        (0, 10, CAME_TRUE),
        (-1, 8, UNDECIDED),
        (8, 11, UNDECIDED),
        (10.5, 12, DID_NOT),
        (-3, -1, DID_NOT),
    ],
)
def test_an_interval_decides_by_both_of_its_ends(low: float, high: float, expected: str) -> None:
    assert outcome(low, high, 0, 10) == expected


def test_what_was_not_measured_has_no_outcome(tmp_path: Path) -> None:
    table = predicted_and_measured(tmp_path)
    assert table.columns.tolist() == COLUMNS
    assert set(table["outcome"]) == {NOT_MEASURED}
    assert table["measured"].isna().all()


def test_numbers_are_those_of_the_tables_and_of_the_record(tmp_path: Path) -> None:
    folder = tmp_path / "stanford_cars-vgg16-finetune"
    folder.mkdir()
    write_json(folder / "record.json", {"gauge_energy": 0.5})
    rows = [
        ("cam", "softmax", "top1_cls", "standard", 71.0, 69.0, 73.0),
        ("cam", "softmax", "top1_cls", "paper", 1, 1, 1),
    ]
    columns = ["method", "head", "metric", "protocol", "value", "low", "high"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "wsol.csv", index=False)
    found = predicted_and_measured(tmp_path).set_index("prediction")[["measured", "low", "high", "outcome"]]
    known = found[found["outcome"] != NOT_MEASURED].to_numpy().tolist()
    assert known == [[71.0, 69.0, 73.0, CAME_TRUE], [0.5, 0.5, 0.5, DID_NOT]]


def test_whatever_was_measured_of_the_network_has_its_outcome() -> None:
    measured = {name for name in EXPERIMENTS if (MEASURED / name / "record.json").exists()}
    for row in predicted_and_measured(MEASURED).to_dict("records"):
        assert (row["outcome"] == NOT_MEASURED) == (row["experiment"] not in measured)
