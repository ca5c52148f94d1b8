"""Boxes without images, from miniatures of the published lists."""

from pathlib import Path

import pytest
from small_archives import pin_metadata, text

from data_scripts import metadata
from data_scripts.__main__ import main, prepare
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json
from sigcam_core.prepare.images import scaled_boxes
from sigcam_core.prepare.manifest import Manifest, read_manifest

CARS = [f"{number:05d}.jpg" for number in range(1, 9)]
LISTS = {
    "ILSVRC/test": (
        ["val/a.JPEG,500,375", "val/b.JPEG,100,200"],
        ["val/b.JPEG,0,0,50,100", "val/a.JPEG,111,108,441,193"],
    ),
    "ILSVRC/val": (["val2/0/0.jpeg,224,224"], ["val2/0/0.jpeg,1,2,3,4", "val2/0/0.jpeg,5,6,224,224"]),
    "CUB/test": (["001.Gull/x.jpg,10,10"], ["001.Gull/x.jpg,0,0,9,9"]),
    "CUB/val": (["001.Gull/1.jpg,20,10"], ["001.Gull/1.jpg,0,0,9,9"]),
    "CARS/train": ([f"{name},60,40" for name in CARS], [f"{name},6,4,30,40" for name in CARS]),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of archives with the lists, under the names of the repositories."""
    monkeypatch.delenv("SIGCAM_DATA", raising=False)
    texts = {"metadata/CARS/train/class_labels.txt": text(*(f"{name},0" for name in CARS))}
    for place, (sizes, boxes) in LISTS.items():
        texts[f"metadata/{place}/image_sizes.txt"] = text(*sizes)
        texts[f"metadata/{place}/localization.txt"] = text(*boxes)
    pin_metadata(monkeypatch, tmp_path / "own", texts)
    return tmp_path / "own"


def of(manifest: Manifest, collection: str) -> Manifest:
    return manifest.take([row for row, name in enumerate(manifest.table["collection"]) if name == collection])


def test_every_collection_has_its_images_with_their_boxes(folder: Path, tmp_path: Path) -> None:
    manifest = prepare("boxes", tmp_path, archives=[folder])
    assert manifest.table["collection"].unique().tolist() == ["imagenet", "imagenetv2", "cub", "cubv2", "stanford_cars"]
    imagenet = of(manifest, "imagenet")
    assert imagenet.table["image_id"].tolist() == ["imagenet/val/a.JPEG", "imagenet/val/b.JPEG"]
    # 111 * 224 / 500 = 49.7 and so on, without the decimals; each image by its own size.
    assert [boxes.tolist() for boxes in scaled_boxes(imagenet, 224)] == [[[49, 64, 197, 115]], [[0, 0, 112, 112]]]
    assert scaled_boxes(of(manifest, "imagenetv2"), 224)[0].tolist() == [[1, 2, 3, 4], [5, 6, 224, 224]]
    splits = manifest.table.groupby("collection")["split"].unique().map(list).to_dict()
    assert {name for name, found in splits.items() if found == ["val"]} == {"imagenetv2", "cubv2"}
    assert {name for name, found in splits.items() if found == ["test"]} == {"imagenet", "cub", "stanford_cars"}


def test_of_stanford_cars_there_is_the_test_split_of_that_data_set(folder: Path, tmp_path: Path) -> None:
    from data_scripts import stanford_cars

    for seed in (0, 1):
        cars = of(prepare("boxes", tmp_path / str(seed), archives=[folder], seed=seed), "stanford_cars").table
        whole = stanford_cars.published_rows(stanford_cars.check_parameters(seed=seed, val_fraction=0.1), [folder])
        expected = whole[whole["split"] == "test"]
        assert cars["image_id"].tolist() == [f"stanford_cars/{name}" for name in expected["image_id"]]
        assert len(cars) == 2  # a quarter of the one class


def test_the_manifest_records_every_text_file_and_a_second_call_has_nothing_to_do(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["boxes", "--root", str(tmp_path), "--archives", str(folder)])
    records = read_json(tmp_path / "boxes" / "manifest.json")["parameters"]["archives"]
    assert {record["name"]: record["checksum"] for record in records} == {
        name: pin.checksum for name, pin in metadata.pinned().items()
    }
    main(["boxes", "--root", str(tmp_path), "--archives", str(folder)])
    assert "nothing to do" in capsys.readouterr().out
    assert len(read_manifest(tmp_path / "boxes" / "manifest.parquet")) == 7


def test_the_lists_are_found_in_a_folder_of_their_own_too(folder: Path, tmp_path: Path) -> None:
    expected = prepare("boxes", tmp_path / "one", archives=[folder]).checksum
    (folder / "stanford_cars").mkdir()
    (folder / "metadata" / "CARS" / "train").rename(folder / "stanford_cars" / "metadata")
    (folder / "metadata").rename(folder / "wsol_metadata")
    assert prepare("boxes", tmp_path / "two", archives=[folder]).checksum == expected


def test_an_image_without_a_box_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {name: (folder / name).read_bytes() for name in metadata.pinned()}
    texts["metadata/ILSVRC/test/localization.txt"] = text("val/b.JPEG,0,0,50,100")
    monkeypatch.undo()
    pin_metadata(monkeypatch, folder, texts)
    with pytest.raises(SigcamError, match=r"ILSVRC/test/localization\.txt has no box of val/a\.JPEG"):
        prepare("boxes", tmp_path, archives=[folder])


def test_without_the_lists_nothing_is_downloaded_unasked(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match=r"manifest\.parquet does not exist: run `python -m data_scripts boxes"):
        main(["boxes", "--root", str(tmp_path), "--generated-only"])
