"""Install on Colab what the notebooks need and Colab lacks, from the folder of the project.

Packages that are there stay in their versions, torch among them: everything that is installed with them has to
accept these.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]
EXTRAS = ("pretrained", "notebooks")
NOT_NEEDED = {"jupyterlab"}  # Colab is the notebook


def installed() -> dict[str, str]:
    """Return the version of every installed package, by its canonical name."""
    return {canonicalize_name(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()}


def missing(pyproject: str, there: Mapping[str, str]) -> list[str]:
    """List the requirements of the project and its notebooks that no installed package meets."""
    project = tomllib.loads(pyproject)["project"]
    lines = [*project["dependencies"], *(line for name in EXTRAS for line in project["optional-dependencies"][name])]
    names = {line: canonicalize_name(Requirement(line).name) for line in lines}
    return [line for line, name in names.items() if name not in there and name not in NOT_NEEDED]


def pins(there: Mapping[str, str]) -> str:
    """Write a constraints file that keeps torch and what is built against it."""
    kept = [name for name in ("torch", "torchvision", "numpy") if name in there]
    return "".join(f"{name}=={there[name]}\n" for name in kept)


def main() -> None:
    """Install what is missing, then the project itself, without its dependencies, and work in its folder."""
    there = installed()
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    if wanted := missing((PROJECT / "pyproject.toml").read_text(encoding="utf-8"), there):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
            constraints.write(pins(there))
            constraints.flush()
            subprocess.run([*pip, "--constraint", constraints.name, *wanted], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", str(PROJECT)], check=True)
    sys.path.insert(0, str(PROJECT))  # a kernel that runs does not see a new editable installation
    os.chdir(PROJECT)


if __name__ == "__main__":
    main()
