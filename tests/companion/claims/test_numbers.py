"""Numbers of the evidence as they are read: the right row, its interval, and how many draws made it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from companion.claims.claims import Test, load_claims
from companion.claims.family import Number
from companion.claims.numbers import read_number
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import write_json
from sigcam_core.summarise.csv import write_csv

TESTS = {(test.table, test.role): test for claim in load_claims() for test in claim.tests}
DIFFERENCE = next(test for claim in load_claims() for test in claim.tests if test.table == "differences")


def write(folder: Path, test: Test, rows: list[dict[str, object]], record: dict[str, object]) -> Path:
    write_csv(folder / test.experiment / f"{test.table}.csv", pd.DataFrame(rows))
    name = {"cpu": "cpu.json", "freezing": "freezing.json"}.get(test.table, "record.json")
    write_json(folder / test.experiment / name, record)
    return folder


def row(test: Test, value: float, **more: object) -> dict[str, object]:
    return {
        **test.where,
        "difference": value,
        "low": value - 1,
        "high": value + 2,
        "low_all": -9.0,
        "high_all": 9.0,
        **more,
    }


def test_the_row_is_found_with_its_own_interval_and_draws(tmp_path: Path) -> None:
    other = row(DIFFERENCE, 7.0, metric="another")
    write(tmp_path, DIFFERENCE, [other, row(DIFFERENCE, 3.0)], {"resamples": 2000})
    assert read_number(DIFFERENCE, tmp_path) == Number(3.0, 2.0, 5.0, 2000)


@pytest.mark.parametrize(
    ("record", "resamples"),
    [({"tables": {"resamples": 500}}, 500), ({"resamples": 500}, 1), ({}, 1), ({"tables": "no"}, 1)],
)
def test_a_record_that_does_not_say_is_not_one_of_many_draws(
    record: dict[str, object], resamples: int, tmp_path: Path
) -> None:
    test = TESTS["wsol_differences", "protocol"]
    found = read_number(test, write(tmp_path, test, [row(test, 3.0)], record))
    assert found == Number(3.0, 2.0, 5.0, resamples)


def test_an_interval_without_width_is_an_exact_number(tmp_path: Path) -> None:
    exact = row(DIFFERENCE, 0.0) | {"low": 0.0, "high": 0.0}
    found = read_number(DIFFERENCE, write(tmp_path, DIFFERENCE, [exact], {"resamples": 1000}))
    assert found is not None
    assert found.is_exact


def test_gauge_energy_is_exact_and_may_stand_in_the_record(tmp_path: Path) -> None:
    test = TESTS["record", "protocol"]
    write_json(tmp_path / test.experiment / "record.json", {"gauge_energy": 0.25})
    assert read_number(test, tmp_path) == Number(0.25, 0.25, 0.25, 0)
    table = TESTS["gauge", "protocol"]
    rows = [{**table.where, "gauge_energy": 0.5}, {**table.where, "start": "zero", "gauge_energy": 0.1}]
    assert read_number(table, write(tmp_path, table, rows, {})) == Number(0.5, 0.5, 0.5, 0)


def test_ratios_are_read_as_percent_over_one(tmp_path: Path) -> None:
    test = TESTS["cpu", "protocol"]
    rows = [{**test.where, "ratio": 1.02, "low": 1.01, "high": 1.05}]
    found = read_number(test, write(tmp_path, test, rows, {"resamples": 10_000}))
    assert found is not None
    assert [round(one, 6) for one in (found.value, found.low, found.high)] == [2.0, 1.0, 5.0]
    assert (
        read_number(test, write(tmp_path, test, [{**test.where, "ratio": 1.02}], {})) is None
    )  # of an older measurement


def test_correlations_are_read_as_points(tmp_path: Path) -> None:
    test = next(test for claim in load_claims() for test in claim.tests if test.where.get("metric") == "rank_weight")
    rows = [{**test.where, "value": 0.25, "low": 0.125, "high": 0.5}]
    assert read_number(test, write(tmp_path, test, rows, {"resamples": 10_000})) == Number(25.0, 12.5, 50.0, 10_000)


def test_a_measurement_without_its_table_record_row_or_number_does_not_count(tmp_path: Path) -> None:
    assert read_number(DIFFERENCE, tmp_path) is None
    write(tmp_path, DIFFERENCE, [row(DIFFERENCE, 3.0)], {})
    assert read_number(DIFFERENCE, tmp_path) is not None
    assert read_number(replace(DIFFERENCE, where={**DIFFERENCE.where, "metric": "pxap"}), tmp_path) is None
    (tmp_path / DIFFERENCE.experiment / "record.json").unlink()
    assert read_number(DIFFERENCE, tmp_path) is None
    write(tmp_path, DIFFERENCE, [row(DIFFERENCE, np.nan)], {})
    assert read_number(DIFFERENCE, tmp_path) is None


def test_rows_that_are_not_told_apart_and_columns_that_lack_are_refused(tmp_path: Path) -> None:
    write(tmp_path, DIFFERENCE, [row(DIFFERENCE, 3.0), row(DIFFERENCE, 4.0)], {})
    with pytest.raises(SigcamError, match=r"has 2 rows of .*: name more columns"):
        read_number(DIFFERENCE, tmp_path)
    lacking = {key: value for key, value in row(DIFFERENCE, 3.0).items() if key != "low"}
    write(tmp_path, DIFFERENCE, [lacking], {})
    with pytest.raises(SigcamError, match="lacks column low, which a claim asks for: measure it again with"):
        read_number(DIFFERENCE, tmp_path)
