"""What was expected of the paper's VGG-16 before it was measured, beside what came: ``predictions.toml`` says what."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from sigcam_core.common.files import read_json

CAME_TRUE, DID_NOT, UNDECIDED, NOT_MEASURED = "came true", "did not", "undecided", "not measured"
COLUMNS = ["prediction", "predicted", "measured", "low", "high", "outcome", "experiment"]


def predictions() -> list[dict[str, Any]]:
    """Read the predictions, in the order of the file."""
    content = tomllib.loads((files(__package__) / "predictions.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = content["predictions"]
    return found


def predicted_and_measured(results: Path) -> pd.DataFrame:
    """One row a prediction, with the columns that it names.

    Args:
        results: folder of all that was measured, such as :data:`companion.show.results.MEASURED`.
    """
    return pd.DataFrame([_row(one, results) for one in predictions()], columns=COLUMNS)


def outcome(low: float, high: float, at_least: float = -math.inf, at_most: float = math.inf) -> str:
    """Say what an interval says of a prediction.

    Args:
        low: end of the interval; equal to ``high`` for a number without uncertainty.
        high: its other end.
        at_least: of the predicted range.
        at_most: of the predicted range.

    >>> outcome(3, 5, at_least=2), outcome(3, 5, at_most=2), outcome(3, 5, at_least=4)
    ('came true', 'did not', 'undecided')
    """
    if at_least <= low and high <= at_most:
        return CAME_TRUE
    return DID_NOT if high < at_least or low > at_most else UNDECIDED


def _row(one: Mapping[str, Any], results: Path) -> dict[str, Any]:
    limits = {name: float(one[name]) for name in ("at_least", "at_most") if name in one}
    words = [f"{name.replace('_', ' ')} {one[name]:g}" for name in limits]
    row = {"prediction": one["says"], "predicted": ", ".join(words), "experiment": one["experiment"]}
    found = _interval(one, results / str(one["experiment"]))
    if found is None:
        return row | {"outcome": NOT_MEASURED}
    value, low, high = found
    return row | {"measured": value, "low": low, "high": high, "outcome": outcome(low, high, **limits)}


def _interval(one: Mapping[str, Any], folder: Path) -> tuple[float, float, float] | None:
    """Read the number that a prediction names, and its interval; ``None`` where it was not measured."""
    if one["table"] == "record":
        path = folder / "record.json"
        value = read_json(path)[one["column"]] if path.exists() else None
        return None if value is None else (float(value),) * 3
    path = folder / f"{one['table']}.csv"
    if not path.exists():
        return None
    table = pd.read_csv(path)
    for name, value in one["where"].items():
        table = table[table[name] == value]
    (row,) = table.to_dict("records")
    return float(row[one["column"]]), float(row["low"]), float(row["high"])
