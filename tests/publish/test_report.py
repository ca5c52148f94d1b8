"""Folders of images of one's own, from the images to the tables."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from small_pictures import coloured_folders

from sigcam_core.__main__ import main
from sigcam_core.common.errors import SigcamError
from sigcam_core.publish.report import report_on_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two classes, in folders with spaces."""
    return coloured_folders(tmp_path_factory.mktemp("own") / "my pictures", {"red things": 16, "blue; things": 16})


def test_a_folder_of_images_becomes_two_heads_and_their_tables(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["report", str(folder), "--work-dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["sigcam_core", *arguments])
    main()
    shown = capsys.readouterr().out
    saved = tmp_path / "reports" / "my_pictures-efficientnet_lite0-gap-probe-seed0"
    fidelity = pd.read_csv(saved / "fidelity.csv")
    assert set(fidelity["head"]) == {"softmax", "sigmoid"}
    assert fidelity["value"].between(0, 100).all()
    assert "fidelity" in shown
    main()  # finds everything done
    assert capsys.readouterr().out.count("fidelity") == shown.count("fidelity")


def test_what_is_no_folder_of_classes_is_said(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(SigcamError, match="is no folder: give one that holds one folder of images a class"):
        report_on_folder(tmp_path / "none", "efficientnet_lite0", tmp_path)
    with pytest.raises(SigcamError, match=r"only one class, 'red'\): put each class into a folder of its own"):
        report_on_folder(one_class(tmp_path, folder), "efficientnet_lite0", tmp_path)


def one_class(tmp_path: Path, folder: Path) -> Path:
    shutil.copytree(folder / "red things", tmp_path / "one" / "red")
    return tmp_path / "one"
