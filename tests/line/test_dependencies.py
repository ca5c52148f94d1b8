"""What a step depends on: every file that it loads, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dependencies import PROJECT, files_behind, files_of, parameters_of_notebook, stations_of_notebook

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
STATIONS = sorted((PROJECT / "sigcam_core" / "stations").glob("*.py"))


def notebook(path: Path, *cells: dict[str, object]) -> Path:
    path.write_text(json.dumps({"cells": list(cells)}))
    return path


def code(*lines: str, tags: tuple[str, ...] = ()) -> dict[str, object]:
    return {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": [f"{line}\n" for line in lines]}


def made_up(project: Path, start: str = "") -> Path:
    """A project of a few modules, one of which hands a name on by its stub and one of which reads data beside it."""
    files = {
        "sigcam_core/__init__.py": "import lazy_loader",
        "sigcam_core/__init__.pyi": "from .cams import cam_maps as cam_maps\nfrom .dual import DualBranch as Dual",
        "sigcam_core/cams/__init__.py": "",
        "sigcam_core/cams/__init__.pyi": "from .maps import cam_maps as cam_maps",
        "sigcam_core/cams/maps.py": "from . import methods",
        "sigcam_core/cams/methods.py": "",
        "sigcam_core/cams/other.py": "",
        "sigcam_core/dual/__init__.py": "",
        "sigcam_core/dual/__init__.pyi": "from .branch import DualBranch as DualBranch",
        "sigcam_core/dual/branch.py": "HEADS = files(__package__) / 'weights'",
        "sigcam_core/dual/weights/head.safetensors": "",
        "sigcam_core/stations/heads.py": "from ..dual import branch",
        "sigcam_core/start.py": start,
        "companion/claims/claims.py": "CLAIMS = 'claims.toml'",
        "companion/claims/claims.toml": "",
        "companion/claims/notes.toml": "",
    }
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    return project


FACES = ["__init__.pyi", "cams/__init__.pyi", "cams/maps.py", "cams/methods.py"]
BEHIND = {
    "import torch": [],
    "from .cams.maps import cam_maps": ["cams/maps.py", "cams/methods.py"],
    "from . import cams": ["cams/__init__.pyi", "cams/maps.py", "cams/methods.py"],
    "from sigcam_core import cam_maps": FACES,
    "import sigcam_core.cams.other as other": ["cams/other.py"],
    "def f():\n    if x:\n        from .cams import other": ["cams/other.py"],
    "if TYPE_CHECKING:\n    from .dual import DualBranch\nelse:\n    import sigcam_core.cams.other": ["cams/other.py"],
    "if typing.TYPE_CHECKING:\n    from .dual import DualBranch": [],
    "'''from .cams import other'''": [],
    "from .dual.branch import HEADS": ["dual/branch.py", "dual/weights/head.safetensors"],
    "from companion.claims import claims": ["../companion/claims/claims.py", "../companion/claims/claims.toml"],
}


@pytest.mark.parametrize(("start", "expected"), BEHIND.items())
def test_a_module_brings_the_files_that_it_loads(start: str, expected: list[str], tmp_path: Path) -> None:
    project = made_up(tmp_path, start)
    behind = set(files_behind("sigcam_core/start.py", project=project))
    assert behind == {str((project / "sigcam_core" / name).resolve()) for name in ["start.py", *expected]}


def test_a_notebook_ends_where_another_step_makes_a_file(tmp_path: Path) -> None:
    project = made_up(tmp_path)
    chapter = notebook(project / "chapter.ipynb", code("from sigcam_core.stations.heads import ensure_sigmoid_head"))
    heads, branch = (project / "sigcam_core" / name for name in ("stations/heads.py", "dual/branch.py"))
    assert files_behind(chapter, stop_at=[heads], project=project) == [str(heads)]
    assert str(branch) in files_behind(chapter, project=project)


def test_all_files_of_a_package_are_its_code_and_its_data(tmp_path: Path) -> None:
    project = made_up(tmp_path)
    (project / "companion" / "__pycache__").mkdir()
    (project / "companion" / "__pycache__" / "claims.pyc").touch()
    names = [Path(path).name for path in files_of("companion", project=project)]
    assert names == ["claims.py", "claims.toml", "notes.toml"]


def test_a_notebook_says_what_it_takes_and_asks_for(tmp_path: Path) -> None:
    text = {"cell_type": "markdown", "metadata": {}, "source": ["ensure_evidence"]}
    chapter = notebook(
        tmp_path / "chapter.ipynb",
        text,
        code("seed: int = 0", "dir: str = ''", tags=("parameters",)),
        code("photos = ensure_manifest('photos', dir)", "duals = [ensure_sigmoid_head(run) for run in runs]"),
    )
    assert parameters_of_notebook(chapter) == ["seed", "dir"]
    assert stations_of_notebook(chapter) == {"ensure_manifest": {"photos"}, "ensure_sigmoid_head": set()}


def test_notebooks_have_little_code_behind_them() -> None:
    counts = {path.stem: len(files_behind(path, stop_at=STATIONS)) for path in NOTEBOOKS}
    assert counts["14_growth"] <= 20  # it reads one file of numbers
    assert sum(counts.values()) / len(counts) <= 60
