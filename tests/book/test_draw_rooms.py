"""The drawing of the rooms: what stands above what, few crossings, the same file for the same code."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import draw_rooms
from draw_rooms import BOX_WIDTH, FIGURE_WIDTH, Node, arrows, columns, crossings, layered, ordered
from rooms import imports, rooms


def test_an_arrow_that_follows_from_others_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"a": {"b", "c", "d"}, "b": {"c", "common"}, "c": {"d"}, "d": set(), "common": set(), "__init__": {"a"}}
    behind = {"a": "abcd", "b": "bcd", "c": "cd", "d": "d"}
    monkeypatch.setattr(draw_rooms, "imports", lambda: {room: frozenset(lower) for room, lower in wanted.items()})
    monkeypatch.setattr(draw_rooms, "rooms_behind", lambda room: list(behind[room]))
    assert arrows() == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


def test_every_room_stands_above_those_that_it_imports() -> None:
    layers, links = layered(arrows())
    level = {node.room: node.level for layer in layers for node in layer if not node.target}
    assert set(level) == {room for room in rooms() if "/" not in room} - {"common", "__init__"}
    assert all(level[room] > level[lower] for room in level for lower in imports()[room] & set(level))
    assert all(upper.level == lower.level + 1 for upper, lower in links)


def test_crossings_are_counted_and_undone() -> None:
    a, b, c, d = Node(1, "a"), Node(1, "b"), Node(2, "c"), Node(2, "d")
    links = [(c, a), (d, b)]
    assert crossings([[a, b], [d, c]], links) == 1
    assert crossings(ordered([[a, b], [d, c]], links), links) == 0


def test_boxes_keep_their_gaps_and_fit_the_page() -> None:
    layers, links = layered(arrows())
    layers = ordered(layers, links)
    assert crossings(layers, links) <= 3, "the drawing has become hard to read"
    x = columns(layers, links)
    for layer in layers:
        boxes = [x[node] for node in layer if not node.target]
        assert all(right - left > BOX_WIDTH for left, right in pairwise(boxes))
    assert max(abs(place) for place in x.values()) < (FIGURE_WIDTH - BOX_WIDTH) / 2


def test_the_same_code_gives_the_same_file(tmp_path: Path) -> None:
    first, second = (draw_rooms.draw(tmp_path / name) for name in ("first.svg", "second.svg"))
    assert first.read_bytes() == second.read_bytes()
