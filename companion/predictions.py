"""What was expected of the checks of the measures, written down and committed before they were made.

The ranges are in ``predictions.toml``, whose digest goes into the record of each measurement, so that a reader can see
which expectations it was made under.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json, sha256_of_file

from .experiments import CHECKS

FILE = Path(__file__).with_suffix(".toml")
COMPARED = ("softmax", "sigmoid")


@dataclass(frozen=True)
class Prediction:
    """One expectation.

    Attributes:
        name: of the prediction.
        words: what is expected, and why.
        table: CSV of a measurement that judges it.
        where: the row, by columns of that table.
        low: the least that is expected, by data set and origin of the classifier.
        high: the most.
        column: the number that is predicted; empty for the one that figures or differences have.
        seen: what was known of the number when this was written; empty where nothing was.
    """

    name: str
    words: str
    table: str
    where: dict[str, Any]
    low: dict[str, float]
    high: dict[str, float]
    column: str = ""
    seen: str = ""


def read_predictions(path: Path = FILE) -> list[Prediction]:
    """All predictions in the order of the file.

    Args:
        path: of the file.

    Raises:
        SigcamError: if one has a range that ends before it begins, or ends of different measurements.
    """
    with path.open("rb") as file:
        entries = tomllib.load(file)
    predictions = [Prediction(name=name, **entry) for name, entry in entries.items()]
    for one in predictions:
        if one.low.keys() != one.high.keys() or any(one.low[key] > one.high[key] for key in one.low):
            fail(f"prediction {one.name} in {path.name}: give `low` and `high` of the same measurements, low first.")
    return predictions


def predictions_record(path: Path = FILE) -> dict[str, str]:
    """Return the name and digest of the file, for a record."""
    return {"file": path.name, "sha256": sha256_of_file(path)}


def judged_predictions(results: Path, path: Path = FILE) -> pd.DataFrame:
    """Every prediction beside what was measured.

    Args:
        results: folder of all that was measured.
        path: of the predictions.

    Returns:
        Columns ``prediction, measured_on, low, high, value, held, seen``, one row a prediction and measurement that
        was made under this very file.

    Raises:
        SigcamError: if a table lacks the row that a prediction names.
    """
    digest = predictions_record(path)["sha256"]
    rows = []
    for name, experiment in CHECKS.items():
        key = f"{experiment.dataset}-{experiment.origin}"
        if not (results / name / "record.json").exists():
            continue
        record = read_json(results / name / "record.json")
        if record["predictions"]["sha256"] != digest:
            continue
        for one in read_predictions(path):
            if key in one.low:
                value = _measured(one, results / name, record)
                held = one.low[key] <= value <= one.high[key]
                rows.append((one.name, key, one.low[key], one.high[key], value, held, one.seen))
    return pd.DataFrame(rows, columns=["prediction", "measured_on", "low", "high", "value", "held", "seen"])


def _measured(one: Prediction, folder: Path, record: dict[str, Any]) -> float:
    """Read the number that a prediction is of."""
    table = pd.read_csv(folder / f"{one.table}.csv", keep_default_na=False)
    names = {f"compared {kind}": record[kind] for kind in COMPARED}
    rows = table
    for column, value in one.where.items():
        rows = rows[rows[column] == names.get(value, value)]
    if len(rows) != 1:
        fail(f"prediction {one.name} names {len(rows)} rows of {folder.name}/{one.table}.csv: make `where` name one.")
    column = one.column or ("value" if "value" in table else "difference")
    return float(rows[column].iloc[0])
