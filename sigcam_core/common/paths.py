"""Paths as users write them, and the mistake of writing over what is read."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import fail


def user_path(text: str | os.PathLike[str]) -> Path:
    """Expand ``~`` and ``~name`` to the home folder, as a shell does for most but not all arguments.

    Args:
        text: as it was written, such as ``~/photo.jpg``, which no shell expands behind ``--config work_dir=``.

    Raises:
        SigcamError: if nobody of that name has a home folder here.

    >>> user_path("a/~b.jpg").as_posix()
    'a/~b.jpg'
    """
    path = Path(os.path.expanduser(text))  # noqa: PTH111  # a Path has forgotten the ./ of a name that begins with ~
    if not str(path).startswith("~"):
        return path
    if str(text).startswith("~"):
        fail(f"{path} begins with a home folder that is not known here: write ./{path} for a name with ~, or the path.")
    return Path.cwd() / path


def refuse_overwriting(output: Path, given: Path, *, may_lie_within: bool = False) -> None:
    """Refuse an output that would replace what is read, by whatever spelling or link both are named.

    Args:
        output: a file or folder to be written, there or not.
        given: a file or folder to be read, which may not lie in the output.
        may_lie_within: whether the output may lie in a folder that is read, since its reader passes over what this
            project makes; otherwise nothing may be written into that folder.

    Raises:
        SigcamError: naming both.
    """
    written, read = output.resolve(), given.resolve()
    is_same = written == read or (output.exists() and given.exists() and output.samefile(given))
    if is_same or (read in written.parents and not may_lie_within) or written in read.parents:
        where = "is" if is_same else "lies in" if read in written.parents else "holds"
        fail(f"the output {output} {where} the input {given}, which would be changed: choose another output.")
