"""Sphinx extension: mathematics renders without a network.

MathJax is copied out of the package ``jupyter_server_mathjax`` into the static files of the book. It cannot lie among
the sources' static files, since Jupyter Book would load each of its scripts on every page.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

# All that TeX input and HTML output load: not the other outputs, speech, MathML input or menu translations.
MATHJAX_PARTS = (
    "LICENSE",
    "MathJax.js",
    "config/TeX-AMS-MML_HTMLorMML-full.js",
    "extensions/TeX",
    "extensions/AssistiveMML.js",
    "extensions/MathEvents.js",
    "extensions/MathMenu.js",
    "extensions/MathZoom.js",
    "fonts/HTML-CSS/STIX-Web/woff",
    "jax/element",
    "jax/output/HTML-CSS",
)


def mathjax_folder() -> Path:
    """Where the installed package keeps MathJax.

    Raises:
        ExtensionError: if the package is not installed.
    """
    spec = importlib.util.find_spec("jupyter_server_mathjax")
    if spec is None or spec.origin is None:
        raise ExtensionError("jupyter_server_mathjax is not installed: install the extra 'book' of this project.")
    return Path(spec.origin).parent / "static"


def copy_mathjax(app: Sphinx) -> None:
    """Copy the parts of MathJax that the book needs to ``_static/mathjax`` of the output."""
    if app.builder.format != "html":
        return
    source, target = mathjax_folder(), Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (source / part).is_dir() else shutil.copyfile
        copy(source / part, target / part)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("builder-inited", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
