"""What was fixed before a measurement ran: its record holds the digest of the rules that were in force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sigcam_core.common.files import read_json

from .claims import LAYOUTS, load_claims, rules_digest

KEY = "rules"
"""Name of the digest in a record, at its top or among the facts of its tables."""
SAME, OTHER, BEFORE, MISSING = (
    "these rules were in force",
    "other rules were in force",
    "before rules were recorded",
    "not measured",
)


def order_table(results: Path) -> pd.DataFrame:
    """Which rules were in force when each measurement ran that a claim asks for.

    Args:
        results: folder of all that was measured.

    Returns:
        Columns ``measurement, date, rules``.
    """
    records = {(test.experiment, LAYOUTS[test.table].record) for claim in load_claims() for test in claim.tests}
    rows = []
    for experiment, name in sorted(records):
        path = results / experiment / name
        record: dict[str, Any] = read_json(path) if path.exists() else {}
        label = experiment if name in ("record.json", "cpu.json") else f"{experiment}, {path.stem}"
        rows.append((label, _date(record), _order(record)))
    return pd.DataFrame(rows, columns=["measurement", "date", "rules"])


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    """Add to a record what it says of its tables."""
    tables = record.get("tables", {})
    return record | (tables if isinstance(tables, dict) else {})


def _date(record: dict[str, Any]) -> str:
    return str(_facts(record).get("date", ""))[:10]


def _order(record: dict[str, Any]) -> str:
    if not record:
        return MISSING
    digest = _facts(record).get(KEY)
    return BEFORE if digest is None else SAME if digest == rules_digest() else OTHER
