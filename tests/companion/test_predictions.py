"""Predictions: the committed ones name rows that can be, and each is judged by its own number."""

from __future__ import annotations

from pathlib import Path

import pytest

from companion.controls.names import COMPARISONS, FURTHER_COMPARISONS, FURTHER_TITLES, TITLES
from companion.experiments import CHECKS
from companion.predictions import judged_predictions, predictions_record, read_predictions
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import write_json

ONE = """
[up]
words = "It rises."
table = "figures"
where = { head = "compared sigmoid", metric = "gt_loc" }
low = { shapes-scratch = 1 }
high = { shapes-scratch = 3 }
"""


def test_the_committed_predictions_name_measurements_rows_and_metrics() -> None:
    known = {f"{one.dataset}-{one.origin}" for one in CHECKS.values()}
    for one in read_predictions():
        assert set(one.low) <= known
        assert one.where.get("metric", "gt_loc") in {*TITLES, *FURTHER_TITLES, "sign", "rank_contribution"}
        assert one.where.get("comparison", "truncation_sigmoid") in {*COMPARISONS, *FURTHER_COMPARISONS}


@pytest.mark.parametrize(("value", "held"), [(2, True), (1, True), (3.5, False), (0.9, False)])
def test_a_prediction_is_judged_by_its_row(tmp_path: Path, value: float, held: bool) -> None:
    path, folder = tmp_path / "predictions.toml", tmp_path / "checks-shapes-small_cnn-scratch"
    path.write_text(ONE)
    record = {"softmax": "softmax", "sigmoid": "sigmoid optimum", "predictions": predictions_record(path)}
    write_json(folder / "record.json", record)
    (folder / "figures.csv").write_text(f"head,metric,value\nsoftmax,gt_loc,9\nsigmoid optimum,gt_loc,{value}\n")
    judged = judged_predictions(tmp_path, path)
    assert judged["held"].tolist() == [held]
    assert judged["value"].tolist() == [value]
    path.write_text(ONE + "# written after the numbers\n")
    assert judged_predictions(tmp_path, path).empty


def test_a_row_that_is_not_there_or_a_range_that_is_none_is_refused(tmp_path: Path) -> None:
    path, folder = tmp_path / "predictions.toml", tmp_path / "checks-shapes-small_cnn-scratch"
    path.write_text(ONE)
    write_json(folder / "record.json", {"softmax": "a", "sigmoid": "b", "predictions": predictions_record(path)})
    (folder / "figures.csv").write_text("head,metric,value\nsoftmax,gt_loc,9\n")
    with pytest.raises(SigcamError, match="prediction up names 0 rows"):
        judged_predictions(tmp_path, path)
    path.write_text(ONE.replace("= 1", "= 4"))
    with pytest.raises(SigcamError, match="give `low` and `high` of the same measurements"):
        read_predictions(path)
