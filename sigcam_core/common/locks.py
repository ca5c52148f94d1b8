"""One process at a time, by a lock of the operating system, which is gone with the process that held it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .progress import Report

try:
    import fcntl
except ImportError:  # on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]


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
