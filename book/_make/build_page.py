"""The page that says how this build of the book came about, and the same, in short, at the end of each result page.

Everything is read from what the workflow left behind: the executed notebooks, the records next to the files, and the
measurements of time and memory that Snakemake takes.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from companion.show.saved import SUMMARY
from page_parts import cells
from sigcam_core.common.files import read_json
from sigcam_core.common.provenance import provenance

PAGE = "build"
BINDER_MEGABYTES = 2000
"""Memory that mybinder.org gives a session at most, by its documentation on use and limits."""
MEASURED = "measured"  # folder of Snakemake's measurements within the work dir
SAVES = re.compile(r'save_(?:chapter|values)\(\s*\w+,\s*"(\w+)"')
FOLD = """::::{{dropdown}} Where the numbers of this page come from
:class-container: provenance

{facts}

{records}
::::
"""
NO_DOI = """There is no DOI yet. Whoever publishes a release makes one: archive the release (Zenodo does it for a
public repository when a release is made), then put `doi: 10.5281/zenodo.NUMBER` into `CITATION.cff`. This page then
shows it."""
TEXT = """# This build

What the numbers of this book rest on, as recorded when they were made. A number that is missing stops the build.

| | |
|:--|:--|
{facts}

## Time and memory of every notebook

Peak memory is that of the notebook's processes together, where the workflow measured it.

| Notebook | Executed | Seconds | Peak memory (MB) | Seed |
|:--|:--|--:|--:|--:|
{notebooks}

{binder}

## Files that the numbers were computed from

Checksums are SHA-256, of which the first sixteen digits are shown; the records next to the files have the whole.

| File | Made on | Seed | Seconds | Checksum |
|:--|:--|--:|--:|:--|
{records}

## How to cite

Cite the paper, {{cite:t}}`oh2025beyond`, for the method, and this companion for what was measured here. `CITATION.cff`
in the repository holds both; hosts and reference managers read it.

```bibtex
@software{{beyond_softmax_reproduced,
  title   = {{Beyond Softmax, reproduced: a companion to dual-branch sigmoid class activation maps}},
  author  = {{{{The Beyond Softmax companion authors}}}},
  version = {{{version}}},
  note    = {{commit {commit}}},
  year    = {{{year}}}
}}
```

{doi}

`codecheck.yml` in the repository lists what an independent check has to produce, by the scheme of
[CODECHECK](https://codecheck.org.uk); the certificate's number and the name of the checker are theirs to fill in.
"""


def _source(notebook: dict[str, Any]) -> str:
    return "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")


def _peak(work_dir: Path, name: str) -> float | None:
    """Peak memory of a notebook in MB, as Snakemake measured it, or None."""
    path = work_dir / MEASURED / f"{name}.tsv"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    return float(row["max_rss"]) if row["max_rss"] not in ("-", "NA") else None


def _beside_binder(peaks: Mapping[str, float | None]) -> str:
    """Say how much memory the notebooks need compared with what Binder gives, from their peaks by name in MB."""
    measured = {name: peak for name, peak in peaks.items() if peak is not None}
    if not measured:
        return "The memory of no notebook was measured."
    most = max(measured, key=lambda name: measured[name])
    over = [f"{{doc}}`notebooks/{name}`" for name, peak in measured.items() if peak > BINDER_MEGABYTES]
    told = f"above it lie {', '.join(over)}" if over else "none needs more"
    return (
        f"Binder gives a session at most {BINDER_MEGABYTES:,} MB. Of the notebooks above, {{doc}}`notebooks/{most}` "
        f"takes the most, {measured[most]:,.0f} MB; {told}."
    )


def _notebook_row(path: Path, work_dir: Path, peak: float | None) -> str:
    # The executed one: its copy on the page has lost what papermill noted.
    notebook = json.loads((work_dir / "notebooks" / path.name).read_text(encoding="utf-8"))
    run = notebook.get("metadata", {}).get("papermill", {})
    when = run.get("end_time", "")[:16].replace("T", " ") or "–"
    seconds = f"{run['duration']:.0f}" if run.get("duration") else "–"
    seed = run.get("parameters", {}).get("seed", "–")
    return cells(f"{{doc}}`notebooks/{path.stem}`", when, seconds, "–" if peak is None else f"{peak:,.0f}", seed)


def _record_row(path: Path, work_dir: Path) -> str:
    record = read_json(path)
    seconds = f"{record['seconds']:.0f}" if isinstance(record.get("seconds"), float) else "–"
    checksum = str(record.get("sha256") or record.get("checksum") or record.get("manifest_checksum") or "–")[:16]
    name = path.relative_to(work_dir).with_suffix("")
    return cells(f"`{name}`", record.get("device", "–"), record.get("seed", "–"), seconds, f"`{checksum}`")


def _facts(record: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items())
    date = str(record.get("date", "–")).replace("T", " ")
    rows = {
        "Commit": f"`{record.get('commit', 'unknown')}`",
        "Date": date,
        "Machine": record.get("device", "–"),
        "Python": record.get("python", "–"),
        "Packages": versions or "–",
    }
    return [cells(name, value) for name, value in rows.items()]


def write_build_page(target: Path, work_dir: Path, project: Path) -> None:
    """Write the page of this build to the sources in ``target``, which have the executed notebooks already."""
    now = provenance()
    paths = sorted((target / "notebooks").glob("*.ipynb"))
    peaks = {path.stem: _peak(work_dir, path.stem) for path in paths}
    notebooks = [_notebook_row(path, work_dir, peaks[path.stem]) for path in paths]
    folders = ("data", "checkpoints", "evidence")
    found = [path for folder in folders for path in sorted((work_dir / folder).rglob("*.json"))]
    records = [_record_row(path, work_dir) for path in found if path.parent.name != "images"]
    citation = yaml.safe_load((project / "CITATION.cff").read_text(encoding="utf-8"))
    doi = f"Its DOI is [{citation['doi']}](https://doi.org/{citation['doi']})." if "doi" in citation else NO_DOI
    text = TEXT.format(
        facts="\n".join(_facts(now)),
        notebooks="\n".join(notebooks),
        binder=_beside_binder(peaks),
        records="\n".join(records),
        version=citation["version"],
        commit=now["commit"][:12],
        year=datetime.fromisoformat(now["date"]).year,
        doi=doi,
    )
    (target / f"{PAGE}.md").write_text(text, encoding="utf-8")


def fold_of(notebook: dict[str, Any], summary: Path, has_build_page: bool = True) -> str | None:
    """Write a page's fold-out on what its saved values were computed from; None for a page that saves none."""
    names = dict.fromkeys(SAVES.findall(_source(notebook)))
    saved = [read_json(path)["provenance"] for name in names if (path := summary / f"{name}.json").is_file()]
    if not saved:
        return None
    facts = "\n".join(["| | |", "|:--|:--|", *_facts(saved[0])])
    parameters = ", ".join(f"`{key}={value!r}`" for key, value in saved[0].get("parameters", {}).items() if value != "")
    lines = [f"Parameters: {parameters}."] if parameters else []
    for name, record in saved[0].get("records", {}).items():
        if isinstance(record, dict):
            checksum = str(record.get("sha256", ""))[:16]
            made = f"commit `{str(record.get('commit', 'unknown'))[:12]}`, {record.get('device', 'machine unknown')}"
            lines.append(f"- `{name}`: {made}" + (f", SHA-256 `{checksum}`" if checksum else ""))
    lines += ["", f"See also {{doc}}`../{PAGE}`."] if has_build_page else []
    return FOLD.format(facts=facts, records="\n".join(lines))


def fold_provenance(target: Path, has_build_page: bool = True) -> None:
    """Put the fold-out at the end of each staged notebook that saved values; it links to the page of the build."""
    for path in sorted((target / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if notebook.get("cells") and (text := fold_of(notebook, target / SUMMARY, has_build_page)):
            cell = {
                "cell_type": "markdown",
                "id": "provenance",
                "metadata": {},
                "source": text.splitlines(keepends=True),
            }
            notebook["cells"].append(cell)
            path.write_text(json.dumps(notebook), encoding="utf-8")
