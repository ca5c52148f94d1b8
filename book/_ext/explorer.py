"""Sphinx extension: the files of the pages that compute where they are read lie next to the pages.

``book/_make/explorer_files.py`` makes them. They cannot lie among the sources' static files, since Jupyter Book would
load each of these scripts on every page.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

SUFFIXES = (".js", ".webp")  # not the record, nor the network as a file of its own


def copy_explorer(app: Sphinx) -> None:
    """Copy the folder that ``SIGCAM_EXPLORER`` names to ``_static/explorer`` of the output; without one, do nothing."""
    folder = os.environ.get("SIGCAM_EXPLORER", "")
    if not folder or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / "explorer"
    target.mkdir(parents=True, exist_ok=True)
    for path in Path(folder).iterdir():
        if path.suffix in SUFFIXES:
            shutil.copyfile(path, target / path.name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("builder-inited", copy_explorer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
