"""Which room imports which, read from the code: what a step depends on is derived, not listed by hand.

A room is a folder of ``sigcam_core``, a single module beside the folders, or the package ``data_scripts``; rooms of
``companion`` are named with its name in front, such as ``companion/claims``. Imports are followed from room to room, so
a room's files count as a whole: whatever it loads by name inside is not missed.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
CODE = (".py", ".pyi")
PACKAGES = {"sigcam_core": "", "companion": "companion/"}
"""Packages that consist of rooms, with what stands in front of the names of theirs."""
STATION_PREFIX = "ensure_"  # functions of sigcam_core.stations that make a station's file where there is none


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


def files_behind(*names: str, project: Path = PROJECT) -> list[str]:
    """All files of the rooms named and of those behind them."""
    inside = rooms(project)
    return [str(path) for name in rooms_behind(*names, project=project) for path in inside[name]]


def rooms_of_notebook(notebook: Path, project: Path = PROJECT) -> list[str]:
    """The rooms that the code cells of a notebook import."""
    return sorted(set(_imported(_code_cells(notebook), notebook, project)) & set(rooms(project)))


def parameters_of_notebook(notebook: Path) -> list[str]:
    """Names of the parameters of a notebook."""
    declared = (node.target for node in _code_cells(notebook, "parameters").body if isinstance(node, ast.AnnAssign))
    return [target.id for target in declared if isinstance(target, ast.Name)]


def stations_of_notebook(notebook: Path) -> dict[str, set[str]]:
    """The functions ``ensure_*`` that a notebook uses, each with the texts that calls of it begin with.

    A call ``ensure_manifest("photos", folder)`` gives ``{"ensure_manifest": {"photos"}}``. What the default parameters
    never reach counts too: a file read in vain costs a run of the notebook, one that is missed leaves a page stale.
    """
    tree = _code_cells(notebook)
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    stations: dict[str, set[str]] = {name: set() for name in names if name.startswith(STATION_PREFIX)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in stations:
            texts = [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
            stations[node.func.id].update(text for text in texts if isinstance(text, str))
    return stations


def _code_cells(notebook: Path, tag: str = "") -> ast.Module:
    """The code of a notebook, of all its cells or of those with a tag."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    wanted = [cell for cell in code if not tag or tag in cell["metadata"].get("tags", [])]
    return ast.parse("\n".join("".join(cell["source"]) for cell in wanted), str(notebook))


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
            elif top in PACKAGES:
                # A name that the package itself hands on is no room; whoever takes it depends on all rooms of the face.
                room = PACKAGES[top] + (rest[0] if rest else "")
                yield room if room in rooms(project) else f"{PACKAGES[top]}__init__"


def _without_types(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, but for the bodies of ``if TYPE_CHECKING:``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test).split("."):
            yield from node.orelse
            yield from (below for child in node.orelse for below in _without_types(child))
        else:
            yield node
            yield from _without_types(node)
