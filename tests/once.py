"""What is made once in a session of tests, by whichever of its processes needs it first."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sigcam_core.common.files import one_at_a_time


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that all processes of the session share; tests read it, and write to copies of it.

    Args:
        factory: of temporary folders, which pytest-xdist gives each process below the one of the session.
        name: of the folder.
        make: fills the folder, which it makes itself; what it left when it failed is removed.
    """
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    done = folder.with_name(f"{name}.done")
    with one_at_a_time(folder.with_name(f"{name}.lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder
