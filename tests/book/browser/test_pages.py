"""Every page of the built book in a real browser: silent, whole, readable by everybody, at any width, in the dark."""

from __future__ import annotations

import pytest
from browser_watch import AXE, missing
from playwright.sync_api import Page

from api_pages import ROOMS, WIRING
from build_book import BOOK, toc_files

INTERFACE = [f"api/{room}".replace("companion/", "companion-") for room in ROOMS]
INTERFACE += [f"api/{name}" for name, _ in WIRING.values()]
PAGES = [*toc_files(BOOK / "_toc.yml"), *INTERFACE, "index", "genindex", "search"]
# A wide screen, the same at 200 % zoom, and a phone.
WIDTHS = (1400, 700, 360)

BROKEN_PICTURES = "[...document.images].filter(one => !one.complete || !one.naturalWidth).map(one => one.src)"
# What sticks out of the window, of the elements whose overflow no box around them takes up.
STICKING_OUT = """() => {
  const limit = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= limit) return [];
  const isBoxed = one => one !== document.body &&
    (getComputedStyle(one).overflowX !== 'visible' || isBoxed(one.parentElement));
  return [...document.body.querySelectorAll('*')]
    .filter(one => one.getBoundingClientRect().right > limit + 1 && !isBoxed(one.parentElement))
    .map(one => `${one.tagName}.${one.className} ${Math.round(one.getBoundingClientRect().right)} px`).slice(0, 8);
}"""
FINDINGS = """async rules => {
  const options = {resultTypes: ['violations'], ...(rules ? {runOnly: {type: 'rule', values: rules}} : {})};
  const {violations} = await axe.run(document, options);
  return violations.filter(one => ['serious', 'critical'].includes(one.impact)).map(one =>
    `${one.impact} ${one.id}, ${one.nodes.length} places: ` +
    one.nodes.slice(0, 3).map(node => node.target.join(' ') + ' ' + (node.any[0]?.message ?? '')).join(' | '));
}"""


def open_page(page: Page, address: str) -> None:
    """Open a page, follow it where it leads, and load the pictures further down."""
    page.goto(address)
    page.wait_for_selector("article, #search-results", state="attached")
    page.evaluate("document.querySelectorAll('img[loading=lazy]').forEach(one => { one.loading = 'eager'; })")
    page.wait_for_function("[...document.images].every(one => one.complete)")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_silent_whole_and_readable(name: str, page: Page, book: str) -> None:
    if not AXE.is_file():
        missing("axe-core is not installed (make setup)")
    open_page(page, f"{book}/{name}.html")
    assert page.evaluate(BROKEN_PICTURES) == []
    page.add_script_tag(path=AXE)
    found = {"light": page.evaluate(FINDINGS, None)}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found[f"wider than {width} px"] = page.evaluate(STICKING_OUT)
    page.wait_for_timeout(500)  # the theme makes boxes that scroll reachable by keys a moment after a resize
    found["phone"] = page.evaluate(FINDINGS, None)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    found["dark"] = page.evaluate(FINDINGS, ["color-contrast"])
    assert {where: what for where, what in found.items() if what} == {}
