"""Which folder of the code imports which, read from the code, for the test of their order and the page on it.

A room is a folder of ``sigcam_core``, a single module beside the folders, or the package ``data_scripts``; rooms of
``companion`` are named with its name in front, such as ``companion/claims``. What a step of the workflow depends on is
finer, see ``dependencies.py``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from dependencies import PROJECT, loaded_by

CODE = (".py", ".pyi")
PACKAGES = {"sigcam_core": "", "companion": "companion/"}
"""Packages that consist of rooms, with what stands in front of the names of theirs."""


@cache
def rooms(project: Path = PROJECT) -> dict[str, list[Path]]:
    """Map every room to its files, data files included."""
    found: dict[str, list[Path]] = {}
    for package, prefix in PACKAGES.items():
        for path in sorted((project / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                inside = path.relative_to(project / package).parts
                if len(inside) > 1 or path.suffix in CODE:
                    found.setdefault(prefix + (inside[0] if len(inside) > 1 else path.stem), []).append(path)
    data_scripts = [path for path in (project / "data_scripts").iterdir() if path.is_file()]
    return found | {"data_scripts": sorted(data_scripts)}


@cache
def imports(project: Path = PROJECT) -> dict[str, frozenset[str]]:
    """Find the rooms that each room imports, itself left out."""
    room_of = {path: name for name, files in rooms(project).items() for path in files}
    return {
        name: frozenset(room_of[behind] for path in files for behind in loaded_by(path, project) if behind in room_of)
        - {name}
        for name, files in rooms(project).items()
    }


def rooms_behind(*names: str, project: Path = PROJECT) -> list[str]:
    """Find the rooms named and all that they import, directly or through others."""
    behind, todo = set[str](), list(names)
    while todo:
        name = todo.pop()
        if name not in behind:
            behind.add(name)
            todo += imports(project)[name]
    return sorted(behind)
