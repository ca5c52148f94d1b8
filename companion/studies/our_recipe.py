"""A sigmoid head by our recipe against the one by the paper's rates, on one classifier."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pandas as pd

from sigcam_core.backbones.formats import MLP
from sigcam_core.common.progress import Report
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.fidelity.evidence import SCORERS, fidelity_statistics
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.run import Extent, Run
from sigcam_core.stations import ensure_classifier, ensure_evidence, ensure_manifest, ensure_sigmoid_head, record_of
from sigcam_core.summarise.tables import paired_difference
from sigcam_core.train.fit import start_fabric
from sigcam_core.train.recipes import SIGMOID_RECIPES

from ..heads import choice_of, chosen

OURS, OURS_OF_LAYERS = "last-block-ours", "last-block-ours-mlp"
"""Sigmoid recipes of a linear head, whose rate and decay are chosen on held-out images; and of several layers, where a
grid would take hours."""


def compare_with_our_recipe(run: Run, measured: Extent, report: Report) -> pd.DataFrame:
    """Compare the head by our recipe with that by the run's own, on the same features and test images.

    Args:
        run: which network, behind a trunk; its evidence is there.
        measured: what its evaluation measures.
        report: called with a line from time to time.

    Returns:
        Columns ``metric, paper, ours, difference, low, high, method, scorer``: values in % of the sigmoid head's maps,
        differences in points with paired 95 % bootstrap intervals over images; ``scorer`` is empty for localisation.
    """
    is_linear = not run.backbone.endswith(MLP)
    ours = replace(run, sigmoid_recipe=OURS if is_linear else OURS_OF_LAYERS)
    manifest, recipe = ensure_manifest(run.dataset, run.work_dir), SIGMOID_RECIPES[ours.sigmoid_recipe]
    ensure_classifier(run)
    fabric = start_fabric(precision=record_of(run.classifier)["precision"])
    if is_linear:
        recipe = chosen(choice_of(ours, "sigmoid", recipe, manifest, report, fabric), recipe)
    ensure_sigmoid_head(ours, recipe, fabric)
    evidence = [read_evidence(ensure_evidence(one, measured)) for one in (run, ours)]
    kinds = {"": wsol_statistics} | {name: partial(fidelity_statistics, scorer=name) for name in SCORERS}
    table = []
    for method in evidence[0]["method"].unique():
        first, second = (part[(part["method"] == method) & (part["head"] == "sigmoid")] for part in evidence)
        table += [
            paired_difference(first, second, statistics).assign(method=method, scorer=scorer)
            for scorer, statistics in kinds.items()
        ]
    return pd.concat(table, ignore_index=True).rename(columns={"first": "paper", "second": "ours"})
