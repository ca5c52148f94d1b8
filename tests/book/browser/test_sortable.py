"""The table of all cells in a real browser, from a file: sorted, filtered, saved, by keyboard."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

STATIC = Path(__file__).resolve().parents[3] / "book" / "_static"
ROWS = [
    ("CAM, GT-Loc", "Table 1", "9.5", "9.5 (+1)"),
    ("Grad-CAM, GT-Loc", "Table 1", "10", "10"),
    ("CAM, drop", "Table 2", "", "–"),
]
PAGE = """<!doctype html><meta charset="utf-8"><script src="sortable.js"></script><div class="scrolls">
<table class="sortable" data-filters="1" data-name="cells"><thead><tr><th>Cell</th><th>Table</th><th>Paper<br>gain</th>
</tr></thead><tbody>{}</tbody></table></div>"""


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The table in a page that is opened as a file, since the book is."""
    body = "".join(f'<tr><th>{a}</th><td>{b}</td><td data-sort="{c}">{d}</td></tr>' for a, b, c, d in ROWS)
    (tmp_path / "page.html").write_text(PAGE.format(body))
    shutil.copy(STATIC / "sortable.js", tmp_path)
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    yield page
    context.close()
    assert not complaints


def shown(page: Page) -> list[str]:
    return page.eval_on_selector_all("tbody tr:not([hidden]) th", "cells => cells.map((cell) => cell.textContent)")


def test_a_heading_sorts_numbers_as_numbers_and_nothing_last(page: Page) -> None:
    button = page.get_by_role("button", name="Paper")
    button.focus()
    page.keyboard.press("Enter")
    assert shown(page) == ["CAM, GT-Loc", "Grad-CAM, GT-Loc", "CAM, drop"]
    assert page.get_attribute("th:nth-child(3)", "aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert shown(page) == ["Grad-CAM, GT-Loc", "CAM, GT-Loc", "CAM, drop"]
    page.get_by_role("button", name="Cell").click()
    assert shown(page) == ["CAM, drop", "CAM, GT-Loc", "Grad-CAM, GT-Loc"]
    assert page.get_attribute("th:nth-child(3)", "aria-sort") is None


def test_choices_and_words_filter_and_the_count_says_how_many(page: Page) -> None:
    page.get_by_label("Table").select_option("Table 1")
    assert shown(page) == ["CAM, GT-Loc", "Grad-CAM, GT-Loc"]
    page.get_by_label("Words").fill("grad gt")
    assert shown(page) == ["Grad-CAM, GT-Loc"]
    assert page.get_by_role("status").inner_text() == "1 of 3 rows"
    page.get_by_role("button", name="All rows").click()
    page.wait_for_function("document.querySelector('[role=status]').textContent === '3 of 3 rows'")


def test_what_is_shown_is_saved_as_csv(page: Page, tmp_path: Path) -> None:
    page.get_by_label("Table").select_option("Table 1")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save these rows").click()
    assert download.value.suggested_filename == "cells.csv"
    download.value.save_as(tmp_path / "saved.csv")
    rows = list(csv.reader((tmp_path / "saved.csv").read_text().splitlines()))
    assert rows == [
        ["Cell", "Table", "Paper"],
        ["CAM, GT-Loc", "Table 1", "9.5 (+1)"],
        ["Grad-CAM, GT-Loc", "Table 1", "10"],
    ]
