"""Templates are filled in whole, and nothing in them is taken for HTML that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from companion.show.shown import render
from dependencies import PROJECT, files_behind


def test_values_are_escaped_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text('<p title="{{ title }}">{{ text }}</p>')
    assert render(path, title='a "b"', text="1 < 2 & 3") == '<p title="a &#34;b&#34;">1 &lt; 2 &amp; 3</p>'
    with pytest.raises(UndefinedError, match="text"):
        render(path, title="a")


@pytest.mark.parametrize(
    ("notebook", "name"), [("13_paper_against_reproduction", "against.html"), ("03_table1_wsol", "layout.html")]
)
def test_a_page_depends_on_its_templates(notebook: str, name: str) -> None:
    assert str(PROJECT / "companion" / "paper" / name) in files_behind(f"notebooks/{notebook}.ipynb")
