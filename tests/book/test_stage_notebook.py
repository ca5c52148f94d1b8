"""The book's copies of notebooks: folded, without what papermill and this machine added, opened by their finding."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("stage_notebook", ROOT / "book" / "_make" / "stage_notebook.py")
assert spec is not None
assert spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


def code(source: str, tags: list[str], outputs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    metadata = {"tags": tags, "papermill": {"duration": 1.0}, "execution": {"iopub": "2026"}}
    return {"cell_type": "code", "metadata": metadata, "outputs": outputs or [], "source": source}


FIGURE = {"data": {"image/svg+xml": "<svg/>"}, "metadata": {"image/svg+xml": {"alt": "what it finds"}}}
OPENING = {"data": {"text/markdown": "**It turns.**"}, "metadata": {}}
NOTEBOOK = {
    "metadata": {"kernelspec": {}, "papermill": {"input_path": "/home/someone/notebooks/a.ipynb"}},
    "cells": [
        {"cell_type": "markdown", "metadata": {"papermill": {}, "tags": []}, "source": ["# Title\n", "\n", "Text."]},
        code("seed: int = 0", ["parameters"]),
        code('# Parameters\nwork_dir = "/home/someone/build"\nresults = "/home"\nseed = 3\n', ["injected-parameters"]),
        code("told()", ["opening"], [OPENING]),
        code("show()", [], [FIGURE]),
    ],
    "nbformat": 4,
}


def test_code_is_folded_and_what_papermill_injects_is_gone_from_the_page() -> None:
    title, parameters, injected, opening, figure = module.staged(NOTEBOOK)["cells"]
    assert title["metadata"] == {"tags": []}
    assert parameters["metadata"]["tags"] == ["parameters", "hide-input"]
    assert injected["metadata"]["tags"] == ["injected-parameters", "remove-cell"]
    assert opening["metadata"]["tags"] == ["opening", "hide-input", "remove-output"]
    assert figure["metadata"] == {"tags": ["hide-input"], "mystnb": {"image": {"alt": "what it finds"}}}


def test_copies_name_no_folder_of_the_machine_that_executed_them(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(json.dumps(NOTEBOOK))
    module.stage_notebook(tmp_path / "a.ipynb", tmp_path / "b.ipynb")
    text = (tmp_path / "b.ipynb").read_text()
    assert "/home" not in text
    assert json.loads(text)["cells"][2]["source"] == "# Parameters\nseed = 3\n"  # other parameters stay


def test_the_finding_stands_under_the_title() -> None:
    assert module.staged(NOTEBOOK)["cells"][0]["source"] == "# Title\n\n> **It turns.**\n\nText."
    without = NOTEBOOK | {"cells": NOTEBOOK["cells"][:3]}
    assert module.staged(without)["cells"][0]["source"] == ["# Title\n", "\n", "Text."]
