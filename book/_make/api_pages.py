"""The API pages: one per module or folder of modules, made from the docstrings.

The list of modules is the folder, so that no page has to be kept in step with it.
"""

from __future__ import annotations

import ast
from pathlib import Path

import yaml

ROOMS = {
    "backbones": "Backbones",
    "split": "Any classifier in two parts",
    "dual": "The dual-branch network",
    "invariance": "Softmax invariance",
    "cams": "Class activation maps",
    "localization": "Localisation",
    "pointing": "Class specificity",
    "fidelity": "Fidelity",
    "prepare": "Stage 1: prepare",
    "train": "Stage 2: train",
    "evaluate": "Stage 3: evaluate",
    "stations": "The stages as files",
    "summarise": "Stage 4: summarise",
    "ask": "Photos and folders of your own",
    "common": "Common",
    "companion/show": "Companion: showing and saving",
    "companion/optimum": "Companion: heads at their optimum",
    "companion/controls": "Companion: crossed controls",
    "companion/paper": "Companion: the paper's numbers",
    "companion/claims": "Companion: claims",
    "companion/cue": "Companion: a context cue",
    "companion/chapters": "Companion: chapters",
    "companion/studies": "Companion: further measurements",
}
"""The heading of each room's page, in the order of the pages; rooms are named as in ``workflow/rooms.py``."""
WIRING = {"": ("wiring", "Runs and stages"), "companion/": ("companion", "Companion: runs, costs and experiments")}
"""Name and heading of the page of the modules that lie in no folder of a package."""
PACKAGE = "sigcam_core"
PROJECT = Path(__file__).resolve().parents[2]


def _place(room: str, project: Path) -> Path:
    """Find where a room lies; a package itself, for the room of the modules that lie in no folder."""
    return project / (room if room.startswith("companion/") else f"{PACKAGE}/{room}")


def modules_of(room: str, project: Path = PROJECT) -> list[str]:
    """List the dotted names of a room's modules; a room of :data:`WIRING` has those that lie in no folder."""
    folder = _place(room, project)
    module = folder.with_suffix(".py")
    paths = [module] if room not in WIRING and module.is_file() else sorted(folder.glob("*.py"))
    names = [".".join(path.relative_to(project).with_suffix("").parts) for path in paths if path.stem[0] != "_"]
    return [name for name in names if room not in WIRING or name.split(".")[-1] not in ROOMS]


def _about(room: str, project: Path) -> str:
    """Return the docstring of a room, which says what belongs in it."""
    door = _place(room, project) / "__init__.py"
    has_own = room != "" and door.is_file()  # that of `sigcam_core` is on the page above
    return (ast.get_docstring(ast.parse(door.read_text(encoding="utf-8"))) or "") if has_own else ""


def _page(heading: str, about: str, modules: list[str]) -> str:
    parts = [f"# {heading}", about]
    for module in modules:
        parts.append(f"## `{module}`\n\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```")
    return "\n\n".join(filter(None, parts)) + "\n"


def write_api(target: Path, project: Path = PROJECT) -> None:
    """Put a page for each room below the page `api` of the sources in ``target``, and into its table of contents.

    Args:
        target: folder of the sources; a table of contents that has no page `api` stays as it is.
        project: folder of the project.
    """
    toc = target / "_toc.yml"
    contents = yaml.safe_load(toc.read_text(encoding="utf-8"))
    chapters = [chapter for part in contents.get("parts", ()) for chapter in part["chapters"]]
    entry = next((chapter for chapter in chapters if chapter["file"] == "api"), None)
    if entry is None:
        return
    (target / "api").mkdir()
    pages = [(room.replace("/", "-"), heading, room) for room, heading in ROOMS.items()]
    pages += [(name, heading, room) for room, (name, heading) in WIRING.items()]
    for name, heading, room in pages:
        text = _page(heading, _about(room, project), modules_of(room, project))
        (target / "api" / f"{name}.md").write_text(text, encoding="utf-8")
    entry["sections"] = [{"file": f"api/{name}"} for name, _, _ in pages]
    toc.write_text(yaml.safe_dump(contents, sort_keys=False), encoding="utf-8")
