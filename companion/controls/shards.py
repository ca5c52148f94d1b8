"""Long measurements in shards: a run that is stopped does one shard again at most.

The result of a measurement of N items is arrays whose first axis is the items. It is kept as one safetensors file that
carries the digest of all that decides its numbers, and a checksum of these; a file of another digest, or one that was
altered, is made again.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sigcam_core.common.digests import digest_of
from sigcam_core.common.files import one_at_a_time, write_atomically
from sigcam_core.common.progress import Report, progress_bar

Arrays = dict[str, NDArray[Any]]
DIGEST, SECONDS, CONTENT = "digest", "seconds", "content"  # in a file's metadata


def in_shards(
    path: Path,
    num_items: int,
    measure: Callable[[slice], Arrays],
    facts: object,
    *,
    shard_size: int = 256,
    report: Report = lambda _: None,
) -> Arrays:
    """Measure N items shard by shard, unless that was done before; a second process waits, and finds it done.

    Args:
        path: safetensors file of the whole; shards lie in a folder next to it until all are there.
        num_items: N.
        measure: from a slice of the items to arrays, one row per item.
        facts: all that decides the numbers of an item, plain values. Their count is none of it: a file of more items
            than are asked for is cut, and one of fewer is completed.
        shard_size: items per shard.
        report: gets a line now and then.

    Returns:
        The arrays, N rows each, in the order of the items.
    """
    with one_at_a_time(path.with_suffix(".lock"), report):  # or one removes the shards that another gathers
        return _in_shards(path, num_items, measure, digest_of([facts, shard_size]), shard_size, report)


def _in_shards(
    path: Path, num_items: int, measure: Callable[[slice], Arrays], digest: str, shard_size: int, report: Report
) -> Arrays:
    folder = path.with_suffix(".shards")
    if (known := _read(path, digest)) is not None:
        count = len(next(iter(known.values())))
        if count >= num_items:
            return {name: values[:num_items] for name, values in known.items()}
        _split(known, count - count % shard_size, shard_size, folder, digest, seconds_of(path))
    parts, seconds = [], 0.0
    with progress_bar(num_items, path.stem, report) as advance:
        for start in range(0, num_items, shard_size):
            items = slice(start, min(start + shard_size, num_items))
            shard = folder / f"{start:08d}.safetensors"
            part = _read(shard, digest)
            if part is None:
                begin = time.perf_counter()
                part = measure(items)
                _write(shard, part, digest, time.perf_counter() - begin)
            parts.append(part)
            seconds += seconds_of(shard)
            advance(items.stop - items.start)
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    _write(path, whole, digest, seconds)
    shutil.rmtree(folder)
    return whole


def _split(known: Arrays, count: int, shard_size: int, folder: Path, digest: str, seconds: float) -> None:
    """Shards again of the first items of a whole that has too few, so that only the others are measured."""
    for start in range(0, count, shard_size):
        part = {name: values[start : start + shard_size] for name, values in known.items()}
        _write(folder / f"{start:08d}.safetensors", part, digest, seconds * shard_size / count)


def seconds_of(path: Path) -> float:
    """Return how many seconds a finished measurement took, over all runs that it needed."""
    with safe_open(path, framework="np") as file:
        return float(file.metadata()[SECONDS])


def _write(path: Path, arrays: Arrays, digest: str, seconds: float) -> None:
    contiguous = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    metadata = {DIGEST: digest, SECONDS: str(seconds), CONTENT: _sum_of(contiguous)}
    write_atomically(path, lambda temporary: save_file(contiguous, temporary, metadata))


def _read(path: Path, digest: str) -> Arrays | None:
    """Load the arrays of a file, or return ``None`` if it is missing, has another digest, or was altered."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get(DIGEST) != digest:
                return None
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dictionary
    except SafetensorError:
        return None
    return arrays if metadata.get(CONTENT) == _sum_of(arrays) else None


def _sum_of(arrays: Arrays) -> str:
    """Compute a checksum of the numbers."""
    content = hashlib.sha256()
    for name in sorted(arrays):
        content.update(name.encode())
        content.update(np.ascontiguousarray(arrays[name]).data)
    return content.hexdigest()
