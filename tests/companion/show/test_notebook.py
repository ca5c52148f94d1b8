"""Parameters of notebooks: papermill can read them all, and wrong ones are refused in one sentence."""

import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from companion.show.notebook import check_parameters, prose
from sigcam_core.common.errors import SigcamError

NOTEBOOKS = sorted((Path(__file__).parents[3] / "notebooks").glob("*.ipynb"))
TYPES = {"seed": int, "scale": float, "head": str, "heads": list[str], "is_shown": bool, "work_dir": str}
ALLOWED = {"seed": range(10), "head": ("gap", "mlp")}
GOOD = {"seed": 1, "scale": 0.5, "head": "gap", "heads": ["gap"], "is_shown": True, "work_dir": ""}
NAMESPACE = GOOD | {"__annotations__": TYPES}


def test_good_parameters_come_back_and_other_things_in_the_notebook_do_not() -> None:
    others = {"_private": 1, "In": [], "Out": {}, "function": print, "module": sys}
    assert check_parameters(NAMESPACE | others, **ALLOWED) == GOOD
    assert check_parameters(NAMESPACE | {"scale": 2}, **ALLOWED) == GOOD | {"scale": 2}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"sed": 1}, "unknown parameter 'sed': choose one of seed, scale"),
        ({"seed": -1}, "parameter seed is -1: give a whole number from 0 to 9."),
        ({"seed": "1"}, "parameter seed is '1': give a whole number."),
        ({"seed": True}, "parameter seed is True"),
        ({"seed": 1.0}, "parameter seed is 1.0: give a whole number."),
        ({"scale": "2"}, "parameter scale is '2': give a number."),
        ({"scale": False}, "parameter scale is False"),
        ({"is_shown": 1}, "parameter is_shown is 1: give True or False."),
        ({"head": "vit"}, "parameter head is 'vit': give one of 'gap', 'mlp'."),
        ({"heads": "gap"}, "parameter heads is 'gap': give a list of one or more strings."),
        ({"heads": []}, "give a list of one or more"),
        ({"heads": ["gap", 1]}, "parameter heads is"),
        ({"work_dir": 3}, "parameter work_dir is 3: give a string."),
        ({"work_dir": None}, "parameter work_dir is None"),
    ],
)
def test_wrong_parameters_get_one_sentence(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence.replace("[", r"\[").replace("(", r"\(")):
        check_parameters(NAMESPACE | wrong, **ALLOWED)


def test_prose_that_a_cell_works_out_is_shown_as_markdown() -> None:
    assert prose("**mean** nothing")._repr_markdown_() == "**mean** nothing"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_papermill_reads_every_parameter_with_its_type_and_help(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    cell = next(cell for cell in book.cells if "parameters" in cell.metadata.get("tags", []))
    parameters = papermill.inspect_notebook(str(path))
    assert len(parameters) == len(cell.source.splitlines()) > 0
    for parameter in parameters.values():
        assert parameter["inferred_type_name"] in ("int", "float", "str", "bool", "list[str]")
        assert parameter["help"]
    assert "check_parameters(globals()" in book.cells[book.cells.index(cell) + 1].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_little_code(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert sum(len(cell.source.splitlines()) for cell in cells) <= 60


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_sources_are_kept_without_outputs_and_every_figure_with_words(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    assert book.cells[0].cell_type == "markdown"
    assert book.cells[0].source.startswith("# ")
    for cell in book.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            assert "plt.show()" not in cell.source  # `show_figure` asks for words


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_page_opens_with_one_sentence_made_from_its_numbers(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    (opening,) = [cell for cell in cells if "opening" in cell.metadata.get("tags", [])]
    assert "bold(" in opening.source
    first_fold = next((i for i, cell in enumerate(cells) if "fold(" in cell.source), len(cells))
    first_figure = next((i for i, cell in enumerate(cells) if "show_figure(" in cell.source), 0)
    assert first_figure <= first_fold  # a figure shows it before tables do


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["-p", "sede", "1"], "SigcamError: unknown parameter 'sede': choose one of profile, dataset, networks"),
        (["-p", "protocol", "lenient"], "SigcamError: parameter protocol is 'lenient': give one of"),
    ],
)
def test_papermill_ends_with_the_sentence(option: list[str], sentence: str, tmp_path: Path) -> None:
    notebook = next(path for path in NOTEBOOKS if "table1" in path.stem)
    command = [sys.executable, "-m", "papermill", str(notebook), str(tmp_path / "out.ipynb"), "--no-progress-bar"]
    done = subprocess.run(
        [*command, "-p", "work_dir", str(tmp_path / "work"), *option], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stderr.rstrip().splitlines()[-1].startswith(sentence)
    assert "check_parameters" not in done.stderr  # our own stack is of no use to the reader
    assert not (tmp_path / "work").exists()
