"""Text that users read has the words of the field: no dialect of the project's own, no archaic words, "per" for "a"."""

from __future__ import annotations

import ast
import json
import re

import pytest

from dependencies import PROJECT

THING = (
    "image|map|row|head|class|network|data set|device|pixel|channel|epoch|metric|method|cell|box|batch|view|second|"
    "measurement|experiment|line|step|pass|seed|group|quantity|factor|scorer|panel|shard|file|grid"
)
PAIRS = {
    rf"\b(?:one|two) (?:row|rows|column|line|mark|panel|box|map|mask|class|curve|bar|table) an? (?:{THING})\b": "per",
    rf"\b(?:ms|bits|inches|once) an? (?:{THING})\b": "per",
    r"(?<![-`])\banew\b(?!:)": "again, re-",
    r"\btold\b": "said, reported; to distinguish",
    r"\b(?:thereof|whilst|amongst|hitherto|henceforth|whosoever|nought)\b": "a modern word",
    r"(?<![./_`])\b[Ss]tations?\b(?![/`_])": "stage",
    r"\bThe line that data\b": "pipeline",
}
"""What is refused, and what to write in its place."""
TEXTS = ("README.md", "SECURITY.md", "book/*.md", "docs/**/*.md")
CODE = ("sigcam_core", "companion", "data_scripts", "benchmarks", "workflow", "book/_make", "book/_ext")


def _prose() -> dict[str, str]:
    """Pages, the Markdown of notebooks, and every string of several words in the code, docstrings included."""
    found = {str(path.relative_to(PROJECT)): path.read_text() for text in TEXTS for path in PROJECT.glob(text)}
    for path in (PROJECT / "notebooks").glob("*.ipynb"):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "markdown"]
        found[path.name] = "\n".join("".join(cell["source"]) for cell in cells)
    for path in (path for folder in CODE for path in (PROJECT / folder).rglob("*.py")):
        strings = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        found[str(path.relative_to(PROJECT))] = "\n".join(one for one in strings if isinstance(one, str) and " " in one)
    return found


def _findings(text: str) -> list[str]:
    return [f"{m[0]!r}: {better}" for p, better in PAIRS.items() for m in re.finditer(p, text, flags=re.MULTILINE)]


def test_text_that_users_read_is_in_plain_words() -> None:
    prose = _prose()
    assert len(prose) > 250  # pages, notebooks and modules
    assert {name: found for name, text in prose.items() if (found := _findings(text))} == {}


@pytest.mark.parametrize(
    "text", ["one row an image", "ms an image", "is made anew", "was told", "First station: prepare"]
)
def test_the_dialect_is_found(text: str) -> None:
    assert _findings(text)


@pytest.mark.parametrize(
    "text", ["one row per image", "``sigcam_core.stations``", "`stations/`", "with --anew", "once"]
)
def test_plain_words_pass(text: str) -> None:
    assert _findings(text) == []
