"""The command line: the stations' verbs, help without the libraries that a verb needs, the first station handed on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from companion.__main__ import VERBS as OWN_VERBS
from sigcam_core.__main__ import OF_COMPANION, STATIONS, TRAINED, VERBS, main
from sigcam_core.common.errors import run_command_line

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    *(("sigcam_core", *command) for command in ((), *((verb,) for verb in (*VERBS, *OF_COMPANION)))),
    *(("sigcam_core", "train", what) for what in TRAINED),
    *(("companion", *command) for command in ((), *((verb,) for verb in OWN_VERBS))),
]
HEAVY = ("torch", "pandas", "matplotlib")


def run(*arguments: str, cwd: Path = ROOT, package: str = "sigcam_core") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", package, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_there_without_the_heavy_libraries(command: tuple[str, ...]) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = [*{command!r}, '--help']\n"
        "try:\n    runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stopped:\n    assert not stopped.code\n"
        f"print('heavy:', *(name for name in {HEAVY!r} if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "usage: python -m" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "heavy:"


def test_the_verbs_are_the_stations_of_the_readme_and_of_the_folders() -> None:
    line = (ROOT / "README.md").read_text().split("## The pipeline")[1]
    told = re.findall(r"^(\w+) {2,}\S", line.split("```")[1], re.MULTILINE)
    assert told == [*STATIONS, "summarise", "publish"]
    assert all((ROOT / "sigcam_core" / verb / "__init__.py").is_file() for verb in (*STATIONS, "summarise"))
    assert f"VERB {', '.join(VERBS)}" in " ".join(run("--help").stdout.split())  # which is wrapped
    assert f"VERB {', '.join(OWN_VERBS)}" in " ".join(run("--help", package="companion").stdout.split())


def test_verbs_of_the_companion_are_its_own_and_still_answer_to_their_old_spelling() -> None:
    assert list(OWN_VERBS) == list(OF_COMPANION)
    assert not set(OWN_VERBS) & set(VERBS)
    for arguments in (("publish", "everything"), ("plan", "--profile", "best"), ("plan", "--help")):
        old, new = run(*arguments), run(*arguments, package="companion")
        assert (old.returncode, old.stdout, old.stderr) == (new.returncode, new.stdout, new.stderr)


def test_without_the_companion_its_verbs_say_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sigcam_core.prepare.command.PROJECT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["sigcam_core", "publish", "cue"])
    with pytest.raises(SystemExit) as stopped:
        run_command_line(main)
    assert stopped.value.code == 2
    assert re.fullmatch(
        r"error: .*run `python -m companion publish` in a checkout of the project\.\n", capsys.readouterr().err
    )


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
    done = run(verb, "--profile", "best", package="companion")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown profile 'best': choose one of quick, open, paper, miniature, trial.\n"


def test_a_summary_that_was_not_made_is_said_to_be_missing(tmp_path: Path) -> None:
    done = run("summarise", "--work-dir", str(tmp_path / "work"), package="companion")
    assert done.returncode == 2
    assert "invariance.json does not exist: run the step that writes it first" in done.stderr
    assert not (tmp_path / "work").exists()


def test_a_profile_that_was_not_run_is_said_to_be_missing(tmp_path: Path) -> None:
    done = run("summarise", "--profile", "paper", "--work-dir", str(tmp_path), package="companion")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "table1.csv does not exist: run the workflow" in done.stderr


def test_a_plan_is_printed_before_anything_is_there(tmp_path: Path) -> None:
    done = run("plan", "--profile", "paper", "--work-dir", str(tmp_path / "none"), package="companion")
    assert done.returncode == 0, done.stderr
    assert "Profile paper: 24 runs" in done.stdout
    assert not (tmp_path / "none").exists()
