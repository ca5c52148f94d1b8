"""A small site of the pages that compute where they are read, without the rest of the book."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from explorer_files import EXPLORER, PROJECT, ensure_explorer

BOOK = PROJECT / "book"
STYLE = """<style>
:root { --pst-color-border: #c9c9c9; --pst-color-surface: #f5f5f5; --pst-color-text-base: #222;
  --pst-color-text-muted: #555; --pst-color-primary: #17617a; --pst-color-background: #fff; }
body { margin: 0.5rem; font-family: sans-serif; }
</style>"""


def make_site(folder: Path) -> Path:
    """Write the site to a folder that is there: a page for each page of the book that has raw HTML in it.

    The files of the explorer are those of ``build`` if these are there and up to date; else they are made.
    """
    made = PROJECT / "build" / EXPLORER
    work_dir = folder / "work"
    work_dir.mkdir()
    if made.is_dir():
        shutil.copytree(made, work_dir / EXPLORER)
    shutil.copytree(ensure_explorer(work_dir), folder / "_static" / "explorer")
    for path in (BOOK / "_static").iterdir():
        shutil.copyfile(path, folder / "_static" / path.name)
    for page in BOOK.glob("*.md"):
        blocks = re.findall(r"```\{raw\} html\n(.*?)```", page.read_text(), flags=re.DOTALL)
        if blocks:
            (folder / f"{page.stem}.html").write_text(_page(page.stem, "\n".join(blocks)))
    return folder


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<link rel="icon" href="data:,">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{STYLE}'
        f'<link rel="stylesheet" href="_static/explorer.css"></head>'
        f'<body class="bd-content"><main><h1>{title}</h1>\n{body}</main></body></html>'
    )
