"""OpenImages-30k from a miniature of its lists, bucket and archive of masks."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_archives import Files, encoded, jpeg, pin_metadata, text, write_zip

from data_scripts import openimages
from data_scripts.__main__ import prepare
from data_scripts.openimages import merge_masks
from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.images import known_masks, load_masks
from sigcam_core.prepare.manifest import read_manifest

LABELS = {
    "train": ["train/01226z/0a.jpg,0", "train/0138tl/0b.jpg,1"],
    "val": ["val/01226z/1a.jpg,0", "val/0138tl/1b.jpg,1"],
    "test": ["test/0138tl/2a.jpg,1"],
}
LOCALIZATION = {
    "val": [
        "val/01226z/1a.jpg,val/01226z/1a_m01226z_7d.png,val/01226z/1a_ignore.png",
        # Further instances name no ignore region.
        "val/0138tl/1b.jpg,val/0138tl/1b_m0138tl_68.png,val/0138tl/1b_ignore.png",
        "val/0138tl/1b.jpg,val/0138tl/1b_m0138tl_5e.png,",
    ],
    "test": ["test/0138tl/2a.jpg,test/0138tl/2a_m0138tl_68.png,test/0138tl/2a_ignore.png"],
}


def mask(*columns: int, size: tuple[int, int] = (6, 8)) -> bytes:
    pixels = np.zeros(size, dtype=bool)
    pixels[:, list(columns)] = True
    return encoded(pixels, "PNG")


def masks() -> Files:
    return {
        "val/01226z/1a_m01226z_7d.png": mask(0, 1),
        "val/01226z/1a_ignore.png": mask(1, 2),
        "val/0138tl/1b_m0138tl_68.png": mask(0),
        "val/0138tl/1b_m0138tl_5e.png": mask(5),
        "val/0138tl/1b_ignore.png": mask(),
        # Of another size than its ignore region.
        "test/0138tl/2a_m0138tl_68.png": mask(0, size=(6, 8)),
        "test/0138tl/2a_ignore.png": mask(3, size=(3, 4)),
    }


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lists and masks in a folder, and a bucket that notes what it is asked for."""
    monkeypatch.delenv("SIGCAM_DATA", raising=False)
    lists = {f"metadata/OpenImages/{split}/class_labels.txt": text(*lines) for split, lines in LABELS.items()}
    lists |= {f"metadata/OpenImages/{split}/localization.txt": text(*lines) for split, lines in LOCALIZATION.items()}
    pin_metadata(monkeypatch, tmp_path / "own", lists)
    write_zip(tmp_path / "own/OpenImages_annotations.zip", masks())
    addresses: list[str] = []

    def bucket(files: Sequence[tuple[str, Path]], description: str, advice: str) -> None:
        for url, path in files:
            if not path.exists():
                addresses.append(url)
                path.write_bytes(jpeg(8, 6))

    monkeypatch.setattr(openimages, "download_all", bucket)
    return addresses


def test_rows_and_merged_masks(asked: list[str], tmp_path: Path) -> None:
    manifest = prepare("openimages", tmp_path, archives=[tmp_path / "own"])
    table = manifest.table
    assert manifest.class_names == ("/m/01226z", "/m/0138tl")
    assert table["split"].tolist() == ["train", "train", "val", "val", "test"]
    assert table["label"].tolist() == [0, 1, 0, 1, 1]
    assert table["mask"].isna().tolist() == [True, True, False, False, False]
    assert (table["width"].tolist(), table["height"].tolist()) == ([8] * 5, [6] * 5)
    first, second = (np.array(Image.open(manifest.root / name))[0] for name in table["mask"][2:4])
    assert first.tolist() == [1, 1, 255, 0, 0, 0, 0, 0]
    assert second.tolist() == [1, 0, 0, 0, 0, 1, 0, 0]
    assert load_masks(manifest.split("test"), 224)[0, 0].tolist() == [1] * 28 + [0] * 140 + [255] * 56
    bucket = "https://open-images-dataset.s3.amazonaws.com"
    assert asked == [
        f"{bucket}/{path}.jpg" for path in ("train/0a", "train/0b", "validation/1a", "validation/1b", "test/2a")
    ]


def test_a_mask_that_only_ignores_is_none(asked: list[str], tmp_path: Path) -> None:
    nothing = {"val/01226z/1a_m01226z_7d.png": mask(), "val/0138tl/1b_m0138tl_68.png": mask()}
    write_zip(tmp_path / "own/OpenImages_annotations.zip", masks() | nothing | {"val/0138tl/1b_m0138tl_5e.png": mask()})
    table = prepare("openimages", tmp_path, archives=[tmp_path / "own"]).table
    assert table["mask"].isna().tolist() == [True, True, True, False, False]  # the second ignores nothing either
    assert known_masks(read_manifest(tmp_path / "openimages" / "manifest.parquet").split("val"), 4)[0] is None


def test_what_is_there_is_not_fetched_again(asked: list[str], tmp_path: Path) -> None:
    there = tmp_path / "openimages/images/train/01226z/0a.jpg"
    there.parent.mkdir(parents=True)
    there.write_bytes(jpeg(20, 10))
    manifest = prepare("openimages", tmp_path, archives=[tmp_path / "own"])
    assert len(asked) == 4
    assert manifest.table["width"][0] == 20


@pytest.mark.parametrize("prefix", ["OpenImages/", "a/b/"])
def test_masks_may_lie_deeper_in_the_archive(asked: list[str], tmp_path: Path, prefix: str) -> None:
    write_zip(tmp_path / "own/OpenImages_annotations.zip", {prefix + name: data for name, data in masks().items()})
    assert len(prepare("openimages", tmp_path, archives=[tmp_path / "own"])) == 5


def test_missing_masks_say_what_to_do_before_anything_is_downloaded(asked: list[str], tmp_path: Path) -> None:
    path = tmp_path / "own/OpenImages_annotations.zip"
    files = masks()
    path.unlink()
    with pytest.raises(SigcamError, match=r"OpenImages_annotations\.zip is missing: download the segmentation masks"):
        prepare("openimages", tmp_path, archives=[tmp_path / "own"])
    assert asked == []
    files.pop("val/0138tl/1b_m0138tl_5e.png")
    write_zip(path, files)
    with pytest.raises(SigcamError, match=r"lacks val/0138tl/1b_m0138tl_5e\.png"):
        prepare("openimages", tmp_path, archives=[tmp_path / "own"])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SigcamError, match="truncated or damaged"):
        prepare("openimages", tmp_path, archives=[tmp_path / "own"])
    write_zip(path, files | {"val/0138tl/1b_m0138tl_5e.png": b"no image"})
    with pytest.raises(SigcamError, match="is not an image"):
        prepare("openimages", tmp_path, archives=[tmp_path / "own"])


@given(st.data())
def test_masks_of_one_size_resize_to_what_the_reference_merges(data: st.DataObject) -> None:
    height, width, count = (data.draw(st.integers(1, high)) for high in (40, 40, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    layers = [255 * rng.integers(0, 2, (height, width), dtype=np.uint8) for _ in range(count + 1)]
    small = [cv2.resize(layer, (224, 224), interpolation=cv2.INTER_NEAREST) > 0.5 for layer in layers]
    is_object = np.any(small[:-1], axis=0)
    expected = is_object.astype(np.uint8) + 255 * (small[-1] & ~is_object).astype(np.uint8)
    merged = cv2.resize(merge_masks(layers[:-1], layers[-1]), (224, 224), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(merged, expected)


def test_a_one_bit_png_is_read_as_zero_and_above(tmp_path: Path) -> None:
    pixels = np.array(Image.open(io.BytesIO(mask(2))).convert("L"))
    assert set(np.unique(pixels)) == {0, 255}
