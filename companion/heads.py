"""The heads of an experiment: trained by the recipe that does best on held-out training images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch

from sigcam_core.common.progress import Report
from sigcam_core.dual.branch import DualBranch
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.run import Run
from sigcam_core.stations import ensure_classifier, ensure_manifest, ensure_sigmoid_head
from sigcam_core.summarise.csv import write_csv
from sigcam_core.train.fit import Session, start_fabric
from sigcam_core.train.heads import Splits
from sigcam_core.train.origins import starting_point
from sigcam_core.train.recipes import CLASSIFIER_RECIPES, SIGMOID_RECIPES, Recipe

from .experiments import Experiment
from .optimum.tuning import compare_recipes, grid_around

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def run_of(experiment: Experiment, work_dir: Path, seed: int) -> Run:
    """Return the run of one seed of an experiment."""
    folder = work_dir / experiment.folder
    recipes = (experiment.classifier_recipe, experiment.sigmoid_recipe)
    return Run(
        experiment.dataset, experiment.backbone, seed, folder, experiment.origin, *recipes, weights=experiment.weights
    )


def train_heads(experiment: Experiment, runs: list[Run], report: Report) -> dict[str, pd.DataFrame]:
    """Train all heads, by the recipe that does best on held-out training images; returns the comparisons.

    An experiment that names its recipes has nothing compared.
    """
    if experiment.sigmoid_recipe:
        fabric = start_fabric(precision=experiment.precision)
        for run in runs:
            ensure_classifier(run, fabric=fabric)
            ensure_sigmoid_head(run, fabric=fabric)
        return {}
    first = runs[0]
    choices = {}
    manifest = ensure_manifest(first.dataset, first.work_dir)
    if experiment.origin == "probe":
        usual = replace(CLASSIFIER_RECIPES["probe"], epochs=experiment.epochs)
        choices["softmax"] = choice_of(first, "softmax", usual, manifest, report)
        recipe = chosen(choices["softmax"], usual)
        for run in runs:
            ensure_classifier(run, recipe)
    usual = replace(SIGMOID_RECIPES["cached"], epochs=experiment.epochs)
    choices["sigmoid"] = choice_of(first, "sigmoid", usual, manifest, report)
    recipe = chosen(choices["sigmoid"], usual)
    for run in runs:
        ensure_sigmoid_head(run, recipe)
    return choices


def choice_of(
    run: Run, head: str, recipe: Recipe, manifest: Manifest, report: Report, fabric: Fabric | None = None
) -> pd.DataFrame:
    """Compare the recipes of the grid around one; the comparison that is there, if it is of the same grid.

    Args:
        run: whose head it is.
        head: ``"softmax"`` or ``"sigmoid"``.
        recipe: in the middle of the grid.
        manifest: of the run's data set.
        report: gets a line a recipe.
        fabric: devices and precision; ``None`` for one device.

    Returns:
        What :func:`companion.optimum.tuning.compare_recipes` gives.
    """
    path = run.work_dir / "choices" / f"{run.name}-{head}-{manifest.checksum[:12]}.csv"
    grid = grid_around(recipe)
    if path.exists():
        table = pd.read_csv(path)
        tried = list(table[["learning_rate", "weight_decay", "epochs"]].itertuples(index=False, name=None))
        if tried == [(one.learning_rate, one.weight_decay, one.epochs) for one in grid]:
            return table
    trained = None if head == "softmax" else ensure_classifier(run)
    torch.manual_seed(run.seed)  # the head starts as that of the run will
    model = trained or starting_point(run.origin, run.backbone, manifest, run.weights)
    dual = DualBranch.from_classifier(model)
    splits = Splits.of(manifest)
    table = compare_recipes(dual, head, splits, grid, run.features, Session(run.seed, report, fabric))
    write_csv(path, table)
    return table


def chosen(table: pd.DataFrame, recipe: Recipe) -> Recipe:
    """Fill in the learning rate and weight decay that did best."""
    row = table[table["chosen"]].iloc[0]
    rate, decay = float(row["learning_rate"]), float(row["weight_decay"])
    return replace(recipe, learning_rate=rate, weight_decay=decay)
