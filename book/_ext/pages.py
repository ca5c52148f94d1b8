"""Sphinx extension: the last hand on every page, after the theme has written it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parent))

from accessible import accessible
from lean import icons_of, keep_icons, without_unused

# Jupyter Book's own first page is a bare redirection, without a language, a title or an icon.
REDIRECTION = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="_static/favicon.svg">
<meta http-equiv="Refresh" content="0; url={root}.html">
</head>
<body><a href="{root}.html">{title}</a></body>
</html>
"""


def finish(app: Sphinx, error: Exception | None) -> None:
    """Mend and lighten the pages of a build that succeeded."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    icons: set[str] = set()
    for path in sorted(out.rglob("*.html")):
        if "_static" in path.relative_to(out).parts:
            continue
        html = accessible(without_unused(path.read_text(encoding="utf-8"), searches=path.stem == "search"))
        icons |= icons_of(html)
        path.write_text(html, encoding="utf-8")
    keep_icons(out / "_static", icons | {"fa-xmark"})  # the theme's script shows a cross
    root = app.config.root_doc
    if root != "index":
        page = REDIRECTION.format(title=app.config.html_title, root=root)
        (out / "index.html").write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
