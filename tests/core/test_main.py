"""The command line: the stations' verbs, help without the libraries that a verb needs, the first station handed on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sigcam_core.__main__ import STATIONS, TRAINED, VERBS

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [[], *([verb] for verb in VERBS), *(["train", what] for what in TRAINED)]
HEAVY = ("torch", "pandas", "matplotlib")


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sigcam_core", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_there_without_the_heavy_libraries(command: list[str]) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['sigcam_core', *{command!r}, '--help']\n"
        "try:\n    runpy.run_module('sigcam_core', run_name='__main__')\n"
        "except SystemExit as stopped:\n    assert not stopped.code\n"
        f"print('heavy:', *(name for name in {HEAVY!r} if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "usage: python -m" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "heavy:"


def test_the_verbs_are_the_stations_of_the_readme_and_of_the_folders() -> None:
    line = (ROOT / "README.md").read_text().split("## The line that data travels")[1]
    told = re.findall(r"^(\w+) {2,}\S", line.split("```")[1], re.MULTILINE)
    assert told == list(STATIONS)
    assert all((ROOT / "sigcam_core" / verb / "__init__.py").is_file() for verb in STATIONS)
    assert f"VERB {', '.join(VERBS)}" in " ".join(run("--help").stdout.split())  # which is wrapped


def test_prepare_hands_its_arguments_on(tmp_path: Path) -> None:
    options = ("--train", "16", "--val", "8", "--test", "8")
    done = run("prepare", "shapes", "--root", str(tmp_path), *options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "shapes" / "manifest.parquet").is_file()


def test_a_refusal_of_the_first_station_is_passed_on(tmp_path: Path) -> None:
    done = run("prepare", "mnist", "--root", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "mnist" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["plan", "summarise"])
def test_an_unknown_profile_gets_one_sentence(verb: str) -> None:
    done = run(verb, "--profile", "best")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown profile 'best': choose one of quick, open, paper, miniature, trial.\n"


def test_a_profile_that_was_not_run_is_said_to_be_missing(tmp_path: Path) -> None:
    done = run("summarise", "--profile", "paper", "--work-dir", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "table1.csv does not exist: run the workflow" in done.stderr


def test_a_plan_is_printed_before_anything_is_there(tmp_path: Path) -> None:
    done = run("plan", "--profile", "paper", "--work-dir", str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    assert "Profile paper: 24 runs" in done.stdout
    assert not (tmp_path / "none").exists()
