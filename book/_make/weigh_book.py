"""What each page of the built book weighs and how fast it is there: ``python book/_make/weigh_book.py``.

Bytes are those that a browser with an empty cache asks for when it opens the page, as they lie on the disk; a server
that compresses sends about a quarter of the text among them. Times are of this machine, without a network between.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser

from browse import built_site, chromium, served
from sigcam_core.common.errors import CommandLine, run_command_line

KINDS = {".html": "page", ".css": "style", ".js": "script", ".mjs": "script", ".woff": "font", ".woff2": "font"}


class Weight(NamedTuple):
    """What one page asks for.

    Attributes:
        page: its name.
        kilobytes: by kind: page, style, script, font, picture.
        load_ms: until the load event.
    """

    page: str
    kilobytes: dict[str, float]
    load_ms: float


def weigh(browser: Browser, site: Path, address: str, page: str) -> Weight:
    """Open a page with an empty cache, and add up the files that it asked for."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    opened, asked = context.new_page(), set[str]()
    opened.on("request", lambda request: asked.add(unquote(urlsplit(request.url).path)))
    opened.goto(f"{address}/{page}")
    load_ms = opened.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    context.close()
    kilobytes: dict[str, float] = {}
    for path in asked:
        file = site / path.lstrip("/")
        if file.is_file():
            kind = KINDS.get(file.suffix, "picture")
            kilobytes[kind] = kilobytes.get(kind, 0) + file.stat().st_size / 1000
    return Weight(page, kilobytes, load_ms)


def main() -> None:
    """Print a table of all pages, the heaviest first."""
    parser = CommandLine(description=main.__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build"))
    site = built_site(parser.parse_args().work_dir)
    pages = sorted(str(path.relative_to(site)) for path in site.rglob("*.html") if "_static" not in path.parts)
    with chromium() as browser, served(site) as address:
        weights = [weigh(browser, site, address, page) for page in pages if page != "index.html"]
    kinds = ("page", "style", "script", "font", "picture")
    print(f"{'kB':>7} " + " ".join(f"{kind:>8}" for kind in kinds) + f" {'load ms':>8}  page")
    for one in sorted(weights, key=lambda one: -sum(one.kilobytes.values())):
        parts = " ".join(f"{one.kilobytes.get(kind, 0):8.0f}" for kind in kinds)
        print(f"{sum(one.kilobytes.values()):7.0f} {parts} {one.load_ms:8.0f}  {one.page}")


if __name__ == "__main__":
    run_command_line(main)
