"""What is made from the built book: its pages in order, its links to other hosts, their weights."""

from __future__ import annotations

from pathlib import Path

import pytest

import check_links
import print_book


@pytest.fixture
def small_site(tmp_path: Path) -> Path:
    """A book of three pages, as the theme writes the list of pages."""
    entry = '<a class="reference internal" href="{}.html">page</a>'
    first = "".join(entry.format(name) for name in ("a", "notebooks/b", "api/c", "a"))
    (tmp_path / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=intro.html">')
    (tmp_path / "intro.html").write_text(first + '<a class="x" href="https://example.org/p?a=1&amp;b=2#part">p</a>')
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "c.html").write_text('<a href="https://example.net">not a page</a>')
    return tmp_path


def test_pages_are_printed_in_reading_order_and_once(small_site: Path) -> None:
    assert print_book.pages_of(small_site) == ["intro.html", "a.html", "notebooks/b.html"]


def test_links_to_other_hosts_are_found_without_their_anchors(small_site: Path) -> None:
    assert check_links.links_of(small_site) == {"https://example.org/p?a=1&b=2": "intro.html"}


def test_a_link_is_broken_if_nobody_answers_and_not_if_a_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer:
        def __init__(self, status_code: int) -> None:
            self.status_code, self.ok = status_code, status_code < 400

    codes = {"https://a": 200, "https://b": 403, "https://c": 404}

    def get(link: str, **options: object) -> Answer:
        if link not in codes:
            raise check_links.requests.ConnectionError("no such host")
        return Answer(codes[link])

    monkeypatch.setattr(check_links.requests, "get", get)
    assert [check_links.fault_of(link) for link in (*codes, "https://d")] == ["", "", "404", "ConnectionError"]
