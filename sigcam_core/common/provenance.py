"""Every result file has a JSON file beside it that says where its numbers come from."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from .errors import fail

RECORDED_PACKAGES = ("torch", "torchvision", "torchmetrics", "timm", "numpy", "opencv-python-headless", "pandas")


def git_commit(folder: Path | None = None) -> str:
    """The commit of the source tree that this code runs from, with ``+dirty`` where it was edited.

    ``unknown`` for an installation without a git checkout.
    """
    where = folder or Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=where, capture_output=True, text=True, check=True
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=where,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+dirty" if changes else "")


def device_name(device: torch.device | str) -> str:
    """A name that a reader can compare with their own machine: the GPU's, or the CPU's with its cores."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores"


def provenance(**facts: Any) -> dict[str, Any]:
    """Commit, versions, device and date, together with the ``facts`` of one run.

    Args:
        facts: what is particular to the run, such as ``seed``, ``parameters``, ``manifest_checksum``,
            ``seconds``; ``device`` is replaced by its full name.
    """
    device = facts.pop("device", "cpu")
    return {
        **facts,
        "device": device_name(device),
        "commit": git_commit(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


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
