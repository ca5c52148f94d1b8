"""Which room imports which, read from the code: what a step depends on is derived, not listed by hand.

A room is a folder of ``sigcam_core``, a single module beside the folders, or the package ``data_scripts``. Imports are
followed from room to room, so a room's files count as a whole: whatever it loads by name inside is not missed.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
CODE = (".py", ".pyi")


def rooms(project: Path = PROJECT) -> dict[str, list[Path]]:
    """Every room with its files, data files included."""
    found: dict[str, list[Path]] = {}
    for path in sorted((project / "sigcam_core").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            inside = path.relative_to(project / "sigcam_core").parts
            if len(inside) > 1 or path.suffix in CODE:
                found.setdefault(inside[0] if len(inside) > 1 else path.stem, []).append(path)
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


def files_behind(*names: str, project: Path = PROJECT) -> list[str]:
    """All files of the rooms named and of those behind them."""
    inside = rooms(project)
    return [str(path) for name in rooms_behind(*names, project=project) for path in inside[name]]


def rooms_of_notebook(notebook: Path, project: Path = PROJECT) -> list[str]:
    """The rooms that the code cells of a notebook import."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return sorted(set(_imported(ast.parse(code), notebook, project)) & set(rooms(project)))


def parameters_of_notebook(notebook: Path) -> list[str]:
    """Names of the parameters of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    (cell,) = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    tree = ast.parse("".join(cell["source"]))
    declared = (node.target for node in tree.body if isinstance(node, ast.AnnAssign))
    return [target.id for target in declared if isinstance(target, ast.Name)]


def _imported(tree: ast.AST, path: Path, project: Path) -> Iterator[str]:
    """Rooms named by the import statements of a file, those inside functions included, those for types alone not."""
    for node in _without_types(tree):
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
            elif top == "sigcam_core":
                # A name that the package itself hands on is no room; whoever takes it depends on all rooms of the face.
                yield rest[0] if rest and rest[0] in rooms(project) else "__init__"


def _without_types(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _without_types(node)
