"""Images of your own: one folder a class, with or without folders ``train``, ``val`` and ``test`` above them.

The images stay where they are; the data set holds a link to them.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from data_scripts.stratified import add_split_options, check_split_parameters, split_names, stratified_share
from sigcam_core.common.errors import fail
from sigcam_core.prepare.decode import image_size
from sigcam_core.prepare.manifest import Manifest, write_manifest

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""Of the files that are taken, in small letters or capitals; others are passed over."""
SPLITS = ("train", "val", "test")
LINK = "images"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the folder, and how it is split where it is not."""
    parser.add_argument("--source", default="", help="folder with one folder of images a class (needed)")
    parser.add_argument("--test-fraction", type=float, default=0.2, help="share of every class (default: %(default)s)")
    add_split_options(parser, val_fraction=0.1)


def check_parameters(*, source: str, test_fraction: float, seed: int, val_fraction: float) -> dict[str, Any]:
    """Return the parameters as the manifest records them, with a digest of the files' names and sizes.

    Raises:
        SigcamError: if the folder is not there or has less than two classes, or a number is out of range.
    """
    if not 0 < test_fraction < 1:
        fail(f"--test-fraction {test_fraction} is out of range: give a number between 0 and 1.")
    folder = Path(source).expanduser().resolve()
    if not source or not folder.is_dir():
        fail(f"--source {source!r} is no folder: give one that holds one folder of images a class.")
    files = _files_of(folder)
    classes = {name for name, _, _ in files}
    if len(classes) < 2:
        fail(
            f"{folder} has images of {len(classes)} classes: put each class into a folder of its own, two at least, "
            f"as files that end in {', '.join(ENDINGS)}."
        )
    listing = [[path.relative_to(folder).as_posix(), path.stat().st_size] for _, _, path in files]
    digest = hashlib.sha256(repr(listing).encode()).hexdigest()
    shares = {"test_fraction": test_fraction} | check_split_parameters(seed=seed, val_fraction=val_fraction)
    return {"source": str(folder), "files": digest} | shares


def _files_of(folder: Path) -> list[tuple[str, str, Path]]:
    """Class, split (empty where there is none) and path of every image, in the order of their paths."""
    is_split = (folder / "train").is_dir() and (folder / "test").is_dir()
    tops = [folder / name for name in SPLITS if (folder / name).is_dir()] if is_split else [folder]
    return [
        (path.relative_to(top).parts[0], top.name if is_split else "", path)
        for top in tops
        for path in sorted(top.rglob("*"))
        if path.suffix.lower() in ENDINGS and path.is_file() and len(path.relative_to(top).parts) > 1
    ]


def prepare(folder: Path, parameters: dict[str, Any]) -> Manifest:
    """Link the images, read their sizes, and write the manifest; there are no boxes and no masks.

    Args:
        folder: where the link ``images`` and ``manifest.parquet`` go.
        parameters: from :func:`check_parameters`.

    Raises:
        SigcamError: for an image that cannot be read.
    """
    source = Path(parameters["source"])
    link = folder / LINK
    link.unlink(missing_ok=True)
    link.symlink_to(source, target_is_directory=True)
    files = _files_of(source)
    class_names = sorted({name for name, _, _ in files})
    labels = [class_names.index(name) for name, _, _ in files]
    ids = [path.relative_to(source).as_posix() for _, _, path in files]
    sizes = [image_size(path, f"image {path}", "delete it, or save it anew") for _, _, path in files]
    table = pd.DataFrame(
        {
            "image_id": ids,
            "path": [f"{LINK}/{name}" for name in ids],
            "label": labels,
            "split": _splits([split for _, split, _ in files], ids, labels, parameters),
            "width": [width for width, _ in sizes],
            "height": [height for _, height in sizes],
            "boxes": [[] for _ in files],
            "mask": [None for _ in files],
        }
    )
    path = folder / "manifest.parquet"
    return write_manifest(path, table, name=folder.name, class_names=class_names, parameters=parameters)


def _splits(given: list[str], ids: list[str], labels: list[int], parameters: dict[str, Any]) -> list[str]:
    """The splits of the folders, or a stratified share of every class."""
    if "val" in given:
        return given
    if any(given):
        return split_names(ids, labels, [name == "test" for name in given], parameters)
    is_test = stratified_share(ids, labels, parameters["test_fraction"], parameters["seed"])
    return split_names(ids, labels, is_test.tolist(), parameters)
