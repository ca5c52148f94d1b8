"""Measured tables: every one equals the evidence it is made of, and what is there is not made again."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from small_measurement import KEYS, TINY, Made, copy_of, know, sigmoid_top1

from companion import heads as heads_module
from companion import measure as module
from companion.__main__ import main
from companion.experiments import EXPERIMENTS, OVERHEAD, THRESHOLD_BIAS, Experiment
from companion.heads import run_of
from companion.measure import CONTROLS, publish
from sigcam_core.common.errors import SigcamError, run_command_line
from sigcam_core.common.files import read_json
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.evaluate.shards import write_shard
from sigcam_core.fidelity.evidence import fidelity_statistics
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.prepare.manifest import read_manifest
from sigcam_core.stations import record_of
from sigcam_core.summarise.tables import table_of, tables_of
from sigcam_core.train.recipes import Recipe

CHOICE = ["learning_rate", "weight_decay", "epochs", "loss", "val_loss", "val_top1", "chosen"]


def mtimes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_every_table_is_there_with_its_columns(made: Made) -> None:
    columns = {path.stem: pd.read_csv(path).columns.tolist() for path in made.folder.glob("*.csv")}
    interval, difference = ["value", "low", "high"], ["difference", "low", "high"]
    assert columns == {
        "wsol": [*KEYS, "metric", *interval, "protocol"],
        "wsol_baselines": ["network", "method", "head", "gt_loc", "maxboxacc_v2", "maxboxacc_v2_outer", "pxap"],
        "wsol_differences": ["network", "method", "metric", *difference, "protocol"],
        "pointing": [*KEYS, "metric", *interval],
        "pointing_differences": ["network", "method", "metric", *difference],
        "fidelity": [*KEYS, "metric", *interval, "scorer"],
        "fidelity_differences": ["network", "method", "metric", *difference, "scorer"],
        "choice_sigmoid": CHOICE,
        "perturbation": [*KEYS, "metric", *interval],
        "matched_coverage": [*KEYS, "coverage", "average_drop"],
        "seeds": [*KEYS, "metric", "mean", "min", "max", "count"],
        "freezing": ["metric", "eval", "official", *difference, "method", "head"],
    }
    assert made.folder.name == "shapes-small_cnn-scratch"


@pytest.mark.parametrize(
    ("name", "variant", "statistics", "others"),
    [
        ("wsol", "protocol", wsol_statistics, ("standard", "paper")),
        ("fidelity", "scorer", fidelity_statistics, ("softmax", "sigmoid", "own_branch")),
    ],
)
def test_every_figure_is_that_of_the_evidence(
    made: Made, name: str, variant: str, statistics: Any, others: tuple[str, ...]
) -> None:
    evidence = read_evidence(made.run().evidence)
    whole, differences = made.table(name), made.table(f"{name}_differences")
    assert set(whole[variant]) == set(differences[variant]) == set(others)
    for choice in others:
        expected = table_of(evidence, partial(statistics, **{variant: choice})).set_index(KEYS)
        rows = whole[whole[variant] == choice]
        assert len(rows) == expected.size
        for row in rows.itertuples():
            assert row.value == pytest.approx(expected.loc[(row.network, row.method, row.head), row.metric])
        heads = {head: expected.xs(head, level="head") for head in ("softmax", "sigmoid")}
        for row in differences[differences[variant] == choice].itertuples():
            change = heads["sigmoid"].loc[(row.network, row.method), row.metric]
            change -= heads["softmax"].loc[(row.network, row.method), row.metric]
            assert row.difference == pytest.approx(change, abs=1e-9)


def test_the_protocols_differ_where_an_image_has_several_boxes(made: Made) -> None:
    evidence = read_evidence(made.run().evidence)
    evidence["gt_loc_iou_any"], evidence["gt_loc_iou_first"] = np.float32(0.9), np.float32(0.1)
    table = tables_of(evidence)["wsol"].query("metric == 'gt_loc'").set_index("protocol")["value"]
    assert (table["standard"].unique(), table["paper"].unique()) == (100, 0)


def test_seeds_are_summed_up_by_the_sigmoid_heads_of_all(made: Made) -> None:
    parts = [read_evidence(made.run(seed=seed).evidence) for seed in TINY.seeds]
    assert parts[0]["coverage"].notna().all()
    assert parts[1]["coverage"].isna().all()  # fidelity takes long, and is of the first seed
    tables = [table_of(part[part["head"] == "sigmoid"], wsol_statistics).set_index("method") for part in parts]
    rows = made.table("seeds")
    assert set(rows["head"]) == {"sigmoid"}
    assert (rows["count"] == 2).all()
    assert (rows["max"] > rows["min"]).any()
    for row in rows.itertuples():
        values = [table.loc[row.method, row.metric] for table in tables]
        assert [row.mean, row.min, row.max] == pytest.approx([np.mean(values), min(values), max(values)])


def test_the_record_says_where_the_numbers_come_from(made: Made) -> None:
    record = read_json(made.folder / "record.json")
    manifest = read_manifest(made.run().manifest)
    assert record["experiment"]["seeds"] == [head["seed"] for head in record["sigmoid_heads"]] == [1, 0]
    for part in (record["classifier"], *record["sigmoid_heads"], record["evidence"]):
        assert part["manifest_checksum"] == manifest.checksum
        assert {"seed", "commit", "versions", "device", "date", "sha256"} <= part.keys()
    assert record["evidence"]["split"] == "test"
    assert {name: record["manifest"][name] for name in ("train", "val", "test")} == {"train": 48, "val": 16, "test": 24}
    assert (record["num_classes"], record["test_images"]) == (8, 24)
    assert record["sigmoid_top1"] == pytest.approx(sigmoid_top1(made.run()))
    assert 0 < record["gauge_energy"] < 1


def test_heads_are_trained_by_the_recipe_that_was_chosen(made: Made) -> None:
    row = made.table("choice_sigmoid").set_index("chosen").loc[True]
    for seed in TINY.seeds:
        recipe = record_of(made.run(seed=seed).sigmoid_head)["recipe"]
        names = ["learning_rate", "weight_decay", "epochs"]
        assert [recipe[name] for name in names] == row[names].tolist()


def test_a_second_call_computes_nothing_anew(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    know(TINY, monkeypatch)
    before = mtimes(made.work_dir)
    folder = publish(TINY.name, made.work_dir, tmp_path)
    assert mtimes(made.work_dir) == before
    tables = sorted(path.name for path in made.folder.glob("*.csv"))
    assert tables == sorted(path.name for path in folder.glob("*.csv"))
    assert all((folder / name).read_bytes() == (made.folder / name).read_bytes() for name in tables)
    first, second = (read_json(path / "record.json") for path in (made.folder, folder))
    assert {"commit", "versions", "date"} <= first.pop("tables").keys() == second.pop("tables").keys()
    assert first == second


def test_a_comparison_is_measured_alone_with_its_own_record(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(TINY, monkeypatch)
    folder = publish(TINY.name, made.work_dir, tmp_path, only="freezing")
    assert sorted(path.name for path in folder.iterdir()) == ["freezing.csv", "freezing.json"]
    assert (folder / "freezing.csv").read_bytes() == (made.folder / "freezing.csv").read_bytes()
    record = read_json(folder / "freezing.json")
    assert record["classifier"] == record_of(made.run().classifier)["sha256"]
    assert {"commit", "versions", "date", "resamples"} <= record.keys()
    with pytest.raises(SigcamError, match=r"unknown comparison of .* 'seeds': choose one of freezing"):
        publish(TINY.name, made.work_dir, tmp_path, only="seeds")
    with pytest.raises(SigcamError, match="overhead has no further comparison that could be measured alone"):
        publish(OVERHEAD, made.work_dir, tmp_path, only="freezing")


def test_a_comparison_of_other_recipes_is_made_again(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = made.table("choice_sigmoid").set_index("chosen").loc[True]
    monkeypatch.setattr("companion.optimum.tuning.LEARNING_RATES", (chosen["learning_rate"],))
    monkeypatch.setattr("companion.optimum.tuning.WEIGHT_DECAYS", (chosen["weight_decay"],))
    know(replace(TINY, seeds=(1,), controls=()), monkeypatch)
    work_dir = copy_of(made, tmp_path, "choices")
    (work_dir / "choices").mkdir()
    name = f"{made.run().name}-sigmoid-{read_manifest(made.run().manifest).checksum[:12]}.csv"
    (work_dir / "choices" / name).write_bytes((made.work_dir / "choices" / name).read_bytes())
    folder = publish(TINY.name, work_dir, tmp_path / "results")
    for path in (folder / "choice_sigmoid.csv", work_dir / "choices" / name):
        table = pd.read_csv(path)
        assert table[["learning_rate", "weight_decay"]].to_numpy() == pytest.approx(
            chosen[["learning_rate", "weight_decay"]].to_numpy(dtype=float)[None]
        )
    assert not (folder / "seeds.csv").exists()
    assert not (folder / "freezing.csv").exists()


def test_heads_of_another_recipe_are_not_passed_off(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(replace(TINY, epochs=2), monkeypatch)
    work_dir = copy_of(made, tmp_path, "choices")
    with pytest.raises(SigcamError, match="was made with epochs 1, not 2: delete it"):
        publish(TINY.name, work_dir, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_probe_chooses_a_recipe_for_each_head_without_the_test_images(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Any]] = []
    places = {"softmax": 5, "sigmoid": 7}

    heads: dict[str, torch.Tensor] = {}

    def choose(dual: Any, head: str, splits: Any, recipes: list[Recipe], *_: Any) -> Any:
        train, val = splits
        seen.append([head, *train.table["split"].unique(), *val.table["split"].unique(), {r.epochs for r in recipes}])
        heads[head] = linear_head_weight(dual.softmax_head)
        rows = [(r.learning_rate, r.weight_decay, r.epochs, 1.0, 1.0, 50.0, False) for r in recipes]
        table = pd.DataFrame(rows, columns=CHOICE)
        return table.assign(chosen=table.index == places[head])

    def evaluate_shards(*_: Any, **__: Any) -> list[Path]:
        shard = tmp_path / "evidence" / "one.shards" / "shard.parquet"
        shard.parent.mkdir(parents=True)
        write_shard(shard, pq.read_table(made.run().evidence), "digest", 1.0, "plain")
        return [shard]

    probe = Experiment("shapes", "efficientnet_lite0", "probe", epochs=1, shipped_as="tiny head")
    know(probe, monkeypatch)
    monkeypatch.setattr(heads_module, "compare_recipes", choose)
    monkeypatch.setattr("sigcam_core.stations.evidence.evaluate_shards", evaluate_shards)
    monkeypatch.setattr(
        "sigcam_core.stations.evidence.folder_of_shards", lambda path: tmp_path / "evidence" / "one.shards"
    )
    shipped: list[Any] = []
    monkeypatch.setattr(module, "ship", lambda *arguments: shipped.append(arguments))
    (tmp_path / "data").symlink_to(made.work_dir / "data")
    folder = publish(probe.name, tmp_path, tmp_path / "results")
    assert seen == [["softmax", "train", "val", {1}], ["sigmoid", "train", "val", {1}]]
    run = run_of(probe, tmp_path, 0)
    for head, path in (("softmax", run.classifier), ("sigmoid", run.sigmoid_head)):
        chosen = pd.read_csv(folder / f"choice_{head}.csv").iloc[places[head]]
        recipe = record_of(path)["recipe"]
        assert (recipe["learning_rate"], recipe["weight_decay"]) == (chosen["learning_rate"], chosen["weight_decay"])
    # The sigmoid head's recipes are compared on the softmax classifier that was trained.
    classifier = load_file(run.classifier)
    assert torch.equal(heads["sigmoid"], classifier["classifier.1.weight"])
    assert not torch.equal(heads["softmax"], classifier["classifier.1.weight"])
    assert not shipped  # whoever measures for themselves does not overwrite what ships
    monkeypatch.setattr(module, "MEASURED", (tmp_path / "results").resolve())
    publish(probe.name, tmp_path, tmp_path / "results")
    evidence, record = read_evidence(run.evidence), read_json(folder / "record.json")
    softmax_top1 = pytest.approx(100 * (evidence["label"] == evidence["predicted"]).mean())
    assert shipped == [(run, "tiny head", {"softmax": softmax_top1, "sigmoid": record["sigmoid_top1"]})]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mnist", "unknown measurement 'mnist': choose one of tiny_imagenet-efficientnet_lite0-restricted"),
        (
            "tiny_imagenet-efficientnet_lite0-probe",
            "manifest.parquet does not exist: run `python -m data_scripts tiny_imagenet --root",
        ),
    ],
)
def test_what_cannot_be_measured_gets_one_sentence(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--work-dir", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    monkeypatch.setattr(sys, "argv", ["companion", "publish", name, *folders])
    with pytest.raises(SystemExit) as stopped:
        run_command_line(main)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert sentence in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_measuring_overhead_needs_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(module, "publish_overhead", lambda folder, report: asked.append(folder))
    assert publish(OVERHEAD, tmp_path / "work", tmp_path / "results") == tmp_path / "results" / "overhead"
    assert asked == [tmp_path / "results" / "overhead"]
    assert not (tmp_path / "work").exists()


def test_the_bias_of_thresholds_is_asked_of_every_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, "publish_threshold_bias", lambda runs, folder, report: asked.append((runs, folder)))
    folder = tmp_path / "results" / "threshold_bias"
    assert publish(THRESHOLD_BIAS, tmp_path / "work", tmp_path / "results") == folder
    runs = {one.name: run_of(one, tmp_path / "work", one.seeds[0]) for one in EXPERIMENTS.values()}
    assert asked == [(runs, folder)]


def test_controls_are_known_and_files_lie_in_the_folder_of_the_experiment(tmp_path: Path) -> None:
    for experiment in EXPERIMENTS.values():
        assert set(experiment.controls) <= set(CONTROLS)
        assert run_of(experiment, tmp_path, 0).work_dir == tmp_path / experiment.folder
    assert {one.folder for one in EXPERIMENTS.values() if one.dataset == "shapes"} == {"published"}
