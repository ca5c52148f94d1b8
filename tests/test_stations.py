"""The stations: what is there is kept, what is missing is made, what does not fit is refused."""

import sys
from pathlib import Path

import pytest
import small_run
import torch

from sigcam_core.__main__ import main
from sigcam_core.data import read_manifest
from sigcam_core.errors import SigcamError, run_command_line
from sigcam_core.stations import (
    Run,
    default_work_dir,
    ensure_classifier,
    ensure_evidence,
    ensure_manifest,
    ensure_sigmoid_head,
    record_of,
    resolve_work_dir,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run.make(tmp_path_factory.mktemp("run"), "gap")


def test_what_is_there_is_kept(run: Run) -> None:
    files = (run.manifest, run.classifier, run.sigmoid_head, run.evidence)
    before = [path.stat().st_mtime_ns for path in files]
    ensure_evidence(run)
    assert [path.stat().st_mtime_ns for path in files] == before


def test_what_is_missing_is_made_the_same_again(run: Run) -> None:
    first = run.evidence.read_bytes()
    run.evidence.unlink()
    assert ensure_evidence(run).read_bytes() == first


def test_the_loaded_network_is_the_trained_one(run: Run) -> None:
    dual = ensure_sigmoid_head(run)
    classifier = ensure_classifier(run)
    images = torch.randn(2, 3, 96, 96)
    torch.testing.assert_close(dual(images).softmax_logits, classifier(images))
    assert not dual.training
    record = record_of(run.classifier)
    assert record["recipe"]["epochs"] == len(record["history"]) == 1
    assert record["manifest_checksum"] == read_manifest(run.manifest).checksum


def test_a_checkpoint_of_another_network_gets_one_sentence(run: Run, tmp_path: Path) -> None:
    other = Run("shapes", "small_cnn", "mlp", 0, run.work_dir)
    other.classifier.write_bytes(run.classifier.read_bytes())
    try:
        with pytest.raises(SigcamError, match="does not fit this network"):
            ensure_classifier(other)
        other.classifier.write_bytes(b"truncated")
        with pytest.raises(SigcamError, match="does not fit this network"):
            ensure_classifier(other)
    finally:
        other.classifier.unlink()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["classifier", "--dataset", "imagenet"], "unknown data set 'imagenet': choose one of shapes."),
        (["classifier", "--backbone", "alexnet"], "unknown backbone 'alexnet': choose one of small_cnn"),
        (["evidence", "--head", "linear"], "unknown head 'linear': choose one of gap, mlp."),
        (["sigmoid-head", "--epochs", "0"], "--epochs is 0: train at least 1 epoch."),
        (["classifier", "--seed", "-1"], "seed -1 is out of range: give a whole number from 0"),
        (["evidence", "--epochs", "3"], "unrecognized arguments: --epochs 3"),
        (["headline"], "invariance.json does not exist: run the step that writes it first"),
    ],
)
def test_the_command_line_refuses_in_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["sigcam_core", *arguments, "--work-dir", str(tmp_path / "work")])
    with pytest.raises(SystemExit) as stopped:
        run_command_line(main)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: ")
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "work").exists()


def test_an_output_folder_that_cannot_be_made_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SigcamError, match="cannot write to folder"):
        ensure_manifest("photos", tmp_path / "file" / "work")


def test_the_work_dir_is_the_projects_build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGCAM_WORK_DIR", raising=False)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert default_work_dir() == tmp_path / "build"
    assert resolve_work_dir("elsewhere") == Path("elsewhere")
    monkeypatch.setenv("SIGCAM_WORK_DIR", "/somewhere")
    assert resolve_work_dir("") == Path("/somewhere")
