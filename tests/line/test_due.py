"""What an edit makes due: no page stays stale when code or data behind it change, and nothing is trained in vain."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from dependencies import PROJECT
from rooms import rooms

COPIED = (
    "Snakefile",
    "package.json",
    "package-lock.json",
    "workflow",
    "sigcam_core",
    "companion",
    "data_scripts",
    "notebooks",
    "book",
    "results",
)
DATA = {"shapes", "photos"}
LEARNED = {"classifier", "sigmoid_head", "evidence"}
STATIONS_DUE = {
    "common": DATA | LEARNED,
    "data_scripts": DATA | LEARNED,
    "prepare": DATA | LEARNED,
    "backbones": LEARNED,
    "split": LEARNED,
    "dual": LEARNED,
    "train": LEARNED,
    "run": LEARNED,
    "stations": LEARNED,
    "cams": {"evidence"},
    "localization": {"evidence"},
    "pointing": {"evidence"},
    "fidelity": {"evidence"},
    "evaluate": {"evidence"},
    "__init__": set(),
    "__main__": set(),  # hands options on
    "invariance": set(),
    "summarise": set(),
    "ask": set(),
    "companion": set(),  # trains and evaluates nothing of the line, whatever its room
}
"""Rules that edits of a room's files make due, apart from notebooks and the book: all of a room's files together these,
each file no other."""
STAGES = {
    "data_scripts.__main__": DATA,
    "sigcam_core.stations.heads": {"classifier", "sigmoid_head"},
    "sigcam_core.stations.evidence": {"evidence"},
}
"""The module that makes the files of some rules."""
NOTEBOOKS_DUE = {
    "sigcam_core/train/fit.py": {"02", "03", "04", "05", "06", "07", "08"},
    "sigcam_core/stations/manifest.py": {"01", "02", "03", "04", "05", "06", "07", "08"},
    "companion/claims/claims.toml": {"12"},
    "sigcam_core/run.py": {"01", "02", "03", "04", "05", "06", "07", "08", "09", "10"},
    "companion/matrix.py": {"03", "04", "05"},
    "sigcam_core/evaluate/overhead.py": {"05"},
    "sigcam_core/summarise/tables.py": {"03", "04"},
    "sigcam_core/summarise/drawing.py": {"06", "07", "08"},
    "companion/show/figures.py": {"02", "03", "04", "05", "10"},
    "companion/paper/paper_tables/table1_wsol.csv": {"03", "10"},
    "sigcam_core/cams/score_maps.py": {"01", "03", "04", "06", "07", "08"},
    "sigcam_core/invariance.py": {"01", "02", "08"},
    "companion/chapters/explorer.py": {"08"},
    "companion/experiments.py": {"10"},
    "sigcam_core/__init__.pyi": {"01", "05"},
    "data_scripts/photos.py": {"01", "08"},
    "data_scripts/shapes.py": {"02", "03", "04", "05", "06", "07"},
    "results/benchmarks": {"09"},
    "results/overhead": {"10"},
}
"""Numbers of notebooks that must be run again, whatever others are, after an edit of a file or of a folder's files."""


class Job(NamedTuple):
    """A step of the workflow: its station, the notebook that it runs, and the files that it reads and writes."""

    station: str
    notebook: str
    inputs: frozenset[str]
    outputs: frozenset[str]


def plan(project: Path, *options: str) -> list[Job]:
    """The jobs that the workflow would run."""
    snakemake = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "2",
        "--nolock",
        "--rerun-triggers",
        "mtime",
        "--dry-run",
    ]
    done = subprocess.run([*snakemake, *options], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    jobs = []
    for block in re.split(r"^(?:local)?rule ", done.stdout + done.stderr, flags=re.MULTILINE)[1:]:
        lines = dict(re.findall(r"^    (\w+): (.*)$", block, flags=re.MULTILINE))
        inputs, outputs = (frozenset(lines.get(name, "").split(", ")) for name in ("input", "output"))
        notebook = re.search(r"notebook=(\w+)", lines.get("wildcards", ""))
        jobs.append(
            Job(block.split(":")[0].partition("_small_cnn")[0], notebook[1] if notebook else "", inputs, outputs)
        )
    return [job for job in jobs if job.station != "all"]


def due(jobs: list[Job], changed: set[str]) -> list[Job]:
    """The jobs that read a changed file, or what such a job makes anew."""
    found: list[Job] = []
    while more := [job for job in jobs if job not in found and job.inputs & changed]:
        found += more
        changed = changed.union(*(job.outputs for job in more))
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, to touch."""
    folder = tmp_path_factory.mktemp("project")
    for name in COPIED:
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy2
        copy(PROJECT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def jobs(project: Path) -> list[Job]:
    """All jobs of a run from nothing."""
    return plan(project)


def files_at(project: Path, place: str) -> set[str]:
    paths = [project / place, *(project / place).rglob("*")]
    return {str(path) for path in paths if path.is_file()}


def test_no_edit_makes_due_more_than_its_room_may_change(project: Path, jobs: list[Job]) -> None:
    found: dict[str, set[str]] = {}
    for room, files in rooms().items():
        for path in files:
            place, name = str(path.relative_to(PROJECT)), room.split("/")[0]
            stations = {job.station for job in due(jobs, files_at(project, place))}
            assert "book" in stations, f"an edit of {place} leaves the book as it was"
            assert stations - {"notebook", "book"} <= STATIONS_DUE[name], f"an edit of {place} makes due {stations}"
            found.setdefault(name, set()).update(stations - {"notebook", "book"})
    assert found == STATIONS_DUE


@pytest.mark.parametrize("module", STAGES)
def test_every_file_that_a_stage_loads_makes_it_due(module: str, project: Path, jobs: list[Job]) -> None:
    packages = ("sigcam_core", "companion", "data_scripts")
    code = (
        f"import sys, {module}\n"
        f"found = [m for name, m in sys.modules.items() if name.split('.')[0] in {packages}]\n"
        "print(*(m.__file__ for m in found if not m.__file__.endswith('__init__.py')), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert len(loaded) > 10
    for file in loaded:
        missed = STAGES[module] - {job.station for job in due(jobs, {file})}
        assert not missed, f"{module} loads {file}, whose edit leaves {missed} as it was"


@pytest.mark.parametrize("place", ["companion", "sigcam_core/summarise", "sigcam_core/ask", "results", "book"])
def test_what_is_published_trains_nothing(place: str, project: Path, jobs: list[Job]) -> None:
    stations = {job.station for job in due(jobs, files_at(project, place))}
    assert "book" in stations
    assert stations <= {"notebook", "book"}


def test_a_sentence_of_a_claim_concerns_the_pages_that_quote_it(project: Path, jobs: list[Job]) -> None:
    claims = files_at(project, "companion/claims/claims.toml")
    assert {job.notebook[:2] for job in due(jobs, claims) if job.notebook} == {"12"}


@pytest.mark.parametrize("place", NOTEBOOKS_DUE)
def test_an_edit_makes_due_the_notebooks_that_use_it(place: str, project: Path, jobs: list[Job]) -> None:
    assert files_at(project, place), "it is not there"
    for file in files_at(project, place):
        notebooks = {job.notebook[:2] for job in due(jobs, {file})}
        assert NOTEBOOKS_DUE[place] <= notebooks


def test_measured_results_concern_the_notebooks_that_show_them(project: Path, jobs: list[Job]) -> None:
    shown = {"03", "09", "10", "11", "12", "13", "14"}
    assert {job.notebook[:2] for job in due(jobs, files_at(project, "results")) if job.notebook} == shown


def test_new_evidence_concerns_its_tables_and_nothing_else(jobs: list[Job]) -> None:
    evidence = {output for job in jobs for output in job.outputs if job.station == "evidence"}
    assert {job.notebook[:2] for job in due(jobs, evidence) if job.notebook} == {"03", "04"}


def test_snakemake_itself_finds_due_what_the_jobs_say(project: Path, jobs: list[Job]) -> None:
    finished = time.time()
    for path in {Path(project, output) for job in jobs for output in job.outputs}:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (finished, finished))
    edited = project / "sigcam_core" / "evaluate" / "evaluate.py"
    os.utime(edited, (finished + 1, finished + 1))
    assert set(plan(project)) == set(due(jobs, {str(edited)}))
