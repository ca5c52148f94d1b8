"""What machines do to files: altered and foreign ones, full disks, too little memory, two processes at once."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_run
import torch
from safetensors.torch import load_file, save_file

from data_scripts.__main__ import prepare
from sigcam_core.common.errors import SigcamError, run_command_line
from sigcam_core.common.files import atomic_path, one_at_a_time, read_json, write_json, write_with_record
from sigcam_core.run import Extent, Run
from sigcam_core.stations import ensure_classifier, ensure_evidence, ensure_sigmoid_head
from sigcam_core.train.recipes import SIGMOID_RECIPES, recipe_of_classifier


def test_images_are_on_the_disk_before_their_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, bool]] = []
    folder = tmp_path / "shapes"
    monkeypatch.setattr(
        "sigcam_core.prepare.manifest.sync_all",
        lambda: seen.append((len(list(folder.rglob("*.png"))), (folder / "manifest.parquet").exists())),
    )
    prepare("shapes", tmp_path, train=8, val=8, test=8)
    assert seen == [(48, False)]  # with their masks


def other_bytes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


def without_record(path: Path) -> None:
    path.with_suffix(".json").unlink()


def half_the_rows(path: Path) -> None:
    table = pd.read_parquet(path)
    table.iloc[: len(table) // 2].to_parquet(path)


def zeros(path: Path) -> None:
    save_file({name: torch.zeros_like(value) for name, value in load_file(path).items()}, path)


ALTERED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a bit of the classifier": ("classifier", other_bytes, "is not the file that its record tells of"),
    "a classifier of zeros": ("classifier", zeros, "is not the file that its record tells of"),
    "a bit of the head": ("sigmoid_head", other_bytes, "is not the file that its record tells of"),
    "a head without its record": ("sigmoid_head", without_record, "has lost its record"),
    "evidence of half the images": ("evidence", half_the_rows, "is not the file that its record tells of"),
    "evidence without its record": ("evidence", without_record, "has lost its record"),
}


@pytest.fixture
def run(trained: Callable[[str], Run], tmp_path: Path) -> Run:
    """A copy of a finished run, to spoil."""
    return small_run.copy_of(trained("small_cnn"), tmp_path / "work")


def load(run: Run) -> None:
    ensure_sigmoid_head(run)
    ensure_evidence(run)


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_file_is_refused_in_one_sentence(name: str, run: Run) -> None:
    station, alter, sentence = ALTERED[name]
    load(run)
    alter(getattr(run, station))
    with pytest.raises(SigcamError, match=sentence) as caught:
        load(run)
    assert "delete it, and it is made again" in str(caught.value)
    # The advice holds.
    getattr(run, station).unlink()
    if station == "evidence":
        load(run)


def foreign(run: Run, other: Run, station: str) -> None:
    """The file of another run and its record, as whoever mixes folders leaves them."""
    for suffix in ("", ".json"):
        source, target = (getattr(one, station) for one in (other, run))
        shutil.copy(source.with_suffix(suffix or source.suffix), target.with_suffix(suffix or target.suffix))


@pytest.mark.parametrize(
    ("station", "sentence"),
    [
        ("classifier", r"sigmoid_head.safetensors was made from another classifier than is there now"),
        ("sigmoid_head", r"sigmoid_head.safetensors was made from another classifier than is there now"),
        ("evidence", r"was made from another sigmoid head than is there now"),
    ],
)
def test_a_file_of_another_run_is_refused(station: str, sentence: str, run: Run, tmp_path: Path) -> None:
    other = small_run.copy_of(run, tmp_path / "other")
    for path in (other.classifier, other.sigmoid_head, other.evidence):
        path.unlink()
    other = replace(other, seed=1)
    train_one_epoch(other)
    foreign(run, other, station)
    with pytest.raises(SigcamError, match=sentence):
        load(run)


def train_one_epoch(run: Run) -> None:
    recipe = recipe_of_classifier("", "scratch", run.backbone)
    assert recipe is not None
    ensure_classifier(run, replace(recipe, epochs=1))
    ensure_sigmoid_head(run, replace(SIGMOID_RECIPES["small"], epochs=1))
    ensure_evidence(run, Extent(False, 0))


def test_results_of_a_data_set_that_was_prepared_anew_are_refused(run: Run) -> None:
    shutil.rmtree(run.manifest.parent)
    prepare("shapes", run.work_dir / "data", train=48, val=16, test=4)
    with pytest.raises(SigcamError, match="was made from another manifest than is there now: delete it"):
        ensure_evidence(run)
    with pytest.raises(SigcamError, match="was made from another manifest than is there now: delete it"):
        ensure_sigmoid_head(run)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), RuntimeError("No space left on device (os error 28)")]
)
def test_a_full_disk_is_said_and_leaves_nothing(error: Exception, tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_text("half")
        raise error

    with pytest.raises(SigcamError, match=r"the disk of .* is full: make room, and run the same command again"):
        write_with_record(tmp_path / "file.bin", write, lambda sha256: {"sha256": sha256})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("allocate", [np.zeros, torch.zeros])
def test_too_little_memory_is_said(allocate: Callable[[int], object], capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        allocate(1 << 55)  # more than any machine has

    with pytest.raises(SystemExit):
        run_command_line(main)
    assert capsys.readouterr().err.startswith("error: there is not enough memory")


def test_a_record_is_there_before_its_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    seen: list[bool] = []

    def record(sha256: str) -> dict[str, Any]:
        seen.append(path.exists())
        return {"sha256": sha256}

    write_with_record(path, lambda temporary: temporary.write_bytes(b"abc"), record)
    assert seen == [False]
    assert read_json(path.with_suffix(".json"))["sha256"].startswith("ba7816bf")


def test_what_killed_writers_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, young, foreign_file = (
        tmp_path / name for name in (".a-abcd1234.json", ".a-efgh5678.json", ".b-abcd1234.json")
    )
    for path in (old, young, foreign_file):
        path.write_text("half")
    for path in (old, foreign_file):
        os.utime(path, (time.time() - 100_000,) * 2)
    write_json(tmp_path / "a.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, foreign_file.name, "a.json"]


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with atomic_path(path) as one, atomic_path(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the last to finish


def test_one_process_at_a_time_and_nobody_waits_for_the_dead(tmp_path: Path) -> None:
    lock, order, said = tmp_path / "folder" / "lock", [], []

    def second() -> None:
        with one_at_a_time(lock, said.append):
            order.append("second")

    with one_at_a_time(lock):
        thread = threading.Thread(target=second)
        thread.start()
        while not said:
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert said == [f"waiting for another process that works on {lock.parent}"]
    assert lock.exists()  # the file of somebody who is gone
    with one_at_a_time(lock, said.append):
        assert len(said) == 1
