"""Homes that no shell has put in, and outputs that are inputs, by every spelling."""

from __future__ import annotations

import argparse
import ast
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from companion.show.results import results_folder
from data_scripts.__main__ import prepare
from data_scripts.image_folder import check_parameters
from sigcam_core import Run, ensure_manifest, photo_manifest, resolve_work_dir
from sigcam_core.ask.explain import explain_photo
from sigcam_core.ask.report import report_on_folder
from sigcam_core.common.errors import CommandLine, SigcamError
from sigcam_core.common.files import read_json, write_json
from sigcam_core.common.paths import refuse_overwriting, user_path
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.prepare.manifest import read_manifest, write_manifest
from sigcam_core.run import default_work_dir

PROJECT = Path(__file__).parents[3]
WITHOUT = {"render.py", "draw_rooms.py"}
"""Programs that only other programs call, with whole paths."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_home_is_put_in_where_a_path_begins_with_it(home: Path) -> None:
    assert user_path("~/a/b.jpg") == home / "a" / "b.jpg"
    assert user_path(Path("~")) == home
    for other in ("a/~/b", "/x/~", "a~"):
        assert user_path(other) == Path(other)
    for name in ("~", "~nobody-at-all"):
        assert user_path(user_path(f"./{name}/a")) == Path.cwd() / name / "a"
    with pytest.raises(SigcamError, match=r"^~nobody-at-all/a begins with a home folder that is not known here: write"):
        user_path("~nobody-at-all/a")


def test_every_option_that_is_a_path_is_expanded(home: Path) -> None:
    parser = CommandLine(prog="program")
    parser.add_argument("photo", type=Path)
    parser.add_argument("--out", type=Path, nargs="+", default=[])
    verb = parser.add_subparsers().add_parser("verb")
    verb.add_argument("--work-dir", type=Path)
    given = parser.parse_args(["--out", "~/b", "c", "--", "~/a.png", "verb", "--work-dir", "~/w"])
    assert (given.photo, given.out, given.work_dir) == (home / "a.png", [home / "b", Path("c")], home / "w")
    with pytest.raises(
        SigcamError, match=r"^argument photo: ~nobody-at-all/a begins with a home .*see `program --help`"
    ):
        parser.parse_args(["~nobody-at-all/a"])


def test_no_program_reads_paths_by_a_parser_that_leaves_homes_alone() -> None:
    folders = ("sigcam_core", "data_scripts", "workflow", "benchmarks")
    plain = set()
    for path in (path for folder in folders for path in (PROJECT / folder).rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        if any(ast.unparse(call.func) == "argparse.ArgumentParser" for call in calls):
            plain.add(path.name)
    assert plain <= WITHOUT
    assert issubclass(CommandLine, argparse.ArgumentParser)


def test_work_dirs_of_the_environment_and_of_notebooks_are_expanded(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGCAM_WORK_DIR", "~/work")
    assert default_work_dir() == resolve_work_dir("") == home / "work"
    assert resolve_work_dir("~/other") == home / "other"


DOORS: dict[str, Callable[[str], object]] = {
    "read_manifest": read_manifest,
    "write_manifest": lambda path: write_manifest(path, ROWS, name="tiny", class_names=["x"]),
    "read_evidence": lambda path: read_evidence(path),  # type: ignore[arg-type]
    "read_json": read_json,
    "write_json": lambda path: write_json(path, 1),
    "Run": lambda path: Run("shapes", "small_cnn", work_dir=path).manifest,  # type: ignore[arg-type]
    "ensure_manifest": lambda path: ensure_manifest("shapes", path),  # type: ignore[arg-type]
    "prepare": lambda path: prepare("shapes", path),  # type: ignore[arg-type]
    "source": lambda path: image_folder({"source": path}),
    "boxes": lambda path: image_folder({"boxes": path, "box_format": "xyxy"}),
    "box_classes": lambda path: image_folder({"boxes": "b.csv", "box_format": "xyxy", "box_classes": path}),
    "results": results_folder,
    "photo": lambda path: photo_manifest(path, ["x"]),
    "picture": lambda path: explain_photo(Path("p.png"), path),  # type: ignore[arg-type]
    "report": lambda path: report_on_folder(path, "small_cnn", Path("w")),  # type: ignore[arg-type]
}
"""Functions that take a path of the user's, by what it is of."""
ROWS = pd.DataFrame(
    {"image_id": ["a"], "path": ["a.png"], "label": [0], "split": ["test"], "width": [2], "height": [2], "boxes": [[]]}
).assign(mask=None)


def image_folder(options: dict[str, str]) -> object:
    usual = {"source": str(PROJECT / "tests"), "boxes": "", "box_format": "", "box_classes": "", "boxes_of": "own"}
    return check_parameters(**(usual | {"test_fraction": 0.2, "val_fraction": 0.1, "seed": 0} | options))


@pytest.mark.parametrize("door", DOORS)
def test_every_function_that_takes_a_path_knows_what_a_home_is(door: str, home: Path) -> None:
    with pytest.raises(SigcamError, match=r"^~nobody-at-all/x.png begins with a home folder that is not known here"):
        DOORS[door]("~nobody-at-all/x.png")


def test_functions_find_files_in_a_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "a.png").write_bytes(b"")
    monkeypatch.chdir(home / "..")
    write_json("~/data/one.json", {"a": 1})
    assert read_json(home / "data" / "one.json") == read_json("~/data/one.json") == {"a": 1}
    written = write_manifest("~/manifest.parquet", ROWS, name="tiny", class_names=["x"])
    assert written.root == home
    assert read_manifest("~/manifest.parquet").checksum == written.checksum
    run = Run("shapes", "small_cnn", work_dir=Path("~/papers"))
    assert run == Run("shapes", "small_cnn", work_dir=home / "papers")
    prepare("shapes", Path("~/papers/data"), train=2, val=2, test=2)
    assert ensure_manifest("shapes", Path("~/papers")).root == home / "papers" / "data" / "shapes"


def test_an_output_that_is_an_input_is_refused_by_every_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "p.png"
    photo.write_bytes(b"pixels")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.png").symlink_to(photo)
    (tmp_path / "here").symlink_to(tmp_path, target_is_directory=True)
    os.link(photo, tmp_path / "hard.png")
    monkeypatch.chdir(tmp_path)
    spellings = ("p.png", "./p.png", "folder/../p.png", "link.png", "hard.png", "here/p.png", tmp_path / "p.png")
    for output in spellings:
        with pytest.raises(SigcamError, match=r"^the output .* is the input p\.png, which would be changed: choose"):
            refuse_overwriting(Path(output), Path("p.png"))
        with pytest.raises(SigcamError, match="is the input"):
            refuse_overwriting(Path("p.png"), Path(output))
    for other in ("q.png", "folder/p.png", "p.png.svg"):
        refuse_overwriting(Path(other), Path("p.png"))


def test_folders_may_not_lie_in_one_another(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(SigcamError, match=r"lies in the input .*pictures"):
        refuse_overwriting(tmp_path / "pictures" / "build" / "data", tmp_path / "pictures")
    with pytest.raises(SigcamError, match=r"holds the input .*pictures"):
        refuse_overwriting(tmp_path, tmp_path / "pictures")
    refuse_overwriting(tmp_path / "pictures2", tmp_path / "pictures")
