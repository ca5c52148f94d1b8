"""Table 3 of the paper's networks, and what training their sigmoid heads costs, measured on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from sigcam_core.backbones.formats import IMAGENET_CLASSES
from sigcam_core.backbones.networks import build
from sigcam_core.common.files import write_json
from sigcam_core.common.progress import Report
from sigcam_core.common.provenance import best_device, provenance
from sigcam_core.common.resampling import interval
from sigcam_core.dual.branch import DualBranch
from sigcam_core.evaluate.overhead import measure_head_training, measure_overhead, overhead_rows
from sigcam_core.summarise.csv import write_csv

from ..experiments import PAPER_BACKBONES

HEAD_TRAINING_EPOCHS = 10  # of the official recipe for the sigmoid head
BATCH_SIZE = 8  # images per pass
REPEATS = 31  # pairs of passes that take turns; medians are kept
RESAMPLES = 10_000  # of the bootstrap over pairs


def publish_overhead(folder: Path, report: Report, batch_size: int = BATCH_SIZE, repeats: int = REPEATS) -> None:
    """Measure one head and two, on the GPU where there is one; all in one process, since times are compared.

    Weights are random: they do not affect timing.

    Args:
        folder: for ``DEVICE.csv`` (Table 3), ``DEVICE_head_training.csv`` (ms per image) and ``DEVICE.json``.
        report: called with a line before each network.
        batch_size: images per pass; a step of training takes twice as many.
        repeats: pairs of passes to take the median of.
    """
    device = best_device()
    rows, training = [], []
    for backbone in PAPER_BACKBONES:
        report(f"measuring {backbone} on {device}")
        torch.manual_seed(0)
        dual = DualBranch.from_classifier(build(backbone, IMAGENET_CLASSES)).to(device)
        dual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        measured_overhead = measure_overhead(dual, batch_size, repeats)
        rows += [with_ends(row, measured_overhead) for row in overhead_rows(backbone, measured_overhead)]
        measured = measure_head_training(dual, 2 * batch_size, HEAD_TRAINING_EPOCHS, repeats)
        training.append({"network": backbone} | measured)
    facts = {"batch_size": batch_size, "repeats": repeats, "epochs": HEAD_TRAINING_EPOCHS, "weights": "random, seed 0"}
    facts |= {"resamples": RESAMPLES, "resampling_seed": 0}
    write_csv(folder / f"{device.type}.csv", pd.DataFrame(rows))
    write_csv(folder / f"{device.type}_head_training.csv", pd.DataFrame(training))
    write_json(folder / f"{device.type}.json", provenance(**facts, threads=torch.get_num_threads(), device=device))


def with_ends(row: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """Give a row of Table 3 with ``low`` and ``high``, which end the 95 % interval of its ratio.

    Times are drawn in their pairs, so that what else the machine did falls on both; a ratio of parameters is exact.

    Args:
        row: of :func:`sigcam_core.evaluate.overhead.overhead_rows`.
        measured: of :func:`sigcam_core.evaluate.overhead.measure_overhead`.
    """
    if row["quantity"] != "inference_time_with_cam":
        return row | {"low": row["ratio"], "high": row["ratio"]}
    ratios = np.array(measured["inference_ratios"])
    draws = np.random.default_rng(0).choice(ratios, size=(RESAMPLES, len(ratios)))
    low, high = interval(np.median(draws, axis=1))
    return row | {"low": low, "high": high}
