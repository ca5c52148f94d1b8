"""Published results: every table equals the evidence it is made of, and what is there is not made again."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from data_scripts.__main__ import prepare
from sigcam_core.__main__ import main
from sigcam_core.backbones import input_format
from sigcam_core.common.errors import SigcamError, run_command_line
from sigcam_core.common.files import read_json
from sigcam_core.dual.branch import linear_head_weight
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.fidelity.evidence import fidelity_statistics
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.prepare.images import image_batches
from sigcam_core.prepare.manifest import read_manifest, write_manifest
from sigcam_core.publish import measure as module
from sigcam_core.publish.measure import OVERHEAD, Experiment, publish, publish_overhead, ship
from sigcam_core.run import Run
from sigcam_core.stations import ensure_sigmoid_head, record_of
from sigcam_core.summarise.tables import table_of, tables_of
from sigcam_core.train.recipes import Recipe

TINY = Experiment("shapes", "small_cnn", "scratch", epochs=1, seeds=(1, 0), compares_freezing=True)
KEYS = ["network", "method", "head"]
CHOICE = ["learning_rate", "weight_decay", "epochs", "loss", "val_loss", "val_top1", "chosen"]


class Made(NamedTuple):
    work_dir: Path
    folder: Path

    def run(self, **changes: Any) -> Run:
        return replace(TINY.run(self.work_dir, TINY.seeds[0]), **changes)

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"{name}.csv")


def know(experiment: Experiment, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "EXPERIMENTS", {experiment.name: experiment})
    patch.setattr(module, "PUBLISHED", (experiment.name, OVERHEAD))
    patch.setattr("sigcam_core.stations.PERTURBATION_IMAGES", 1)


@pytest.fixture(scope="module", autouse=True)
def _as_real_data() -> Iterator[None]:
    """The tiny data set lies where a real one would."""

    def run(experiment: Experiment, work_dir: Path, seed: int) -> Run:
        return Run("shapes", experiment.backbone, seed, work_dir, experiment.origin)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Experiment, "run", run)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    work_dir = tmp_path_factory.mktemp("work")
    prepare("shapes", work_dir / "data", train=48, val=16, test=24)
    with pytest.MonkeyPatch.context() as patch:
        know(TINY, patch)
        return Made(work_dir, publish(TINY.name, work_dir, tmp_path_factory.mktemp("results")))


def sigmoid_top1(run: Run) -> float:
    """Accuracy of the sigmoid branch on the test split in %, by one plain pass."""
    test = read_manifest(run.manifest).split("test")
    ((_, images, labels),) = image_batches(test, len(test), input_format(run.backbone))
    return 100 * (ensure_sigmoid_head(run)(images).sigmoid_logits.argmax(1) == labels).double().mean().item()


def mtimes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def copy_of(made: Made, tmp_path: Path, *folders: str) -> Path:
    """A work dir whose files, but those of the folders named, are the other's."""
    for folder in made.work_dir.iterdir():
        if folder.name not in folders:
            (tmp_path / folder.name).symlink_to(folder)
    return tmp_path


def test_every_table_is_there_with_its_columns(made: Made) -> None:
    columns = {path.stem: pd.read_csv(path).columns.tolist() for path in made.folder.glob("*.csv")}
    interval, difference = ["value", "low", "high"], ["difference", "low", "high"]
    assert columns == {
        "wsol": [*KEYS, "metric", *interval, "protocol"],
        "wsol_differences": ["network", "method", "metric", *difference, "protocol"],
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
        ("fidelity", "scorer", fidelity_statistics, ("softmax", "sigmoid")),
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


def test_freezing_is_compared_on_the_same_images(made: Made) -> None:
    rows = made.table("freezing")
    assert rows["difference"].to_numpy() == pytest.approx((rows["official"] - rows["eval"]).to_numpy())
    recipes = {"eval": "crops", "official": "crops-official-freezing"}
    for column, recipe in recipes.items():
        run = made.run(sigmoid_recipe=recipe)
        evidence = read_evidence(run.evidence)
        found = rows.set_index(["method", "head", "metric"])[column]
        for statistics in (wsol_statistics, fidelity_statistics):
            for (method, head), figures in table_of(evidence, statistics).groupby(["method", "head"]):
                for metric in figures.columns.drop(KEYS):
                    assert found[method, head, metric] == pytest.approx(figures[metric].item())
        assert rows.set_index("metric").loc["sigmoid_top1", column] == pytest.approx(sigmoid_top1(run))


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


def test_a_comparison_of_other_recipes_is_made_again(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = made.table("choice_sigmoid").set_index("chosen").loc[True]
    monkeypatch.setattr("sigcam_core.train.tuning.LEARNING_RATES", (chosen["learning_rate"],))
    monkeypatch.setattr("sigcam_core.train.tuning.WEIGHT_DECAYS", (chosen["weight_decay"],))
    know(replace(TINY, seeds=(1,), compares_freezing=False), monkeypatch)
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

    def evaluate(dual: Any, images: Any, network: str, path: Path, *_: Any) -> None:
        path.parent.mkdir()
        path.write_bytes(made.run().evidence.read_bytes())

    probe = Experiment("shapes", "efficientnet_lite0", "probe", epochs=1, shipped_as="tiny head")
    know(probe, monkeypatch)
    monkeypatch.setattr(module, "compare_recipes", choose)
    monkeypatch.setattr("sigcam_core.stations.evaluate", evaluate)
    shipped: list[Any] = []
    monkeypatch.setattr(module, "ship", lambda *arguments: shipped.append(arguments))
    (tmp_path / "data").symlink_to(made.work_dir / "data")
    folder = publish(probe.name, tmp_path, tmp_path / "results")
    assert seen == [["softmax", "train", "val", {1}], ["sigmoid", "train", "val", {1}]]
    run = probe.run(tmp_path, 0)
    for head, path in (("softmax", run.classifier), ("sigmoid", run.sigmoid_head)):
        chosen = pd.read_csv(folder / f"choice_{head}.csv").iloc[places[head]]
        recipe = record_of(path)["recipe"]
        assert (recipe["learning_rate"], recipe["weight_decay"]) == (chosen["learning_rate"], chosen["weight_decay"])
    # The sigmoid head's recipes are compared on the softmax classifier that was trained.
    classifier = load_file(run.classifier)
    assert torch.equal(heads["sigmoid"], classifier["classifier.1.weight"])
    assert not torch.equal(heads["softmax"], classifier["classifier.1.weight"])
    assert not shipped  # whoever measures for themselves does not overwrite what ships
    monkeypatch.setattr(module, "PUBLISHED_RESULTS", (tmp_path / "results").resolve())
    publish(probe.name, tmp_path, tmp_path / "results")
    evidence, record = read_evidence(run.evidence), read_json(folder / "record.json")
    softmax_top1 = pytest.approx(100 * (evidence["label"] == evidence["predicted"]).mean())
    assert shipped == [(run, "tiny head", {"softmax": softmax_top1, "sigmoid": record["sigmoid_top1"]})]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mnist", "unknown published result 'mnist': choose one of tiny_imagenet-efficientnet_lite0-restricted"),
        (
            "tiny_imagenet-efficientnet_lite0-probe",
            "manifest.parquet does not exist: run `python -m data_scripts tiny_imagenet --root",
        ),
    ],
)
def test_what_cannot_be_published_gets_one_sentence(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--work-dir", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    monkeypatch.setattr(sys, "argv", ["sigcam_core", "publish", name, *folders])
    with pytest.raises(SystemExit) as stopped:
        run_command_line(main)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert sentence in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_head_ships_with_a_card(made: Made, tmp_path: Path) -> None:
    work_dir = copy_of(made, tmp_path, "data")
    run = made.run(work_dir=work_dir)
    shapes = read_manifest(made.run().manifest)
    classes = [900 - 7 * k for k in range(8)]
    table = shapes.table.assign(imagenet_class=[classes[label] for label in shapes.table["label"]])
    write_manifest(run.manifest, table, name="shapes", class_names=shapes.class_names)
    for folder in ("images", "masks"):
        (run.manifest.parent / folder).symlink_to(made.run().manifest.parent / folder)
    test_top1 = {"softmax": 58.0, "sigmoid": 66.0}
    ship(run, "head", test_top1, tmp_path / "weights")
    card = read_json(tmp_path / "weights" / "head.json")
    assert (tmp_path / "weights" / "head.safetensors").read_bytes() == run.sigmoid_head.read_bytes()
    assert card["imagenet_classes"] == classes
    assert card["class_names"] == list(shapes.class_names)
    assert (card["name"], card["backbone"], card["dataset"]) == ("head", "small_cnn", "shapes")
    assert card["num_train_images"] == 48
    assert card["training"] == record_of(run.sigmoid_head)
    assert card["test_top1"] == test_top1


def test_a_head_of_classes_that_are_not_imagenets_does_not_ship(made: Made, tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match="the classes of shapes are not ImageNet's"):
        ship(made.run(), "head", {}, tmp_path)
    assert not list(tmp_path.glob("*.json"))


def test_overhead_is_measured_on_every_network_and_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[str, int]] = []
    small = module.build

    def build(name: str, num_classes: int) -> torch.nn.Module:
        built.append((name, num_classes))
        return small("small_cnn", num_classes)

    monkeypatch.setattr(module, "build", build)
    monkeypatch.setattr("sigcam_core.evaluate.overhead.input_format", lambda _: input_format("small_cnn"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    publish_overhead(tmp_path, lambda _: None, batch_size=2, repeats=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cpu.csv", "cpu.json", "cpu_head_training.csv"]
    networks = ["vgg16", "resnet50", "inception_v3"]
    assert built == [(name, 1000) for name in networks]
    rows = pd.read_csv(tmp_path / "cpu.csv")
    assert rows.columns.tolist() == ["network", "quantity", "unit", "baseline", "dual_branch", "ratio"]
    assert rows["network"].tolist() == [name for name in networks for _ in range(2)]
    parameters = rows[rows["quantity"] == "parameters"]
    head = sum(parameter.numel() for parameter in small("small_cnn", 1000).classifier.parameters())
    assert 1e6 * (parameters["dual_branch"] - parameters["baseline"]).to_numpy() == pytest.approx(head)
    training = pd.read_csv(tmp_path / "cpu_head_training.csv")
    assert training["network"].tolist() == networks
    assert (training.drop(columns="network") > 0).all(axis=None)
    record = read_json(tmp_path / "cpu.json")
    assert (record["batch_size"], record["repeats"], record["epochs"]) == (2, 1, 10)
    assert {"device", "commit", "versions", "date", "threads", "weights"} <= record.keys()


def test_publishing_overhead_needs_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(module, "publish_overhead", lambda folder, report: asked.append(folder))
    assert publish(OVERHEAD, tmp_path / "work", tmp_path / "results") == tmp_path / "results" / "overhead"
    assert asked == [tmp_path / "results" / "overhead"]
    assert not (tmp_path / "work").exists()
