"""Tiny-ImageNet-200: 200 classes of ImageNet at 64 x 64 pixels, with one box per image.

The published validation set is the split ``test``; hyper-parameters are chosen on ``val``, a stratified share of the
training images (the rule is in :mod:`data_scripts.stratified`). Classes are in the order of their WordNet ids, which
is ImageNet's. Every row also has ``wnid`` and ``imagenet_class``, the index among ImageNet's 1,000 classes, so that a
classifier of all 1,000 can be restricted to these 200.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_scripts.archive import Archive, extract, obtain, read_lines, refuse_missing
from data_scripts.imagenet_classes import imagenet_names, imagenet_wnids
from data_scripts.stratified import add_split_options, check_split_parameters, split_names
from sigcam_core.common.errors import fail
from sigcam_core.prepare.manifest import Manifest, write_manifest

ARCHIVE = Archive(
    name="tiny-imagenet-200.zip",
    url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    size=248_100_043,
    checksum="md5:90528d7ca1a48142e341f4ef8d21d0de",
)
ROOT = "tiny-imagenet-200/"
SIZE = 64


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of :func:`check_parameters` to a command line."""
    add_split_options(parser, val_fraction=0.1)


check_parameters = check_split_parameters


def prepare(folder: Path, parameters: dict[str, Any], archives: Sequence[Path]) -> Manifest:
    """Unpack the archive and write the manifest.

    Args:
        folder: where ``images/`` and ``manifest.parquet`` go.
        parameters: from :func:`check_parameters`.
        archives: folders where the archive may lie.
    """
    found = obtain(ARCHIVE, archives)
    images = folder / "images"
    extract(found, images, _keep)
    wnids = sorted(read_lines(images / "wnids.txt"))
    unknown = sorted(set(wnids) - set(imagenet_wnids()))
    if unknown:
        fail(f"{images / 'wnids.txt'} lists {unknown[0]}, which is no class of ImageNet-1k: get the archive again.")
    table = pd.DataFrame([*_train_rows(images, wnids), *_val_rows(images)])
    refuse_missing(folder, table["path"].tolist())
    table["label"] = table["wnid"].map({wnid: label for label, wnid in enumerate(wnids)})
    table["imagenet_class"] = table["wnid"].map({wnid: index for index, wnid in enumerate(imagenet_wnids())})
    table["split"] = split_names(
        table["image_id"].tolist(), table["label"].tolist(), table["is_test"].tolist(), parameters
    )
    return write_manifest(
        folder / "manifest.parquet",
        table.drop(columns="is_test").assign(width=SIZE, height=SIZE, mask=None),
        name="tiny_imagenet",
        class_names=[imagenet_names()[imagenet_wnids().index(wnid)] for wnid in wnids],
        parameters=parameters | {"archives": [found.record()]},
    )


def _keep(name: str) -> str | None:
    # The published test images have neither labels nor boxes.
    inside = name.startswith(ROOT) and not name.startswith(f"{ROOT}test/")
    return name.removeprefix(ROOT) if inside else None


def _train_rows(images: Path, wnids: Sequence[str]) -> list[dict[str, Any]]:
    return [
        _row(name, f"images/train/{wnid}/images/{name}", wnid, box, is_test=False)
        for wnid in wnids
        for name, *box in _fields(images / "train" / wnid / f"{wnid}_boxes.txt", 5)
    ]


def _val_rows(images: Path) -> list[dict[str, Any]]:
    return [
        _row(name, f"images/val/images/{name}", wnid, box, is_test=True)
        for name, wnid, *box in _fields(images / "val" / "val_annotations.txt", 6)
    ]


def _fields(path: Path, count: int) -> list[list[str]]:
    lines = [line.split("\t") for line in read_lines(path)]
    for number, line in enumerate(lines, start=1):
        if len(line) != count:
            fail(f"{path}, line {number} has {len(line)} fields, not {count}: get the archive again.")
    return lines


def _row(name: str, path: str, wnid: str, box: list[str], is_test: bool) -> dict[str, Any]:
    edges = [int(edge) for edge in box]
    return {"image_id": Path(name).stem, "path": path, "wnid": wnid, "boxes": [edges], "is_test": is_test}
