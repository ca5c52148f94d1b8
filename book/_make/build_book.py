"""Build the book: ``python book/_make/build_book.py --work-dir build``.

The sources in ``book/`` stay clean. They are copied to a fresh folder together with the executed notebooks, the values
that these saved, and a drawing of the architecture as the code has it now. The copy is built with warnings as errors,
and only a build that succeeded replaces the previous one. The book of a profile other than the usual one has the pages
of the paper's tables alone, behind a first page that says what was run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from api_pages import write_api
from architectures_page import write_architectures
from build_page import fold_provenance, write_build_page
from companion.matrix import PROFILES, USUAL, profile_of
from companion.show.saved import SUMMARY
from draw_holes import draw_holes
from draw_rooms import draw
from explorer_files import ensure_explorer
from faults_page import write_faults_page
from launch import repository_address, write_buttons
from paper_values import write_paper_values
from profile_page import write_profile
from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.common.files import note_made
from stage_notebook import stage_notebook

BOOK = Path(__file__).resolve().parent.parent
RENDERER = Path(__file__).resolve().with_name("render.py")
DRAWING = Path("_static", "rooms.svg")  # of the page `architecture`
HOLES = Path("_static", "holes.svg")  # of the page `metrics`


def toc_files(toc: Path) -> list[str]:
    """List the documents that a table of contents names, in reading order, without suffix."""

    def files(entry: object) -> list[str]:
        if isinstance(entry, list):
            return [name for item in entry for name in files(item)]
        if not isinstance(entry, dict):
            return []
        own = [entry[key] for key in ("root", "file") if key in entry]
        return own + [name for item in entry.values() for name in files(item)]

    return files(yaml.safe_load(toc.read_text(encoding="utf-8")))


def stage(book: Path, work_dir: Path, target: Path, profile: str = USUAL) -> None:
    """Bring sources, copies of executed notebooks and the values they saved to ``target``, and draw the rooms there.

    Args:
        book: folder of the sources, with ``_toc.yml``.
        work_dir: folder with the executed notebooks in ``notebooks`` and the values in ``summary``.
        target: folder to make; it must not exist.
        profile: of the matrix, whose runs the pages show.

    Raises:
        SigcamError: if a notebook named by the table of contents has not been executed, or none has saved values.
    """
    shutil.copytree(book, target, ignore=shutil.ignore_patterns("__pycache__", "_build", "_make"))
    if profile != USUAL:
        write_profile(target, profile_of(profile))
    write_api(target)
    write_buttons(target, repository_address())
    for name in toc_files(target / "_toc.yml"):
        if not name.startswith("notebooks/"):
            continue
        notebook = work_dir / f"{name}.ipynb"
        if not notebook.is_file():
            fail(f"the book needs the executed notebook {notebook}: run the workflow (`make reproduce`) first.")
        (target / "notebooks").mkdir(exist_ok=True)
        stage_notebook(notebook, target / "notebooks" / notebook.name)
    saved = sorted((work_dir / SUMMARY).glob("*.json"))
    if not saved:
        fail(f"the book needs the values {work_dir / SUMMARY}/*.json: run the workflow (`make reproduce`) first.")
    (target / SUMMARY).mkdir()
    for path in [*saved, *(work_dir / SUMMARY).glob("*.svg")]:
        shutil.copyfile(path, target / SUMMARY / path.name)
    write_paper_values(target / SUMMARY)
    fold_provenance(target, has_build_page=profile == USUAL)  # the books of other profiles have no such page
    if profile == USUAL:
        write_build_page(target, work_dir, BOOK.parent)
        write_faults_page(target, BOOK.parent)
        write_architectures(target, BOOK.parent / "results")
    draw(target / DRAWING)
    draw_holes(target / HOLES)


def run_jupyter_book(source: Path, output: Path, explorer: Path | None, jobs: int) -> None:
    """Build ``source`` into ``output/_build/html``, with every warning an error.

    Args:
        source: the staged sources.
        output: folder of the build.
        explorer: folder of the files that :func:`explorer_files.ensure_explorer` made, for pages that need them.
        jobs: processes that read and write pages.

    Raises:
        SigcamError: if the build fails; its messages have gone to the terminal.
    """
    command = [sys.executable, str(RENDERER), str(source), str(output / "_build" / "html"), "--jobs", str(jobs)]
    environment = {**os.environ, "SIGCAM_SUMMARY": str(source / SUMMARY), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["SIGCAM_NODE_MODULES"] = str(BOOK.parent / "node_modules")
    if explorer is not None:
        environment["SIGCAM_EXPLORER"] = str(explorer.resolve())
    built = subprocess.run(command, env=environment, check=False)
    if built.returncode != 0:
        fail("the book was not built: correct what the messages above name; the previous build is untouched.")


def build_book(work_dir: Path, book: Path = BOOK, profile: str = USUAL, jobs: int = 1) -> Path:
    """Stage and build the book; replace the previous build on success.

    Args:
        work_dir: see :func:`stage`; the book goes to its folder ``book``.
        book: folder of the sources.
        profile: see :func:`stage`.
        jobs: processes that read and write pages.

    Returns:
        The page to open, ``work_dir/book/_build/html/index.html``.

    Raises:
        SigcamError: if something to build from is missing, or the build fails.
    """
    if not work_dir.is_dir():
        fail(f"folder {work_dir} does not exist: run the workflow (`make reproduce`) first, or give its --work-dir.")
    final = work_dir.resolve() / "book"
    # The pages of the other profiles show tables alone.
    explorer = ensure_explorer(work_dir) if profile == USUAL else None
    with tempfile.TemporaryDirectory(prefix=".book-", dir=work_dir) as temporary:
        new = Path(temporary).resolve() / "book"
        new.mkdir()
        stage(book, work_dir, new / "source", profile)
        run_jupyter_book(new / "source", new, explorer, jobs)
        shutil.rmtree(new / "_build" / ".doctrees", ignore_errors=True)
        if final.exists():
            final.rename(Path(temporary) / "previous")
        new.rename(final)
    note_made(path for path in (final / "_build" / "html").rglob("*") if path.is_file())
    return final / "_build" / "html" / "index.html"


def main() -> None:
    """Command line of the module."""
    parser = CommandLine(description="Build the book from the executed notebooks and the values they saved.")
    parser.add_argument("--work-dir", type=Path, default=Path("build"), help="folder of the workflow (default: build)")
    parser.add_argument("--profile", default=USUAL, help=f"{', '.join(PROFILES)} (default: {USUAL})")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="how many to use (default: all)")
    options = parser.parse_args()
    # Sphinx gives each process a run of pages, and those of the interface take longest: more processes, shorter runs.
    jobs = 2 * options.cores
    print(build_book(options.work_dir, profile=profile_of(options.profile).name, jobs=jobs))


if __name__ == "__main__":
    run_command_line(main)
