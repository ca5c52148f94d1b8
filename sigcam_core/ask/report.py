"""Images of your own: both heads trained on one frozen network, and their maps measured, in one call.

``python -m sigcam_core report FOLDER`` does what :func:`report_on_folder` does.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ..common.errors import fail
from ..evaluate.schema import read_evidence
from ..prepare.command import run_first_station
from ..run import Run
from ..stations import ensure_evidence
from ..summarise.csv import write_csv
from ..summarise.tables import tables_of

RESAMPLES = 1000  # of the bootstrap over images


def report_on_folder(folder: Path, model: str, work_dir: Path, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Train a softmax and a sigmoid head on a frozen network's features of a folder of images, and measure their maps.

    What is there is not made again, so that a stopped call goes on, and a second returns at once.

    Args:
        folder: with one folder of images a class, or such in folders ``train``, ``val`` and ``test``.
        model: a network with ImageNet weights, by a name that :func:`sigcam_core.backbones.networks.build` knows.
        work_dir: folder of everything that is made; the tables go into its ``reports``.
        seed: of the split and of training.

    Returns:
        Tables by name, with 95 % bootstrap intervals over images: accuracy, and the fidelity of every method and head.

    Raises:
        SigcamError: for a folder without images of two classes, an image that cannot be read, an unknown network, or
            weights that cannot be downloaded.
    """
    if not folder.is_dir():
        fail(f"{folder} is no folder: give one that holds one folder of images a class.")
    name = re.sub(r"\W+", "_", folder.resolve().name).strip("_") or "images"
    place = ["--root", str(work_dir / "data"), "--name", name]
    run_first_station(["image_folder", *place, "--source", str(folder), "--seed", str(seed)])
    run = Run(name, model, seed, work_dir, "probe")
    tables = tables_of(read_evidence(ensure_evidence(run)), RESAMPLES)
    for table_name, table in tables.items():
        write_csv(work_dir / "reports" / run.full_name.replace("/", "-") / f"{table_name}.csv", table)
    return tables
