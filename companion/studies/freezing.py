"""How the backbone is frozen while the sigmoid head learns: as the official code does, against evaluation mode.

In the official code BatchNorm normalises by the batch while the head learns, and updates nothing; dropout before the
features stays on. The head is then judged on features that the stored averages normalise, as the softmax branch always
is. So the softmax branch cannot change, and what there is to measure is what the mismatch costs the sigmoid head.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from sigcam_core.common.progress import Report
from sigcam_core.common.resampling import FloatArray, figure_and_resamples, interval
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.fidelity.evidence import fidelity_statistics
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.run import Extent, Run
from sigcam_core.stations import ensure_evidence, ensure_manifest, ensure_sigmoid_head
from sigcam_core.summarise.tables import paired_difference
from sigcam_core.train.heads import are_recognised

RESAMPLES = 1000  # of the bootstrap over images
WITHOUT_PERTURBATION = Extent(perturbed_images=0)  # no row of the table needs it
FREEZING_RECIPES = {"eval": "crops", "official": "crops-official-freezing"}
"""Sigmoid recipes by their freezing; they differ in nothing else, so that both see the same crops in the same order."""


def compare_freezing(run: Run, report: Report) -> pd.DataFrame:
    """Compare the official freezing with evaluation mode on the same views: values of both branches.

    Args:
        run: which network; its sigmoid recipe is replaced by those of :data:`FREEZING_RECIPES`.
        report: called with a line before each evaluation.

    Returns:
        Columns ``metric, eval, official, difference, low, high, method, head``: values in %, differences in points
        with paired 95 % bootstrap intervals over images. The last row, ``sigmoid_top1``, is of no method.
    """
    evidence, recognised = {}, {}
    test = ensure_manifest(run.dataset, run.work_dir).split("test")
    for freezing, recipe in FREEZING_RECIPES.items():
        one = replace(run, sigmoid_recipe=recipe)
        dual = ensure_sigmoid_head(one)
        report(f"evaluating the head of recipe {recipe}")
        evidence[freezing] = read_evidence(ensure_evidence(one, WITHOUT_PERTURBATION))
        recognised[freezing] = 100 * are_recognised(dual, "sigmoid", test).double().numpy()  # (N,)
    table = []
    for method in evidence["eval"]["method"].unique():
        for head in ("softmax", "sigmoid"):
            first, second = (part[(part["method"] == method) & (part["head"] == head)] for part in evidence.values())
            for statistics in (wsol_statistics, fidelity_statistics):
                table.append(paired_difference(first, second, statistics).assign(method=method, head=head))
    whole = pd.concat([*table, sigmoid_top1(*recognised.values())], ignore_index=True)
    return whole.rename(columns=dict(zip(("first", "second"), FREEZING_RECIPES, strict=True)))


def sigmoid_top1(first: FloatArray, second: FloatArray) -> pd.DataFrame:
    """Top-1 accuracy of two sigmoid branches and its paired difference, which evidence does not hold.

    Args:
        first: (N,) 100 where the first recognises an image, and 0 where it does not.
        second: (N,) the same of the second.

    Returns:
        One row, as :func:`sigcam_core.summarise.tables.paired_difference` gives.
    """
    weights = figure_and_resamples(len(first), RESAMPLES, seed=0)  # (1 + RESAMPLES, N)
    changes = weights @ (second - first) / len(first)
    low, high = interval(changes[1:])
    row = {"metric": "sigmoid_top1", "first": first.mean(), "second": second.mean(), "difference": changes[0]}
    return pd.DataFrame([row | {"low": low, "high": high, "head": "sigmoid"}])
