"""The page of the build and the fold-outs say what the records say, and nothing where there is none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

import build_page

ROOT = Path(build_page.__file__).resolve().parents[2]
RECORD = {
    "seed": 3,
    "seconds": 12.4,
    "sha256": "ab" * 32,
    "commit": "c" * 40,
    "device": "CPU of a test, 2 cores",
    "python": "3.11.7",
    "versions": {"torch": "2.9"},
    "date": "2026-01-02T03:04:05+00:00",
}


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """What the workflow leaves behind, with one notebook that saves values and one that does not."""
    for name in ("evidence", "measured", "notebooks", "target/notebooks", "target/summary"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "evidence" / "one.json").write_text(json.dumps(RECORD))
    (tmp_path / "measured" / "a.tsv").write_text("s\tmax_rss\n1.0\t1234.56\n")
    saved = {
        "name": "table1",
        "values": {},
        "provenance": RECORD | {"parameters": {"seed": 3}, "records": {"x": RECORD}},
    }
    (tmp_path / "target" / "summary" / "table1.json").write_text(json.dumps(saved))
    run = {"duration": 50.2, "end_time": "2026-01-02T03:04:05", "parameters": {"seed": 3}}
    for name, source in (("a", 'save_chapter(folder, "table1", chapter)'), ("b", "1 + 1")):
        cells = [{"cell_type": "code", "source": [source]}]
        notebook = {"cells": cells, "metadata": {"papermill": run if name == "a" else {}}}
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(json.dumps(notebook))
        # The copy on the page has no word of papermill's.
        (tmp_path / "target" / "notebooks" / f"{name}.ipynb").write_text(json.dumps(notebook | {"metadata": {}}))
    return tmp_path


def test_the_page_tells_time_memory_seeds_and_checksums(work_dir: Path) -> None:
    build_page.write_build_page(work_dir / "target", work_dir, ROOT)
    page = (work_dir / "target" / "build.md").read_text()
    assert "| {doc}`notebooks/a` | 2026-01-02 03:04 | 50 | 1,235 | 3 |" in page
    assert "| {doc}`notebooks/b` | – | – | – | – |" in page
    assert "| `evidence/one` | CPU of a test, 2 cores | 3 | 12 | `abababababababab` |" in page
    assert "{doc}`notebooks/a` takes the most, 1,235 MB; none needs more." in page
    assert re.search(r"\| Commit \| `\w+", page)


def test_a_notebook_too_large_for_binder_is_named(work_dir: Path) -> None:
    (work_dir / "measured" / "b.tsv").write_text("s\tmax_rss\n1.0\t2100\n")
    build_page.write_build_page(work_dir / "target", work_dir, ROOT)
    assert "2,100 MB; above it lie {doc}`notebooks/b`." in (work_dir / "target" / "build.md").read_text()


def test_a_page_that_saved_values_has_a_fold_out_and_no_other(work_dir: Path) -> None:
    build_page.fold_provenance(work_dir / "target")
    a, b = (json.loads((work_dir / "target" / "notebooks" / f"{name}.ipynb").read_text()) for name in "ab")
    assert len(b["cells"]) == 1
    fold = "".join(a["cells"][-1]["source"])
    assert "CPU of a test" in fold
    assert "`seed=3`" in fold
    assert f"commit `{'c' * 12}`" in fold


def test_codecheck_names_files_that_the_workflow_makes() -> None:
    config = yaml.safe_load((ROOT / "codecheck.yml").read_text())
    notebooks = "".join(path.read_text() for path in (ROOT / "notebooks").glob("*.ipynb"))
    for entry in config["manifest"]:
        assert f'\\"{Path(entry["file"]).stem}\\"' in notebooks, entry


def test_a_doi_has_the_form_of_one() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert re.fullmatch(r"10\.\d{4,}/\S+", citation.get("doi", "10.5281/zenodo.0"))
