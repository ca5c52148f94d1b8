"""Which folders of a folder of images are splits, and which are classes."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_scripts.folder_files import ImageFile, PassedOver, as_text, printable, shown
from sigcam_core.common.errors import fail

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names of folders in small letters, and the split that each is."""
LOOSE = "in no class folder"
BESIDE = "in folders that are no split"
CLASS_IS_FOLDER = "the class of an image is the name of its folder, and labels in other files are not read"


class Placed(NamedTuple):
    """An image, its split (empty where folders tell none) and its class."""

    file: ImageFile
    split: str
    class_name: str


Tops = dict[str, list[ImageFile]]


def arrange(folder: Path, files: Sequence[ImageFile]) -> tuple[list[Placed], PassedOver]:
    """Tell splits and classes from the names of folders.

    The folders at the top are splits if all of them are named as splits are (:data:`SPLIT_NAMES`), if they name two
    splits at least (``seg_train`` and ``seg_test``, ``train2017`` and ``val2017``), or if one that is named so holds
    class folders alone. Otherwise they are classes.

    Args:
        folder: for sentences.
        files: below it, by their names.

    Returns:
        The images that have a class, and the others by reason.

    Raises:
        SigcamError: if the folders can be read in two ways, or a split has no class folders.
    """
    tops: Tops = defaultdict(list)
    passed: PassedOver = defaultdict(list)
    for file in files:
        if len(file.parts) > 1:
            tops[file.parts[0]].append(file)
        else:
            passed[LOOSE].append(file.name)
    splits = _splits(tops)
    if not splits:
        _refuse_other_layouts(folder, tops)
        placed = [Placed(file, "", _class_name(top)) for top, below in tops.items() for file in below]
        return placed, passed
    placed = []
    for top, below in tops.items():
        if top in splits and not any(len(file.parts) > 2 for file in below):
            _refuse_flat_split(folder / top, splits[top], len(below))
        for file in below:
            if top not in splits:
                passed[BESIDE].append(file.name)
            elif len(file.parts) > 2:
                placed.append(Placed(file, splits[top], _class_name(file.parts[1])))
            else:
                passed[LOOSE].append(file.name)
    return placed, passed


def _class_name(name: str) -> str:
    """Decode a folder's name; systems that store accents apart from their letters give the same name."""
    return unicodedata.normalize("NFC", as_text(name))


def _splits(tops: Tops) -> dict[str, str]:
    """Find the folders that are splits, and which; empty if the folders are classes."""
    plain = {top: SPLIT_NAMES[top.casefold()] for top in tops if top.casefold() in SPLIT_NAMES}
    if plain and (len(plain) == len(tops) or any(len(_folders(tops[top])) > 1 for top in plain)):
        return plain
    words = {top: {SPLIT_NAMES[word] for word in _words(top) & SPLIT_NAMES.keys()} for top in tops}
    named = {top: found.pop() for top, found in words.items() if len(found) == 1}
    return named if len(set(named.values())) > 1 else {}


def _words(name: str) -> set[str]:
    """Its words, in small letters and without digits.

    >>> sorted(_words("seg_Train2017"))
    ['seg', 'train']
    """
    return set(re.findall(r"[^\W\d_]+", name.casefold()))


def _folders(files: Sequence[ImageFile]) -> set[str]:
    """Names of the folders below the one at the top; none if that holds images itself."""
    deeper = {file.parts[1] for file in files if len(file.parts) > 2}
    return deeper if all(len(file.parts) > 2 for file in files) else set()


def _refuse_flat_split(place: Path, split: str, count: int) -> None:
    instead = "" if split == "train" else f", or move it elsewhere, and a share of train becomes {split}"
    fail(
        f"{shown(place)} holds {count:,} images and no class folders: put each class into a folder of its own below "
        f"it{instead}; {CLASS_IS_FOLDER}."
    )


def _refuse_other_layouts(folder: Path, tops: Tops) -> None:
    """Refuse folders that are no classes, as far as their names tell."""
    if len(tops) == 1:
        ((top, below),) = tops.items()
        inner = arrange(folder / top, [ImageFile(file.parts[1:], file.bytes) for file in below])[0]
        if len({placed.class_name for placed in inner}) > 1:
            fail(
                f"all images of {shown(folder)} are in its folder {printable(top)}: give {shown(folder / top)} instead."
            )
    below_each = [_folders(below) for below in tops.values()]
    if len(tops) > 1 and len(below_each[0]) > 1 and all(names == below_each[0] for names in below_each):
        upper, lower = (printable(", ".join(sorted(map(as_text, names))[:3])) for names in (tops, below_each[0]))
        fail(
            f"the folders of {shown(folder)} ({upper}) all hold the same folders ({lower}), so it is not plain "
            "which of them are classes: name the upper ones train, val and test if the lower ones are classes, or "
            "move the images out of the lower ones if the upper ones are classes."
        )
