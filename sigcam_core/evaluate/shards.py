"""Evidence in shards: files of some thousand images, which processes measure side by side and one of them gathers.

The record next to a shard has the digest of everything that affects its rows; a file of another digest, or one that was
altered, is measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..common.errors import SigcamError, fail
from ..common.files import read_object, sha256_of_file, write_with_record
from ..common.packed import is_packed
from .schema import SCHEMA

DICTIONARIES = [field.name for field in SCHEMA if not is_packed(field.type)]
LEVEL = 3  # of zstd: higher ones gain a tenth and take many times as long


class Part(NamedTuple):
    """Which of how many processes one is, from 1."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, given: str) -> Part:
        """Read ``"2/4"``.

        Raises:
            SigcamError: for anything else, or a number out of range.

        >>> Part.parse("2/4")
        Part(number=2, of=4)
        """
        number, slash, count = given.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            fail(f"part {given!r} is not possible: give which of how many, such as 2/4.")
        return cls(int(number), int(count))


ALONE = Part()


class Shard(NamedTuple):
    """Some images of a split, and the file of their rows."""

    images: range
    path: Path


def folder_of_shards(path: Path) -> Path:
    """Where the shards of an evidence file lie until they are gathered."""
    return path.with_suffix(".shards")


def shards_of(folder: Path, num_images: int, shard_size: int, part: Part = ALONE) -> list[Shard]:
    """List the shards of one part of a split, every ``part.of``-th, so that parts end at about the same time.

    >>> [shard.images for shard in shards_of(Path(), 10, 4, Part(1, 2))]
    [range(0, 4), range(8, 10)]
    """
    starts = range(0, num_images, shard_size)[part.number - 1 :: part.of]
    return [
        Shard(range(start, min(start + shard_size, num_images)), folder / f"{start:08d}.parquet") for start in starts
    ]


def write_shard(path: Path, table: pa.Table, digest: str, seconds: float, passes: str) -> None:
    """Write the rows of a shard and its record, whole or not at all.

    Args:
        path: file to write.
        table: its rows.
        digest: of all that decides them.
        seconds: that they took.
        passes: how the network was run, such as ``"compiled"``.
    """
    kept = {"digest": digest, "seconds": seconds, "passes": passes}
    write_with_record(path, partial(_write, [table]), lambda sha256: kept | {"sha256": sha256})
    pa.default_memory_pool().release_unused()  # what compression took


def is_whole(path: Path, digest: str) -> bool:
    """Say whether a shard is there, of this digest, with all its bytes as they were written."""
    if not path.exists() or not path.with_suffix(".json").exists():
        return False
    try:
        record = read_object(path.with_suffix(".json"))
    except SigcamError:  # half of one: the shard is measured again
        return False
    return bool(record.get("digest") == digest and record.get("sha256") == sha256_of_file(path))


def gather(shards: Sequence[Path], path: Path) -> Path:
    """Write all shards into one file, one after the other; returns ``path``."""
    _write((pq.read_table(shard) for shard in shards), path)
    return path


def facts_of(shards: Sequence[Path]) -> dict[str, float | str]:
    """Say how many seconds some shards took, of all processes together, and how the network was run."""
    records = [read_object(shard.with_suffix(".json")) for shard in shards]
    passes = sorted({record["passes"] for record in records})
    return {"seconds": sum(record["seconds"] for record in records), "passes": ", ".join(passes)}


def _write(tables: Iterable[pa.Table], path: Path) -> None:
    """One row group a table."""
    with pq.ParquetWriter(
        path, SCHEMA, compression="zstd", compression_level=LEVEL, use_dictionary=DICTIONARIES
    ) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=len(table))
            del table  # before the next is read
