"""What a centred square scores on the published boxes, without an image and without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sigcam_core.common.files import read_json, write_json
from sigcam_core.common.progress import Report
from sigcam_core.common.provenance import provenance
from sigcam_core.common.resampling import figure_and_resamples, interval
from sigcam_core.localization.centre import DEVIATION, centre_box_accuracy
from sigcam_core.localization.protocol import MAP_SIZE
from sigcam_core.prepare.images import scaled_boxes
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.run import manifest_path
from sigcam_core.stations import ensure_manifest
from sigcam_core.summarise.csv import write_csv

DATA_SET = "boxes"


def publish_centre(folder: Path, work_dir: Path, resamples: int, report: Report) -> None:
    """Measure :func:`sigcam_core.localization.centre.centre_map` on every collection of published boxes.

    Args:
        folder: for ``centre.csv`` and ``record.json``.
        work_dir: where the data set ``boxes`` was prepared.
        resamples: draws of the bootstrap over images.
        report: called with a line before each collection.

    Raises:
        SigcamError: if the boxes were not prepared.
    """
    manifest = ensure_manifest(DATA_SET, work_dir)
    tables = []
    for name in manifest.table["collection"].unique():
        images = manifest.take(np.flatnonzero(manifest.table["collection"] == name))
        report(f"measuring the centre of {len(images):,} images of {name}")
        tables.append(centre_table(images, resamples).assign(dataset=name))
    table = pd.concat(tables, ignore_index=True)[["dataset", "images", "metric", "value", "low", "high"]]
    write_csv(folder / "centre.csv", table)
    facts = {
        "map": {"kind": "centred Gaussian", "size": MAP_SIZE, "deviation": DEVIATION},
        "manifest_checksum": manifest.checksum,
        "manifest": read_json(manifest_path(DATA_SET, work_dir).with_suffix(".json"))["parameters"],
    }
    write_json(folder / "record.json", provenance(**facts, protocol="standard", resamples=resamples, resampling_seed=0))


def centre_table(manifest: Manifest, resamples: int) -> pd.DataFrame:
    """Every figure of the centre on some images, with its 95 % bootstrap interval over them.

    Args:
        manifest: images with one box or more each.
        resamples: draws of the bootstrap over images.

    Returns:
        Columns ``images, metric, value, low, high``, in %.
    """
    boxes = scaled_boxes(manifest, MAP_SIZE)
    statistics = centre_box_accuracy(boxes, figure_and_resamples(len(manifest), resamples, seed=0))
    figures = [(len(manifest), metric, values[0], *interval(values[1:])) for metric, values in statistics.items()]
    return pd.DataFrame(figures, columns=["images", "metric", "value", "low", "high"])
