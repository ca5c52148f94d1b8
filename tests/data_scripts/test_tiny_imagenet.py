"""Tiny-ImageNet-200 from a miniature archive in its layout, and from the real one where it lies on this machine."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from small_archives import Files, jpeg, serve, text, write_zip

from data_scripts import tiny_imagenet
from data_scripts.__main__ import main, prepare
from data_scripts.imagenet_classes import imagenet_names
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json, sha256_of_file
from sigcam_core.prepare.images import load_images, scaled_boxes
from sigcam_core.prepare.manifest import Manifest, read_manifest

REAL_DATA = os.environ.get("SIGCAM_DATA")
# Not in the order of the manifest's classes, as in the real archive.
WNIDS = ("n02124075", "n01443537", "n04067472")


@pytest.fixture(autouse=True)
def _no_archives_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGCAM_DATA", raising=False)


def miniature() -> Files:
    root = "tiny-imagenet-200/"
    files = {f"{root}wnids.txt": text(*WNIDS), f"{root}words.txt": text(*(f"{wnid}\tword" for wnid in WNIDS))}
    for wnid in WNIDS:
        names = [f"{wnid}_{index}.JPEG" for index in range(10)]
        files[f"{root}train/{wnid}/{wnid}_boxes.txt"] = text(*(f"{name}\t1\t0\t53\t63" for name in names))
        files |= {f"{root}train/{wnid}/images/{name}": jpeg(64, 64) for name in names}
    annotations = [f"val_{index}.JPEG\t{WNIDS[index % 3]}\t{index}\t2\t32\t44" for index in range(6)]
    files[f"{root}val/val_annotations.txt"] = text(*annotations)
    files |= {f"{root}val/images/val_{index}.JPEG": jpeg(64, 64) for index in range(6)}
    return files | {f"{root}test/images/test_0.JPEG": jpeg(64, 64)}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("data")
    write_zip(folder / "tiny-imagenet-200.zip", miniature())
    return prepare("tiny_imagenet", folder, archives=[folder], val_fraction=0.2)


def test_what_is_prepared_is_no_reason_to_refuse(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    main(["tiny_imagenet", "--generated-only", "--val-fraction", "0.2", "--root", str(manifest.root.parent)])
    assert "nothing to do" in capsys.readouterr().out.replace("\n", " ")


def test_splits_boxes_and_classes_are_those_of_the_lists(manifest: Manifest) -> None:
    table = manifest.table.set_index("image_id")
    assert table["split"].value_counts().to_dict() == {"train": 24, "test": 6, "val": 6}
    assert table[table["split"] == "val"]["label"].value_counts().to_dict() == {0: 2, 1: 2, 2: 2}
    # The published validation images are the test split.
    assert table.loc["val_4", "split"] == "test"
    assert table.loc["val_4", "boxes"] == [[4, 2, 32, 44]]
    assert table.loc["n02124075_3", "boxes"] == [[1, 0, 53, 63]]
    assert manifest.class_names == ("goldfish", "Egyptian cat", "reel")
    assert table.loc["val_0", ["label", "wnid", "imagenet_class"]].tolist() == [1, "n02124075", 285]
    assert {manifest.class_names[row.label] == imagenet_names()[row.imagenet_class] for row in table.itertuples()} == {
        True
    }


def test_images_load_and_the_unlabelled_ones_are_left_out(manifest: Manifest) -> None:
    assert load_images(manifest, 64).shape == (36, 3, 64, 64)
    assert scaled_boxes(manifest.split("test"), 128)[0].tolist() == [[0, 4, 64, 88]]
    assert not (manifest.root / "images/test").exists()


def test_the_users_own_archive_is_recorded_as_such(manifest: Manifest) -> None:
    parameters = read_json(manifest.root / "manifest.json")["parameters"]
    (record,) = parameters.pop("archives")
    assert parameters == {"seed": 0, "val_fraction": 0.2}
    assert (record["name"], record["published"]) == ("tiny-imagenet-200.zip", False)
    assert record["checksum"].startswith("sha256:")


def test_once_prepared_nothing_is_done_until_the_archive_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = miniature()
    path = write_zip(tmp_path / "own" / "tiny-imagenet-200.zip", files)
    arguments = ["tiny_imagenet", "--root", str(tmp_path), "--archives", str(path.parent)]
    main(arguments)
    capsys.readouterr()
    main(arguments)
    assert "nothing to do" in capsys.readouterr().out
    files["tiny-imagenet-200/val/val_annotations.txt"] = text("val_0.JPEG\tn02124075\t1\t2\t32\t44")
    write_zip(path, files)
    main(arguments)
    assert "nothing to do" not in capsys.readouterr().out
    assert len(read_manifest(tmp_path / "tiny_imagenet/manifest.parquet").split("test")) == 1
    path.unlink()
    main(arguments)
    assert "nothing to do" in capsys.readouterr().out


def test_a_missing_archive_is_downloaded_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "server" / "tiny-imagenet-200.zip", miniature())
    with serve(path.parent) as url:
        published = replace(tiny_imagenet.ARCHIVE, url=f"{url}/{path.name}")
        monkeypatch.setattr(tiny_imagenet, "ARCHIVE", published)
        with pytest.raises(
            SigcamError, match=r"does not match its checksum .* put it into .*archives, or into a folder"
        ):
            prepare("tiny_imagenet", tmp_path)
        assert list((tmp_path / "tiny_imagenet/archives").iterdir()) == []
        right = replace(published, checksum=f"sha256:{sha256_of_file(path)}")
        monkeypatch.setattr(tiny_imagenet, "ARCHIVE", right)
        manifest = prepare("tiny_imagenet", tmp_path)
    (record,) = read_json(manifest.root / "manifest.json")["parameters"]["archives"]
    assert (record["published"], record["checksum"], len(manifest)) == (True, right.checksum, 36)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("train/n02124075/images/n02124075_3.JPEG", None, "1 of 36 images are missing .* the first is .*n02124075_3"),
        ("val/val_annotations.txt", None, r"val_annotations\.txt is missing: the archive has not its original layout"),
        ("val/val_annotations.txt", text("val_0.JPEG n02124075"), "line 1 has 1 fields, not 6"),
        ("wnids.txt", text(*WNIDS, "n99999999"), "lists n99999999, which is no class of ImageNet-1k"),
    ],
)
def test_an_incomplete_archive_is_refused(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    files = miniature()
    files.pop(f"tiny-imagenet-200/{name}")
    if content is not None:
        files[f"tiny-imagenet-200/{name}"] = content
    write_zip(tmp_path / "tiny-imagenet-200.zip", files)
    with pytest.raises(SigcamError, match=sentence):
        prepare("tiny_imagenet", tmp_path, archives=[tmp_path])
    assert not (tmp_path / "tiny_imagenet/manifest.parquet").exists()


@pytest.mark.parametrize(("option", "value"), [("--val-fraction", "1"), ("--val-fraction", "nan"), ("--seed", "-1")])
def test_a_parameter_out_of_range_is_refused_by_name(tmp_path: Path, option: str, value: str) -> None:
    with pytest.raises(SigcamError, match=f"^{option} .* is out of range"):
        main(["tiny_imagenet", "--root", str(tmp_path), option, value])


# The miniature covers the same code. Where SIGCAM_DATA names a folder with the archive, the real one is read too;
# elsewhere this test does not exist, rather than be skipped.
if REAL_DATA:

    def test_the_real_archive(tmp_path: Path) -> None:
        manifest = prepare("tiny_imagenet", tmp_path, archives=[Path(path) for path in REAL_DATA.split(os.pathsep)])
        assert manifest.num_classes == 200
        table = manifest.table
        assert len(manifest.split("test")) == 10_000
        assert len(manifest.split("train")) + len(manifest.split("val")) in (50_000, 100_000)
        assert table.groupby("label")["imagenet_class"].nunique().eq(1).all()
        assert table["imagenet_class"].nunique() == 200
        val = manifest.split("val").table["label"].value_counts()
        assert val.min() == val.max() == len(table[table["split"] != "test"]) // 2000
        sample = manifest.take(range(0, len(table), 500))
        images = load_images(sample, 64)
        assert images.float().std() > 40
        first = table.set_index("image_id").loc["val_0"]
        assert (first["wnid"], first["boxes"]) == ("n03444034", [[0, 32, 44, 62]])
