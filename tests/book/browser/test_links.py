"""Links within the built book lead somewhere: every page, file and anchor that a page names is there."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Links(HTMLParser):
    """Collects the addresses and the anchors of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: set[str] = set()
        self.anchors: set[str] = {"", "top"}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name in ("id", "name") and tag != "meta"):
                self.anchors.add(value)
            if value and name in ("href", "src"):
                self.addresses.add(value)


def read(page: Path) -> Links:
    links = Links()
    links.feed(page.read_text(encoding="utf-8"))
    return links


def broken(site: Path) -> Iterator[str]:
    pages = {path.resolve(): read(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}
    for path, links in pages.items():
        for address in sorted(links.addresses):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            is_page = target in pages
            if not target.is_file() or (is_page and unquote(parts.fragment) not in pages[target].anchors):
                yield f"{path.relative_to(site.resolve())}: {address}"


def test_no_link_within_the_book_is_broken(site: Path) -> None:
    assert list(broken(site)) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#here">b</a> <a href="c.html">c</a> <a href="b.html#gone">b</a>')
    (tmp_path / "b.html").write_text('<p id="here"><img src="none.png"></p>')
    assert list(broken(tmp_path)) == ["a.html: b.html#gone", "a.html: c.html", "b.html: none.png"]
