"""What is gone makes its step due, and a date in the future is named."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from sigcam_core.common.files import MADE_VARIABLE, write_json
from upkeep import dated_ahead, incomplete, list_of, make_due, settle


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a rule names, made together with two others of which one was for the time only."""
    output = tmp_path / "notebooks" / "03 table.ipynb"
    made = list_of(output, tmp_path)
    made.parent.mkdir(parents=True)
    monkeypatch.setenv(MADE_VARIABLE, f"{made}.part")
    for name in ("summary/table1.json", "summary/passing.json", "features/x.json", "notebooks/03 table.ipynb"):
        write_json(tmp_path / name, {})
    write_json(tmp_path.parent / f"{tmp_path.name} elsewhere" / "x.json", {})
    (tmp_path / "summary" / "passing.json").unlink()
    settle(made, tmp_path)
    monkeypatch.delenv(MADE_VARIABLE)
    return output


def test_a_list_has_what_is_there_at_the_end(step: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in list_of(step, tmp_path).read_text().splitlines()]
    assert lines == ["summary/table1.json", "notebooks/03 table.ipynb"]
    assert [path.name for path in list_of(step, tmp_path).parent.iterdir()] == ["03 table.ipynb.txt"]


def test_a_step_of_which_a_file_is_gone_is_found_and_made_due(step: Path, tmp_path: Path) -> None:
    assert incomplete(tmp_path) == {}
    saved = tmp_path / "summary" / "table1.json"
    saved.unlink()
    assert incomplete(tmp_path) == {step: saved}
    make_due([step], {})
    assert not step.exists()  # which Snakemake sees by itself
    assert incomplete(tmp_path) == {}


def test_a_data_set_is_completed_at_once(tmp_path: Path) -> None:
    manifest, image = tmp_path / "manifest.parquet", tmp_path / "image"
    manifest.write_text("rows")
    code = f"import pathlib; pathlib.Path({str(image)!r}).touch()"
    make_due([manifest], {manifest: [sys.executable, "-c", code]})
    assert manifest.read_text() == "rows"
    assert image.exists()


def test_a_work_dir_may_be_moved_and_its_caches_deleted(step: Path, tmp_path: Path) -> None:
    moved = tmp_path.parent / f"{tmp_path.name} moved"
    shutil.copytree(tmp_path, moved)
    shutil.rmtree(tmp_path / "summary")
    shutil.rmtree(moved / "features")
    assert incomplete(moved) == {}
    (moved / "summary" / "table1.json").unlink()
    assert list(incomplete(moved)) == [moved / step.relative_to(tmp_path)]


def test_a_list_that_was_cut_off_is_taken_as_far_as_it_goes(step: Path, tmp_path: Path) -> None:
    made = list_of(step, tmp_path)
    made.write_text(made.read_text() + '"nowhere/ta')
    assert incomplete(tmp_path) == {}


def test_dates_in_the_future_are_found_and_left_alone(tmp_path: Path) -> None:
    now = time.time()
    dates = {"past": now - 100, "later": now + 7200, "sooner": now + 3600}
    for name, date in dates.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (date, date))
    assert dated_ahead([*(tmp_path / name for name in dates), tmp_path / "missing"]) == [
        tmp_path / "later",
        tmp_path / "sooner",
    ]
    assert all(abs((tmp_path / name).stat().st_mtime - date) < 1e-3 for name, date in dates.items())
