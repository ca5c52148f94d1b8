"""Every result file has a JSON file next to it that says where its numbers come from."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

RECORDED_PACKAGES = ("torch", "torchvision", "torchmetrics", "timm", "numpy", "opencv-python-headless", "pandas")


def git_commit(folder: Path | None = None) -> str:
    """Return the commit of the source tree that this code runs from, with ``+dirty`` where it was edited.

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
    """Name the device so that readers can compare it with theirs: the GPU, or the CPU and its cores."""
    if str(device).startswith("cuda"):
        import torch  # whoever writes a table on a CPU need not wait for it

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


def best_device() -> torch.device:
    """CUDA where there is one, else the CPU: where networks are evaluated and measured."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
