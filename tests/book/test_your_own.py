"""The page about networks and images of one's own: its code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from small_pictures import coloured_folders

from data_scripts.__main__ import prepare
from data_scripts.own_boxes import BOX_FORMATS
from sigcam_core.backbones.formats import InputFormat
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.manifest import read_manifest

PAGE = Path(__file__).parents[2] / "book" / "your_own.md"


def test_the_ten_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    classes = {"red": 20, "blue": 20}
    source = str(coloured_folders(tmp_path / "own", classes))
    prepare("image_folder", tmp_path / "build" / "data", folder="my_images", source=source)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    given = {
        "my_classifier": small_cnn(2),
        "my_format": InputFormat(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        "images": torch.randn(2, 3, 32, 32),
    }
    exec(code, given)
    assert {"fidelity", "fidelity_differences"} <= set(given["tables"])
    assert {head for head, _ in given["maps"]} == {"softmax", "sigmoid"}
    lines = [line for line in code.splitlines() if line and "import" not in line]
    assert len(lines) <= 10


def test_every_format_of_boxes_is_on_the_page() -> None:
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", PAGE.read_text(), re.MULTILINE)
    endings = {"JSON": ".json", "one XML": ".xml", "one text": ".txt", "CSV": ".csv"}
    named = {
        name: ending
        for first, files in rows
        for start, ending in endings.items()
        if files.startswith(start)
        for name in re.findall(r"`(.*?)`", first)
    }
    assert named == {name: kind.ending for name, kind in BOX_FORMATS.items()}


def test_splits_of_a_folder(tmp_path: Path) -> None:
    source = coloured_folders(tmp_path / "own", {"red": 20, "blue": 10})
    root = tmp_path / "data"
    manifest = prepare("image_folder", root, source=str(source), test_fraction=0.3, val_fraction=0.5)
    counts = manifest.table.groupby(["label", "split"]).size().to_dict()
    assert counts == {(0, "test"): 3, (0, "train"): 3, (0, "val"): 4, (1, "test"): 6, (1, "train"): 7, (1, "val"): 7}
    assert manifest.class_names == ("blue", "red")
    again = prepare("image_folder", root, source=str(source), test_fraction=0.3, val_fraction=0.5)
    assert again.checksum == manifest.checksum
    (source / "red" / "0.png").unlink()  # what is in the folder now counts
    assert len(prepare("image_folder", root, source=str(source), test_fraction=0.3, val_fraction=0.5)) == 29


def test_given_splits_are_kept(tmp_path: Path) -> None:
    for split, count in (("train", 10), ("test", 4)):
        coloured_folders(tmp_path / "own" / split, {"red": count, "blue": count})
    prepare("image_folder", tmp_path / "data", source=str(tmp_path / "own"), val_fraction=0.2)
    table = read_manifest(tmp_path / "data" / "image_folder" / "manifest.parquet").table
    assert table["split"].value_counts().to_dict() == {"train": 16, "test": 8, "val": 4}
    assert all(
        path.startswith(f"images/{'test' if split == 'test' else 'train'}/")
        for path, split in zip(table["path"], table["split"], strict=True)
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "--source '' is no folder"),
        ({"source": "/nowhere"}, "--source '/nowhere' is no folder"),
        ({"source": ".", "test_fraction": 0.0}, "--test-fraction 0.0 is out of range"),
    ],
)
def test_wrong_options_are_said(options: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match=re.escape(sentence)):
        prepare("image_folder", tmp_path, **options)
    assert not list(tmp_path.iterdir())
