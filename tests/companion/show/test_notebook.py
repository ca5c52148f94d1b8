"""Parameters of notebooks: papermill can read them all, and wrong ones are refused in one sentence."""

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import papermill
import pytest
from IPython.core.interactiveshell import InteractiveShell
from papermill.translators import translate_parameters

import companion.show
from companion.show.notebook import check_parameters, html, prose
from companion.show.results import results_folder
from sigcam_core.common.errors import SigcamError

NOTEBOOKS = sorted((Path(__file__).parents[3] / "notebooks").glob("*.ipynb"))
TYPES = {"seed": int, "scale": float, "head": str, "heads": list[str], "is_shown": bool, "work_dir": str}
ALLOWED = {"seed": range(10), "head": ("gap", "mlp")}
GOOD = {"seed": 1, "scale": 0.5, "head": "gap", "heads": ["gap"], "is_shown": True, "work_dir": ""}
NAMESPACE = GOOD | {"__annotations__": TYPES}


def test_good_parameters_come_back_and_other_things_in_the_notebook_do_not() -> None:
    others = {"_private": 1, "In": [], "Out": {}, "function": print, "module": sys, "debug": True, "rows": [1]}
    assert check_parameters(NAMESPACE | others, **ALLOWED) == GOOD
    assert check_parameters(NAMESPACE | {"scale": 2}, **ALLOWED) == GOOD | {"scale": 2}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
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
        ({"work_dir": 3}, "parameter work_dir is 3: give a string; to papermill, -r work_dir TEXT, since -p reads 010"),
        ({"heads": "gap"}, "to papermill, -y '{heads: [a, b]}'."),
        ({"scale": float("nan")}, "parameter scale is nan: give a finite number."),
        ({"scale": float("-inf")}, "parameter scale is -inf: give a finite number."),
        ({"work_dir": None}, "parameter work_dir is None"),
    ],
)
def test_wrong_parameters_get_one_sentence(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence.replace("[", r"\[").replace("(", r"\(")):
        check_parameters(NAMESPACE | wrong, **ALLOWED)


def test_what_papermill_injected_is_what_is_checked() -> None:
    cells = ["", "# Parameters\nold = 1\n", "debug = True", "# Parameters\nsed = 1\nhead = 'gap'\n", "check()"]
    with pytest.raises(SigcamError, match=r"^unknown parameter 'sed': choose one of seed, scale"):
        check_parameters(NAMESPACE | {"sed": 1, "In": cells}, **ALLOWED)
    assert check_parameters(NAMESPACE | {"In": [*cells, "# Parameters\nseed = 1\n"]}, **ALLOWED) == GOOD


def test_what_a_reader_annotates_is_no_parameter() -> None:
    annotations = TYPES | {"table": dict[str, int], "cells": [1], "gone": int}
    assert check_parameters(NAMESPACE | {"table": {}, "__annotations__": annotations}, **ALLOWED) == GOOD
    as_text = {name: kind if kind == list[str] else kind.__name__ for name, kind in TYPES.items()}
    assert check_parameters(NAMESPACE | {"__annotations__": as_text}, **ALLOWED) == GOOD
    with pytest.raises(SigcamError, match="parameter seed is '1': give a whole number"):
        check_parameters(NAMESPACE | {"seed": "1", "__annotations__": as_text}, **ALLOWED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_twice_in_one_kernel_below_cells_of_the_readers_own(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    last = next(number for number, cell in enumerate(cells) if "check_parameters(" in cell.source)
    head = [cell.source for cell in cells[: last + 1]]
    shell = InteractiveShell()
    for source in [*head, "debug = True\nrows: dict = {}\nbatch = [1, 2]", *head]:
        assert shell.run_cell(source, store_history=True).success
    place = next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    declared = [line.split(":")[0] for line in head[place].splitlines()]
    assert list(shell.user_ns["parameters"]) == declared
    first, rest = head[: place + 1], head[place + 1 :]
    for source in first:
        assert shell.run_cell(source, store_history=True).success
    injected = translate_parameters("python3", "python", {"seeed": 1}, comment="Parameters")
    assert shell.run_cell(injected, store_history=True).success
    assert "unknown parameter 'seeed'" in str(
        [shell.run_cell(one, store_history=True) for one in rest][-1].error_in_exec
    )


def test_alternative_texts_of_the_explorer_are_words() -> None:
    path = next(path for path in NOTEBOOKS if "explorer" in path.stem)
    told: list[str] = []
    names = {"folder": None, "class_names": ["bee"], "class_idx": 0, "shift": 1.0, "opening": "It moves.", "dual": None}
    names |= {"before": {"softmax": 0.91, "sigmoid": 0.75}, "picture": None}
    names |= {
        "page": SimpleNamespace(explorer_figure=lambda *_: None),
        "show_figure": lambda *given: told.append(given[3]),
    }
    for cell in nbformat.read(path, as_version=4).cells:
        if "show_figure(" in cell.source:
            exec(cell.source, names)  # a notebook of our own
    assert told == [
        "By the softmax head, the map of bee, of probability 0.910.",
        "By the sigmoid head, the map of bee, of probability 0.750.",
        "The softmax map after the shift. It moves.",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_folders_that_parameters_name_may_begin_with_a_home(path: Path) -> None:
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    assert "resolve_work_dir(work_dir)" in code
    assert ("results_folder(results" in code) == ("results: str" in code)
    assert "Path(" not in code


def test_the_folder_of_results_is_the_one_that_is_named_or_the_usual(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert results_folder("~/mine", Path("usual")) == tmp_path / "mine"
    assert results_folder("mine", Path("usual")) == Path("mine")
    assert results_folder("", Path("usual")) == Path("usual")
    assert (results_folder("") / "centre" / "record.json").is_file()


def test_prose_that_a_cell_works_out_is_shown_as_markdown() -> None:
    assert prose("**mean** nothing")._repr_markdown_() == "**mean** nothing"
    assert html("<b>mean</b> nothing")._repr_html_() == "<b>mean</b> nothing"


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
def test_a_notebook_has_at_most_three_imports(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    assert 0 < sum(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes) <= 3


BY_HAND = {
    "01": {"DualBranch", "build", "cam_maps", "shift_weights", "center_weights", "gauge_energy"},
    "02": {"class_balanced_bce"},
    "03": {"cam_maps", "normalize_maps", "best_iou_per_threshold"},
    "04": {"cam_maps", "normalize_maps", "average_drop", "increase_in_confidence"},
    "05": {"count_parameters", "seconds_of"},
}
"""What the cells by hand must use, by the number of the notebook."""


@pytest.mark.parametrize("number", BY_HAND)
def test_the_thing_is_done_by_hand_on_one_image_before_it_is_for_all(number: str) -> None:
    path = next(path for path in NOTEBOOKS if path.stem.startswith(number))
    cells = nbformat.read(path, as_version=4).cells
    place = next(i for i, cell in enumerate(cells) if cell.id == "by-hand")
    opening = next(i for i, cell in enumerate(cells) if "opening" in cell.metadata.get("tags", []))
    assert place < opening
    assert cells[place - 1].source.startswith("## By hand")
    assert "laptop" in cells[place - 1].source or "seconds" in cells[place - 1].source
    nodes = list(ast.walk(ast.parse(cells[place].source)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert names >= BY_HAND[number] | {"print"}
    assert "ensure_evidence_of_all" not in names


def test_looking_at_what_shows_loads_neither_torch_nor_numba() -> None:
    check = "import sys, companion.show; from companion.show import bold; print(*{'torch', 'numba'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=NOTEBOOKS[0].parents[1]
    )
    assert not done.stdout.strip()


def test_every_name_that_showing_hands_on_can_be_imported() -> None:
    assert {"bold", "check_parameters", "fold", "results_folder", "save_values", "show"} <= set(companion.show.__all__)
    for name in companion.show.__all__:
        assert callable(getattr(companion.show, name))


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
        (
            ["-p", "dataset", "010"],
            "SigcamError: parameter dataset is 10: give a string; to papermill, -r dataset TEXT",
        ),
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
