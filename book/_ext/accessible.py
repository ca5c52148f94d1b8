"""Pages that everybody can use: names that agree with what is read, pictures of icons unread, boxes that keys scroll.

Called by `pages.py`, on what the theme has written.
"""

from __future__ import annotations

import re

EDITS: list[tuple[re.Pattern[str], str]] = [
    # A name that differs from the words on the button is of no use to those who speak the words.
    (re.compile(r'(<summary[^>]*?) aria-label="Toggle hidden content"'), r"\1"),
    (re.compile(r'(<button class="btn search-button-field[^>]*?) aria-label="Search"'), r"\1"),
    (
        re.compile(r'<summary><span class="toctree-toggle"'),
        '<summary aria-label="pages below"><span class="toctree-toggle"',
    ),
    # Icons are drawn beside or in place of a name that is there.
    (re.compile(r'<i class="((?:theme-switch )?fa[srb]? ?[^"]*)"'), r'<i aria-hidden="true" class="\1"'),
    # A list whose entries do not say that they are entries is none.
    (re.compile(r'<div role="list" class="citation-list">'), '<div class="citation-list">'),
    # What may be wider than the page scrolls by keys, too.
    (re.compile(r'<div class="formula">'), r'<div class="formula" tabindex="0" role="group" aria-label="formula">'),
    (
        re.compile(r'<div class="cell_output docutils container">(\s*(?:<a class="[^"]*image-reference"[^>]*>)?<img )'),
        r'<div class="cell_output docutils container figure-box" tabindex="0" role="group" aria-label="figure">\1',
    ),
]


def accessible(html: str) -> str:
    """Correct the theme's accessibility faults in a page."""
    for pattern, text in EDITS:
        html = pattern.sub(text, html)
    return html
