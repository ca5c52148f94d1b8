"""Compiled loops where nothing can be written: they are compiled anew, and give the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from sigcam_core.localization import best_iou_per_threshold

PACKAGE = Path(__file__).resolve().parents[3] / "sigcam_core"
PROGRAM = """
import numpy as np
from sigcam_core.localization import best_iou_per_threshold
from sigcam_core.localization.contours import iou_of_each
score_map = np.linspace(0, 1, 400).reshape(20, 20)
print(best_iou_per_threshold(score_map, np.array([[2, 3, 15, 18]])).sum())
print(iou_of_each._cache._impl is None if hasattr(iou_of_each._cache, "_impl") else True)
"""


def test_an_installation_that_nobody_may_write_to_can_be_imported(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "sigcam_core", ignore=shutil.ignore_patterns("__pycache__", "weights"))
    for folder in ("localization", "common"):  # a file where numba would make a folder: root may write anywhere else
        (tmp_path / "sigcam_core" / folder / "__pycache__").touch()
    (tmp_path / "home").touch()
    home = str(tmp_path / "home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA")}
    environment |= {"PYTHONPATH": str(tmp_path), "HOME": home, "XDG_CACHE_HOME": home, "MPLCONFIGDIR": str(tmp_path)}
    command = [sys.executable, "-B", "-c", PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    curve, is_not_kept = done.stdout.split()
    expected = best_iou_per_threshold(np.linspace(0, 1, 400).reshape(20, 20), np.array([[2, 3, 15, 18]])).sum()
    assert float(curve) == expected
    assert is_not_kept == "True"
