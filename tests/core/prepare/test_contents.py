"""A file that was replaced is noticed, however it is dated; one that was only copied is not."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_networks import noise_images

from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.contents import (
    FILES,
    files_named,
    marks_of_files,
    recorded_files,
    refuse_replaced,
    replaced_files,
)
from sigcam_core.prepare.manifest import Manifest, read_manifest, write_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    (tmp_path / "set").mkdir()
    return noise_images(tmp_path / "set", 4)


def test_the_record_has_size_date_and_checksum_of_every_file(manifest: Manifest) -> None:
    table = pd.read_parquet(manifest.root / FILES).set_index("path")
    assert sorted(table.index) == sorted(manifest.table["path"])
    for name, row in table.iterrows():
        path = manifest.root / str(name)
        assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (row["bytes"], row["date"]) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert len(manifest.contents) == 64


def test_a_changed_bit_of_the_record_is_noticed_or_says_nothing(manifest: Manifest) -> None:
    path, known = manifest.root / FILES, recorded_files(manifest.root)
    content, noticed = path.read_bytes(), 0
    for place in range(0, len(content), 5):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        try:
            assert recorded_files(manifest.root) == known
        except SigcamError as error:
            noticed += 1
            assert "cannot be read" in str(error)  # noqa: PT017  # other bits are of no consequence
    assert noticed > 100


@pytest.mark.parametrize("change", ["date", "size"])
def test_another_image_is_noticed(change: str, manifest: Manifest) -> None:
    first, second = (manifest.locate(name) for name in manifest.table["path"][:2])
    content = bytearray(first.read_bytes())
    content[-20] ^= 1
    first.write_bytes(content if change == "date" else content + b"x")
    os.utime(second)
    assert replaced_files(manifest.root) == [first]
    with pytest.raises(SigcamError, match=rf"1 files of x are not those .* first {first}: put them back, or prepare"):
        refuse_replaced(manifest.root, "x")
    again = write_manifest(manifest.root / "manifest.parquet", manifest.table, name="x", class_names=["a"] * 9)
    assert again.checksum == manifest.checksum
    assert again.contents != manifest.contents
    assert read_manifest(manifest.root / "manifest.parquet").contents == again.contents
    refuse_replaced(manifest.root, "x")


def test_a_copy_of_a_data_set_is_the_same(manifest: Manifest, tmp_path: Path) -> None:
    names = list(manifest.table["path"])
    shutil.copytree(manifest.root, tmp_path / "copy", copy_function=shutil.copyfile)  # with dates of its own
    assert replaced_files(tmp_path / "copy") == []
    assert marks_of_files(tmp_path / "copy", names) == marks_of_files(manifest.root, names)
    manifest.locate(names[0]).unlink()
    assert replaced_files(manifest.root) == []  # what is missing is not replaced
    with pytest.raises(SigcamError, match=r"cannot be read \(No such file or directory\): prepare the data set again"):
        marks_of_files(manifest.root, names)


def test_without_a_record_size_and_date_tell(manifest: Manifest) -> None:
    (manifest.root / FILES).unlink()
    name = manifest.table["path"][0]
    before = marks_of_files(manifest.root, [name])
    os.utime(manifest.locate(name))
    assert marks_of_files(manifest.root, [name]) != before
    assert replaced_files(manifest.root) == []


def test_columns_of_files_are_found_by_what_they_name(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "mask.png"):
        (tmp_path / name).touch()
    columns = {"image_id": ["a", "b"], "path": ["a.png", "b.png"], "mask": [None, "mask.png"], "label": [0, 1]}
    assert files_named(tmp_path, pd.DataFrame(columns)) == ["a.png", "b.png", "mask.png"]
