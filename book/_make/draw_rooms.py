"""Draw the rooms of the package and who imports whom: ``python book/_make/draw_rooms.py rooms.svg``.

A layered drawing (Sugiyama, Tagawa and Toda 1981) of the imports that ``rooms.py`` reads from the code: every room
stands above those that it imports, the order within a level is the one with the fewest crossings, and boxes are moved
until lines are as straight as they can be. An arrow that follows from others is left out.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise, permutations, product
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from scipy.optimize import lsq_linear

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

from dependencies import PROJECT
from rooms import imports, rooms_behind

BASE = "common"  # below all rooms: arrows to it would say nothing
LEFT_OUT = (BASE, "__init__")  # the latter hands on names, and no room imports it
STATIONS = ("prepare", "train", "evaluate", "summarise", "data_scripts")  # the line of the README
WIRING = ("run", "stations", "ask", "__main__")  # what ties the stations together; the rest are nouns
STYLES = {
    # fill, edge, text; the fills differ in lightness too, for readers without colour
    "noun": ("#d6e6f2", "#2f6f9f", "#12354e"),
    "station": ("#2f6f9f", "#2f6f9f", "#ffffff"),
    "wiring": ("#ffffff", "#8a8a8a", "#333333"),
}
LEGEND = {"noun": "a noun of the paper", "station": "a station of the line", "wiring": "what ties them together"}
BOX_WIDTH, BOX_HEIGHT = 1.15, 0.34  # inches, as all sizes below
LEVEL_GAP, COLUMN_GAP, LANE_GAP = 0.68, 0.25, 0.3
FIGURE_WIDTH, MARGIN = 7.0, 0.05  # a page of the book is some 700 pixels wide
STARTS = 50  # of the search for the order within levels; of today's rooms, every tenth ends in the best


class Node(NamedTuple):
    """A box, or the place where a long arrow passes a level.

    Attributes:
        level: 1 for rooms that import only the base.
        room: name of the room, or of the one that the arrow comes from.
        target: where a passing arrow goes; empty for a box.
    """

    level: int
    room: str
    target: str = ""


Link = tuple[Node, Node]  # upper, lower; on neighbouring levels
Layers = list[list[Node]]


def arrows() -> dict[str, set[str]]:
    """Room by room, the rooms below that it imports, without what follows from other arrows.

    Rooms in a circle have no order to draw; their arrows are left out here, and a test refuses them.
    """
    drawn = {room for room in imports() if room not in LEFT_OUT and not room.startswith("companion/")}
    wanted = {room: set(imports()[room]) & drawn for room in drawn}
    behind = {room: set(rooms_behind(room)) & drawn for room in wanted}
    down = {room: {lower for lower in wanted[room] if room not in behind[lower]} for room in wanted}
    follows = {room: {two for one in lower for two in behind[one] - {one}} for room, lower in down.items()}
    return {room: lower - follows[room] for room, lower in down.items()}


def layered(down: dict[str, set[str]]) -> tuple[Layers, list[Link]]:
    """Rooms by level, lowest first, with a place on every level that an arrow passes, and the links between them."""
    levels: dict[str, int] = {}
    while left := [room for room in sorted(down) if room not in levels]:
        ready = [room for room in left if down[room] <= set(levels)]
        levels |= {room: 1 + max((levels[lower] for lower in down[room]), default=0) for room in ready}
    nodes, links = [Node(level, room) for room, level in levels.items()], []
    for room in sorted(down):
        for lower in sorted(down[room]):
            passed = [Node(level, room, lower) for level in range(levels[room] - 1, levels[lower], -1)]
            nodes += passed
            links += list(pairwise([Node(levels[room], room), *passed, Node(levels[lower], lower)]))
    layers: Layers = [[node for node in nodes if node.level == level] for level in range(1, max(levels.values()) + 1)]
    return layers, links


def crossings(layers: Layers, links: list[Link]) -> int:
    """How many pairs of links cross."""
    place = {node: position for layer in layers for position, node in enumerate(layer)}
    pairs = [(one, other) for one, other in product(links, links) if one[0].level == other[0].level]
    return sum(place[a] < place[c] and place[b] > place[d] for (a, b), (c, d) in pairs)


def ordered(layers: Layers, links: list[Link]) -> Layers:
    """The order within each level that has the fewest crossings, then the shortest way, of several that were tried."""
    generator = np.random.default_rng(0)  # of where to start: a single start ends in whatever is best nearby
    best: tuple[int, float, Layers] | None = None
    for _ in range(STARTS):
        start = [[layer[position] for position in generator.permutation(len(layer))] for layer in layers]
        found = _settled(start, links)
        cost = crossings(found, links), _way(found, links)
        if best is None or cost < best[:2]:
            best = *cost, found
        if best[0] == 0:
            break
    assert best is not None
    return best[2]


def _settled(layers: Layers, links: list[Link]) -> Layers:
    """Each level in its best order given the levels beside it, over and over until none changes."""
    before: Layers = []
    while layers != before:
        before = layers
        for index in [*range(len(layers)), *reversed(range(len(layers)))]:
            beside = [link for link in links if index + 1 in (link[0].level, link[1].level)]
            tried = [[*layers[:index], list(order), *layers[index + 1 :]] for order in permutations(layers[index])]
            layers = min(tried, key=lambda layers: (crossings(layers, beside), _way(layers, beside)))
    return layers


def _way(layers: Layers, links: list[Link]) -> float:
    """How far links go sideways, where each level is centred."""
    place = {node: position - (len(layer) - 1) / 2 for layer in layers for position, node in enumerate(layer)}
    return sum(abs(place[upper] - place[lower]) for upper, lower in links)


def columns(layers: Layers, links: list[Link]) -> dict[Node, float]:
    """Where each node stands sideways, in inches from the middle of the drawing.

    Bounded least squares: the squared sideways ways of all links are least, those of passing arrows counting more,
    while the order and the gaps on each level are kept. Unknowns are, level by level, the place of the first node and
    what each further gap has beyond its minimum.
    """
    nodes = [node for layer in layers for node in layer]
    # Place = mixture @ unknowns + offset.
    mixture, offset = np.zeros((len(nodes), len(nodes))), np.zeros(len(nodes))
    number = {node: position for position, node in enumerate(nodes)}
    for layer in layers:
        first = number[layer[0]]
        for position in range(first, first + len(layer)):
            mixture[position, first : position + 1] = 1
        steps = [_gap(left, right) for left, right in pairwise(layer)]
        offset[first : first + len(layer)] = np.cumsum([0.0, *steps])
    weights = np.array([30.0 if upper.target or lower.target else 1.0 for upper, lower in links])
    upper, lower = ([number[link[end]] for link in links] for end in (0, 1))
    matrix = weights[:, None] * (mixture[upper] - mixture[lower])
    wanted = weights * (offset[lower] - offset[upper])
    firsts = {number[layer[0]] for layer in layers}
    bounds = [-np.inf if position in firsts else 0.0 for position in range(len(nodes))], np.inf
    places = mixture @ lsq_linear(matrix, wanted, bounds, method="bvls").x + offset
    boxes = [place for node, place in zip(nodes, places, strict=True) if not node.target]
    middle = (min(boxes) + max(boxes)) / 2
    return {node: float(place - middle) for node, place in zip(nodes, places, strict=True)}


def _gap(left: Node, right: Node) -> float:
    widths = [0.0 if node.target else BOX_WIDTH for node in (left, right)]
    return sum(widths) / 2 + (LANE_GAP if left.target or right.target else COLUMN_GAP)


def draw(path: Path) -> Path:
    """Draw the rooms.

    Args:
        path: file to write, ``.svg`` or ``.png``.

    Returns:
        ``path``.
    """
    layers, links = layered(arrows())
    layers = ordered(layers, links)
    x = columns(layers, links)
    y = {node: (node.level + 0.95) * LEVEL_GAP for node in x}
    half, height = FIGURE_WIDTH / 2, (len(layers) + 1.3) * LEVEL_GAP
    figure = Figure(figsize=(FIGURE_WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-half, half), ylim=(0, height))
    axes.set_axis_off()
    boxes = [node for node in x if not node.target]
    for box in boxes:
        for chain in chains(box, links):
            _arrow(axes, [(x[node], y[node]) for node in chain])
        _box(axes, (x[box], y[box]), BOX_WIDTH, box.room)
    _box(axes, (0, 0.95 * LEVEL_GAP), FIGURE_WIDTH - 2 * MARGIN, BASE)
    _legend(axes)
    # Neither date nor random names: the same code gives the same file.
    with mpl.rc_context({"svg.hashsalt": "rooms"}):
        figure.savefig(path, dpi=200, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


def chains(start: Node, links: list[Link]) -> list[list[Node]]:
    """The arrows that leave a box, each as its box, the places that it passes, and the box where it ends."""
    found = []
    for chain in [[upper, lower] for upper, lower in links if upper == start]:
        while chain[-1].target:
            chain.append(next(lower for upper, lower in links if upper == chain[-1]))
        found.append(chain)
    return found


def _arrow(axes: Axes, points: list[tuple[float, float]]) -> None:
    """One arrow from the foot of a box to the head of another, upright wherever it meets a level."""
    (x_start, y_start), *passed, (x_end, y_end) = points
    points = [(x_start, y_start - BOX_HEIGHT / 2), *passed, (x_end, y_end + BOX_HEIGHT / 2 + 0.02)]
    vertices, codes = [points[0]], [Curve.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        vertices += [(x0, middle), (x1, middle), (x1, y1)]
        codes += [Curve.CURVE4] * 3
    head = "-|>,head_length=4,head_width=2"
    color = "#6b6b6b"
    patch = FancyArrowPatch(path=Curve(vertices, codes), arrowstyle=head, shrinkA=0, shrinkB=0, color=color, lw=1.1)
    axes.add_patch(patch)


def kind_of(room: str) -> str:
    """What a room is: ``"station"``, ``"wiring"`` or ``"noun"``."""
    return "station" if room in STATIONS else "wiring" if room in WIRING else "noun"


def _box(axes: Axes, centre: tuple[float, float], width: float, room: str) -> None:
    x, y = centre
    fill, edge, text = STYLES[kind_of(room)]
    corner, style = (x - width / 2, y - BOX_HEIGHT / 2), "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch(corner, width, BOX_HEIGHT, boxstyle=style, fc=fill, ec=edge, lw=1.1, zorder=2))
    is_module = (PROJECT / "sigcam_core" / f"{room}.py").exists()
    label = f"{room}, which every room may use" if room == BASE else f"{room}.py" if is_module else room
    axes.text(x, y - 0.01, label, ha="center", va="center", color=text, fontsize=9.5, zorder=3)


def _legend(axes: Axes) -> None:
    left = -FIGURE_WIDTH / 2 + MARGIN
    for position, (kind, label) in enumerate(LEGEND.items()):
        x, y = left + position * 1.85, 0.1
        fill, edge, _ = STYLES[kind]
        axes.add_patch(FancyBboxPatch((x, y), 0.22, 0.13, boxstyle="round,pad=0,rounding_size=0.03", fc=fill, ec=edge))
        axes.text(x + 0.3, y + 0.06, label, va="center", fontsize=8.5, color="#333333")
    axes.text(-left, 0.16, "arrow: imports", ha="right", va="center", fontsize=8.5, color="#333333")


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description="Draw the rooms of the package and who imports whom.")
    parser.add_argument("path", type=Path, help="file to write, .svg or .png")
    print(draw(parser.parse_args().path))


if __name__ == "__main__":
    main()
