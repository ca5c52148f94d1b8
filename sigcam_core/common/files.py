"""Files that are written whole or not at all, JSON, checksums, and locks.

A lock is one of the operating system, which is gone with the process that held it.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import fail
from .paths import user_path
from .progress import Report

try:
    import fcntl
except ImportError:  # on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

SECONDS_OF_A_DAY = 86_400
MADE_VARIABLE = "SIGCAM_MADE"
"""Environment variable that names a file, to which the path of every file that is made is added."""


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path next to ``path`` that replaces it once the block succeeds.

    A killed or failed block leaves ``path`` as it was, and so does a power cut: the bytes are on the disk before their
    name is. There is no half-written result. What killed writers have left behind is removed after a day.

    Raises:
        SigcamError: if the folder cannot be made or written, or the disk is full.
    """
    path = user_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        fail(f"cannot write to folder {path.parent} ({error.strerror}): choose an output folder that you may write to.")
    os.close(handle)
    try:
        yield Path(name)
        # mkstemp and some writers make files private; results are meant to be shared like any other file.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        sync(Path(name))
        Path(name).replace(path)
        sync(path.parent)
        note_made([path])
    except Exception as error:  # writers have errors of their own
        if _is_disk_full(error):
            fail(f"the disk of {path.parent} is full: make room, and run the same command again; it goes on there.")
        raise
    finally:
        with suppress(OSError):  # of a disk that takes nothing any more; what is left is removed after a day
            Path(name).unlink(missing_ok=True)


def note_made(paths: Iterable[Path]) -> None:
    """Add files that were made to the list that :data:`MADE_VARIABLE` names, one JSON text a line.

    The workflow keeps such a list for each step, and makes again what has been deleted since.
    """
    if name := os.environ.get(MADE_VARIABLE):
        lines = "".join(json.dumps(str(path.absolute())) + "\n" for path in paths)
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(lines)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":  # where folders cannot be opened
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all() -> None:
    """Wait until all that was written is on the disk: for many files, before the one that says that they are there."""
    if hasattr(os, "sync"):
        os.sync()


def _is_disk_full(error: BaseException) -> bool:
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of this path that nobody can still be writing."""
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}-????????{glob.escape(path.suffix)}"):
        with suppress(OSError):  # somebody else was quicker
            if time.time() - leftover.stat().st_mtime > SECONDS_OF_A_DAY:
                leftover.unlink()


def write_atomically(path: Path | str, write: Callable[[Path], Any]) -> Path:
    """Call ``write`` on a temporary path and rename it to ``path``; return ``path``."""
    path = user_path(path)
    with atomic_path(path) as temporary:
        write(temporary)
    return path


def write_with_record(path: Path, write: Callable[[Path], Any], record: Callable[[str], Any]) -> Path:
    """Write a file and, before it gets its name, the JSON next to it that says what it is.

    So a file that is there has its record, wherever the process was stopped.

    Args:
        path: of the file; its record has the suffix ``.json``.
        write: called with a temporary path.
        record: from the SHA-256 of what was written to what the record says.
    """
    with atomic_path(path) as temporary:
        write(temporary)
        write_json(path.with_suffix(".json"), record(sha256_of_file(temporary)))
    return path


def write_json(path: Path | str, value: Any) -> Path:
    """Write ``value`` as readable JSON, whole or not at all. NaN is refused, since JSON has none."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_object(path: Path | str) -> dict[str, Any]:
    """Read a JSON file that holds named values, as all records do.

    Raises:
        SigcamError: if it is missing, is not JSON, or holds something else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        fail(f"{path} holds no named values: delete it and run the step that writes it.")
    return value


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        SigcamError: if it is missing or is not JSON.
    """
    path = user_path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fail(f"{path} does not exist: run the step that writes it first (`make reproduce` runs them all).")
    except json.JSONDecodeError as error:
        fail(f"{path} is not valid JSON ({error.msg}, line {error.lineno}): delete it and run the step that writes it.")
    except OSError as error:
        fail(f"{path} cannot be read ({error.strerror}): give a file that you may read.")
    except (ValueError, RecursionError):  # bytes of no text, endless digits, or brackets in brackets without end
        fail(f"{path} is not valid JSON (it is damaged): delete it and run the step that writes it.")


@contextmanager
def one_at_a_time(path: Path, report: Report = lambda _: None) -> Iterator[None]:
    """Wait until no other process is in a block with the same path.

    A process that is killed sets the others free, since the lock is the system's; the file alone means nothing. On
    file systems without locks nobody waits.

    Args:
        path: of the file that is locked, made where it is missing, as is its folder.
        report: gets a line before a wait.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a"))
            if not try_lock(file.fileno()):
                report(f"waiting for another process that works on {path.parent}")
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # whoever writes there will say what is wrong
            report(f"{path.parent} cannot be locked: let one process at a time work there")
        yield


def try_lock(handle: int) -> bool:
    """Lock an open file for this process, or say that another has it.

    Raises:
        OSError: where the file system has no locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
