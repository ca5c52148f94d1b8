"""The whole book as one PDF: ``python book/_make/print_book.py``, by the Chromium that is there."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import PdfMargins

from browse import built_site, chromium, served
from sigcam_core.common.errors import CommandLine, run_command_line

NAME = "beyond-softmax-reproduced.pdf"
# Pages in the order of the first page's list, each article behind the one before, with anchors of its own.
GATHER = """async pages => {
  const anchor = (page, id) => `${page}:${id}`;
  const articles = [];
  for (const page of pages) {
    const address = new URL(page, location.href).href;
    const text = await (await fetch(address)).text();
    const article = new DOMParser().parseFromString(text, 'text/html').querySelector('article');
    article.querySelectorAll('[id]').forEach(one => { one.id = anchor(page, one.id); });
    article.querySelectorAll('[src]').forEach(one => { one.src = new URL(one.getAttribute('src'), address).href; });
    article.querySelectorAll('a[href]').forEach(one => {
      const target = new URL(one.getAttribute('href'), address);
      const name = pages.find(other => new URL(other, location.href).pathname === target.pathname);
      if (target.origin === location.origin && name) one.href = '#' + anchor(name, target.hash.slice(1));
    });
    article.querySelectorAll('details').forEach(one => { one.open = one.closest('.cell') === null; });
    article.querySelectorAll('script').forEach(one => one.remove());
    article.querySelectorAll('img').forEach(one => { one.loading = 'eager'; });
    article.id = anchor(page, '');
    article.style.breakBefore = articles.length ? 'page' : 'auto';
    articles.push(article);
  }
  const place = document.querySelector('article');
  place.replaceWith(...articles.map(one => document.adoptNode(one)));
  await Promise.all([...document.images].map(one => one.decode().catch(() => null)));
}"""


def pages_of(site: Path) -> list[str]:
    """List the pages of the book in reading order, as the first page links them; API pages are left out."""
    index = re.search(r"url=([\w-]+\.html)", (site / "index.html").read_text(encoding="utf-8"))
    first = index[1] if index else "index.html"
    html = (site / first).read_text(encoding="utf-8")
    listed = re.findall(r'<a class="(?:current )?reference internal" href="([\w/-]+\.html)"', html)
    return list(dict.fromkeys([first, *(page for page in listed if not page.startswith("api/"))]))


def print_book(site: Path, target: Path) -> int:
    """Print the book to ``target``; returns the number of its pages on the web."""
    pages = pages_of(site)
    with chromium() as browser, served(site) as address:
        page = browser.new_page(color_scheme="light")
        page.goto(f"{address}/{pages[0]}")
        page.evaluate(GATHER, pages)
        margin = PdfMargins(top="15mm", bottom="15mm", left="15mm", right="15mm")
        page.pdf(path=target, format="A4", margin=margin, print_background=True, outline=True, tagged=True)
    return len(pages)


def main() -> None:
    """Print the built book to one PDF next to it."""
    parser = CommandLine(description=main.__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build"))
    work_dir = parser.parse_args().work_dir
    target = work_dir / "book" / NAME
    print_book(built_site(work_dir), target)
    print(target)


if __name__ == "__main__":
    run_command_line(main)
