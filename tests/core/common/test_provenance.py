"""Results are whole or not there, and say where they come from."""

import hashlib
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from sigcam_core import SigcamError
from sigcam_core.common.files import atomic_path, read_json, sha256_of_file, write_atomically, write_json
from sigcam_core.common.provenance import RECORDED_PACKAGES, device_name, git_commit, provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_block_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "result.bin"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_successful_block_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "result.png"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".png"  # writers choose their format by it
        assert not path.exists()
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_results_are_readable_like_any_other_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    written = write_atomically(tmp_path / "written", lambda path: path.write_text("x"))
    assert written == tmp_path / "written"
    assert written.stat().st_mode == plain.stat().st_mode


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # root may write anywhere, but nobody makes a folder below a file
    sentence = r"cannot write to folder .*file \(.+\): choose an output folder that you may write to\."
    with pytest.raises(SigcamError, match=sentence):
        write_json(tmp_path / "file" / "result.json", {})


def test_json_goes_and_comes_back(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None], "b": {"c": "é"}}
    assert read_json(write_json(tmp_path / "x.json", value)) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_has_no_nan(tmp_path: Path, number: float) -> None:
    path = write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": number})
    assert read_json(path) == {"a": 1}


def test_missing_and_broken_json_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(SigcamError, match=r"x\.json does not exist: run the step that writes it first"):
        read_json(path)
    path.write_text('{"a": 1')
    with pytest.raises(SigcamError, match=r"x\.json is not valid JSON \(.*line 1\): delete it"):
        read_json(path)


def test_the_commit_says_whether_the_tree_was_edited(tmp_path: Path) -> None:
    assert git_commit(tmp_path) == "unknown"
    git(tmp_path, "init", "--quiet")
    assert git_commit(tmp_path) == "unknown"  # no commit yet
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "--quiet", "-m", "a")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "untracked").touch()
    assert git_commit(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == f"{commit}+dirty"


def test_provenance_keeps_the_facts_and_adds_the_circumstances() -> None:
    facts = provenance(seed=3, parameters={"epochs": 2}, device="cpu")
    assert facts["seed"] == 3
    assert facts["parameters"] == {"epochs": 2}
    assert facts["device"] == device_name("cpu")
    assert facts["device"].endswith(" cores")
    assert set(facts["versions"]) == set(RECORDED_PACKAGES)
    assert facts["commit"] == git_commit()
    assert datetime.fromisoformat(facts["date"]).utcoffset().total_seconds() == 0


def test_checksum_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 100_000)
    assert sha256_of_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
