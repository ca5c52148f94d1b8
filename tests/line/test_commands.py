"""What the commands and the rules say: the targets of make, the check of a fresh clone, and which tests each runs."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from needs import NEEDS, TESTS, folder_of
from once import made_once

from companion.matrix import PROFILES
from dependencies import PROJECT


@pytest.mark.parametrize("file", ["Snakefile", "workflow/matrix.smk"])
def test_every_rule_states_threads_memory_and_time(file: str) -> None:
    rules = re.split(r"^ *rule\b.*:$", (PROJECT / file).read_text(), flags=re.MULTILINE)[1:]
    made = [rule for rule in rules if "output:" in rule]
    assert len(made) >= 6
    for rule in made:
        assert all(stated in rule for stated in ("threads:", "mem_mb=", "runtime=")), rule


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "--dry-run", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)


def test_make_refuses_an_unknown_profile_before_anything_is_set_up() -> None:
    done = make("setup", "PROFILE=best")
    assert done.returncode == 2
    assert f"PROFILE=best is unknown: choose {', '.join(list(PROFILES)[:-1])} or {list(PROFILES)[-1]}" in done.stderr


@pytest.mark.parametrize("profile", PROFILES)
def test_make_tells_what_a_profile_costs_before_it_starts(profile: str) -> None:
    commands = make("reproduce", f"PROFILE={profile}").stdout
    folder = "build" if profile == "quick" else f"build/{profile}"
    assert f"summarise --profile {profile} --work-dir {folder}\n" in commands
    assert ("plan --profile" in commands.split("bin/snakemake")[0]) == (profile != "quick")
    assert (f"--config profile={profile}" in commands) == (profile != "quick")


def test_the_check_of_a_fresh_clone_runs_every_test_and_goes_through_the_matrix() -> None:
    lines = (PROJECT / ".ci" / "run").read_text().splitlines()
    steps = ["setup", "reproduce", "run-report", "run-crate", "test-all", "reproduce PROFILE=miniature"]
    assert [line.removeprefix("timed make ") for line in lines if line.startswith("timed make ")] == steps
    assert 'export SIGCAM_BUILD="$PWD/build"' in lines  # or its tests would run the pipeline once more


def test_what_the_short_tests_leave_out_is_registered_and_lies_where_it_is_marked() -> None:
    options = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    registered = {marker.split(":")[0] for marker in options["markers"]}
    short, everything = (make(target).stdout for target in ("test", "test-all"))
    (left_out,) = re.findall(r'pytest" -m "not \((.*)\)"', short)
    assert set(left_out.split(" or ")) == registered == {*NEEDS.values(), "networks"}
    assert all(list((TESTS / folder).glob("test_*.py")) for folder in NEEDS)
    assert "--durations 25 --cov" in everything
    assert " -m " not in everything.split('pytest"')[1]


def test_a_test_has_the_marker_of_its_folder(request: pytest.FixtureRequest) -> None:
    assert folder_of(TESTS / "faults" / "test_new.py") == "faults"
    assert folder_of(TESTS / "line" / "test_faults.py") is None
    for item in request.session.items:
        folder = folder_of(item.path)
        assert folder is None or item.get_closest_marker(NEEDS[folder]), item.nodeid


def test_what_processes_share_is_made_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        folder.mkdir()  # fails where there is one
        (folder / "file").touch()
        if len(made) == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        made_once(tmp_path_factory, "made_once", make)
    folders = [made_once(tmp_path_factory, "made_once", make) for _ in range(2)]
    assert made == [folders[0]] * 2 == folders
