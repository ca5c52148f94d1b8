"""The book: its numbers come from the summary, its mathematics and its API pages are complete, its build is atomic."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from docutils import nodes
from sphinx.errors import ExtensionError

from companion.matrix import PROFILES
from sigcam_core.common.errors import SigcamError

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
PAGES = sorted(BOOK.glob("*.md"))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


values = load(BOOK / "_ext" / "values.py")
mathematics = load(BOOK / "_ext" / "mathematics.py")
lean = load(BOOK / "_ext" / "lean.py")
accessible = load(BOOK / "_ext" / "accessible.py")
folds = load(BOOK / "_ext" / "folds.py")
build_book = load(ROOT / "book" / "_make" / "build_book.py")
paper_values = load(ROOT / "book" / "_make" / "paper_values.py")
api_pages = load(ROOT / "book" / "_make" / "api_pages.py")


def write_values(folder: Path, name: str, file_name: str | None = None, **parts: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file_name or name}.json"
    path.write_text(json.dumps({"name": name, "provenance": {}, **parts}))
    return path


# The numbers in the prose


def test_formatted_text_wins_over_the_value(tmp_path: Path) -> None:
    write_values(tmp_path, "table1", values={"pxap": 51.234, "dataset": "shapes"}, formatted={"pxap": "51.2"})
    write_values(tmp_path, "training", values={"epochs": 3})
    assert values.read_substitutions(tmp_path) == {
        "table1_pxap": "51.2",
        "table1_dataset": "shapes",
        "training_epochs": "3",
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "a"}', '{"name": "a", "values": [1]}'])
def test_a_file_without_values_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(ExtensionError, match=r"broken\.json is not a file of values"):
        values.read_substitutions(tmp_path)


def test_one_key_from_two_files_is_refused(tmp_path: Path) -> None:
    write_values(tmp_path, "a", values={"b_c": 1})
    write_values(tmp_path, "a_b", values={"c": 2})
    with pytest.raises(ExtensionError, match="a_b_c a second time"):
        values.read_substitutions(tmp_path)


def sphinx_build(folder: Path, prose: str) -> subprocess.CompletedProcess[str]:
    """Build one page with the extension, warnings being errors."""
    (folder / "conf.py").write_text(
        f"import sys; sys.path.append({str(BOOK / '_ext')!r})\n"
        "extensions = ['myst_parser', 'values']\nmyst_enable_extensions = ['substitution']\n"
    )
    (folder / "index.md").write_text(f"# Page\n\n{prose}\n")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "text", str(folder), str(folder / "out")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_prose_shows_the_value(tmp_path: Path) -> None:
    write_values(tmp_path / "summary", "table1", values={"pxap": 51.25})
    built = sphinx_build(tmp_path, "| PxAP |\n|--:|\n| {{ table1_pxap }} % |")
    assert built.returncode == 0, built.stderr
    assert "51.25 %" in (tmp_path / "out" / "index.txt").read_text()


def test_a_key_without_a_value_fails_the_build(tmp_path: Path) -> None:
    write_values(tmp_path / "summary", "table1", values={"pxap": 51.25})
    built = sphinx_build(tmp_path, "PxAP is {{ table1_pixap }} %.")
    assert built.returncode != 0
    assert "table1_pixap" in built.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_substitution_hides_where_it_is_not_filled_in(page: Path) -> None:
    text = page.read_text()
    literal = re.findall(r"```(?!{).*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$", text, flags=re.DOTALL)
    assert not [part for part in literal if "{{" in part]


def test_sources_to_download_have_their_numbers(tmp_path: Path) -> None:
    text = "PxAP is {{ table1_pxap }} %, and {{ table1_unknown }} stays."
    assert values.fill_in(text, {"table1_pxap": "51.2"}) == "PxAP is 51.2 %, and {{ table1_unknown }} stays."
    (tmp_path / "_sources").mkdir()
    (tmp_path / "_sources" / "intro.md").write_text(text)
    config = SimpleNamespace(myst_substitutions={"table1_pxap": "51.2"})
    app = SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html"), config=config)
    values.fill_in_downloads(app, None)
    assert "is 51.2 %" in (tmp_path / "_sources" / "intro.md").read_text()


# Sources


def test_the_table_of_contents_names_every_page_and_no_other() -> None:
    named = {name for name in build_book.toc_files(BOOK / "_toc.yml") if not name.startswith("notebooks/")}
    assert named == {*(page.stem for page in PAGES), "build", "faults", "architectures"}  # made with the book


def test_every_notebook_is_a_chapter() -> None:
    named = {name for name in build_book.toc_files(BOOK / "_toc.yml") if name.startswith("notebooks/")}
    assert named == {f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_every_citation_has_an_entry_and_every_entry_a_citation() -> None:
    entries = set(re.findall(r"^@\w+\{([^,]+),", (BOOK / "references.bib").read_text(), flags=re.MULTILINE))
    cited = re.findall(r"\{cite:[tp]\}`([^`]+)`", "".join(page.read_text() for page in PAGES))
    assert {key.strip() for keys in cited for key in keys.split(",")} == entries


def test_the_pages_of_the_interface_document_every_module(tmp_path: Path) -> None:
    shutil.copy(BOOK / "_toc.yml", tmp_path)
    api_pages.write_api(tmp_path)
    paths = [path for package in ("sigcam_core", "companion") for path in (ROOT / package).rglob("*.py")]
    paths = [path.relative_to(ROOT) for path in paths if not path.stem.startswith("_")]
    modules = {".".join(path.with_suffix("").parts) for path in paths}
    pages = sorted((tmp_path / "api").glob("*.md"))
    documented = [name for page in pages for name in re.findall(r"automodule:: ([\w.]+)", page.read_text())]
    assert sorted(documented) == sorted(modules)
    named = [name for name in build_book.toc_files(tmp_path / "_toc.yml") if name.startswith("api/")]
    assert sorted(named) == sorted(f"api/{page.stem}" for page in pages)


def test_the_tour_of_the_api_page_runs() -> None:
    (tour,) = re.findall(r"```python\n(.*?)```", (BOOK / "api.md").read_text(), flags=re.DOTALL)
    check = "assert score_maps.shape == (2, 96, 96), score_maps.shape"
    done = subprocess.run([sys.executable, "-c", tour + check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_picture_has_alternative_text() -> None:
    for page in PAGES:
        assert not re.findall(r"!\[\s*\]\(", page.read_text())
        for body in re.findall(r"\{(?:figure|image)\}.*?\n(.*?)(?:```|:::)", page.read_text(), flags=re.DOTALL):
            assert ":alt:" in body


# Mathematics without a script


def test_a_formula_becomes_html_and_mathml() -> None:
    html = mathematics.typeset(r"\relu{x} \in \R", display=False, macros=r'{"\\relu": "\\operatorname{ReLU}(#1)"}')
    assert '<span class="katex">' in html
    assert "<math " in html
    assert "ReLU" in html


def test_a_formula_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="expected '}'"):
        mathematics.typeset(r"\frac{1}{2", display=True, macros="{}")
    assert "katex" in mathematics.typeset("x + 1", display=True, macros="{}")  # and the next one is typeset


def test_lines_are_lined_up_at_their_ampersands() -> None:
    assert mathematics.lined_up(r"a &= b \\ c &= d") == r"\begin{aligned}a &= b \\ c &= d\end{aligned}"
    assert mathematics.lined_up("a = b") == "a = b"


def test_the_style_sheet_of_formulas_comes_with_every_font_that_it_names(tmp_path: Path) -> None:
    mathematics.copy_katex(SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html")))
    folder = tmp_path / "_static" / mathematics.SERVED
    fonts = set(re.findall(r"fonts/([\w-]+\.woff2)", (folder / "katex.min.css").read_text()))
    assert fonts == {path.name for path in (folder / "fonts").iterdir()}
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 500_000


# What the theme leaves behind

THEME_PAGE = """<script>
    document.documentElement.dataset.mode = localStorage.getItem("mode") || "";
</script>
  <script defer src="_static/scripts/fontawesome.js?digest=1"></script>
    <link rel="stylesheet" type="text/css" href="_static/sphinx-thebe.css?v=1" />
    <script>const THEBE_JS_URL = "https://example.org/index.js"; const thebe_selector = "pre"</script>
    <script async="async" src="_static/sphinx-thebe.js?v=1"></script>
<button class="btn search-button-field" title="Search" aria-label="Search"><i class="fa-solid fa-list"></i></button>
<details><summary aria-label="Toggle hidden content">Code</summary></details>
<div role="list" class="citation-list"></div><div class="formula">x</div>"""


def test_pages_lose_the_scripts_that_they_do_not_use() -> None:
    html = lean.without_unused(THEME_PAGE)
    assert not re.search("(?i)thebe|fontawesome", html)
    assert 'localStorage.getItem("mode") || "auto"' in html
    assert html.count("<script") == html.count("</script>") == 1


def test_names_agree_with_what_is_read() -> None:
    html = accessible.accessible(THEME_PAGE)
    assert "aria-label" not in re.sub(r'<div class="formula".*?>', "", html)
    assert '<i aria-hidden="true" class="fa-solid fa-list">' in html
    assert '<div class="formula" tabindex="0"' in html
    assert 'role="list"' not in html


@pytest.mark.parametrize("link", ["", '<a class="reference internal image-reference" href="a.jpg">'])
def test_figures_scroll_by_keys(link: str) -> None:
    html = accessible.accessible(f'<div class="cell_output docutils container">\n{link}<img alt="a" src="a.jpg" />')
    assert html.startswith('<div class="cell_output docutils container figure-box" tabindex="0" role="group"')
    text = '<div class="cell_output docutils container">\n<div class="output text_html"><img src="a.jpg" /></div>'
    assert accessible.accessible(text) == text


def code_cell(code: str, shows: str = "", hide_mode: str = "input") -> nodes.container:
    """A cell of a notebook as myst-nb makes it."""
    cell = nodes.container(nb_element="cell_code", hide_mode=hide_mode)
    cell += nodes.container("", nodes.literal_block(code, code), nb_element="cell_code_source")
    if shows:
        cell += nodes.container("", nodes.paragraph(shows, shows), nb_element="cell_code_output")
    return cell


def test_silent_cells_share_the_fold_of_the_next() -> None:
    section = nodes.section()
    section += [code_cell("a"), code_cell("b"), code_cell("c", shows="figure"), code_cell("d", shows="table")]
    section += [code_cell("e"), nodes.paragraph("", "prose"), code_cell("f", shows="g"), code_cell("h")]
    folds.share_folds(section)
    cells = [[block.astext() for block in cell.findall(nodes.literal_block)] for cell in section.children]
    assert cells == [["a", "b", "c"], ["d"], ["e"], [], ["f"], ["h"]]
    assert section.children[0].astext().endswith("figure")  # what a cell shows stays below all of its code


def test_a_cell_whose_code_is_open_shares_nothing() -> None:
    section = nodes.section()
    section += [code_cell("a", hide_mode=""), code_cell("b", shows="c")]
    folds.share_folds(section)
    assert len(section.children) == 2


def test_only_icons_that_are_shown_are_kept(tmp_path: Path) -> None:
    theme = Path(importlib.util.find_spec("pydata_sphinx_theme").origin).parent  # type: ignore[union-attr, arg-type]
    shutil.copytree(theme / "theme" / "pydata_sphinx_theme" / "static", tmp_path / "static")
    before = (tmp_path / "static" / lean.THEME).read_text()
    lean.keep_icons(tmp_path / "static", lean.icons_of(THEME_PAGE))
    after = (tmp_path / "static" / lean.THEME).read_text()
    assert ".fa-list:before" in before
    assert ".fa-list:before" in after
    assert ".fa-bars:before" in before
    assert ".fa-bars:before" not in after
    fonts = {path.name: path.stat().st_size for path in (tmp_path / "static" / lean.FONTS).iterdir()}
    assert set(fonts) == set(re.findall(r"webfonts/([\w-]+\.\w+)", after))
    assert sum(fonts.values()) < 10_000


# Staging and building


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """A folder as the workflow leaves it, with empty notebooks."""
    work_dir = tmp_path / "build"
    (work_dir / "notebooks").mkdir(parents=True)
    for name in build_book.toc_files(BOOK / "_toc.yml"):
        if name.startswith("notebooks/"):
            (work_dir / f"{name}.ipynb").write_text("{}")
    write_values(work_dir / "summary", "table1", values={"pxap": 1.0})
    return work_dir


def test_staging_brings_sources_notebooks_and_values_together(work_dir: Path, tmp_path: Path) -> None:
    build_book.stage(BOOK, work_dir, tmp_path / "source")
    for name in build_book.toc_files(BOOK / "_toc.yml"):
        assert list((tmp_path / "source").glob(f"{name}.*")), name
    assert (tmp_path / "source" / "summary" / "table1.json").is_file()
    assert not list((tmp_path / "source").rglob("__pycache__"))


def test_staging_draws_the_rooms_that_the_page_shows(work_dir: Path, tmp_path: Path) -> None:
    build_book.stage(BOOK, work_dir, tmp_path / "source")
    drawing = (tmp_path / "source" / build_book.DRAWING).read_text()
    assert drawing.rstrip().endswith("</svg>")
    assert str(build_book.DRAWING) in (BOOK / "architecture.md").read_text()


@pytest.mark.parametrize("name", ["open", "paper", "miniature", "trial"])
def test_a_profile_has_the_pages_of_the_papers_tables_behind_one_that_says_what_was_run(
    name: str, work_dir: Path, tmp_path: Path
) -> None:
    (work_dir / "notebooks" / "02_training.ipynb").unlink()  # it has none
    build_book.stage(BOOK, work_dir, tmp_path / "source", name)
    pages = build_book.toc_files(tmp_path / "source" / "_toc.yml")
    assert [page[:12] for page in pages] == ["profile", "notebooks/03", "notebooks/04", "notebooks/05"]
    first = (tmp_path / "source" / "profile.md").read_text()
    assert f"profile `{name}`" in first
    assert first.count("\n| ") == 1 + len(PROFILES[name].entries())
    assert ("mean nothing" in first) == PROFILES[name].is_miniature


def test_a_notebook_that_was_not_executed_is_named(work_dir: Path, tmp_path: Path) -> None:
    (work_dir / "notebooks" / "02_training.ipynb").unlink()
    with pytest.raises(SigcamError, match=r"notebooks/02_training\.ipynb: run the workflow"):
        build_book.stage(BOOK, work_dir, tmp_path / "source")


def test_values_are_needed(work_dir: Path, tmp_path: Path) -> None:
    (work_dir / "summary" / "table1.json").unlink()
    with pytest.raises(SigcamError, match="needs the values"):
        build_book.stage(BOOK, work_dir, tmp_path / "source")


def test_only_success_replaces_the_previous_book(work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(text: str) -> None:
        def run(source: Path, output: Path, explorer: Path, jobs: int) -> None:
            page = output / "_build" / "html" / "index.html"
            page.parent.mkdir(parents=True)
            page.write_text(text)
            if text == "broken":
                raise SigcamError("the book was not built")

        monkeypatch.setattr(build_book, "run_jupyter_book", run)
        monkeypatch.setattr(build_book, "ensure_explorer", lambda work_dir: work_dir / "explorer")

    for text, expected in (("first", "first"), ("second", "second"), ("broken", "second")):
        write(text)
        if text == "broken":
            with pytest.raises(SigcamError):
                build_book.build_book(work_dir)
        else:
            build_book.build_book(work_dir)
        assert (work_dir / "book" / "_build" / "html" / "index.html").read_text() == expected
        assert not list(work_dir.glob(".book-*"))


def test_the_command_line_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "book" / "_make" / "build_book.py"), "--work-dir", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: folder ")
    assert "Traceback" not in done.stderr


# Questions and symbols


def test_each_question_was_asked_in_public_and_has_an_answer_of_this_book() -> None:
    parts = (BOOK / "questions.md").read_text().split("\n## ")[1:]
    assert len(parts) == 10
    for part in parts:
        assert "](https://github.com/" in part, part.splitlines()[0]
        assert "{{ " in part or "{prf:ref}" in part or "{doc}" in part, part.splitlines()[0]


def test_cells_of_the_paper_are_quoted_from_its_tables() -> None:
    quoted = re.findall(r"\{\{ paper_(\w+) \}\}", "".join(page.read_text() for page in PAGES))
    assert quoted
    assert set(quoted) <= set(paper_values.paper_values())
