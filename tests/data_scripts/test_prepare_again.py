"""A data set of which files are lost or damaged is found out, and made again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_pictures import coloured_folders

from data_scripts.__main__ import REPLACED, main
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import write_json
from sigcam_core.prepare.contents import FILES
from sigcam_core.prepare.manifest import read_manifest

SMALL = ["--train", "8", "--val", "8", "--test", "8"]


def run(root: Path, *options: str) -> None:
    main(["shapes", "--root", str(root), *SMALL, *options])


def bytes_of(root: Path) -> dict[str, bytes]:
    """All files but the record of their dates."""
    paths = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != FILES]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """One image of a data set that was prepared."""
    run(tmp_path)
    return sorted((tmp_path / "shapes").rglob("test/*.png"))[0]


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_generated_data_set_that_lost_an_image_is_made_again(tmp_path: Path, image: Path, is_empty: bool) -> None:
    before = bytes_of(tmp_path)
    image.write_bytes(b"") if is_empty else image.unlink()
    run(tmp_path)
    assert bytes_of(tmp_path) == before


def test_damage_is_found_by_reading_and_mended_by_force(
    tmp_path: Path, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = bytes_of(tmp_path)
    run(tmp_path, "--verify")
    assert "images and masks can be read" in capsys.readouterr().out
    image.write_bytes(image.read_bytes()[:-40])
    (tmp_path / "shapes" / FILES).unlink()  # as in a data set of an earlier version: else it would be noticed at once
    run(tmp_path)
    with pytest.raises(SigcamError, match=r"1 of \d+ files cannot be used, so run this again with --force: .*\.png"):
        run(tmp_path, "--verify")
    run(tmp_path, "--verify", "--force")
    assert bytes_of(tmp_path) == before


def test_force_keeps_archives_and_folders_that_are_not_ours(tmp_path: Path, image: Path) -> None:
    archive, stranger = tmp_path / "shapes" / "archives" / "a.zip", tmp_path / "mine" / "shapes" / "photo.png"
    for path in (archive, stranger):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"kept")
    leftover = image.with_name("left over.png")
    leftover.write_bytes(b"old")
    run(tmp_path, "--force")
    run(tmp_path / "mine", "--force")
    assert archive.read_bytes() == stranger.read_bytes() == b"kept"
    assert image.exists()
    assert not leftover.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--train", "-1"], "train"),
        (["--image-size", "1"], "image"),
        (["--nonsense", "1"], "nonsense"),
        (["--name", "a/b"], "--name 'a/b' is no name"),
    ],
)
def test_force_with_wrong_options_loses_nothing(tmp_path: Path, image: Path, options: list[str], words: str) -> None:
    before = bytes_of(tmp_path)
    with pytest.raises(SigcamError, match=words):
        run(tmp_path, "--force", *options)
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("failure", [SigcamError("no room"), OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_preparation_that_fails_leaves_what_was_there(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, force: list[str], failure: BaseException
) -> None:
    before = bytes_of(tmp_path)

    def half_done(folder: Path, parameters: object) -> None:
        (folder / "images").mkdir(exist_ok=True)
        raise failure

    monkeypatch.setattr("data_scripts.shapes.prepare", half_done)
    with pytest.raises((SigcamError, KeyboardInterrupt)):
        run(tmp_path, "--image-size", "40", *force)
    assert bytes_of(tmp_path) == before
    assert read_manifest(tmp_path / "shapes" / "manifest.parquet").name == "shapes"


def test_boxes_that_do_not_fit_lose_nothing(tmp_path: Path) -> None:
    source = coloured_folders(tmp_path / "pictures", {"blue": 6, "red": 6})
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\nred/0.png,0,0,5000,5\n", encoding="utf-8")
    command = ["image_folder", "--root", str(tmp_path / "data"), "--source", str(source)]
    main(command)
    before = bytes_of(tmp_path)
    for force in ([], ["--force"]):
        with pytest.raises(SigcamError, match="1 of 1 boxes leave their image"):
            main([*command, "--boxes", str(tmp_path / "boxes.csv"), "--box-format", "xyxy", *force])
        assert bytes_of(tmp_path) == before


def test_what_a_killed_preparation_set_aside_is_gone_after_the_next(tmp_path: Path, image: Path) -> None:
    before = bytes_of(tmp_path)
    aside = tmp_path / "shapes" / REPLACED
    aside.mkdir()
    (tmp_path / "shapes" / "manifest.parquet").rename(aside / "manifest.parquet")
    run(tmp_path)
    assert not aside.exists()
    assert bytes_of(tmp_path) == before


def test_an_archived_data_set_that_lost_an_image_says_what_to_do(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_scripts.__main__.is_archived", lambda _: True)
    monkeypatch.setattr("data_scripts.__main__._ready", lambda path, parameters, *_: read_manifest(path))
    image.unlink()
    with pytest.raises(SigcamError, match=r"1 files of shapes are missing, first .*\.png: run .* with --force"):
        run(tmp_path)


def replace_by_another(image: Path) -> None:
    """Other bytes, as many, and the old date."""
    status, content = image.stat(), bytearray(image.read_bytes())
    content[100] ^= 1
    image.write_bytes(content)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def test_a_replaced_image_is_drawn_again(tmp_path: Path, image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = bytes_of(tmp_path)
    replace_by_another(image)
    run(tmp_path)
    assert "already prepared" not in capsys.readouterr().out.split("drawing")[-1]
    assert bytes_of(tmp_path) == before
    os.utime(image)  # another date alone is no other image
    run(tmp_path)
    assert "already prepared" in capsys.readouterr().out


def test_other_options_are_refused_where_something_was_made_from_the_data(tmp_path: Path, image: Path) -> None:
    root = tmp_path / "data"
    run(root)
    checksum = read_manifest(root / "shapes" / "manifest.parquet").checksum
    record = tmp_path / "evidence" / "shapes-small_cnn-gap-seed0.json"
    write_json(record, {"dataset": "shapes", "manifest_checksum": "of another"})
    run(root, "--image-size", "40")
    run(root)
    write_json(record, {"dataset": "shapes", "manifest_checksum": checksum})
    before = bytes_of(root)
    with pytest.raises(SigcamError, match=r"was prepared with image_size 96, not 40, and shapes-small_cnn-gap-seed0"):
        run(root, "--image-size", "40")
    assert bytes_of(root) == before
    run(root, "--image-size", "40", "--name", "smaller")
