"""CUB-200-2011: 11,788 photographs of 200 kinds of birds, with one box per image.

The published test set is the split ``test``; ``val`` is a stratified share of the published training set (the rule is
in :mod:`data_scripts.stratified`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_scripts.archive import Archive, extract, obtain, read_lines, refuse_missing, refuse_other_lines
from data_scripts.image_sizes import image_sizes
from data_scripts.stratified import add_split_options, check_split_parameters, split_names
from sigcam_core.common.errors import fail
from sigcam_core.prepare.manifest import Manifest, write_manifest

ARCHIVE = Archive(
    name="CUB_200_2011.tgz",
    url="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
    size=1_150_585_339,
    checksum="md5:97eceeb196236b17998738112f37df78",
)
ROOT = "CUB_200_2011/"
LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt", "classes.txt")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of :func:`check_parameters` to a command line."""
    add_split_options(parser, val_fraction=0.1)


check_parameters = check_split_parameters


def prepare(folder: Path, parameters: dict[str, Any], archives: Sequence[Path]) -> Manifest:
    """Unpack the images and lists of the archive and write the manifest.

    Args:
        folder: where ``images/`` and ``manifest.parquet`` go.
        parameters: from :func:`check_parameters`.
        archives: folders where the archive may lie.
    """
    found = obtain(ARCHIVE, archives)
    unpacked = folder / "images"
    extract(found, unpacked, _keep)
    with refuse_other_lines(found.path):
        table, class_names = _rows(unpacked)
    ids, labels, is_test = (table[column].tolist() for column in ("image_id", "label", "is_test"))
    table = table.assign(split=split_names(ids, labels, is_test, parameters)).drop(columns="is_test")
    return write_manifest(
        folder / "manifest.parquet",
        table,
        name="cub",
        class_names=class_names,
        parameters=parameters | {"archives": [found.record()]},
    )


def _rows(unpacked: Path) -> tuple[pd.DataFrame, list[str]]:
    """Build the rows of the lists, the archive's test images marked in ``is_test``, and the names of the classes."""
    names, labels, is_training, boxes, classes = (_by_number(unpacked / file) for file in LISTS)
    for file, values in zip(LISTS[1:4], (labels, is_training, boxes), strict=True):
        if values.keys() != names.keys():
            fail(f"{unpacked / file} and {LISTS[0]} list different images: get the archive again.")
    paths = [name for (name,) in names.values()]
    refuse_missing(unpacked, paths)
    sizes = image_sizes(unpacked, paths)
    table = pd.DataFrame(
        {
            "image_id": [path.removesuffix(".jpg") for path in paths],
            "path": [f"images/{path}" for path in paths],
            "label": [int(labels[number][0]) - 1 for number in names],
            "width": [width for width, _ in sizes],
            "height": [height for _, height in sizes],
            "boxes": [[_box(boxes[number], size)] for number, size in zip(names, sizes, strict=True)],
            "mask": None,
        }
    )
    table["is_test"] = [is_training[number] == ["0"] for number in names]
    return table, [name.split(".", 1)[-1].replace("_", " ") for (name,) in classes.values()]


def _keep(name: str) -> str | None:
    inside = name.removeprefix(ROOT)
    if inside in LISTS:
        return inside
    return inside.removeprefix("images/") if inside.startswith("images/") else None


def _by_number(path: Path) -> dict[str, list[str]]:
    """Lines ``number value ...`` as a dictionary in the order of the file."""
    lines = [line.split() for line in read_lines(path)]
    return {number: values for number, *values in lines}


def _box(values: Sequence[str], size: tuple[int, int]) -> list[int]:
    # Left, top, width, height in pixels; wsolevaluation adds the latter two, and so do we.
    x, y, width, height = (float(value) for value in values)
    edges = (x, y, x + width, y + height)
    return [min(max(int(edge), 0), side) for edge, side in zip(edges, size * 2, strict=True)]
