"""Sphinx extension: the numbers in the prose come from the summary that the notebooks saved.

A file ``<name>.json`` holding ``{"name": name, "values": {key: value}, "formatted": {key: text}}`` makes
``{{ name_key }}`` available on every page of the book. A key that no file provides is a warning of the parser, hence
an error of a build with ``-W``.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError


def read_substitutions(folder: Path) -> dict[str, str]:
    """Read the substitutions ``<name>_<key>`` from all files of values in ``folder``.

    The text of a value is the one under ``formatted`` where there is one, else ``str(value)``.

    Raises:
        ExtensionError: if a file holds no values, or if two files provide the same substitution.
    """
    substitutions: dict[str, str] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            name, values, formatted = saved["name"], saved["values"], saved.get("formatted", {})
            found = {f"{name}_{key}": str(formatted.get(key, value)) for key, value in values.items()}
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ExtensionError(
                f'{path} is not a file of values {{"name": ..., "values": {{...}}}} ({error!r}).'
            ) from error
        if twice := substitutions.keys() & found.keys():
            raise ExtensionError(f"{path} provides {', '.join(sorted(twice))} a second time: rename one.")
        substitutions |= found
    return substitutions


def add_substitutions(app: Sphinx, config: Config) -> None:
    """Add the summary's substitutions to those of the configuration."""
    folder = Path(os.environ.get("SIGCAM_SUMMARY", Path(app.srcdir) / "summary"))
    config.myst_substitutions = {**config.myst_substitutions, **read_substitutions(folder)}


def fill_in(text: str, substitutions: dict[str, str]) -> str:
    """Fill in the known substitutions in a page's source."""
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: substitutions.get(found[1], found[0]), text)


def fill_in_downloads(app: Sphinx, exception: Exception | None) -> None:
    """Fill in the sources that pages offer to download, as their readers have no summary."""
    if exception is not None or app.builder.format != "html":
        return
    for path in sorted((Path(app.outdir) / "_sources").rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        path.write_text(fill_in(text, app.config.myst_substitutions), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect("config-inited", add_substitutions)
    app.connect("build-finished", fill_in_downloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
