"""What a step depends on, file by file, read from the code: what is not behind a step makes nothing due.

An import leads to the file of the module, or, where a package hands a name on by its stub, to the file that defines the
name. A text in a module that names a file or folder beside it leads there: data that a module reads lie beside it. What
a function loads by other means is named in such a text, too.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = ("sigcam_core", "companion", "data_scripts")
STATION_PREFIX = "ensure_"  # functions of sigcam_core.stations that make a file where there is none


def files_behind(*starts: Path | str, stop_at: Iterable[Path] = (), project: Path = PROJECT) -> list[str]:
    """All files of the project that modules or notebooks load, themselves included unless they are notebooks.

    Args:
        starts: modules or notebooks, relative to the project or absolute.
        stop_at: files whose own imports are not followed: what these make is a file that another step makes.
        project: folder of the packages.
    """
    ends, found, todo = set(stop_at), set[Path](), [project / start for start in starts]
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += [] if path in ends else loaded_by(path, project)
    return sorted(str(path) for path in found if path.suffix != ".ipynb")


@cache
def loaded_by(path: Path, project: Path) -> frozenset[Path]:
    """Find the files that one module, stub or notebook loads itself."""
    if path.suffix == ".ipynb":
        return frozenset(_imported(code_cells(path), path, project))
    if path.suffix != ".py":
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return frozenset([*_imported(tree, path, project), *_data(tree, path.parent)])


def _imported(tree: ast.AST, path: Path, project: Path) -> Iterator[Path]:
    """Files behind the import statements of a file, those inside functions included, those for types alone not."""
    for node in without_types(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module(alias.name.split("."), project)
        elif isinstance(node, ast.ImportFrom):
            base = list(path.relative_to(project).parts[: -node.level]) if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                yield from _name(module, alias.name, project)


def _module(parts: list[str], project: Path) -> Iterator[Path]:
    """Find the file of a module; for a package, all that its stub hands on."""
    if parts[0] not in PACKAGES:
        return
    place = project.joinpath(*parts)
    if place.with_suffix(".py").is_file():
        yield place.with_suffix(".py")
    elif (place / "__init__.pyi").is_file():
        for name in _handed_on(place / "__init__.pyi"):
            yield from _name(parts, name, project)
    elif (place / "__init__.py").is_file():
        yield place / "__init__.py"


def _name(module: list[str], name: str, project: Path) -> Iterator[Path]:
    """Find the files behind ``from module import name``."""
    if module[0] not in PACKAGES:
        return
    place = project.joinpath(*module)
    inside, stub = place / name, place / "__init__.pyi"
    if place.is_dir() and (inside.with_suffix(".py").is_file() or inside.is_dir()):
        yield from _module([*module, name], project)
    elif stub.is_file() and name in _handed_on(stub):
        yield stub
        yield from _name([*module, *_handed_on(stub)[name]], name, project)
    else:
        yield from _module(module, project)


@cache
def _handed_on(stub: Path) -> dict[str, list[str]]:
    """Each name that the stub of a package hands on, with the module below it that the name comes from."""
    tree = ast.parse(stub.read_text(encoding="utf-8"), str(stub))
    found = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module]
    return {alias.name: str(node.module).split(".") for node in found for alias in node.names}


def _data(tree: ast.AST, folder: Path) -> Iterator[Path]:
    """Yield the files, and files of folders, next to a module that a text in it names."""
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    beside = {path.name: path for path in folder.iterdir() if path.suffix != ".py"}
    for place in (beside[text] for text in texts & beside.keys()):
        if place.is_file():
            yield place
        elif not (place / "__init__.py").exists():
            yield from map(Path, files_of(place.name, project=folder))


def files_of(*packages: str, project: Path = PROJECT) -> list[str]:
    """All files of packages, code and data, but for what Python makes of them."""
    found = (path for package in packages for path in sorted((project / package).rglob("*")) if path.is_file())
    return [str(path) for path in found if "__pycache__" not in path.parts]


def parameters_of_notebook(notebook: Path) -> list[str]:
    """Names of the parameters of a notebook."""
    declared = (node.target for node in code_cells(notebook, "parameters").body if isinstance(node, ast.AnnAssign))
    return [target.id for target in declared if isinstance(target, ast.Name)]


def stations_of_notebook(notebook: Path) -> dict[str, set[str]]:
    """Find the functions ``ensure_*`` that a notebook uses, each with the texts that calls of it begin with.

    A call ``ensure_manifest("photos", folder)`` gives ``{"ensure_manifest": {"photos"}}``. What the default parameters
    never reach counts too: a file read in vain costs a run of the notebook, one that is missed leaves a page stale.
    """
    tree = code_cells(notebook)
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    stations: dict[str, set[str]] = {name: set() for name in names if name.startswith(STATION_PREFIX)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in stations:
            texts = [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
            stations[node.func.id].update(text for text in texts if isinstance(text, str))
    return stations


def code_cells(notebook: Path, tag: str = "") -> ast.Module:
    """Parse the code of a notebook, from all its cells or from those with a tag."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    wanted = [cell for cell in code if not tag or tag in cell["metadata"].get("tags", [])]
    return ast.parse("\n".join("".join(cell["source"]) for cell in wanted), str(notebook))


def without_types(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, but for the bodies of ``if TYPE_CHECKING:``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test).split("."):
            yield from node.orelse
            yield from (below for child in node.orelse for below in without_types(child))
        else:
            yield node
            yield from without_types(node)
