"""How the backbone is frozen: the official code's way against keeping everything as it is.

The official code freezes weights but leaves BatchNorm and dropout in training mode while the sigmoid head learns, so
that features are normalised by their batch and BatchNorm's averages go on moving, also under the softmax branch.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from sigcam_core.common.progress import Report
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.fidelity.evidence import fidelity_statistics
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.run import Run
from sigcam_core.stations import ensure_evidence, ensure_manifest, ensure_sigmoid_head
from sigcam_core.summarise.tables import paired_difference
from sigcam_core.train.heads import top1_accuracy

FREEZING_RECIPES = {"eval": "crops", "official": "crops-official-freezing"}
"""Sigmoid recipes by their freezing; they differ in nothing else, so that both see the same crops in the same order."""


def compare_freezing(run: Run, report: Report) -> pd.DataFrame:
    """The official freezing minus the correct one, on the same views: figures of both branches.

    Args:
        run: which network; its sigmoid recipe is replaced by those of :data:`FREEZING_RECIPES`.
        report: called with a line before each evaluation.

    Returns:
        Columns ``metric, eval, official, difference, low, high, method, head``: figures in %, differences in points
        with paired 95 % bootstrap intervals over images. The last row, ``sigmoid_top1``, has no interval.
    """
    evidence, top1 = {}, {}
    test = ensure_manifest(run.dataset, run.work_dir).split("test")
    for freezing, recipe in FREEZING_RECIPES.items():
        one = replace(run, sigmoid_recipe=recipe)
        dual = ensure_sigmoid_head(one)
        report(f"evaluating the head of recipe {recipe}")
        evidence[freezing] = read_evidence(ensure_evidence(one))
        top1[freezing] = top1_accuracy(dual, "sigmoid", test)
    table = []
    for method in evidence["eval"]["method"].unique():
        for head in ("softmax", "sigmoid"):
            first, second = (part[(part["method"] == method) & (part["head"] == head)] for part in evidence.values())
            for statistics in (wsol_statistics, fidelity_statistics):
                table.append(paired_difference(first, second, statistics).assign(method=method, head=head))
    sigmoid = {"metric": "sigmoid_top1", "first": top1["eval"], "second": top1["official"], "head": "sigmoid"}
    sigmoid["difference"] = top1["official"] - top1["eval"]
    whole = pd.concat([*table, pd.DataFrame([sigmoid])], ignore_index=True)
    return whole.rename(columns=dict(zip(("first", "second"), FREEZING_RECIPES, strict=True)))
