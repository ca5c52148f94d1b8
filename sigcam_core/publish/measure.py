"""Measuring: all that an experiment needs is made, and its tables are written with their provenance.

``python -m sigcam_core publish NAME`` writes them to ``results/NAME/``, to be committed: numbers, never images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ..common.errors import check_choice
from ..common.files import read_json, write_json
from ..common.progress import Report, print_to_stderr
from ..common.provenance import provenance
from ..dual.branch import DualBranch, linear_head_weight
from ..evaluate.schema import KEYS, read_evidence
from ..invariance import gauge_energy
from ..localization.evidence import wsol_statistics
from ..prepare.manifest import Manifest
from ..run import Run
from ..stations import ensure_classifier, ensure_evidence, ensure_manifest, ensure_sigmoid_head, record_of
from ..summarise.measured import MEASURED
from ..summarise.saved import write_csv
from ..summarise.tables import table_with_intervals, tables_of
from ..train.fit import Session
from ..train.heads import Splits, top1_accuracy
from ..train.origins import starting_point
from ..train.recipes import CLASSIFIER_RECIPES, SIGMOID_RECIPES, Recipe
from ..train.tuning import compare_recipes, grid_around
from .experiments import EXPERIMENTS, MEASUREMENTS, OVERHEAD, THRESHOLD_BIAS, Experiment
from .freezing import compare_freezing
from .overhead import publish_overhead
from .ship import ship
from .threshold_bias import publish_threshold_bias

RESAMPLES = 1000  # of the bootstrap over images
CONTROLS: dict[str, Callable[[Run, Report], pd.DataFrame]] = {"freezing": compare_freezing}
"""Further comparisons by the name of their table, which an experiment may ask for."""


def publish(name: str, work_dir: Path, results: Path = MEASURED, report: Report = print_to_stderr) -> Path:
    """Make what an experiment needs, and write its tables.

    Args:
        name: one of :data:`sigcam_core.publish.experiments.MEASUREMENTS`.
        work_dir: folder of everything that is made; what is there is not made again.
        results: folder of what was measured; a head ships with the package only if it is the project's own.
        report: called with a line now and then.

    Returns:
        The folder of its tables.

    Raises:
        SigcamError: for an unknown name, or a data set that was not prepared.
    """
    check_choice("measurement", name, MEASUREMENTS)
    folder = results / name
    if name == OVERHEAD:
        publish_overhead(folder, report)
        return folder
    if name == THRESHOLD_BIAS:
        first_runs = {one.name: run_of(one, work_dir, one.seeds[0]) for one in EXPERIMENTS.values()}
        publish_threshold_bias(first_runs, folder, report)
        return folder
    experiment = EXPERIMENTS[name]
    runs = [run_of(experiment, work_dir, seed) for seed in experiment.seeds]
    first = runs[0]
    choices = _train(experiment, runs, report)
    evidence = read_evidence(ensure_evidence(first))
    tables = tables_of(evidence, RESAMPLES) | {f"choice_{head}": table for head, table in choices.items()}
    if len(runs) > 1:
        tables["seeds"] = _seeds(runs)
    tables |= {control: CONTROLS[control](first, report) for control in experiment.controls}
    for table_name, table in tables.items():
        write_csv(folder / f"{table_name}.csv", table)
    record = _record(experiment, runs)
    write_json(folder / "record.json", record)
    if experiment.shipped_as and results.resolve() == MEASURED:
        softmax_top1 = 100 * float((evidence["label"] == evidence["predicted"]).mean())
        ship(first, experiment.shipped_as, {"softmax": softmax_top1, "sigmoid": record["sigmoid_top1"]})
    return folder


def run_of(experiment: Experiment, work_dir: Path, seed: int) -> Run:
    """The run of one seed of an experiment."""
    folder = work_dir / experiment.folder
    return Run(experiment.dataset, experiment.backbone, seed, folder, experiment.origin)


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
    """Compare the recipes of the grid around one; the comparison that is there, if it is of the same grid."""
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
    splits = Splits.of(manifest)
    table = compare_recipes(dual, head, splits, grid, run.features, Session(run.seed, report))
    write_csv(path, table)
    return table


def _chosen(table: pd.DataFrame, recipe: Recipe) -> Recipe:
    """The recipe with the learning rate and weight decay that did best."""
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
