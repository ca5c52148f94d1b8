"""Folders as people have them on their disks: what is taken, what is passed over, and what is said about it."""

from __future__ import annotations

import os
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_pictures import coloured_folders

from data_scripts.__main__ import main
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json
from sigcam_core.prepare.decode import image_size
from sigcam_core.prepare.images import load_images
from sigcam_core.prepare.manifest import Manifest, read_manifest

Counts = dict[tuple[str, str], int]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of two classes of ten images each, at the place where the tests add what they need."""
    return coloured_folders(tmp_path / "own", {"cat": 10, "dog": 10})


def picture(path: Path, kind: str = "PNG") -> Path:
    """A picture that is like no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(os.fsencode(str(path)))
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path, format=kind)
    return path


def splits(folder: Path, layout: dict[str, int], classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Folders of as many pictures per class."""
    for split, count in layout.items():
        for name in classes:
            for number in range(count):
                picture(folder / split / name / f"{split}-{number}.png")
    return folder


def command(source: Path, *options: str) -> Manifest:
    """The data set that the command line makes of a folder, in the folder beside it."""
    root = source.parent / "data"
    main(["image_folder", "--root", str(root), "--source", str(source), *options])
    return read_manifest(root / "image_folder" / "manifest.parquet")


def counts(manifest: Manifest) -> Counts:
    """Images by split and class."""
    names = manifest.table["label"].map(lambda label: manifest.class_names[label])
    return {(str(a), str(b)): int(n) for (a, b), n in manifest.table.groupby(["split", names]).size().items()}


def refusal(source: Path, *options: str) -> str:
    """The sentence that the command line refuses a folder with, leaving nothing behind."""
    with pytest.raises(SigcamError) as caught:
        command(source, *options)
    assert not list(source.parent.glob("data/*"))
    return str(caught.value)


def passed_over(manifest: Manifest) -> dict[str, list[str]]:
    return dict(read_json(manifest.root / "passed_over.json"))


def test_of_train_and_val_the_folders_below_are_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = command(splits(tmp_path / "own", {"train": 10, "val": 3}))
    assert manifest.class_names == ("cat", "dog")
    each = {"train": 8, "val": 3, "test": 2}
    assert counts(manifest) == {(split, name): count for split, count in each.items() for name in ("cat", "dog")}
    from_val = manifest.table[manifest.table["path"].str.startswith("images/val/")]
    assert set(from_val["split"]) == {"val"}
    assert "no folder test: 20 % of each class in train became test" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["valid", "validation", "dev", "Val", "VALIDATION"])
def test_other_names_of_val_are_val(tmp_path: Path, name: str) -> None:
    manifest = command(splits(tmp_path / "own", {"train": 6, name: 3, "test": 2}))
    each = {"train": 6, "val": 3, "test": 2}
    assert counts(manifest) == {(split, one): count for split, count in each.items() for one in ("cat", "dog")}


def test_hidden_and_generated_things_are_passed_over_aloud(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junk = [".ipynb_checkpoints/0.png", "cat/.ipynb_checkpoints/0-checkpoint.png", "__MACOSX/cat/0.png", "@eaDir/0.png"]
    for name in junk:
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(own / "cat" / "0.png", own / name)
    (own / "cat" / "._1.jpg").write_bytes(b"\0\5\x16\7")
    (own / "dog" / "Thumbs.db").write_bytes(b"x")
    manifest = command(own)
    assert manifest.class_names == ("cat", "dog")
    assert len(manifest) == 20
    skipped = {".ipynb_checkpoints", "cat/.ipynb_checkpoints", "cat/._1.jpg", "dog/Thumbs.db", "__MACOSX", "@eaDir"}
    assert set(passed_over(manifest)["hidden or generated"]) == skipped
    assert "passed over: 6 hidden or generated (.ipynb_checkpoints, @eaDir, __MACOSX, ...)" in capsys.readouterr().out


def test_what_the_project_itself_makes_in_the_folder_is_no_class(own: Path) -> None:
    main(["photos", "--root", str(own / "build" / "data")])
    main(["image_folder", "--root", str(own / "build" / "data"), "--source", str(own)])
    main(["image_folder", "--root", str(own / "build" / "data"), "--source", str(own), "--seed", "1"])
    manifest = read_manifest(own / "build" / "data" / "image_folder" / "manifest.parquet")
    assert manifest.class_names == ("cat", "dog")
    assert "build/data/photos" in passed_over(manifest)["hidden or generated"]


def test_links_are_followed_and_not_in_circles(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = coloured_folders(own.parent / "elsewhere", {"fox": 10})
    (own / "fox").symlink_to(elsewhere / "fox")
    (own / "cat" / "one.png").symlink_to(picture(own.parent / "one.png"))
    (own / "dog" / "all").symlink_to(own)
    (own / "dog" / "gone.png").symlink_to(own.parent / "nowhere.png")
    manifest = command(own)
    assert manifest.class_names == ("cat", "dog", "fox")
    assert [sum(manifest.table["label"] == label) for label in range(3)] == [11, 10, 10]
    assert len(load_images(manifest, 8)) == 31
    assert "2 broken or circular links, or no files (dog/all, dog/gone.png)" in capsys.readouterr().out


def test_names_of_formats_in_capitals_and_rare_ones_are_taken_and_others_counted(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, kind in (
        ("a.jfif", "JPEG"),
        ("b.JPG", "JPEG"),
        ("c.Jpe", "JPEG"),
        ("d.TIFF", "TIFF"),
        ("e.WebP", "WEBP"),
    ):
        picture(own / "cat" / name, kind)
    for name in ("f.pgm", "g.PGM", "h.ppm"):
        picture(own / "dog" / name, "PPM")
    (own / "dog" / "README").write_text("read me")
    picture(own / "i.png")
    manifest = command(own)
    assert [sum(manifest.table["label"] == label) for label in range(2)] == [15, 10]
    assert len(load_images(manifest, 8)) == 25
    told = capsys.readouterr().out
    assert "passed over: 4 of other formats (.pgm 2, no ending 1, .ppm 1)" in told
    assert "passed over: 1 in no class folder (i.png)" in told


def test_same_bytes_in_two_splits_and_two_classes_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = splits(tmp_path / "own", {"train": 6, "val": 2, "test": 3})
    train, test = own / "train", own / "test"
    shutil.copy(train / "cat" / "train-0.png", test / "cat" / "copy.png")
    shutil.copy(train / "cat" / "train-0.png", test / "cat" / "second copy.png")
    shutil.copy(train / "dog" / "train-1.png", test / "dog" / "copy.png")
    shutil.copy(train / "dog" / "train-1.png", train / "dog" / "twice in train.png")
    shutil.copy(train / "dog" / "train-2.png", train / "cat" / "wrong.png")
    command(own)
    told = capsys.readouterr().out
    assert "train and test: 3 of test, such as train/cat/train-0.png and test/cat/copy.png: delete one of each" in told
    assert "same bytes in two classes: 1, such as train/cat/wrong.png and train/dog/train-2.png: delete" in told
    assert "train and val" not in told
    assert "val and test" not in told


def test_a_class_that_only_test_has_is_refused(tmp_path: Path) -> None:
    own = splits(tmp_path / "own", {"train": 6, "test": 2})
    picture(own / "test" / "fox" / "0.png")
    told = refusal(own)
    assert "1 of 3 classes have images in test and none in train, first 'fox': add images of it to train, or" in told
    shutil.rmtree(own / "test" / "fox")
    assert command(own).class_names == ("cat", "dog")


def test_a_class_that_only_train_has_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = splits(tmp_path / "own", {"train": 6, "test": 2})
    picture(own / "train" / "fox" / "0.png")
    command(own)
    assert "no image in test: 1 classes, such as fox" in capsys.readouterr().out


def test_a_split_without_classes_is_refused_and_the_remedy_works(tmp_path: Path) -> None:
    own = splits(tmp_path / "own", {"train": 10})
    for number in range(4):
        picture(own / "test" / f"{number}.png")
    told = refusal(own)
    assert told.startswith(
        f"{own / 'test'} holds 4 images and no class folders: put each class into a folder of its own"
    )
    assert "or move it elsewhere, and a share of train becomes test" in told
    (own / "test").rename(tmp_path / "elsewhere")
    assert counts(command(own))["test", "cat"] == 2


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("shares", [[], ["--val-fraction", "0"], ["--test-fraction", "0.05"]])
def test_few_images_are_refused_and_each_remedy_works(tmp_path: Path, size: int, shares: list[str]) -> None:
    own = coloured_folders(tmp_path / "own", {"cat": size, "dog": size})
    told = refusal(own, *shares)
    assert f"the largest class has {size} images" in told
    options = re.findall(r"--\w+-fraction \d?\.?\d+", told)
    manifest = command(own, *shares, *" ".join(options).split())
    assert {split for split, _ in counts(manifest)} == {"train", "val", "test"}
    assert all(counts(manifest)["train", name] for name in ("cat", "dog"))
    if enough := re.search(r"give a class (\d+) images or more", told):
        for number, refused in ((int(enough[1]) - 1, True), (int(enough[1]), False)):
            other = coloured_folders(tmp_path / str(number) / "own", {"cat": number, "dog": number})
            if refused:
                refusal(other, *shares)
            else:
                command(other, *shares)


@pytest.mark.parametrize("size", [1, 2])
def test_too_few_images_for_three_splits_are_refused(tmp_path: Path, size: int) -> None:
    own = coloured_folders(tmp_path / "own", {"cat": size, "dog": size})
    assert "no image is left for the split test" in refusal(own)
    assert "give a class 6 images or more." in refusal(own)


def test_a_class_that_shares_would_take_from_train_is_refused(tmp_path: Path) -> None:
    own = coloured_folders(tmp_path / "own", {"cat": 10, "dog": 10, "fox": 1})
    told = refusal(own, "--test-fraction", "0.5")
    assert "1 of 3 classes have images in test and none in train, first 'fox': add images of it, or lower" in told
    assert counts(command(own, "--test-fraction", "0.4"))["train", "fox"] == 1


def test_a_truncated_image_is_named_by_its_own_path_and_the_rest_is_usable(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = picture(own / "cat" / "x.jpg", "JPEG")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) * 4 // 5])  # the header is whole, so its size can be read
    assert image_size(damaged, "image", "") == (32, 24)
    preallocated = own / "dog" / "y.png"
    preallocated.write_bytes(picture(preallocated).read_bytes()[:500] + bytes(2000))
    (own / "dog" / "page.jpg").write_text("<html>404 Not Found</html>")
    (own / "dog" / "empty.png").touch()
    manifest = command(own)
    assert len(load_images(manifest, 8)) == 20
    told = capsys.readouterr().out
    named = passed_over(manifest)["that cannot be read"]
    paths = (damaged, own / "dog" / "empty.png", own / "dog" / "page.jpg", preallocated)
    for path, sentence in zip(paths, named, strict=True):
        assert sentence.startswith(f"image {path} cannot be read (")
        assert sentence.endswith(": delete it or save it again, and run the same command again.")
    assert all(f"passed over: {sentence}\n" in told for sentence in named[:3])
    assert "passed over: 1 more that cannot be read\n" in told
    damaged.write_bytes(whole)
    preallocated.unlink()
    (own / "dog" / "page.jpg").unlink()
    (own / "dog" / "empty.png").unlink()
    assert len(command(own)) == 21
    assert "cannot be read" not in capsys.readouterr().out


def test_an_image_that_is_damaged_later_is_named_by_its_own_path(own: Path) -> None:
    manifest = command(own)
    damaged = own / "cat" / "0.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(SigcamError) as caught:
        load_images(manifest, 8)
    assert str(caught.value).startswith(f"image {damaged} cannot be read (")
    assert str(caught.value).endswith(": delete it or save it again, and prepare the data set again.")
    damaged.unlink()
    assert len(load_images(command(own), 8)) == 19


def test_names_that_are_not_utf8_work(own: Path) -> None:
    folder = own / os.fsdecode(b"caf\xe9")
    for number in range(10):
        picture(own / "new" / f"{number}.png")
    (own / "new").rename(folder)
    picture(own / "plain.png").rename(folder / os.fsdecode(b"\xff.png"))
    manifest = command(own)
    assert manifest.class_names == ("caf\\xe9", "cat", "dog")
    rows = manifest.table[manifest.table["label"] == 0]
    assert len(rows) == 11
    assert "caf\\xe9/\\xff.png" in set(rows["image_id"])
    opened = [(manifest.root / path).read_bytes() for path in rows["path"]]
    assert sorted(opened) == sorted(path.read_bytes() for path in folder.iterdir())
    assert len(command(own, "--seed", "1")) == 31


def test_it_ends_with_a_row_per_split_and_class(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = command(own)
    told = capsys.readouterr().out
    rows = re.findall(r"│ (\w+) *│ (\w+) *│ *(\d+) │ *(\d+) │", told)
    assert {(split, name): int(images) for split, name, images, _ in rows} == counts(manifest)
    assert told.strip().splitlines()[-1] == "passed over: nothing"


def test_of_many_classes_there_is_a_row_per_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = splits(tmp_path / "own", {"train": 2, "val": 1, "test": 1}, tuple(f"c{number}" for number in range(21)))
    picture(own / "test" / "c3" / "further.png")
    command(own)
    assert re.search(r"│ test  │ 21 classes of 1 to 2 images │ +22 │", capsys.readouterr().out)
