"""A copy of an executed notebook for the book: code folded, what papermill adds hidden, nothing of this machine.

Readers download the copy, and the page is made of it. The executed notebook itself stays as papermill left it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDED = "hide-input"
GONE = "remove-cell"
INJECTED = "injected-parameters"  # papermill's tag
OWN_PATHS = ("work_dir", "results")
"""Parameters that name folders of the machine that executed the notebook."""
OPENING = "opening"
"""Tag of the cell whose output, one sentence made from the numbers, opens the page."""


def stage_notebook(source: Path, target: Path) -> None:
    """Write the book's copy of an executed notebook.

    Args:
        source: as papermill wrote it.
        target: the copy.
    """
    notebook = json.loads(source.read_text(encoding="utf-8"))
    target.write_text(json.dumps(staged(notebook), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def staged(notebook: dict[str, Any]) -> dict[str, Any]:
    """Copy a notebook for the book: no paths and times in metadata, tags that fold code, and each figure's alt text.

    Args:
        notebook: of nbformat 4.
    """
    metadata = {key: value for key, value in notebook.get("metadata", {}).items() if key != "papermill"}
    cells = notebook.get("cells", [])
    opening = next((text for cell in cells if (text := _text_of_opening(cell))), "")
    copies = [_staged_cell(cell) for cell in cells]
    if opening:
        title, _, rest = "".join(copies[0]["source"]).partition("\n")
        copies[0] = copies[0] | {"source": f"{title}\n\n> {opening}\n{rest}"}
    return notebook | {"metadata": metadata, "cells": copies}


def _text_of_opening(cell: dict[str, Any]) -> str:
    """Find the opening sentence that a tagged cell has printed, as Markdown; empty for other cells."""
    if OPENING not in cell.get("metadata", {}).get("tags", []):
        return ""
    texts = [output["data"]["text/markdown"] for output in cell["outputs"] if "text/markdown" in output.get("data", {})]
    return "".join("".join(text) for text in texts)


def _staged_cell(cell: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in cell["metadata"].items() if key not in ("papermill", "execution")}
    if cell["cell_type"] != "code":
        return cell | {"metadata": metadata}
    tags = metadata.get("tags", [])
    if INJECTED in tags:
        lines = "".join(cell["source"]).splitlines(keepends=True)
        kept = [line for line in lines if line.split(" = ")[0] not in OWN_PATHS]
        return cell | {"metadata": metadata | {"tags": [*tags, GONE]}, "source": "".join(kept)}
    # The sentence of the opening stands at the top of the page, and need not be read twice.
    metadata["tags"] = list(dict.fromkeys([*tags, FOLDED, *(["remove-output"] if OPENING in tags else [])]))
    if words := _words_of_figure(cell):
        metadata["mystnb"] = {"image": {"alt": words}}
    return cell | {"metadata": metadata}


def _words_of_figure(cell: dict[str, Any]) -> str:
    """Find the alt text of a cell's first figure; empty where it has none."""
    for output in cell.get("outputs", []):
        for kind in output.get("metadata", {}).values():
            if isinstance(kind, dict) and kind.get("alt"):
                return str(kind["alt"])
    return ""
