"""Made-up tables, by which a claim would hold; where two claims contradict one another, the later one."""

import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from companion.claims.claims import LAYOUTS, Claim, Test, load_claims
from sigcam_core.common.files import write_json
from sigcam_core.summarise.csv import write_csv

Interval = tuple[float, float, float]
"""A number and the ends of its own interval."""


def favourable(test: Test) -> Interval:
    """A number by which a test favours its claim: well on the expected side, each another one."""
    by = {"positive": 1.0, "negative": -1.0, "none": 0.0}[test.expected]
    far = by * max(10.0, 4 * test.smallest) + mark_of(test)
    if LAYOUTS[test.table].is_ratio:
        far = far / 100 + 1  # percent over one
    value = test.reference / (100 if LAYOUTS[test.table].is_ratio else 1) + far
    if len(LAYOUTS[test.table].columns) == 1:
        value = 2 * test.reference if test.expected == "positive" else test.reference / 2
    value /= test.scale
    half = 0.0 if test.expected == "none" else 0.01 / test.scale
    return value, value - half, value + half


def mark_of(test: Test) -> float:
    """A number from 0 to 0.9 that the names of a test decide, the same in every process."""
    return 3e-6 * (zlib.crc32(repr(sorted(test.keys.items())).encode()) % 300_000)


def write_claims(
    folder: Path,
    claims: Sequence[Claim] | None = None,
    number: Callable[[Test], Interval | None] = favourable,
    resamples: int = 10_000,
) -> Path:
    """Write tables that answer the tests of some claims.

    Args:
        folder: of results.
        claims: the project's where they are left out.
        number: of a test; ``None`` leaves its row out.
        resamples: that the records tell.
    """
    tables: dict[tuple[str, str], list[dict[str, object]]] = defaultdict(list)
    asked = [test for claim in claims or load_claims() for test in claim.tests]
    for test in {(test.table, *sorted(test.keys.items()), test.experiment): test for test in asked}.values():
        if (found := number(test)) is None:
            continue
        row = dict(test.where) | dict(zip(LAYOUTS[test.table].columns, found, strict=False))
        tables[test.experiment, test.table].append(row)
    for (experiment, table), rows in tables.items():
        record = {"resamples": resamples, "tables": {"resamples": resamples}}
        if table == "record":
            record |= {"gauge_energy": rows[0]["gauge_energy"]}  # type: ignore[dict-item]
        else:
            write_csv(folder / experiment / f"{table}.csv", pd.DataFrame(rows))
        for name in {"record.json", LAYOUTS[table].record}:
            path = folder / experiment / name
            if table == "record" or not path.exists():
                write_json(path, record)
    return folder
