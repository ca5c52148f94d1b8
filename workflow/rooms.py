"""Which folder of the code imports which, read from the code, for the test of their order and the page on it.

A room is a folder of ``sigcam_core``, a single module beside the folders, or the package ``data_scripts``; rooms of
``companion`` are named with its name in front, such as ``companion/claims``. What a step of the workflow depends on is
finer, see ``dependencies.py``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from dependencies import PROJECT, without_types

CODE = (".py", ".pyi")
PACKAGES = {"sigcam_core": "", "companion": "companion/"}
"""Packages that consist of rooms, with what stands in front of the names of theirs."""


@cache
def rooms(project: Path = PROJECT) -> dict[str, list[Path]]:
    """Every room with its files, data files included."""
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
    """The rooms that each room imports, itself left out."""
    inside = rooms(project)
    return {
        name: frozenset(
            room
            for path in files
            if path.suffix in CODE
            for room in _imported(ast.parse(path.read_text(encoding="utf-8")), path, project)
        )
        & set(inside) - {name}
        for name, files in inside.items()
    }


def rooms_behind(*names: str, project: Path = PROJECT) -> list[str]:
    """The rooms named and all that they import, straight or through others."""
    behind, todo = set[str](), list(names)
    while todo:
        name = todo.pop()
        if name not in behind:
            behind.add(name)
            todo += imports(project)[name]
    return sorted(behind)


def _imported(tree: ast.AST, path: Path, project: Path) -> Iterator[str]:
    """Rooms named by the import statements of a file, those inside functions included, those for types alone not."""
    for node in without_types(tree):
        if isinstance(node, ast.Import):
            modules: Iterable[str] = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = [*path.relative_to(project).parts[: -node.level], *([node.module] if node.module else [])]
            modules = [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            top, *rest = module.split(".")
            if top == "data_scripts":
                yield top
            elif top in PACKAGES:
                # A name that the package itself hands on is no room; whoever takes it depends on all rooms of the face.
                room = PACKAGES[top] + (rest[0] if rest else "")
                yield room if room in rooms(project) else f"{PACKAGES[top]}__init__"
