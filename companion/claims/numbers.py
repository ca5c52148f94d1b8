"""The numbers of the evidence, read from ``results/``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json

from .claims import LAYOUTS, Layout, Test
from .family import Number


def read_number(test: Test, results: Path) -> Number | None:
    """Read the number of a test with its own 95 % interval, or ``None`` where it was not measured.

    A measurement counts once its record is there, which is written last. Ratios are read as percent over one.

    Args:
        test: what to look up.
        results: folder of all that was measured.

    Raises:
        SigcamError: if the table lacks a column, or several rows answer.
    """
    folder, layout = results / test.experiment, LAYOUTS[test.table]
    path = folder / ("record.json" if test.table == "record" else f"{test.table}.csv")
    if not path.exists() or not (folder / layout.record).exists():
        return None
    row = _row(test, path, layout)
    if row is None:
        return None
    value, low, high = (test.scale * row[layout.columns[place]] for place in (0, len(layout.columns) // 2, -1))
    if layout.is_ratio:
        value, low, high = (100 * (one - 1) for one in (value, low, high))
    return Number(value, low, high, 0 if low == high else _resamples(folder / layout.record, layout.resamples))


def _row(test: Test, path: Path, layout: Layout) -> dict[str, float] | None:
    """Read the columns of the one row that answers; ``None`` where no row does, or its number is missing."""
    columns = list(layout.columns)
    table = pd.DataFrame([{columns[0]: read_json(path)[columns[0]]}]) if path.suffix == ".json" else pd.read_csv(path)
    missing = [name for name in (*test.where, *columns) if name not in table]
    if missing and set(missing) <= set(layout.may_lack):
        return None
    if missing:
        fail(f"{path} lacks column {missing[0]}, which a claim asks for: measure it again with `{test.command}`.")
    for column, value in test.where.items():
        table = table[table[column] == value]
    table = table.dropna(subset=columns)
    if table.empty:
        return None
    if len(table) > 1:
        fail(f"{path} has {len(table)} rows of {dict(test.where)}: name more columns in the claim's evidence.")
    return {name: float(table.iloc[0][name]) for name in columns}


def _resamples(record: Path, keys: Sequence[str]) -> int:
    """Draws of the bootstrap, from the record of a table."""
    found: Any = read_json(record)
    for key in keys:
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, int) else 1  # a record that does not say is not one of many draws
