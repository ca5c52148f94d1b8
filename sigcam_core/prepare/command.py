"""The first stage as the command that it is: ``python -m data_scripts``, in a process of its own.

``data_scripts`` and ``companion`` build on this package, so this package does not import them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..common.errors import fail
from ..common.progress import print_to_stderr

PROJECT = Path(__file__).resolve().parents[2]


def command_of(package: str, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """``python -m package`` with these arguments, and the environment in which it is found.

    Args:
        package: that lies next to this one, ``data_scripts`` or ``companion``.
        arguments: of its command.

    Raises:
        SigcamError: if it is not there, as ``companion`` where this package was installed from a wheel.
    """
    if not (PROJECT / package / "__main__.py").is_file():
        asked = " ".join(["python -m", package, *arguments[:1]])
        fail(f"package {package} is not beside {PROJECT / 'sigcam_core'}: run `{asked}` in a checkout of the project.")
    # The path finds the package next to this one, installed or not; -P keeps out what lies in the current folder.
    paths = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    return [sys.executable, "-P", "-m", package, *arguments], {**os.environ, "PYTHONPATH": paths}


def run_first_station(arguments: Sequence[str]) -> None:
    """Prepare a data set; what the command tells goes to the error output of this process.

    Args:
        arguments: of ``python -m data_scripts``.

    Raises:
        SigcamError: with the command's own sentence, if it refuses.
    """
    command, environment = command_of("data_scripts", arguments)
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    last = ""
    with subprocess.Popen(command, env=environment, **options) as process:
        for line in process.stdout or ():
            if last:
                print_to_stderr(last)
            last = line.rstrip()
    if process.returncode:
        fail(last.removeprefix("error: ") or f"`python -m data_scripts` ended with exit code {process.returncode}.")
    if last:
        print_to_stderr(last)
