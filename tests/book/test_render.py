"""Rendering a book with several processes, as one process renders it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = """\
title: A book
execute: {execute_notebooks: "off"}
parse: {myst_enable_extensions: [dollarmath]}
sphinx:
  extra_extensions: [sphinx_proof]
  local_extensions: {mathematics: _ext/, together: _ext/}
  config: {html_math_renderer: katex, myst_update_mathjax: false, html_last_updated_fmt: ""}
"""
PAGE = """\
# Page {n}

{formulas}

See {{prf:ref}}`of-{other}`.

```{{prf:theorem}} Of page {n}
:label: of-{n}
$$y_{n} = {n}$$
```
"""
PAGES = 7  # Sphinx shares out no fewer than six
JOBS = (1, 3)  # of three, one hands out, and two write


def write_book(folder: Path) -> Path:
    folder.mkdir()
    shutil.copytree(ROOT / "book" / "_ext", folder / "_ext", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "_config.yml").write_text(CONFIGURATION)
    chapters = "".join(f"\n  - file: page{n}" for n in range(1, PAGES))
    (folder / "_toc.yml").write_text(f"format: jb-book\nroot: page0\noptions:\n  numbered: true\nchapters:{chapters}\n")
    for n in range(PAGES):
        formulas = " ".join(f"$x_{{{k}}} + {n}$" for k in range(100))  # enough for two who share a Node to mix them up
        (folder / f"page{n}.md").write_text(PAGE.format(n=n, formulas=formulas, other=(n + 3) % PAGES))
    return folder


def render(source: Path, output: Path, jobs: int) -> subprocess.CompletedProcess[str]:
    script = ROOT / "book" / "_make" / "render.py"
    command = [sys.executable, str(script), str(source), str(output), "--jobs", str(jobs)]
    environment = {"PATH": str(Path(sys.executable).parent), "SIGCAM_NODE_MODULES": str(ROOT / "node_modules")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def pages_of(output: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in output.glob("page*.html")}


def test_several_processes_make_the_pages_of_one(tmp_path: Path) -> None:
    source = write_book(tmp_path / "book")
    for jobs in JOBS:
        done = render(source, tmp_path / str(jobs), jobs)
        assert done.returncode == 0, done.stderr
    alone, together = (pages_of(tmp_path / str(jobs)) for jobs in JOBS)
    assert alone == together
    assert len(alone) == PAGES
    for n in range(PAGES):  # each formula on its own page, and the number of a theorem of another one
        assert f"<mi>y</mi><mn>{n}</mn>" in together[f"page{n}.html"]
        assert f'href="page{(n + 3) % PAGES}.html#of-{(n + 3) % PAGES}"' in together[f"page{n}.html"]


@pytest.mark.parametrize("jobs", JOBS)
def test_a_warning_is_an_error(tmp_path: Path, jobs: int) -> None:
    source = write_book(tmp_path / "book")
    with (source / "page5.md").open("a") as page:
        page.write("\n{prf:ref}`of-nothing`\n")
    done = render(source, tmp_path / "html", jobs)
    assert done.returncode == 1
    assert "label 'of-nothing' not found" in done.stderr
