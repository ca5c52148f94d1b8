"""Draw the folders of the package and who imports whom: ``python book/_make/draw_rooms.py rooms.svg``.

Graphviz lays the drawing out: every folder stands above those that it imports, as ``rooms.py`` reads them from the
code. An arrow that follows from others is left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

from dependencies import PROJECT
from explorer_files import node
from rooms import imports, rooms_behind
from sigcam_core.common.errors import fail

BASE = "common"  # below all others: arrows to it would say nothing
LEFT_OUT = (BASE, "__init__")  # the latter hands on names, and nothing imports it
STAGES = ("prepare", "train", "evaluate", "summarise", "data_scripts")  # the pipeline of the README
WIRING = ("run", "stations", "ask", "__main__")  # what ties the stages together; the rest are nouns
STYLES = {
    # The fills differ in lightness too, for readers without colour.
    "noun": 'fillcolor="#d6e6f2", color="#2f6f9f", fontcolor="#12354e"',
    "stage": 'fillcolor="#2f6f9f", color="#2f6f9f", fontcolor="#ffffff"',
    "wiring": 'fillcolor="#ffffff", color="#8a8a8a", fontcolor="#333333"',
}
LAYOUT = """
  graph [rankdir=TB, nodesep=0.2, ranksep=0.3, size="7,7", bgcolor="transparent", fontname="Helvetica"];
  node [shape=box, style="filled,rounded", height=0.32, margin="0.1,0.04", fontname="Helvetica", fontsize=12];
  edge [color="#6b6b6b", arrowsize=0.6];
"""
RENDER = """
import { readFileSync } from "node:fs";
import { instance } from "@viz-js/viz";
const graphviz = await instance();
process.stdout.write(graphviz.renderString(readFileSync(0, "utf8"), { format: "svg" }));
"""


def arrows() -> dict[str, set[str]]:
    """Find the folders that each folder imports, without what follows from other arrows.

    Folders in a circle have no order to draw; their arrows are left out here, and a test refuses them.
    """
    drawn = {room for room in imports() if room not in LEFT_OUT and not room.startswith("companion/")}
    wanted = {room: set(imports()[room]) & drawn for room in drawn}
    behind = {room: set(rooms_behind(room)) & drawn for room in wanted}
    down = {room: {lower for lower in wanted[room] if room not in behind[lower]} for room in wanted}
    follows = {room: {two for one in lower for two in behind[one] - {one}} for room, lower in down.items()}
    return {room: lower - follows[room] for room, lower in down.items()}


def kind_of(room: str) -> str:
    """Say what a folder is: ``"stage"``, ``"wiring"`` or ``"noun"``."""
    return "stage" if room in STAGES else "wiring" if room in WIRING else "noun"


def dot(down: dict[str, set[str]]) -> str:
    """Write a drawing in the language of Graphviz, the same for the same arrows.

    Args:
        down: folders, with those that each imports; arrows to :data:`BASE` are drawn from the lowest alone.
    """
    boxes = [f'  "{room}" [{STYLES[kind_of(room)]}];' for room in sorted({*down, BASE})]
    lines = [f'  "{room}" -> "{lower}";' for room in sorted(down) for lower in sorted(down[room])]
    # Nobody's arrow to the base says anything, but it has to stand below the rest.
    lines += [f'  "{room}" -> "{BASE}" [style=invis];' for room in sorted(down) if not down[room]]
    return "\n".join(["digraph {", LAYOUT, *boxes, *lines, "}", ""])


def draw(path: Path) -> Path:
    """Draw the folders.

    Args:
        path: SVG file to write.

    Returns:
        ``path``.

    Raises:
        SigcamError: if Graphviz, or the Node that runs it, is not installed.
    """
    command = [node(), "--input-type=module", "--eval", RENDER]
    done = subprocess.run(command, input=dot(arrows()), cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        error = next((line for line in done.stderr.splitlines() if "Error" in line), f"exit code {done.returncode}")
        fail(f"Graphviz drew nothing ({error}): run `make setup`, which installs it.")
    path.write_text(done.stdout, encoding="utf-8")
    return path


def main() -> None:
    """Run the command line of the module."""
    parser = argparse.ArgumentParser(description="Draw the folders of the package and who imports whom.")
    parser.add_argument("path", type=Path, help="SVG file to write")
    print(draw(parser.parse_args().path))


if __name__ == "__main__":
    main()
