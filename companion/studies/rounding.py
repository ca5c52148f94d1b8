"""What passes in bfloat16 change: values of the same images, with the numbers of the backbone rounded or not."""

from __future__ import annotations

from functools import partial

import pandas as pd

from sigcam_core.common.progress import Report
from sigcam_core.evaluate.evaluate import EvaluationOptions, evaluate, sample_of
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.fidelity.evidence import SCORERS, fidelity_statistics
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.run import Run
from sigcam_core.stations import ensure_manifest, ensure_sigmoid_head
from sigcam_core.summarise.tables import paired_difference

IMAGES = 64  # a pass in float32 takes five times as long


def compare_rounding(run: Run, report: Report) -> pd.DataFrame:
    """Compare passes in bfloat16 with passes in float32, on a random sample of the test images.

    Args:
        run: which network; its heads are there.
        report: called with a line from time to time.

    Returns:
        Columns ``metric, float32, bfloat16, difference, low, high, method, head, scorer``: values in %, differences in
        points with paired 95 % bootstrap intervals over images; ``scorer`` is empty for localisation.
    """
    test, dual = ensure_manifest(run.dataset, run.work_dir).split("test"), ensure_sigmoid_head(run)
    chosen = sample_of(len(test), IMAGES)
    images = test if chosen is None else test.take(chosen.nonzero().flatten().tolist())
    evidence = []
    for kind in ("float32", "bfloat16"):
        path = run.evidence.with_name(f"{run.full_name}-{kind}.parquet")
        options = EvaluationOptions(in_bfloat16=kind == "bfloat16")
        evidence.append(read_evidence(evaluate(dual, images, run.network, path, options, report)))
    table = []
    for method, head in evidence[0][["method", "head"]].drop_duplicates().itertuples(index=False, name=None):
        first, second = (part[(part["method"] == method) & (part["head"] == head)] for part in evidence)
        kinds = {"": wsol_statistics} | {name: partial(fidelity_statistics, scorer=name) for name in SCORERS}
        table += [
            paired_difference(first, second, statistics).assign(method=method, head=head, scorer=scorer)
            for scorer, statistics in kinds.items()
        ]
    return pd.concat(table, ignore_index=True).rename(columns={"first": "float32", "second": "bfloat16"})
