"""HTML of the pages from templates, which lie beside the modules that fill them in."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template


@cache
def _template(path: Path) -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(path.read_text(encoding="utf-8"))


def render(path: Path, **values: Any) -> str:
    """Fill in a template; values are escaped, and a name that nobody gave is an error.

    Args:
        path: of the template, in Jinja's language.
        values: by the names that the template uses.

    Raises:
        jinja2.UndefinedError: if a value is missing.
    """
    return _template(path).render(values)
