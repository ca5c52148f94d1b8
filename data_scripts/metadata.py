"""Splits, labels, boxes and sizes that the wsolevaluation and beyond-softmax repositories publish as text files.

Their commits and checksums are pinned in ``wsol_metadata_sha256.csv``, so everybody reads the same lines.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.resources import files
from pathlib import Path
from typing import Any

from data_scripts.archive import Archive, obtain
from sigcam_core.common.errors import fail

BASE_URL = "https://raw.githubusercontent.com"
_table: ContextVar[Path | None] = ContextVar("table of the pins", default=None)


@contextmanager
def pinned_by(table: Path) -> Iterator[None]:
    """Inside the block, text files are those of another table of checksums: a miniature has lists of its own.

    Args:
        table: a CSV file with the columns of ``wsol_metadata_sha256.csv``.
    """
    before = _table.set(table)
    try:
        yield
    finally:
        _table.reset(before)


def pinned() -> dict[str, Archive]:
    """List the text files by their path in the repository, such as ``metadata/CUB/test/localization.txt``.

    >>> pinned()["metadata/CUB/test/localization.txt"].size
    391543
    """
    table = _table.get() or files("data_scripts") / "wsol_metadata_sha256.csv"
    with table.open(encoding="utf-8") as file:
        return {
            row["path"]: Archive(
                name=row["path"],
                url=f"{BASE_URL}/{row['repository']}/{row['commit']}/{row['path']}",
                size=int(row["bytes"]),
                checksum=f"sha256:{row['sha256']}",
            )
            for row in csv.DictReader(file)
        }


def read_metadata(
    data_set: str, kind: str, folders: Sequence[Path], other_names: tuple[str, ...] = ()
) -> list[list[str]]:
    """Read the comma-separated lines of one text file, found in a folder of archives or downloaded.

    Args:
        data_set: data set and split, such as ``CUB/test``.
        kind: ``class_labels``, ``image_ids``, ``image_sizes`` or ``localization``.
        folders: where to look, from :func:`~data_scripts.archive.archive_folders`.
        other_names: paths below those folders where the file may lie as well.

    Raises:
        SigcamError: if it cannot be downloaded, or differs from the pinned one.
    """
    name = f"metadata/{data_set}/{kind}.txt"
    pin = pinned()[name]
    found = obtain(Archive(name, pin.url, pin.size, pin.checksum, other_names=other_names), folders)
    if not found.published:
        fail(f"{found.path} is not the published {name} ({pin.checksum}): delete it, and it will be downloaded.")
    return [line.split(",") for line in found.path.read_text(encoding="utf-8").splitlines()]


def metadata_record(data_set: str, kind: str) -> dict[str, Any]:
    """Return what a manifest records of a text file read by :func:`read_metadata`, always the pinned one.

    >>> metadata_record("CUB/test", "localization")["bytes"]
    391543
    """
    pin = pinned()[f"metadata/{data_set}/{kind}.txt"]
    return {"name": pin.name, "bytes": pin.size, "checksum": pin.checksum, "published": True}
