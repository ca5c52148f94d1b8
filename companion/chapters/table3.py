"""The chapter on Table 3: what the second head costs.

What is imported here under its own name (``as``) is handed on to the notebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sigcam_core.common.provenance import best_device as best_device
from sigcam_core.common.provenance import device_name as device_name
from sigcam_core.evaluate.overhead import count_parameters as count_parameters
from sigcam_core.evaluate.overhead import measure_overhead as measure_overhead
from sigcam_core.evaluate.overhead import overhead_rows
from sigcam_core.evaluate.overhead import seconds_of as seconds_of

from ..matrix import PROFILE_NAMES, job_of
from ..matrix import table3_runs as table3_runs
from ..matrix import told as told
from ..paper.beside import beside_paper as beside_paper
from ..paper.layout import laid_out
from ..paper.tables import paper_table as paper_table
from ..show.figures import overhead_figure as overhead_figure
from ..show.results import MEASURED
from ..show.saved import Chapter, Value

ALLOWED = {"profile": PROFILE_NAMES, "batch_size": range(1, 1025), "repeats": range(1, 10**6)}
"""The values that parameters of the notebook may have."""


def overhead_chapter(
    measured: Mapping[str, dict[str, Any]], trained: Sequence[str], device: str, dataset: str = ""
) -> Chapter:
    """Table 3: parameters, times and their ratios.

    Args:
        measured: by network, what :func:`sigcam_core.evaluate.overhead.measure_overhead` gives, with
            ``training_time`` (seconds of the classifier, and of both heads) for those that were trained here.
        trained: names of those.
        device: what it was measured on.
        dataset: that they were trained on, for a column of the table; empty for none.
    """
    ours = pd.DataFrame([row for network, values in measured.items() for row in overhead_rows(network, values)])
    if dataset:
        ours.insert(0, "dataset", dataset)
    values: dict[str, Value] = {"device": device}
    for network in trained:
        label, figures = network.split("-")[-1], measured[network]
        before, after = figures["parameters"]
        values |= {
            f"{label}_parameters": before,
            f"{label}_extra_parameters": after - before,
            f"{label}_inference_ratio": figures["inference_ratio"],
            f"{label}_training_ratio": figures["training_time"][1] / figures["training_time"][0],
        }
    return Chapter(values, {"table3": ours})


def overhead_sentence(table: pd.DataFrame, paper: pd.DataFrame) -> str:
    """Compare what the second head costs here with what the paper prints.

    Args:
        table: of :func:`sigcam_core.evaluate.overhead.overhead_rows`, with columns ``network, quantity, ratio``.
        paper: the paper's Table 3.
    """

    def span(ratios: pd.Series[float]) -> str:
        low, high = f"{ratios.min():.2f}", f"{ratios.max():.2f}"
        return low if low == high else f"{low} to {high}"

    ours = {name: rows["ratio"] for name, rows in table.groupby("quantity")}
    theirs = paper[paper["quantity"] == "inference_time_with_cam"]
    ratio = theirs["dual_branch"] / theirs["baseline"]
    inside = ours["inference_time_with_cam"].between(ratio.min(), ratio.max())
    beside = "inside" if inside.all() else "outside" if not inside.any() else "partly inside"
    return (
        f"With a second head, inference with a map takes {span(ours['inference_time_with_cam'])} times as long and "
        f"parameters are {span(ours['parameters'])} times as many; the times are {beside} the range that the paper "
        f"prints for its networks, {span(ratio)}."
    )


def in_layout_of_paper(results: Path = MEASURED) -> Any:
    """Show Table 3 as the paper prints it, with what was measured before next to it.

    Args:
        results: folder of all that was measured.
    """
    return laid_out("Table 3", results, job_of)
