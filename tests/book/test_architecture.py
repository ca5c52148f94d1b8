"""The page on the architecture says what is there: every room, and every file of the walk once."""

from __future__ import annotations

import re

import pytest

from dependencies import PROJECT
from rooms import rooms

PAGE = (PROJECT / "book" / "architecture.md").read_text()
PARTS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
WALK = re.findall(r"^\| `([^`]+)` \|", PARTS["The walk"], flags=re.MULTILINE)


def test_the_walk_passes_each_file_once() -> None:
    assert len(WALK) > 10
    assert len(WALK) == len(set(WALK))


@pytest.mark.parametrize("place", sorted(set(re.findall(r"`((?:\w+/)+[\w.]*)`", PAGE)) - {"build/"}))
def test_every_file_that_is_named_exists(place: str) -> None:
    assert place.startswith("build/") or (PROJECT / place).exists()


def test_every_room_has_its_line() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", PARTS["The modules"], flags=re.MULTILINE)
    assert {name.removesuffix(".py") for name in listed} == set(rooms()) - {
        "__init__",
        "companion/__init__",
        "data_scripts",
    }
    assert "`data_scripts`" in PARTS["The modules"]
