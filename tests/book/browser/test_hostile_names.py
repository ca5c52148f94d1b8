"""Hostile names in a real browser: whatever pages show of a manifest is text there, and nothing of it runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_parts
from hostile_names import HOSTILE
from myst_parser.parsers.docutils_ import Parser
from playwright.sync_api import Browser

from companion.chapters.explorer import shift_sentence
from companion.show.shown import fold, show
from sigcam_core.summarise.drawing import Panel, panel_grid

STATIC = Path(__file__).resolve().parents[3] / "book" / "_static"
PROBABILITIES = {"softmax": 0.5, "sigmoid": 0.5}


def opening(name: str) -> str:
    """The sentence that opens a page, as the book renders it."""
    text = shift_sentence(name, PROBABILITIES, PROBABILITIES, 1.0)
    return str(publish_parts(f"> {text}", parser=Parser(), writer_name="html5")["body"])


def figure(name: str, folder: Path) -> str:
    """A figure with the name in its titles, inside of the page."""
    drawn = panel_grid([[Panel(name, np.zeros((4, 4, 3), np.uint8))]], [name])
    drawn.savefig(folder / "figure.svg")
    plt.close(drawn)
    return re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", (folder / "figure.svg").read_text(), flags=re.S)


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout not applied")
def test_nothing_that_a_name_holds_runs_in_a_page(browser: Browser, tmp_path: Path) -> None:
    table = pd.DataFrame({"class": HOSTILE, HOSTILE[0]: HOSTILE, "value": 1.5})
    parts = [fold(HOSTILE[1], show(table, HOSTILE[2]), name=HOSTILE[2]).data]
    parts += [opening(name) + figure(name, tmp_path) for name in HOSTILE]
    start = '<!doctype html><meta charset="utf-8"><script src="sortable.js"></script>'
    body = "".join(parts).replace("<table", '<table class="sortable" data-filters="0" data-name="names"', 1)
    (tmp_path / "page.html").write_text(start + body, encoding="utf-8")
    shutil.copy(STATIC / "sortable.js", tmp_path)
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto((tmp_path / "page.html").as_uri())
    page.eval_on_selector("details", "one => one.open = true")
    page.mouse.move(100, 100)
    for button in page.get_by_role("button").all():
        if "CSV" not in (button.text_content() or ""):
            button.click()
    page.wait_for_timeout(200)
    assert page.evaluate("window.owned") is None
    assert page.locator("script").count() == 1
    assert page.locator("img, iframe").count() == 0
    shown = page.eval_on_selector_all("tbody td:first-of-type", "cells => cells.map((cell) => cell.textContent)")
    assert {" ".join(name.split()) for name in HOSTILE} <= {" ".join(str(cell).split()) for cell in shown}
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save these rows as CSV").click()
    rows = Path(saved.value.path()).read_text(encoding="utf-8").splitlines()
    assert not [row for row in rows if re.match(r'\s*"?[=+@-]', row)]
    context.close()
    assert not complaints
