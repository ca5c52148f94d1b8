"""Files that are written whole or not at all, JSON, and checksums."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import fail


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it once the block succeeds.

    A killed or failed block leaves ``path`` as it was: there is no half-written result.

    Raises:
        SigcamError: if the folder cannot be made or written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_atomically(path: Path | str, write: Callable[[Path], Any]) -> Path:
    """Call ``write`` on a temporary path and rename it to ``path``; return ``path``."""
    with atomic_path(path) as temporary:
        write(temporary)
    return Path(path)


def write_json(path: Path | str, value: Any) -> Path:
    """Write ``value`` as readable JSON, whole or not at all. NaN is refused, since JSON has none."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        SigcamError: if it is missing or is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fail(f"{path} does not exist: run the step that writes it first (`make reproduce` runs them all).")
    except json.JSONDecodeError as error:
        fail(f"{path} is not valid JSON ({error.msg}, line {error.lineno}): delete it and run the step that writes it.")
