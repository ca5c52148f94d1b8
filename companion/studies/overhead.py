"""Table 3 of the paper's networks, and what training their sigmoid heads costs, measured on this machine."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from sigcam_core.backbones.formats import IMAGENET_CLASSES
from sigcam_core.backbones.networks import build
from sigcam_core.common.files import write_json
from sigcam_core.common.progress import Report
from sigcam_core.common.provenance import best_device, provenance
from sigcam_core.dual.branch import DualBranch
from sigcam_core.evaluate.overhead import measure_head_training, measure_overhead, overhead_rows
from sigcam_core.summarise.csv import write_csv

from ..experiments import PAPER_BACKBONES

HEAD_TRAINING_EPOCHS = 10  # of the official recipe for the sigmoid head
BATCH_SIZE = 8  # images per pass
REPEATS = 7  # pairs of passes that take turns; medians are kept


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
        rows += overhead_rows(backbone, measure_overhead(dual, batch_size, repeats))
        measured = measure_head_training(dual, 2 * batch_size, HEAD_TRAINING_EPOCHS, repeats)
        training.append({"network": backbone} | measured)
    facts = {"batch_size": batch_size, "repeats": repeats, "epochs": HEAD_TRAINING_EPOCHS, "weights": "random, seed 0"}
    write_csv(folder / f"{device.type}.csv", pd.DataFrame(rows))
    write_csv(folder / f"{device.type}_head_training.csv", pd.DataFrame(training))
    write_json(folder / f"{device.type}.json", provenance(**facts, threads=torch.get_num_threads(), device=device))
