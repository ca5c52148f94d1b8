"""The drawing of the rooms: what stands above what, and the same file for the same code."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import draw_rooms
from draw_rooms import BASE, arrows, dot
from rooms import imports, rooms
from sigcam_core.common.errors import SigcamError

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawing of this package."""
    return draw_rooms.draw(tmp_path_factory.mktemp("drawing") / "rooms.svg")


def test_an_arrow_that_follows_from_others_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"a": {"b", "c", "d"}, "b": {"c", "common"}, "c": {"d"}, "d": set(), "common": set(), "__init__": {"a"}}
    behind = {"a": "abcd", "b": "bcd", "c": "cd", "d": "d"}
    monkeypatch.setattr(draw_rooms, "imports", lambda: {room: frozenset(lower) for room, lower in wanted.items()})
    monkeypatch.setattr(draw_rooms, "rooms_behind", lambda room: list(behind[room]))
    assert arrows() == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


def test_every_room_stands_above_those_that_it_imports(drawing: Path) -> None:
    height = {}
    for group in ElementTree.parse(drawing).iter(f"{SVG}g"):
        text = group.find(f"{SVG}text")
        if group.get("class") == "node" and text is not None:
            height[text.text or ""] = float(text.get("y", ""))
    assert set(height) == {room for room in rooms() if "/" not in room} - {"__init__"}
    assert all(height[room] < height[lower] for room in height for lower in imports()[room] & set(height))
    assert height[BASE] == max(height.values())


def test_the_drawing_fits_the_column_of_a_page(drawing: Path) -> None:
    width = re.search(r'<svg width="(\d+)pt"', drawing.read_text())
    assert width is not None
    assert int(width.group(1)) <= 7 * 72


def test_the_same_code_gives_the_same_file(drawing: Path, tmp_path: Path) -> None:
    assert draw_rooms.draw(tmp_path / "second.svg").read_bytes() == drawing.read_bytes()
    assert dot({"b": {"a"}, "a": set()}) == dot({"a": set(), "b": {"a"}})


def test_a_drawing_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(draw_rooms, "RENDER", "throw new Error('no Graphviz')")
    with pytest.raises(SigcamError, match=r"no Graphviz.*make setup"):
        draw_rooms.draw(tmp_path / "rooms.svg")
    assert not (tmp_path / "rooms.svg").exists()
