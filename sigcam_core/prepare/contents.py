"""What the files of a data set hold: a checksum of each image and mask, by which one that was replaced is noticed.

``files.parquet`` next to the manifest has one row per file:

==========  =====  =======================================================
column      type   meaning
==========  =====  =======================================================
``path``    str    relative to the manifest's folder
``bytes``   int    size
``date``    int    when it was last changed, in nanoseconds since 1970
``sha256``  str    checksum of its bytes
==========  =====  =======================================================

As git does with its index, a file of the recorded size and date is taken for the recorded one without a look into it;
one of another date is read, and is the same if its checksum is. So a data set may be copied to another disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pandas.api.types import is_numeric_dtype

from ..common.errors import fail
from ..common.files import note_made, sha256_of_file, write_atomically
from ..common.packed import PARQUET_DAMAGE

FILES = "files.parquet"
THREADS = 8  # checksums are computed without Python's lock


class FileRecord(NamedTuple):
    """What is known of a file."""

    bytes: int
    date: int
    sha256: str


def files_named(root: Path, table: pd.DataFrame) -> list[str]:
    """List the files that a manifest's rows name, each once: all columns whose first text is a file's name.

    Args:
        root: folder that they are relative to.
        table: the rows.
    """
    names: dict[str, None] = {}
    for column in table.columns:
        if not is_numeric_dtype(table[column]):
            texts = [value for value in table[column] if isinstance(value, str)]
            if texts and _is_file(root / texts[0]):
                names |= dict.fromkeys(texts)
    return list(names)


def record_files(root: Path, table: pd.DataFrame) -> str:
    """Record the files of a data set that are there.

    Args:
        root: folder of the manifest.
        table: its rows.

    Returns:
        A digest of what all of them hold, with their names; empty where there are none.
    """
    names = [name for name in files_named(root, table) if (root / name).is_file()]
    records = dict(zip(names, _in_threads(root / name for name in names), strict=True))
    rows = pd.DataFrame([(name, *record) for name, record in records.items()], columns=["path", *FileRecord._fields])
    # Nothing else records a checksum of this file.
    write_atomically(root / FILES, lambda path: rows.to_parquet(path, index=False, write_page_checksum=True))
    note_made(root / name for name in names)
    lines = "".join(f"{record.sha256} {name}\n" for name, record in sorted(records.items()))
    return hashlib.sha256(lines.encode()).hexdigest() if records else ""


def recorded_files(root: Path) -> dict[str, FileRecord]:
    """Read what was recorded of the files below ``root``; nothing for a data set prepared before files were recorded.

    Raises:
        SigcamError: if the record cannot be read.
    """
    path = root / FILES
    if not path.is_file():
        return {}
    try:
        table = pd.read_parquet(path, columns=["path", *FileRecord._fields], page_checksum_verification=True)
        return {str(name): FileRecord(*values) for name, *values in table.itertuples(index=False)}
    except PARQUET_DAMAGE as error:
        fail(f"{path} cannot be read ({type(error).__name__}): prepare the data set again with --force.")


def replaced_files(root: Path) -> list[Path]:
    """Files that are there and hold something else than was recorded."""
    known = recorded_files(root)
    doubtful = [name for name, record in known.items() if not _looks_like(root / name, record)]
    there = [name for name in doubtful if (root / name).is_file()]
    now = _in_threads(root / name for name in there)
    return [root / name for name, record in zip(there, now, strict=True) if record.sha256 != known[name].sha256]


def refuse_replaced(root: Path, name: str) -> None:
    """Refuse a data set of which a file was replaced since its manifest was made.

    Raises:
        SigcamError: naming the first.
    """
    if replaced := replaced_files(root):
        fail(
            f"{len(replaced)} files of {name} are not those that its manifest was made of, first {replaced[0]}: put "
            "them back, or prepare the data set again with --force, and then what was made from it."
        )


def marks_of_files(root: Path, names: Iterable[str]) -> list[list[str | int]]:
    """Mark each file by its recorded checksum, or else by its size and date.

    Args:
        root: folder of the manifest.
        names: of the files.

    Raises:
        SigcamError: if a file is missing.
    """
    known = recorded_files(root)
    return [[name, *_mark(root / name, known, name)] for name in names]


def _mark(path: Path, known: Mapping[str, FileRecord], name: str) -> list[str | int]:
    try:
        if name not in known:
            status = path.stat()
            return [status.st_size, status.st_mtime_ns]
        path.stat()
        return [known[name].sha256 if _looks_like(path, known[name]) else sha256_of_file(path)]
    except OSError as error:
        fail(f"image {path} cannot be read ({error.strerror}): prepare the data set again.")


def _looks_like(path: Path, record: FileRecord) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (record.bytes, record.date)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, or one with a zero byte
        return False


def _in_threads(paths: Iterable[Path]) -> Iterator[FileRecord]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(_record_of, paths)


def _record_of(path: Path) -> FileRecord:
    status = path.stat()  # before it is read: a change while it is read is noticed later
    return FileRecord(status.st_size, status.st_mtime_ns, sha256_of_file(path))
