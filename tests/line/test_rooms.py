"""The order of the rooms: imports go downwards only, and importing a room is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from dependencies import PROJECT
from rooms import imports, rooms, rooms_behind

ORDER = (
    "common",
    "invariance",
    "backbones",
    "split",
    "dual",
    "cams",
    "localization",
    "pointing",
    "fidelity",
    "prepare",
    "train",
    "evaluate",
    "summarise",
    "run",
    "stations",
    "ask",
    "__main__",
    "data_scripts",
    "companion/matrix",
    "companion/plan",
    "companion/experiments",
    "companion/predictions",
    "companion/optimum",
    "companion/heads",
    "companion/controls",
    "companion/show",
    "companion/paper",
    "companion/claims",
    "companion/cue",
    "companion/chapters",
    "companion/studies",
    "companion/measure",
    "companion/__main__",
)
"""Lowest first: a room may import those before it."""
FRONT_DOORS = ("__init__", "companion/__init__")  # for users of the packages: no room imports them
PACKAGE = PROJECT / "sigcam_core"
FOLDERS = {room: PACKAGE / room if (PACKAGE / room).is_dir() else PROJECT / room for room in ORDER}
FOLDERS = {room: folder for room, folder in FOLDERS.items() if room != "data_scripts" and folder.is_dir()}
STUBS = sorted(PACKAGE.rglob("__init__.pyi"))


def test_every_room_has_its_place_and_every_place_its_room() -> None:
    assert set(rooms()) == {*ORDER, *FRONT_DOORS}


@pytest.mark.parametrize("room", rooms())
def test_imports_go_downwards(room: str) -> None:
    allowed = ORDER[: ORDER.index(room)] if room in ORDER else ORDER
    assert imports()[room] <= set(allowed), f"{room} may import {', '.join(allowed) or 'no room'}"


def test_the_package_never_imports_the_publication_or_the_data_sets() -> None:
    own = [room for room in rooms() if not room.startswith("companion/") and room != "data_scripts"]
    assert "stations" in own
    assert not [other for room in own for other in imports()[room] if other not in own]


def test_no_circle() -> None:
    left = set(rooms())
    while ready := {room for room in left if not imports()[room] & left}:
        left -= ready
    assert not left, f"these rooms import one another in a circle: {', '.join(sorted(left))}"


def test_importing_the_package_does_not_import_torch() -> None:
    check = "import sys, sigcam_core; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=PROJECT, check=False).returncode == 0


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_room_says_what_it_is_for(folder: str) -> None:
    tree = ast.parse((FOLDERS[folder] / "__init__.py").read_text())
    assert len((ast.get_docstring(tree) or "").splitlines()) >= 3


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.parent.name)
def test_every_public_name_can_be_imported(stub: Path) -> None:
    module = import_module(".".join(stub.parent.relative_to(PROJECT).parts))
    nodes = [node for node in ast.walk(ast.parse(stub.read_text())) if isinstance(node, ast.ImportFrom)]
    names = [alias.asname or alias.name for node in nodes for alias in node.names]
    assert names
    for name in names:
        assert getattr(module, name) is not None
    assert set(names) <= set(dir(module))


# How imports are read


def made_up(project: Path, **files: str) -> Path:
    """A project of rooms with one module each, and a notebook of the same code."""
    (project / "data_scripts").mkdir()
    (project / "data_scripts" / "shapes.py").touch()
    for room in ("cams", "dual", "train"):
        folder = project / "sigcam_core" / room
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "module.py").write_text(files.get(room, ""))
    for name in ("__init__.py", "stations.py"):
        (project / "sigcam_core" / name).touch()
    (project / "companion" / "claims").mkdir(parents=True)
    for name in ("__init__.py", "matrix.py", "claims/module.py"):
        (project / "companion" / name).touch()
    return project


CODE = {
    "import torch, sigcam_core.cams.module as module": {"cams"},
    "from sigcam_core import stations, DualBranch": {"stations", "__init__"},
    "from sigcam_core.stations import Run": {"stations"},
    "from . import other": set(),
    "from .. import stations": {"stations"},
    "from ..dual.module import name": {"dual"},
    "from companion.claims import module": {"companion/claims"},
    "import companion.matrix": {"companion/matrix"},
    "import companion": {"companion/__init__"},
    "def f():\n    if x:\n        from data_scripts.shapes import prepare": {"data_scripts"},
    "if TYPE_CHECKING:\n    from ..dual import module\nelse:\n    import sigcam_core.cams": {"cams"},
    "if typing.TYPE_CHECKING:\n    from ..dual import module": set(),
    "'''from sigcam_core.dual import module'''": set(),
}


@pytest.mark.parametrize(("code", "expected"), CODE.items())
def test_imports_are_found_wherever_they_run(code: str, expected: set[str], tmp_path: Path) -> None:
    assert imports(made_up(tmp_path, train=code))["train"] == expected


def test_a_room_brings_all_behind_it(tmp_path: Path) -> None:
    project = made_up(tmp_path, train="from ..dual import module", dual="from ..cams import module")
    assert rooms_behind("train", project=project) == ["cams", "dual", "train"]
