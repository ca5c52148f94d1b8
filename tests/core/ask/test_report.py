"""Folders of images of one's own, from the images to the tables."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_pictures import coloured_folders

from sigcam_core.__main__ import main
from sigcam_core.ask.report import report_on_folder
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_object, write_json
from sigcam_core.prepare.command import run_first_station
from sigcam_core.prepare.manifest import read_manifest
from sigcam_core.run import Extent, Run


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
    shown, said = capsys.readouterr()
    cost = said.index("at most 92 passes of efficientnet_lite0, without insertion")
    assert cost < said.index("softmax head: epoch 1/")
    saved = tmp_path / "reports" / "my_pictures-efficientnet_lite0-gap-probe-seed0"
    fidelity = pd.read_csv(saved / "fidelity.csv")
    assert set(fidelity["head"]) == {"softmax", "sigmoid"}
    assert fidelity["value"].between(0, 100).all()
    assert "fidelity" in shown
    main()  # finds everything done
    again = capsys.readouterr()
    assert again.out.count("fidelity") == shown.count("fidelity")
    assert "passes" not in again.err
    monkeypatch.setattr(sys, "argv", ["sigcam_core", *arguments, "--perturbed-images", "2"])
    with pytest.raises(SigcamError, match="insertion and deletion of 0 images, not 2: leave out --perturbed-images"):
        main()


def test_what_is_no_folder_of_classes_is_said(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(SigcamError, match="is no folder: give one that holds one folder of images per class"):
        report_on_folder(tmp_path / "none", "efficientnet_lite0", tmp_path)
    with pytest.raises(
        SigcamError,
        match=r"has fewer than two classes \(only one class, 'red'\): put each class into a folder of its own",
    ):
        report_on_folder(one_class(tmp_path, folder), "efficientnet_lite0", tmp_path)


class PreparedError(Exception):
    """Raised in place of training and evaluation, with the run and its extent."""


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Run, Extent]]:
    """What a report is about to train and evaluate; afterwards a record tells that something was made from the data."""

    def stop(run: Run, extent: Extent) -> None:
        record = {"dataset": run.dataset, "manifest_checksum": read_manifest(run.manifest).checksum}
        write_json(run.evidence.with_suffix(".json"), record)
        raise PreparedError(run, extent)

    def prepare(folder: Path, work_dir: Path, **options: Any) -> tuple[Run, Extent]:
        with pytest.raises(PreparedError) as caught:
            report_on_folder(folder, "efficientnet_lite0", work_dir, **options)
        return caught.value.args

    monkeypatch.setattr("sigcam_core.ask.report.ensure_evidence", stop)
    return prepare


def test_another_seed_and_another_folder_of_the_same_name_go_beside_the_first(
    folder: Path, tmp_path: Path, prepared: Callable[..., tuple[Run, Extent]]
) -> None:
    other = shutil.copytree(folder, tmp_path / "elsewhere" / folder.name)
    calls = [(folder, {}), (folder, {"seed": 1}), (other, {}), (other, {"seed": 1}), (folder, {"name": "chosen"})]
    runs = [prepared(given, tmp_path, **options)[0] for given, options in calls]
    names = [run.dataset for run in runs]
    assert names[:2] == ["my_pictures", "my_pictures_seed1"]
    assert names[2].startswith("my_pictures_")
    assert names[3].startswith("my_pictures_seed1_")
    assert names[4] == "chosen"
    assert len(set(names)) == 5
    assert len({run.evidence for run in runs}) == 5
    for run, (given, _) in zip(runs, calls, strict=True):
        assert read_object(run.manifest.with_suffix(".json"))["parameters"]["source"] == str(given.resolve())
    assert [prepared(given, tmp_path, **options)[0] for given, options in calls] == runs  # each finds its own again
    with pytest.raises(SigcamError, match=r"is a data set of other images than .*: choose another --name\.$"):
        prepared(other, tmp_path, name="chosen")


def test_insertion_and_deletion_are_measured_where_they_are_asked_for(
    folder: Path, tmp_path: Path, prepared: Callable[..., tuple[Run, Extent]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepared(folder, tmp_path)[1].perturbed_images == 0
    # 6 test images; 10 maps each, and 19 passes for a map of 2 of them.
    assert "at most 92 passes" in capsys.readouterr().err
    assert prepared(folder, tmp_path, perturbed_images=2)[1].perturbed_images == 2
    said = capsys.readouterr().err
    assert f"at most {92 + 2 * 10 * 19} passes of efficientnet_lite0, 380 of them for insertion" in said
    with pytest.raises(SigcamError, match=r"^cannot perturb -1 images: give 0 or more\.$"):
        report_on_folder(folder, "efficientnet_lite0", tmp_path, perturbed_images=-1)


def test_nothing_is_written_into_the_images(folder: Path, tmp_path: Path) -> None:
    pictures = shutil.copytree(folder, tmp_path / "pictures")
    before = sorted(pictures.rglob("*"))
    with pytest.raises(SigcamError, match=r"^the output .* lies in the input .*pictures, which would be changed"):
        report_on_folder(pictures, "efficientnet_lite0", pictures / "build")
    inside = shutil.copytree(folder, tmp_path / "work" / "data" / "pictures")
    with pytest.raises(SigcamError, match=r"^the output .* is the input .*pictures, which would be changed"):
        report_on_folder(inside, "efficientnet_lite0", tmp_path / "work")
    with pytest.raises(SigcamError, match="is the input"):
        run_first_station(["image_folder", "--root", str(tmp_path), "--name", "pictures", "--source", str(pictures)])
    assert sorted(pictures.rglob("*")) == before


def one_class(tmp_path: Path, folder: Path) -> Path:
    shutil.copytree(folder / "red things", tmp_path / "one" / "red")
    return tmp_path / "one"


def boxes_of(folder: Path, path: Path, names: list[str]) -> Path:
    """A file of boxes, each the left half of its image of 32 x 24 pixels."""
    rows = [f"{name},0,0,15,23" for name in names]
    path.write_text("\n".join(["image,x0,y0,x1,y1", *rows]), encoding="utf-8")
    return path


@pytest.fixture
def boxes(folder: Path, tmp_path: Path) -> Path:
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.png"))]
    return boxes_of(folder, tmp_path / "boxes.csv", names)


def test_maps_are_located_by_boxes_of_ones_own(
    folder: Path, boxes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--boxes", str(boxes), "--box-format", "xyxy-inclusive"]
    monkeypatch.setattr(sys, "argv", ["sigcam_core", "report", str(folder), "--work-dir", str(tmp_path), *options])
    main()
    shown = capsys.readouterr().out
    run = Run("my_pictures_boxes", "efficientnet_lite0", 0, tmp_path, "probe")
    manifest = read_manifest(run.manifest)
    assert [[*map(list, found)] for found in manifest.table["boxes"]] == [[[0, 0, 15, 23]]] * 32
    saved = {path.stem: pd.read_csv(path) for path in (tmp_path / "reports" / run.full_name).iterdir()}
    found = saved["wsol"]
    assert {"gt_loc", "maxboxacc_v2"} <= set(found["metric"])
    assert "pxap" not in set(found["metric"])
    assert found["value"].between(0, 100).all()
    assert "gt_loc" in shown


def test_boxes_are_asked_for_with_their_convention_and_for_images_that_are_tested(
    folder: Path, boxes: Path, tmp_path: Path, prepared: Callable[..., tuple[Run, Extent]]
) -> None:
    def refused(words: str, **options: str) -> None:
        with pytest.raises(SigcamError, match=words):
            report_on_folder(folder, "efficientnet_lite0", tmp_path / "work", **options)

    refused(r"^--box-format is not given, and is never guessed: give one of coco, voc,", boxes=str(boxes))
    refused(r"^--box-format and --box-classes are for --boxes", box_format="coco")
    refused(r"^unknown --box-format 'guess'", boxes=str(boxes), box_format="guess")
    refused(r"^32 of 32 boxes leave their image", boxes=str(boxes), box_format="xyxy-normalised")
    refused(r"^--boxes 'none' is no \.json file and no folder of such", boxes="none", box_format="coco")
    table = read_manifest(prepared(folder, tmp_path / "work")[0].manifest).table
    trained = table.loc[table["split"] == "train", "image_id"].tolist()
    few = boxes_of(folder, tmp_path / "few.csv", trained)
    refused(r"^no test image of \w+ has a box, so no map can be located", boxes=str(few), box_format="xyxy-inclusive")


def test_boxes_of_a_data_set_that_was_prepared_are_kept_and_said(
    folder: Path,
    boxes: Path,
    tmp_path: Path,
    prepared: Callable[..., tuple[Run, Extent]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = ["--root", str(tmp_path / "data"), "--name", "mine", "--source", str(folder)]
    run_first_station(["image_folder", *place, "--boxes", str(boxes), "--box-format", "xyxy-inclusive"])
    checksum = read_manifest(tmp_path / "data" / "mine" / "manifest.parquet").checksum
    capsys.readouterr()
    run, _ = prepared(folder, tmp_path, name="mine")
    assert read_manifest(run.manifest).checksum == checksum
    assert f"was prepared with the boxes of {boxes}: maps are measured against them" in capsys.readouterr().err
    with_boxes, _ = prepared(folder, tmp_path, boxes=str(boxes), box_format="xyxy-inclusive")
    without, _ = prepared(folder, tmp_path)
    assert [with_boxes.dataset, without.dataset] == ["my_pictures_boxes", "my_pictures"]
    assert not read_manifest(without.manifest).table["boxes"].map(len).any()
    assert prepared(folder, tmp_path)[0] == without
    assert "was prepared with the boxes" not in capsys.readouterr().err
