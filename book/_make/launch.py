"""Buttons that open a notebook on Binder or Colab, where the repository's address is known.

They lead to the notebooks of the branch ``main``. Each has a short cell that does nothing except on Colab, where it
brings the project and what Colab lacks (``colab.py``). Colab does not tell a notebook where it came from: the cell asks
for the address, unless ``python book/_make/launch.py --notebooks notebooks`` has written it there once.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sigcam_core.common.errors import CommandLine, fail, run_command_line

PROJECT = Path(__file__).resolve().parents[2]
BRANCH = "main"
TAG = "colab"
CELL = """REPOSITORY = ""  # https://github.com/OWNER/NAME; where it is empty, Colab asks for it
if "google.colab" in str(get_ipython()):  # anywhere else this cell does nothing
    address = REPOSITORY or input("Address of this project, https://github.com/OWNER/NAME: ")
    get_ipython().system(f"git clone --quiet --depth 1 {address} /content/companion")
    get_ipython().run_line_magic("run", "/content/companion/book/_make/colab.py")"""


def github_address(url: str) -> str | None:
    """``https://github.com/OWNER/NAME`` of any way to write it; None for another host.

    >>> github_address("git@github.com:owner/name.git")
    'https://github.com/owner/name'
    """
    found = re.fullmatch(r"(?:https://|git@|ssh://git@)github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?", url.strip())
    return f"https://github.com/{found[1]}" if found else None


def repository_address(environment: Mapping[str, str] = os.environ, project: Path = PROJECT) -> str | None:
    """Where the repository is to be found by everybody, as the hosting or the remote says; None if neither does."""
    told = [environment.get("READTHEDOCS_GIT_CLONE_URL", "")]
    if name := environment.get("GITHUB_REPOSITORY"):
        told.insert(0, f"{environment.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}")
    remote = ["git", "-C", str(project), "remote", "get-url", "origin"]
    told.append(subprocess.run(remote, capture_output=True, text=True, check=False).stdout)
    return next((address for url in told if (address := github_address(url))), None)


def add_buttons(config: dict[str, Any], address: str) -> dict[str, Any]:
    """Add buttons for a repository to the book's configuration; branch and paths are those of its notebooks."""
    html = config["html"] | {"use_repository_button": True}
    buttons = config.get("launch_buttons", {}) | {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
    }
    repository = {"url": address, "branch": BRANCH, "path_to_book": ""}
    return config | {"html": html, "launch_buttons": buttons, "repository": repository}


def write_buttons(target: Path, address: str | None) -> None:
    """Put the buttons into the configuration of the sources in ``target``, if there is an address."""
    if address:
        path = target / "_config.yml"
        config = add_buttons(yaml.safe_load(path.read_text(encoding="utf-8")), address)
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def with_address(notebook: dict[str, Any], address: str) -> dict[str, Any]:
    """Fill in the repository's address in a notebook's cell for Colab."""
    source = CELL.replace('""', f'"{address}"', 1).splitlines(keepends=True)
    cells = [cell | {"source": source} if cell.get("id") == TAG else cell for cell in notebook["cells"]]
    return notebook | {"cells": cells}


def main() -> None:
    """Write the repository's address into the cell for Colab of all notebooks of a folder."""
    parser = CommandLine(description=main.__doc__)
    parser.add_argument("--notebooks", type=Path, required=True, help="folder of notebooks, which are changed")
    folder = parser.parse_args().notebooks
    address = repository_address()
    if address is None:
        fail("no address on github.com is known: set GITHUB_REPOSITORY=OWNER/NAME, or a remote named origin.")
    for path in sorted(folder.glob("*.ipynb")):
        notebook = with_address(json.loads(path.read_text(encoding="utf-8")), address)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_command_line(main)
