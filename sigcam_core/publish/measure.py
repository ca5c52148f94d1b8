"""Published results: what is measured on real data, and committed as numbers with their provenance.

``python -m sigcam_core publish NAME`` makes all that an experiment needs and writes its tables to ``results/NAME/``.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ..backbones.formats import IMAGENET_CLASSES
from ..backbones.networks import build
from ..common.errors import check_choice
from ..common.files import read_json, write_atomically, write_json
from ..common.progress import Report, print_to_stderr
from ..common.provenance import provenance
from ..dual.branch import DualBranch, linear_head_weight
from ..dual.shipped import SHIPPED_HEADS, WEIGHTS
from ..evaluate.overhead import measure_head_training, measure_overhead, overhead_rows
from ..evaluate.schema import KEYS, read_evidence
from ..fidelity.evidence import fidelity_statistics
from ..invariance import gauge_energy
from ..localization.evidence import wsol_statistics
from ..prepare.manifest import Manifest
from ..run import Run
from ..stations import (
    ensure_classifier,
    ensure_evidence,
    ensure_manifest,
    ensure_sigmoid_head,
    record_of,
)
from ..summarise.saved import write_csv
from ..summarise.tables import (
    paired_difference,
    table_with_intervals,
    tables_of,
)
from ..train.fit import Session
from ..train.heads import Splits, top1_accuracy
from ..train.origins import imagenet_classes, starting_point
from ..train.recipes import CLASSIFIER_RECIPES, SIGMOID_RECIPES, Recipe
from ..train.tuning import compare_recipes, grid_around

PUBLISHED_RESULTS = Path(__file__).resolve().parents[2] / "results"
OVERHEAD_BACKBONES = ("vgg16", "resnet50", "inception_v3")
FREEZING_RECIPES = {"eval": "crops", "official": "crops-official-freezing"}
RESAMPLES = 1000  # of the bootstrap
HEAD_TRAINING_EPOCHS = 10  # of the official recipe


@dataclass(frozen=True)
class Experiment:
    """Two heads on real data, whose tables are published.

    Attributes:
        dataset: to be prepared before.
        backbone: of the network.
        origin: of the softmax classifier.
        epochs: of the heads; a small data set has fewer steps an epoch and needs more of them.
        seeds: of the sigmoid head's training; fidelity is measured with the first.
        compares_freezing: whether the official code's freezing is compared with the correct one.
        shipped_as: name under which the sigmoid head ships with the package, if it does.
    """

    dataset: str
    backbone: str
    origin: str
    epochs: int = 20
    seeds: tuple[int, ...] = (0,)
    compares_freezing: bool = False
    shipped_as: str = ""

    @property
    def name(self) -> str:
        """What its folder among the results is called."""
        return f"{self.dataset}-{self.backbone}-{self.origin}"

    def run(self, work_dir: Path, seed: int) -> Run:
        """The run of one seed. On generated data the pipeline trains heads of the same name by another recipe."""
        folder = work_dir / "published" if self.dataset == "shapes" else work_dir
        return Run(self.dataset, self.backbone, seed, folder, self.origin)


LITE = "efficientnet_lite0"
EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("tiny_imagenet", LITE, "restricted", seeds=(0, 1, 2), shipped_as=SHIPPED_HEADS[0]),
        # Both heads trained on the same features: what the other softmax head owes to other training data.
        Experiment("tiny_imagenet", LITE, "probe"),
        Experiment("stanford_cars", LITE, "probe", epochs=100, compares_freezing=True),
        # A backbone whose BatchNorm averages are those of the data, as in the paper, for the comparison of freezing.
        Experiment("shapes", "small_cnn", "scratch", compares_freezing=True),
        # These train all of a network, for which a GPU is needed.
        *(Experiment("tiny_imagenet", backbone, "finetune") for backbone in OVERHEAD_BACKBONES),
        *(Experiment("stanford_cars", backbone, "finetune", epochs=100) for backbone in OVERHEAD_BACKBONES),
    )
}
OVERHEAD = "overhead"
PUBLISHED = (*EXPERIMENTS, OVERHEAD)
"""Names of all published results."""


def publish(name: str, work_dir: Path, results: Path = PUBLISHED_RESULTS, report: Report = print_to_stderr) -> Path:
    """Make what an experiment needs, and write its tables.

    Args:
        name: one of :data:`PUBLISHED`.
        work_dir: folder of everything that is made; what is there is not made again.
        results: folder of the published results; a head ships with the package only if it is the project's own.
        report: called with a line now and then.

    Returns:
        The folder of its tables.

    Raises:
        SigcamError: for an unknown name, or a data set that was not prepared.
    """
    check_choice("published result", name, PUBLISHED)
    folder = results / name
    if name == OVERHEAD:
        publish_overhead(folder, report)
        return folder
    experiment = EXPERIMENTS[name]
    runs = [experiment.run(work_dir, seed) for seed in experiment.seeds]
    first = runs[0]
    choices = _train(experiment, runs, report)
    evidence = read_evidence(ensure_evidence(first))
    tables = tables_of(evidence, RESAMPLES) | {f"choice_{head}": table for head, table in choices.items()}
    if len(runs) > 1:
        tables["seeds"] = _seeds(runs)
    if experiment.compares_freezing:
        tables["freezing"] = _freezing(first, report)
    for table_name, table in tables.items():
        write_csv(folder / f"{table_name}.csv", table)
    record = _record(experiment, runs)
    write_json(folder / "record.json", record)
    if experiment.shipped_as and results.resolve() == PUBLISHED_RESULTS:
        softmax_top1 = 100 * float((evidence["label"] == evidence["predicted"]).mean())
        ship(first, experiment.shipped_as, {"softmax": softmax_top1, "sigmoid": record["sigmoid_top1"]})
    return folder


def _train(experiment: Experiment, runs: list[Run], report: Report) -> dict[str, pd.DataFrame]:
    """Train all heads by the recipe that does best on held-out training images; returns the comparisons."""
    first = runs[0]
    choices = {}
    manifest = ensure_manifest(first.dataset, first.work_dir)
    if experiment.origin == "probe":
        usual = replace(CLASSIFIER_RECIPES["probe"], epochs=experiment.epochs)
        choices["softmax"] = _choice(first, "softmax", usual, manifest, report)
        recipe = _chosen(choices["softmax"], usual)
        for run in runs:
            ensure_classifier(run, recipe)
    usual = replace(SIGMOID_RECIPES["cached"], epochs=experiment.epochs)
    choices["sigmoid"] = _choice(first, "sigmoid", usual, manifest, report)
    recipe = _chosen(choices["sigmoid"], usual)
    for run in runs:
        ensure_sigmoid_head(run, recipe)
    return choices


def _choice(run: Run, head: str, recipe: Recipe, manifest: Manifest, report: Report) -> pd.DataFrame:
    path = run.work_dir / "choices" / f"{run.name}-{head}-{manifest.checksum[:12]}.csv"
    grid = grid_around(recipe)
    if path.exists():
        table = pd.read_csv(path)
        tried = list(table[["learning_rate", "weight_decay", "epochs"]].itertuples(index=False, name=None))
        if tried == [(one.learning_rate, one.weight_decay, one.epochs) for one in grid]:
            return table
    trained = None if head == "softmax" else ensure_classifier(run)
    torch.manual_seed(run.seed)  # the head starts as that of the run will
    model = trained or starting_point(run.origin, run.backbone, manifest)
    dual = DualBranch.from_classifier(model)
    splits = Splits(manifest.split("train"), manifest.split("val"))
    table = compare_recipes(dual, head, splits, grid, run.features, Session(run.seed, report))
    write_csv(path, table)
    return table


def _chosen(table: pd.DataFrame, recipe: Recipe) -> Recipe:
    row = table[table["chosen"]].iloc[0]
    rate, decay = float(row["learning_rate"]), float(row["weight_decay"])
    return replace(recipe, learning_rate=rate, weight_decay=decay)


def _seeds(runs: list[Run]) -> pd.DataFrame:
    """Localisation of every method by the sigmoid heads of all seeds: mean, least and greatest."""
    parts = []
    for number, run in enumerate(runs):
        evidence = read_evidence(ensure_evidence(run, with_fidelity=number == 0))
        table = table_with_intervals(evidence[evidence["head"] == "sigmoid"], wsol_statistics, resamples=1)
        parts.append(table.assign(seed=run.seed))
    whole = pd.concat(parts, ignore_index=True)
    return whole.groupby([*KEYS, "metric"], sort=False)["value"].agg(["mean", "min", "max", "count"]).reset_index()


def _freezing(run: Run, report: Report) -> pd.DataFrame:
    """The official freezing minus the correct one, on the same views: figures of both branches."""
    runs = {name: replace(run, sigmoid_recipe=recipe) for name, recipe in FREEZING_RECIPES.items()}
    test = ensure_manifest(run.dataset, run.work_dir).split("test")
    evidence, rows = {}, []
    for name, one in runs.items():
        dual = ensure_sigmoid_head(one)
        report(f"evaluating the head of recipe {one.sigmoid_recipe}")
        evidence[name] = read_evidence(ensure_evidence(one))
        rows.append((name, top1_accuracy(dual, "sigmoid", test)))
    table = []
    for method in evidence["eval"]["method"].unique():
        for head in ("softmax", "sigmoid"):
            pair = [part[(part["method"] == method) & (part["head"] == head)] for part in evidence.values()]
            for statistics in (wsol_statistics, fidelity_statistics):
                table.append(paired_difference(pair[0], pair[1], statistics).assign(method=method, head=head))
    accuracies = pd.DataFrame(rows, columns=["freezing", "value"]).set_index("freezing")["value"]
    sigmoid = {"metric": "sigmoid_top1", "first": accuracies["eval"], "second": accuracies["official"]}
    sigmoid["difference"] = sigmoid["second"] - sigmoid["first"]
    names = {"first": "eval", "second": "official"}
    return pd.concat([*table, pd.DataFrame([sigmoid | {"head": "sigmoid"}])], ignore_index=True).rename(columns=names)


def _record(experiment: Experiment, runs: list[Run]) -> dict[str, Any]:
    """Where the numbers come from: the records of all stations, and what is particular to the networks."""
    first = runs[0]
    dual = ensure_sigmoid_head(first)
    test = ensure_manifest(first.dataset, first.work_dir).split("test")
    weight = linear_head_weight(dual.softmax_head)
    sigmoid_top1 = top1_accuracy(dual, "sigmoid", test)
    return {
        "experiment": asdict(experiment),
        "sigmoid_top1": sigmoid_top1,
        "gauge_energy": None if weight is None else gauge_energy(weight),
        "num_classes": len(test.class_names),
        "test_images": len(test),
        "manifest": read_json(first.manifest.with_suffix(".json"))["parameters"],
        "classifier": record_of(first.classifier),
        "sigmoid_heads": [record_of(run.sigmoid_head) for run in runs],
        "evidence": record_of(first.evidence),
        "tables": provenance(resamples=RESAMPLES, resampling_seed=0, threads=torch.get_num_threads()),
    }


def ship(run: Run, name: str, test_top1: dict[str, float], folder: Path = WEIGHTS) -> None:
    """Copy a run's sigmoid head to the heads that ship with the package, with its card.

    Args:
        run: which.
        name: of the head, one of :data:`~sigcam_core.dual.shipped.SHIPPED_HEADS`.
        test_top1: Top-1 of both branches on the test split, in %.
        folder: of the heads that ship.

    Raises:
        SigcamError: if the classes of the data set are not ImageNet's.
    """
    manifest = ensure_manifest(run.dataset, run.work_dir)
    classes = imagenet_classes(manifest)
    write_atomically(folder / f"{name}.safetensors", lambda temporary: shutil.copyfile(run.sigmoid_head, temporary))
    card = {
        "name": name,
        "what": "a sigmoid head for class activation maps; the backbone and the softmax head are the published "
        "ImageNet network, frozen, of whose classes those below are kept",
        "backbone": run.backbone,
        "dataset": run.dataset,
        "num_train_images": len(manifest.split("train")),
        "test_top1": test_top1,
        "limits": "trained on images of 64 x 64 pixels, shown at 224; maps of other classes, and of photos unlike "
        "ImageNet's, mean nothing",
        "imagenet_classes": classes,
        "class_names": list(manifest.class_names),
        "training": record_of(run.sigmoid_head),
    }
    write_json(folder / f"{name}.json", card)


def publish_overhead(folder: Path, report: Report, batch_size: int = 8, repeats: int = 7) -> None:
    """Table 3 of the paper's networks, and what training their heads costs, all measured in one process."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows, training = [], []
    for backbone in OVERHEAD_BACKBONES:
        report(f"measuring {backbone} on {device}")
        torch.manual_seed(0)
        dual = DualBranch.from_classifier(build(backbone, IMAGENET_CLASSES)).to(device)
        dual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        rows += overhead_rows(backbone, measure_overhead(dual, batch_size, repeats))
        measured = measure_head_training(dual, 2 * batch_size, HEAD_TRAINING_EPOCHS, repeats)
        training.append({"network": backbone} | measured)
    facts = {"batch_size": batch_size, "repeats": repeats, "epochs": HEAD_TRAINING_EPOCHS, "weights": "random, seed 0"}
    write_csv(folder / f"{device.type}.csv", pd.DataFrame(rows))
    write_csv(folder / f"{device.type}_head_training.csv", pd.DataFrame(training))
    write_json(folder / f"{device.type}.json", provenance(**facts, threads=torch.get_num_threads(), device=device))
