"""Moments at which a process is stopped: any line of the project, or any of its operations on files."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

PROJECT = Path(__file__).parents[2]
OWN = tuple(str(PROJECT / name) for name in ("sigcam_core", "data_scripts", "tests/faults/line.py"))
WRITES = os.O_WRONLY | os.O_RDWR
Counter = Callable[[], None]


def at_lines(count: Counter) -> None:
    """Call ``count`` before every line of the project in the main thread."""

    def on_call(frame: FrameType, event: str, _: Any) -> Any:
        return on_line if frame.f_code.co_filename.startswith(OWN) else None

    def on_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            count()
        return on_line

    sys.settrace(on_call)


def at_files(count: Counter, below: Path, removals: bool = True) -> None:
    """Call ``count`` before every opening for writing, renaming, removal, new folder and sync below a folder.

    Args:
        count: what is called.
        below: the folder.
        removals: whether removals count; a full disk allows them.
    """
    folder, events = str(below), ("os.rename", "os.mkdir", *(("os.remove", "os.rmdir") if removals else ()))
    is_counting = False

    def on_event(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal is_counting
        concerns = (
            (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES) or event in events
        ) and str(arguments[0]).startswith(folder)
        if concerns and not is_counting:
            is_counting = True
            try:
                count()
            finally:
                is_counting = False

    sys.addaudithook(on_event)
    fsync = os.fsync

    def counted(handle: int) -> None:
        count()
        fsync(handle)

    os.fsync = counted


def kill_at(number: int) -> Counter:
    """A counter that ends the process, as ``kill -9`` does, when it has counted to ``number``."""
    return _at(number, lambda: os.kill(os.getpid(), signal.SIGKILL))


def refuse_from(number: int, code: int) -> Counter:
    """A counter that refuses what it counts, as a full or read-only disk does, from ``number`` on."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1
        if counted > number:
            raise OSError(code, os.strerror(code))

    return count


def _at(number: int, act: Callable[[], None]) -> Counter:
    counted = 0

    def count() -> None:
        nonlocal counted
        if counted == number:
            act()
        counted += 1

    return count


def tell(path: Path) -> tuple[Counter, Callable[[], None]]:
    """A counter, and what writes its number to a file at the end of the process's work."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    return count, lambda: path.write_text(str(counted)) and None


def limit_memory(rng: random.Random) -> None:
    """Give the process little more memory than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + rng.randrange(0, 40) * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class Disk:
    """What of a work dir is on the disk: noted while a process runs, and used to take away the rest."""

    def __init__(self, work_dir: Path, log: Path) -> None:
        self.work_dir, self.log = work_dir, log

    def watch(self) -> None:
        """Note syncs and renamings, in the process that makes them."""
        stash = self.log.with_suffix(".stash")
        stash.mkdir()
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def note(*entry: Any) -> None:
            os.write(log, json.dumps(entry).encode() + b"\n")

        def note_all() -> None:
            files = [path for path in self.work_dir.rglob("*") if path.is_file()]
            note("all", [_state(path) for path in files])

        def note_sync(handle: int) -> None:
            fsync(handle)
            name = str(Path(f"/proc/self/fd/{handle}").readlink())
            note("folder", name) if os.path.isdir(name) else note("file", _state(Path(name)))  # noqa: PTH112

        def note_sync_of_all() -> None:
            note_all()  # a sync of the whole machine is taken for done

        def note_flush(array: Any) -> None:
            flush(array)
            note("file", _state(Path(array.filename)))

        def on_event(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "os.rename" and str(arguments[1]).startswith(str(self.work_dir)):
                source, target = map(str, arguments[:2])
                kept = stash / str(len(os.listdir(stash)))  # noqa: PTH208
                if os.path.isfile(target):  # noqa: PTH113
                    os.link(target, kept)
                note("rename", source, target, str(kept))

        fsync, flush = os.fsync, np.memmap.flush
        os.fsync, os.sync, np.memmap.flush = note_sync, note_sync_of_all, note_flush
        sys.addaudithook(on_event)
        note_all()

    def lose(self, rng: random.Random) -> int:
        """Take away what was not on the disk: the last renamings, and contents. Returns how many files were torn."""
        synced: dict[int, list[int]] = {}
        pending: list[tuple[str, str, str]] = []
        for line in self.log.read_text().splitlines():
            kind, *values = json.loads(line)
            if kind == "all":
                synced |= {state[0]: state for state in values[0]}
                pending.clear()
            elif kind == "file":
                synced[values[0][0]] = values[0]
            elif kind == "folder":
                pending = [one for one in pending if str(Path(one[1]).parent) != values[0]]
            else:
                pending.append(tuple(values))
        for source, target, kept in reversed(pending[rng.randint(0, len(pending)) :]):
            if Path(target).exists() and Path(source).parent.exists() and not Path(source).exists():
                Path(target).rename(source)
                if Path(kept).exists():
                    os.link(kept, target)
        torn = [
            path
            for path in self.work_dir.rglob("*")
            if path.is_file() and not path.name.endswith("lock") and synced.get(path.stat().st_ino) != _state(path)
        ]
        for path in torn:
            content = path.read_bytes()
            prefix = content[: rng.randint(0, len(content))]
            path.write_bytes(rng.choice((b"", prefix, bytes(len(content)), prefix + bytes(len(content) - len(prefix)))))
        return len(torn)


def _state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns]


FULL, READ_ONLY = errno.ENOSPC, errno.EROFS
