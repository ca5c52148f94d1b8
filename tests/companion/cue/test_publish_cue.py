"""What is measured on the cue is written with its provenance, and a stopped measurement goes on where it was."""

from pathlib import Path

import pandas as pd
import pytest

from companion import measure as module
from companion.cue import study as cue
from companion.cue.measured import measure_parts
from companion.cue.tables import agreement_table, shares_table
from companion.experiments import CUE
from data_scripts.__main__ import main as data_scripts
from sigcam_core.common.files import read_json
from sigcam_core.prepare.manifest import read_manifest
from sigcam_core.stations import ensure_sigmoid_head

CORRELATIONS, SEEDS = (0.0, 1.0), (0, 1)


def small_data(arguments: list[str]) -> None:
    """The first station, of a few images."""
    data_scripts([*arguments, "--train", "16", "--val", "8", "--test", "12"])


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cue")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cue, "run_first_station", small_data)
        patch.setattr(cue, "RESAMPLES", 20)
        cue.publish_cue(root / "results", root / "work", lambda _: None, CORRELATIONS, SEEDS)
    return root


def close(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """The same but for rounding: a network just trained lies otherwise in memory than one that was read."""
    pd.testing.assert_frame_equal(first, second, rtol=1e-4, atol=1e-4)


def test_tables_are_those_of_the_evidence_of_all_networks(work: Path) -> None:
    frames = []
    for correlation in CORRELATIONS:
        for seed in SEEDS:
            run = cue.run_of_correlation(correlation, work / "work", seed)
            test = read_manifest(run.manifest).split("test")
            table = measure_parts(ensure_sigmoid_head(run), test, lambda _: None)
            frames.append(table.assign(correlation=correlation, seed=seed))
    whole = pd.concat(frames, ignore_index=True)
    for name, make in (("shares", shares_table), ("agreement", agreement_table)):
        close(pd.read_csv(work / "results" / f"{name}.csv"), make(whole, 20))


def test_every_correlation_has_data_of_its_own(work: Path) -> None:
    folders = {0.0: "shapes_cue00", 1.0: "shapes_cue100"}
    for correlation, folder in folders.items():
        manifest = read_manifest(work / "work" / "data" / folder / "manifest.parquet")
        agrees = manifest.table["context_class"] == manifest.table["label"]
        assert agrees.all() == (correlation == 1.0)
        assert read_json(manifest.root / "manifest.json")["parameters"]["context_correlation"] == correlation


def test_the_record_says_where_the_numbers_come_from(work: Path) -> None:
    record = read_json(work / "results" / "record.json")
    assert (record["correlations"], record["seeds"], record["test_images"]) == ([0.0, 1.0], [0, 1], 12)
    assert {"commit", "device", "versions", "date", "resamples", "threads"} <= record.keys()
    assert [(one["correlation"], one["seed"]) for one in record["runs"]] == [
        (c, s) for c in CORRELATIONS for s in SEEDS
    ]
    for one in record["runs"]:
        assert one["manifest"]["context_correlation"] == one["correlation"]
        assert one["classifier"]["sha256"] == one["evidence"]["classifier_sha256"]
        assert one["sigmoid_head"]["sha256"] == one["evidence"]["sigmoid_head_sha256"]
        assert {"softmax_top1", "sigmoid_top1"} <= one["evidence"].keys()
        assert "history" not in one["classifier"]


def test_what_is_there_is_not_made_again(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = cue.run_of_correlation(1.0, work / "work", 1)
    evidence = work / "work" / "evidence" / f"{missing.full_name}-parts.parquet"
    evidence.unlink()  # a measurement that was stopped here
    before = {path: path.stat().st_mtime_ns for path in (work / "work").rglob("*") if path.is_file()}
    monkeypatch.setattr(cue, "run_first_station", lambda _: pytest.fail("the data are there"))
    monkeypatch.setattr(cue, "RESAMPLES", 20)
    cue.publish_cue(tmp_path, work / "work", lambda _: None, CORRELATIONS, SEEDS)
    record = evidence.with_suffix(".json")
    assert evidence.exists()
    assert {path for path, time in before.items() if path.stat().st_mtime_ns != time} == {record}
    for name in ("shares.csv", "agreement.csv"):
        close(pd.read_csv(tmp_path / name), pd.read_csv(work / "results" / name))


def test_the_cue_is_measured_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, Path]] = []
    monkeypatch.setattr(module, "publish_cue", lambda folder, work_dir, report: asked.append((folder, work_dir)))
    assert module.publish(CUE, tmp_path / "work", tmp_path / "results") == tmp_path / "results" / "cue"
    assert asked == [(tmp_path / "results" / "cue", tmp_path / "work")]
