"""Splits and classes from the names of folders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_scripts.folder_files import ImageFile
from data_scripts.folder_layout import arrange
from sigcam_core.common.errors import SigcamError

FOLDER = Path("/own")


def files(*folders: str) -> list[ImageFile]:
    """Two images in each folder."""
    names = [f"{folder}/{number}.jpg" for folder in folders for number in range(2)]
    return [ImageFile(tuple(part for part in name.split("/") if part), 1) for name in names]


def read(*folders: str) -> set[tuple[str, str]]:
    """Split and class of all images."""
    return {(one.split, one.class_name) for one in arrange(FOLDER, files(*folders))[0]}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("cat", "dog"), {("", "cat"), ("", "dog")}),
        (("train/a", "train/b", "val/a", "val/b"), {("train", "a"), ("train", "b"), ("val", "a"), ("val", "b")}),
        (("Training/a", "Testing/a"), {("train", "a"), ("test", "a")}),
        (("train2017/a", "val2017/a"), {("train", "a"), ("val", "a")}),
        (("seg_train/a", "seg_test/a"), {("train", "a"), ("test", "a")}),
        (("train/a", "train/b"), {("train", "a"), ("train", "b")}),
        (("train/a", "valid/a", "validation/b"), {("train", "a"), ("val", "a"), ("val", "b")}),
        # classes that are called as splits are, or nearly
        (("train", "bus", "car"), {("", "train"), ("", "bus"), ("", "car")}),
        (("train", "bus/small", "bus/large"), {("", "train"), ("", "bus")}),
        (("express train", "steam train"), {("", "express train"), ("", "steam train")}),
        (("validated", "tested"), {("", "validated"), ("", "tested")}),
        # folders below a class belong to it
        (("cat/front", "cat/side", "dog"), {("", "cat"), ("", "dog")}),
        (("train/a/deep", "test/a/deep/er"), {("train", "a"), ("test", "a")}),
    ],
)
def test_layouts(folders: tuple[str, ...], expected: set[tuple[str, str]]) -> None:
    assert read(*folders) == expected


def test_accents_stored_in_two_ways_are_one_class() -> None:
    assert read("train/caf\u00e9", "test/cafe\u0301") == {("train", "caf\u00e9"), ("test", "caf\u00e9")}


def test_images_without_a_class_and_folders_beside_splits_are_told_apart() -> None:
    _, passed = arrange(FOLDER, files("", "train/a", "train", "test/a", "unlabelled"))
    assert passed == {
        "in no class folder": ["0.jpg", "1.jpg", "train/0.jpg", "train/1.jpg"],
        "in folders that are no split": ["unlabelled/0.jpg", "unlabelled/1.jpg"],
    }
    for other in ("unlabelled", "holdout/a"):
        _, passed = arrange(FOLDER, files("train/a", "train/b", other))
        assert passed == {"in folders that are no split": [f"{other}/0.jpg", f"{other}/1.jpg"]}


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (
            ("data/train/a", "data/train/b", "data/val/a"),
            "all images of /own are in its folder data: give /own/data instead",
        ),
        (("data/a", "data/b"), "all images of /own are in its folder data: give /own/data instead"),
        (("images/train", "images/val"), "/own/images/train holds 2 images and no class folders"),
        (("train2017", "val2017"), "/own/train2017 holds 2 images and no class folders"),
        (("train/a", "train/b", "test"), "/own/test holds 2 images and no class folders"),
        (("cat/train", "cat/test", "dog/train", "dog/test"), "all hold the same folders (test, train)"),
        (("fold1/a", "fold1/b", "fold2/a", "fold2/b"), "(fold1, fold2) all hold the same folders (a, b)"),
    ],
)
def test_layouts_that_are_not_plain_are_refused(folders: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(SigcamError, match=re.escape(sentence)):
        arrange(FOLDER, files(*folders))
