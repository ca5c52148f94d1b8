"""Homes that no shell has put in, and outputs that are inputs, by every spelling."""

from __future__ import annotations

import argparse
import ast
import os
from pathlib import Path

import pytest

from sigcam_core.common.errors import CommandLine, SigcamError
from sigcam_core.common.paths import refuse_overwriting, user_path
from sigcam_core.run import default_work_dir, resolve_work_dir

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
