"""One way to say that the input is wrong: a clear sentence, a non-zero exit, no traceback."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, NoReturn

OUT_OF_MEMORY = ("can't allocate memory", "out of memory")
"""What torch says where a processor or a GPU has too little."""
REFUSED_BY_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of a disk that is full, read-only, or somebody else's."""


class SigcamError(ValueError):
    """A mistake in the input. Its message says what was wrong, where, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """Show the message alone in IPython: the stack is of no use to the person who made the mistake."""
        return [f"SigcamError: {self}"]


def fail(message: str) -> NoReturn:
    """Raise :class:`SigcamError` with ``message``."""
    raise SigcamError(message)


def check_choice(kind: str, value: str, choices: Collection[str]) -> str:
    """Return ``value`` if it is one of ``choices``.

    Raises:
        SigcamError: if it is not; the sentence lists the choices.

    >>> check_choice("method", "cam", ["cam", "gradcam"])
    'cam'
    """
    if value not in choices:
        fail(f"unknown {kind} {value!r}: choose one of {', '.join(choices)}.")
    return value


def checked_names(kind: str, names: str | Iterable[str], choices: Collection[str]) -> tuple[str, ...]:
    """Return names that are all among ``choices``; one name alone is a tuple of one.

    Raises:
        SigcamError: if one is not, there is none, or what is given holds no names.

    >>> checked_names("method", "cam", ["cam", "gradcam"])
    ('cam',)
    """
    several = (names,) if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
    if not several:
        fail(f"no {kind} is named: choose among {', '.join(choices)}.")
    return tuple(check_choice(kind, name, choices) for name in several)


def _path(text: str) -> Path:
    from .paths import user_path  # which builds on this module

    try:
        return user_path(text)
    except SigcamError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None


class CommandLine(argparse.ArgumentParser):
    """A parser of arguments whose complaints are sentences like all others, and whose paths may begin with ``~``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.register("type", Path, _path)  # of every option that says type=Path

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        fail(f"{message}: see `{self.prog} --help`.")


def run_command_line(main: Callable[[], None]) -> None:
    """Run ``main`` and turn a :class:`SigcamError` into one sentence on stderr and exit code 2.

    So it is with too little memory, and a disk that refuses.
    """
    try:
        main()
    except SigcamError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        print("error: there is not enough memory: give a smaller batch size, or more memory.", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in REFUSED_BY_DISK:
            raise
        where = f"{error.filename} cannot be read or written" if error.filename else "the disk refuses to write"
        advice = "make room, or choose a folder that you may write to, and run the same command again"
        print(f"error: {where} ({error.strerror}): {advice}; it goes on there.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; finished steps are kept, run the same command to go on.", file=sys.stderr)
        sys.exit(130)
