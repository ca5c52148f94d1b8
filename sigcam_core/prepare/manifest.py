"""Manifests: what is in a data set.

A manifest is one Parquet file with one row per image, and ``manifest.json`` next to it:

=============  ================  ===========================================================================
column         type              meaning
=============  ================  ===========================================================================
``image_id``   str               unique name of the image
``path``       str               image file, relative to the manifest's folder
``label``      int               class index, 0 to C - 1
``split``      str               ``train``, ``val``, ``test``
``width``      int               pixels of the original image
``height``     int               pixels of the original image
``boxes``      list of [int; 4]  objects' x0, y0, x1, y1: inclusive pixel indices of the original image
``mask``       str or null       PNG, relative path: 1 object, 0 background, 255 ignore; never 255 without 1
=============  ================  ===========================================================================

A data set may add columns of its own. Everything after the preparation of the data reads manifests only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pandas.api.types import is_integer_dtype
from torch import Tensor

from ..common.errors import check_choice, fail
from ..common.files import read_object, sync_all, write_atomically, write_json
from ..common.packed import PARQUET_DAMAGE
from ..common.paths import user_path
from .contents import record_files

MOST_NAMES = 20  # that a sentence lists
COLUMNS = ("image_id", "path", "label", "split", "width", "height", "boxes", "mask")


@dataclass(frozen=True, eq=False)
class Manifest:
    """The images of a data set, or of one split of it, in a fixed order.

    Attributes:
        name: name of the data set.
        table: one row per image, columns as in the module's table, index 0 to N - 1.
        class_names: the C names; ``table["label"]`` indexes them.
        root: folder that the paths are relative to.
        checksum: SHA-256 of the rows of the whole data set (a split keeps it).
        upright: whether images are turned as their EXIF orientation says. Those of data sets are not, since their
            boxes refer to the pixels as they are stored.
        contents: digest of what all files of the whole data set hold; empty where it was not recorded.
    """

    name: str
    table: pd.DataFrame
    class_names: tuple[str, ...]
    root: Path
    checksum: str
    upright: bool = False
    contents: str = ""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> Tensor:
        """Class indices, int64 of shape (N,)."""
        return torch.tensor(self.table["label"].to_numpy(dtype=np.int64))

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    def split(self, name: str) -> Manifest:
        """Select the rows of one split, in their order.

        Args:
            name: ``train``, ``val`` or ``test``.

        Raises:
            SigcamError: if the data set has no such split, or no image in it.
        """
        check_choice(f"split of {self.name}", name, sorted(self.table["split"].unique()))
        return self.take(np.flatnonzero(self.table["split"] == name))

    def take(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Manifest:
        """Take the images at ``rows``, in that order; labels and checksum stay those of the whole data set.

        Args:
            rows: (M,) positions in the table, from 0 to N - 1; the same one may come twice.

        Raises:
            SigcamError: if ``rows`` is empty or reaches beyond the table.
        """
        indices = np.asarray(rows, dtype=np.int64)
        if indices.size == 0:
            fail(f"no image of {self.name} was selected: select at least one row.")
        beyond = indices[(indices < 0) | (indices >= len(self))]
        if beyond.size:
            fail(f"row {beyond[0]} of {self.name} does not exist: select rows from 0 to {len(self) - 1}.")
        return replace(self, table=self.table.iloc[indices].reset_index(drop=True))

    def of_image(self, image_id: str) -> Manifest:
        """Select the one image of that name.

        Args:
            image_id: as in the table.

        Raises:
            SigcamError: if there is none; the sentence lists the names of a small data set.
        """
        names = self.table["image_id"].astype(str).tolist()
        if image_id not in names:
            choices = f"choose one of {', '.join(names)}" if len(names) <= MOST_NAMES else "see its manifest"
            fail(f"{self.name} has no image {image_id!r}: {choices}.")
        return self.take([names.index(image_id)])

    def locate(self, name: str | PurePath) -> Path:
        """Find the file that a row names, which must lie in the data set's folder; all files are found here.

        Links are followed, wherever they lead.

        Args:
            name: from ``path``, ``mask`` or another column of files.

        Raises:
            SigcamError: if it is no path below the manifest's folder; whether the file exists is not looked at.
        """
        if isinstance(name, PurePath):
            name = name.as_posix()
        if not isinstance(name, str) or name.startswith("/") or ".." in name.split("/"):
            fail(
                f"the manifest of {self.name} names {name!r}, which is no file in its folder {self.root}: name files "
                "by relative paths without '..', and put files or links to them into the folder."
            )
        return self.root / name

    def draw(self, count: int, seed: int) -> Manifest:
        """At most ``count`` images drawn at random, in the order of the data set."""
        chosen = np.random.default_rng(seed).choice(len(self), min(count, len(self)), replace=False)
        return self.take(np.sort(chosen))


def manifest_checksum(table: pd.DataFrame) -> str:
    """SHA-256 over a canonical text of the N rows, independent of how Parquet encodes them.

    Args:
        table: columns in any order, rows in theirs.

    Returns:
        64 hexadecimal digits.

    >>> manifest_checksum(pd.DataFrame({"label": [1], "path": ["a.png"]}))[:12]
    'b2d0408a5717'
    """
    digest = hashlib.sha256()
    columns = sorted(table.columns)
    for row in zip(*(_plain(table[column]) for column in columns), strict=True):
        digest.update(json.dumps(dict(zip(columns, row, strict=True)), separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def write_manifest(
    path: Path | str,
    table: pd.DataFrame,
    *,
    name: str,
    class_names: Sequence[str],
    parameters: dict[str, Any] | None = None,
) -> Manifest:
    """Check ``table`` and write it as a manifest, with ``manifest.json`` and a record of its files next to it.

    The Parquet file comes last: while it is missing, the data set is not ready.

    Args:
        path: Parquet file to write; image paths in ``table`` are relative to its folder.
        table: one row per image. Paths may be :class:`pathlib.Path`, ids whole numbers, boxes arrays or tensors (M, 4);
            the manifest has text and lists instead.
        name: name of the data set.
        class_names: the C class names.
        parameters: what the data set was made with, JSON values only.

    Returns:
        The manifest, as :func:`read_manifest` reads it.

    Raises:
        SigcamError: if the table breaks a rule of :func:`read_manifest`, or the folder cannot be written.
    """
    path = user_path(path)
    table = _in_plain_types(table.reset_index(drop=True))
    _check_table(table, len(class_names), path)
    checksum = manifest_checksum(table)
    contents = record_files(path.parent, table)
    counts = {str(split): int(count) for split, count in table["split"].value_counts().sort_index().items()}
    description = {
        "name": name,
        "class_names": list(class_names),
        "checksum": checksum,
        "contents": contents,
        "counts": counts,
        "parameters": parameters or {},
    }
    sync_all()  # the images are on the disk before the manifest says that they are there
    write_json(path.with_suffix(".json"), description)
    write_atomically(path, partial(table.to_parquet, index=False))
    return Manifest(name, table, tuple(class_names), path.parent, checksum, contents=contents)


def read_manifest(path: Path | str) -> Manifest:
    """Read and check a manifest.

    Args:
        path: the Parquet file; the JSON file of the same name lies next to it.

    Raises:
        SigcamError: if the file or its JSON is missing or unreadable, a column is missing or of another type, an id
            occurs twice, a label is out of range, a box has x1 < x0 or leaves its image, or the rows do not match the
            checksum.
    """
    path = user_path(path)
    if not path.is_file():
        fail(f"manifest {path} does not exist: prepare the data set first with `python -m data_scripts`.")
    try:
        table = pd.read_parquet(path)
        for column in table:
            list(table[column])  # text of other bytes than of text is found out only when it is read
    except PARQUET_DAMAGE as error:
        fail(
            f"manifest {path} cannot be read as Parquet ({type(error).__name__}): delete it and prepare the data again."
        )
    description_path = path.with_suffix(".json")
    description = read_object(description_path)
    missing = [key for key in ("name", "class_names", "checksum") if key not in description]
    if missing:
        fail(f"{description_path} lacks {', '.join(missing)}: prepare the data set again.")
    names = description["class_names"]
    if not isinstance(names, list) or not all(isinstance(one, str) for one in [description["name"], *names]):
        fail(f"{description_path} has names that are no text: prepare the data set again.")
    class_names = tuple(names)
    _check_table(table, len(class_names), path)
    checksum = manifest_checksum(table)
    if checksum != description["checksum"]:
        fail(f"the rows of {path} do not match the checksum in {description_path}: prepare the data set again.")
    contents = description.get("contents", "")  # a data set that was prepared by an earlier version has none
    return Manifest(description["name"], table, class_names, path.parent, checksum, contents=contents)


def is_file_name(value: object) -> TypeGuard[str | PurePath]:
    """Say whether a cell of a table can name a file: text or a path."""
    return isinstance(value, str | PurePath)


def is_whole(value: object) -> bool:
    """Say whether a cell of a table is a whole number, stored as one."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def plain_value(value: Any) -> Any:
    """Nested arrays, as Parquet returns lists, into nested lists; anything missing into None."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, np.ndarray | list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is None or pd.isna(value) else value


def _plain(column: pd.Series[Any]) -> list[Any]:
    return [plain_value(value) for value in column]


def _in_plain_types(table: pd.DataFrame) -> pd.DataFrame:
    """Convert ids and file names to text and boxes to lists of whole numbers, where that is unambiguous."""
    plain = table.copy(deep=False)
    for column in table.columns:
        change = {"image_id": _id_as_text, "boxes": _whole_boxes}.get(str(column), _name_as_text)
        if table[column].dtype == object or (column == "image_id" and is_integer_dtype(table[column])):
            plain[column] = pd.Series(list(map(change, table[column])), index=table.index, dtype=object)
    return plain


def _id_as_text(value: Any) -> Any:
    return str(value) if is_whole(value) else value


def _name_as_text(value: Any) -> Any:
    return value.as_posix() if isinstance(value, PurePath) else value


def _whole_boxes(value: Any) -> Any:
    """Boxes as lists; edges such as 3.0 as whole numbers."""
    boxes = plain_value(value)
    if not isinstance(boxes, list):
        return boxes
    return [
        [int(edge) if isinstance(edge, float) and edge.is_integer() else edge for edge in box]
        if isinstance(box, list)
        else box
        for box in boxes
    ]


def _check_table(table: pd.DataFrame, num_classes: int, path: Path) -> None:
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        fail(f"manifest {path} lacks column {', '.join(missing)}: prepare the data set again.")
    if table.empty:
        fail(f"manifest {path} lists no image: prepare the data set again with at least one image.")

    def refuse(bad: npt.NDArray[np.bool_] | pd.Series[bool], describe: Callable[[pd.Series[Any]], str]) -> None:
        rows = np.flatnonzero(bad)
        if rows.size:
            row = table.iloc[rows[0]]
            fail(f"manifest {path}, row {rows[0]} ({row['image_id']}): {describe(row)}.")

    def every(column: str, is_good: Callable[[Any], bool], advice: str) -> None:
        good = np.fromiter(map(is_good, table[column]), dtype=bool, count=len(table))
        refuse(~good, lambda row: f"{column} is {row[column]!r}; {advice}")

    every("image_id", lambda one: isinstance(one, str) or is_whole(one), "give text or a whole number")
    every("path", is_file_name, "give the path of an image")
    every("split", lambda one: isinstance(one, str), "give train, val or test")
    every("mask", lambda one: is_file_name(one) or plain_value(one) is None, "give the path of a mask, or None")
    refuse(table["image_id"].duplicated(), lambda row: "the image_id occurs twice; give every image its own")
    numbers = {column: pd.to_numeric(table[column], errors="coerce") for column in ("label", "width", "height")}
    whole = pd.DataFrame({column: values % 1 == 0 for column, values in numbers.items()})
    refuse(~whole.all(axis=1), lambda row: "label, width and height must be whole numbers")
    refuse(
        ~numbers["label"].between(0, num_classes - 1),
        lambda row: (
            f"label {row['label']} is out of range; the data set has {num_classes} classes, 0 to {num_classes - 1}"
        ),
    )
    sizes = np.stack([numbers["width"], numbers["height"]], axis=1)
    refuse(np.any(sizes < 1, axis=1), lambda row: f"image size {row['width']} x {row['height']} is not positive")
    problems = [_box_problem(boxes, size) for boxes, size in zip(_plain(table["boxes"]), sizes.tolist(), strict=True)]
    refuse(np.array([bool(problem) for problem in problems]), lambda row: str(problems[int(str(row.name))]))


def _box_problem(boxes: Any, size: list[int]) -> str | None:
    if boxes is None:
        return "boxes are missing; give an empty list where there is none"
    if not isinstance(boxes, list):
        return f"boxes are {boxes!r}; give a list of x0, y0, x1, y1"
    width, height = size
    for box in boxes:
        if not isinstance(box, list) or len(box) != 4 or any(not isinstance(edge, int) for edge in box):
            return f"box {box} is not four whole numbers x0, y0, x1, y1"
        x0, y0, x1, y1 = box
        if x1 < x0 or y1 < y0:
            return f"box {box} ends before it begins; give x0 <= x1 and y0 <= y1"
        # Some published boxes end one past the last pixel (x1 equal to the width); wsolevaluation takes them so.
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            return f"box {box} leaves its image of {width} x {height} pixels"
    return None
