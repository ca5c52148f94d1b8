"""The PDF of the book, and the weights of its pages, are made by the browser from the pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser_watch import missing
from playwright.sync_api import Browser

from browse import find_chromium
from print_book import print_book
from weigh_book import weigh


def write_site(folder: Path) -> Path:
    listed = "".join(f'<a class="reference internal" href="{name}.html">x</a>' for name in ("intro", "part/b"))
    (folder / "part").mkdir()
    (folder / "a.css").write_text("p { color: black; }" + " " * 1981)
    (folder / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=intro.html">')
    style = '<link rel="stylesheet" href="/a.css"><link rel="icon" href="data:,">'
    (folder / "intro.html").write_text(f'{style}{listed}<article><p id="one">First</p></article>')
    (folder / "part" / "b.html").write_text('<article><a href="../intro.html#one">back</a> Second</article>')
    return folder


def test_the_pdf_holds_every_page(tmp_path: Path) -> None:
    if find_chromium() is None:
        missing("no Chromium on the PATH or in SIGCAM_BROWSER")
    assert print_book(write_site(tmp_path), tmp_path / "book.pdf") == 2
    content = (tmp_path / "book.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") == 2  # each begins on a sheet of its own


def test_a_page_weighs_what_it_asks_for(tmp_path: Path, browser: Browser, serve: Callable[[Path], str]) -> None:
    site = write_site(tmp_path)
    weight = weigh(browser, site, serve(site), "intro.html")
    assert weight.kilobytes["style"] == pytest.approx(2.0)
    assert weight.kilobytes["page"] == pytest.approx((site / "intro.html").stat().st_size / 1000)
    assert weight.load_ms > 0
