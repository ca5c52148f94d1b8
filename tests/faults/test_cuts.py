"""Stations that are cut off at every file they put in place, with and without power: the end is the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from data_scripts.__main__ import prepare
from sigcam_core.run import Extent, Run
from sigcam_core.stations import ensure_classifier, ensure_evidence, ensure_sigmoid_head
from sigcam_core.train.recipes import SIGMOID_RECIPES, recipe_of_classifier


class Cut(BaseException):
    """The end of a process, which no handler of errors catches."""


@contextmanager
def cut_at(number: int, monkeypatch: pytest.MonkeyPatch, with_power: bool, before: bool) -> Iterator[None]:
    """End the block at a file's renaming, before or after it.

    Args:
        number: of the renaming, from 0; the block runs to its end where there are fewer.
        monkeypatch: of the test.
        with_power: files that were renamed before they were on the disk are empty afterwards.
        before: end before the renaming, or after it.
    """
    synced: set[int] = set()
    unsafe: list[Path] = []
    count = 0
    fsync, rename = os.fsync, Path.replace

    def note(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    def stop_or_rename(source: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if before and count > number:
            raise Cut
        if source.stat().st_ino not in synced:
            unsafe.append(Path(target))
        renamed = rename(source, target)
        if count > number:
            raise Cut
        return renamed

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", note)
        patch.setattr(Path, "replace", stop_or_rename)
        patch.setattr(Path, "rename", stop_or_rename)
        try:
            yield
        finally:
            for path in unsafe if with_power else ():
                path.write_bytes(b"")


def whole_line(work_dir: Path) -> Run:
    """The stations of a tiny run, each made where its file is missing."""
    run = Run("shapes", "small_cnn", 0, work_dir)
    prepare("shapes", work_dir / "data", train=24, val=8, test=6)
    recipe = recipe_of_classifier("", "scratch", run.backbone)
    assert recipe is not None
    ensure_classifier(run, replace(recipe, epochs=1))
    ensure_sigmoid_head(run, replace(SIGMOID_RECIPES["small"], epochs=1))
    ensure_evidence(run, Extent(False, 0))
    return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return whole_line(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(("with_power", "before"), [(False, True), (False, False), (True, False)])
def test_the_line_ends_with_the_same_numbers_wherever_it_was_cut(
    with_power: bool, before: bool, undisturbed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = 0
    while True:
        work_dir = tmp_path / str(cuts)
        try:
            with cut_at(cuts, monkeypatch, with_power, before):
                whole_line(work_dir)
            break
        except Cut:
            cuts += 1
        made = {path: path.stat().st_mtime_ns for path in work_dir.rglob("*.safetensors")}
        again = whole_line(work_dir)
        for path, changed in made.items():
            assert path.stat().st_mtime_ns == changed, f"{path.name} was made again after cut {cuts}"
        for name in ("classifier", "sigmoid_head"):
            mine, theirs = (load_file(getattr(run, name)) for run in (again, undisturbed))
            assert all(torch.equal(mine[key], value) for key, value in theirs.items()), (cuts, name)
        pd.testing.assert_frame_equal(pd.read_parquet(again.evidence), pd.read_parquet(undisturbed.evidence))
        shutil.rmtree(work_dir)
    assert cuts >= 8  # the manifest, two heads and evidence, each with its record
