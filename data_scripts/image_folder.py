"""Images of your own: one folder per class, with or without folders ``train``, ``val`` and ``test`` above them.

The images stay where they are; the data set holds a link to them. What was taken for what, and what was passed over, is
said at the end, and ``passed_over.json`` has the whole list.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_scripts import own_boxes
from data_scripts.folder_files import (
    DAMAGED,
    ENDINGS,
    PassedOver,
    list_images,
    passed_over_lines,
    read_sizes,
    shown,
)
from data_scripts.folder_layout import CLASS_IS_FOLDER, Placed, arrange
from data_scripts.folder_splits import assign_splits, drawn_splits
from data_scripts.folder_summary import PASSED_OVER, summary
from data_scripts.stratified import add_split_options, check_split_parameters
from sigcam_core.common.errors import fail
from sigcam_core.common.files import write_json
from sigcam_core.common.paths import user_path
from sigcam_core.prepare.manifest import Manifest, write_manifest

__all__ = ["add_options", "check_parameters", "prepare", "summary"]

LINK = "images"
RENAMED = "renamed"
"""Folder of links to the files whose names are no UTF-8, which a manifest cannot hold."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the folder, how it is split where it is not, and its boxes."""
    parser.add_argument("--source", default="", help="folder with one folder of images per class (needed)")
    help_ = "share of every class's images, where no folder is the test split (default: %(default)s)"
    parser.add_argument("--test-fraction", type=float, default=0.2, help=help_)
    add_split_options(parser, val_fraction=0.1)
    own_boxes.add_options(parser)


def check_parameters(
    *, source: str, test_fraction: float, seed: int, val_fraction: float, **boxes: str
) -> dict[str, Any]:
    """Return the parameters as the manifest records them, with a digest of the files' names and sizes.

    Raises:
        SigcamError: if the folder is not there, is no plain folder of classes, or has too few images; if a number is
            out of range; or if the files of boxes are missing, or their convention is not named.
    """
    if not 0 < test_fraction < 1:
        fail(f"--test-fraction {test_fraction} is out of range: give a number between 0 and 1.")
    folder = user_path(source).resolve()
    if not source or not folder.is_dir():
        fail(f"--source {source!r} is no folder: give one that holds one folder of images per class.")
    parameters = {"source": str(folder), "test_fraction": test_fraction}
    parameters |= check_split_parameters(seed=seed, val_fraction=val_fraction) | own_boxes.check_parameters(**boxes)
    placed, passed = _placed_images(folder)
    _splits(folder, placed, passed, parameters)
    listing = [["/".join(one.file.parts), one.file.bytes] for one in placed]
    digest = hashlib.sha256(repr(listing).encode()).hexdigest()
    return parameters | {"drawn": drawn_splits([one.split for one in placed]), "files": digest}


def _placed_images(folder: Path) -> tuple[list[Placed], PassedOver]:
    files, passed = list_images(folder)
    placed, without_class = arrange(folder, files)
    return placed, passed | without_class


def _splits(folder: Path, placed: Sequence[Placed], passed: PassedOver, parameters: dict[str, Any]) -> list[str]:
    """Assign each image to a split; refuse a folder with too few classes or images."""
    class_names = [one.class_name for one in placed]
    if len(set(class_names)) < 2:
        found = f"only one class, {placed[0].class_name!r}" if placed else "no image in a class folder"
        told = "; ".join([found, *passed_over_lines(passed)])
        fail(
            f"{shown(folder)} has fewer than two classes ({told}): put each class into a folder of its own, as files "
            f"that end in {', '.join(ENDINGS)}; {CLASS_IS_FOLDER}."
        )
    return assign_splits([one.split for one in placed], [one.file.name for one in placed], class_names, parameters)


def prepare(folder: Path, parameters: dict[str, Any]) -> Manifest:
    """Link the images, read their sizes and boxes, and write the manifest; there are no masks.

    Images that cannot be read are passed over. Nothing is written before all is checked.

    Args:
        folder: where the link ``images`` and ``manifest.parquet`` go.
        parameters: from :func:`check_parameters`.

    Raises:
        SigcamError: if too few images can be read, or boxes contradict their images.
    """
    source = Path(parameters["source"])
    placed, passed = _placed_images(source)
    found = list(zip(placed, read_sizes([source.joinpath(*one.file.parts) for one in placed]), strict=True))
    passed[DAMAGED] = [size for _, size in found if isinstance(size, str)]
    readable = [(one, size) for one, size in found if not isinstance(size, str)]
    placed, sizes = [one for one, _ in readable], [size for _, size in readable]
    splits = _splits(source, placed, passed, parameters)
    boxes = (
        own_boxes.boxes_of_images(parameters, placed, sizes, passed) if "boxes" in parameters else [[]] * len(placed)
    )
    class_names = sorted({one.class_name for one in placed})
    numbers = {name: number for number, name in enumerate(class_names)}
    table = pd.DataFrame(
        {
            "image_id": [one.file.name for one in placed],
            "path": _link(folder, source, placed),
            "label": [numbers[one.class_name] for one in placed],
            "split": splits,
            "width": [width for width, _ in sizes],
            "height": [height for _, height in sizes],
            "boxes": boxes,
            "mask": [None for _ in placed],
        }
    )
    write_json(folder / PASSED_OVER, {reason: names for reason, names in passed.items() if names})
    path = folder / "manifest.parquet"
    return write_manifest(path, table, name=folder.name, class_names=class_names, parameters=parameters)


def _link(folder: Path, source: Path, placed: Sequence[Placed]) -> list[str]:
    """Link the folder of images, and each file of which text cannot name the path; return the paths of all."""
    link, renamed = folder / LINK, folder / RENAMED
    link.unlink(missing_ok=True)
    link.symlink_to(source, target_is_directory=True)
    shutil.rmtree(renamed, ignore_errors=True)
    paths = []
    for number, one in enumerate(placed):
        path = "/".join(one.file.parts)
        if path == one.file.name:
            paths.append(f"{LINK}/{path}")
            continue
        renamed.mkdir(exist_ok=True)
        name = f"{number}{Path(one.file.name).suffix}"
        (renamed / name).symlink_to(source.joinpath(*one.file.parts))
        paths.append(f"{RENAMED}/{name}")
    return paths
