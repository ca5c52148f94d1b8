"""What the published boxes are, and what a centred square and the labels themselves score on them, without an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sigcam_core.common.files import read_json, write_json
from sigcam_core.common.progress import Report
from sigcam_core.common.provenance import provenance
from sigcam_core.common.resampling import figure_and_resamples, interval
from sigcam_core.localization.centre import DEVIATION, centre_box_accuracy
from sigcam_core.localization.labelled import labelled_iou
from sigcam_core.localization.protocol import IOU_PERCENTAGES, MAP_SIZE
from sigcam_core.prepare.images import scaled_boxes
from sigcam_core.prepare.manifest import Manifest, plain_value
from sigcam_core.run import manifest_path
from sigcam_core.stations import ensure_manifest
from sigcam_core.summarise.csv import write_csv

DATA_SET = "boxes"
TINY = "tiny_imagenet"
"""A data set of its own, since its boxes travel with its images."""


def publish_centre(folder: Path, work_dir: Path, resamples: int, report: Report) -> None:
    """Measure :func:`sigcam_core.localization.centre.centre_map` on every collection of published boxes.

    Args:
        folder: for ``centre.csv``, ``boxes.csv`` (see :func:`boxes_row`) and ``record.json``.
        work_dir: where the data sets ``boxes`` and ``tiny_imagenet`` were prepared.
        resamples: draws of the bootstrap over images.
        report: called with a line before each collection.

    Raises:
        SigcamError: if one of them was not prepared.
    """
    manifest, tiny = (ensure_manifest(name, work_dir) for name in (DATA_SET, TINY))
    names = manifest.table["collection"].unique()
    collections = {name: manifest.take(np.flatnonzero(manifest.table["collection"] == name)) for name in names}
    collections[TINY] = tiny.split("test")
    tables, rows = [], []
    for name, images in collections.items():
        report(f"measuring the centre of {len(images):,} images of {name}")
        tables.append(centre_table(images, resamples).assign(dataset=name))
        rows.append({"dataset": name} | boxes_row(images))
    table = pd.concat(tables, ignore_index=True)[["dataset", "images", "metric", "value", "low", "high"]]
    write_csv(folder / "centre.csv", table)
    write_csv(folder / "boxes.csv", pd.DataFrame(rows))
    facts = {
        "map": {"kind": "centred Gaussian", "size": MAP_SIZE, "deviation": DEVIATION},
        "manifest_checksum": manifest.checksum,
        "manifest": _parameters(DATA_SET, work_dir),
        TINY: {"manifest_checksum": tiny.checksum, "manifest": _parameters(TINY, work_dir)},
    }
    write_json(folder / "record.json", provenance(**facts, protocol="standard", resamples=resamples, resampling_seed=0))


def _parameters(dataset: str, work_dir: Path) -> Any:
    return read_json(manifest_path(dataset, work_dir).with_suffix(".json"))["parameters"]


def centre_table(manifest: Manifest, resamples: int) -> pd.DataFrame:
    """Compute every value of the centre on some images, with its 95 % bootstrap interval over them.

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


def boxes_row(manifest: Manifest) -> dict[str, float]:
    """Summarise some images' boxes before any map is scored with them.

    Args:
        manifest: images with one box or more each.

    Returns:
        How many ``images`` and ``boxes``; how many boxes are ``flat``, without width or height, of the ``whole_image``,
        or end ``past_the_edge``, one-based up to the width or height; and of a map that is 1 in the labelled pixels
        and 0 elsewhere (:func:`sigcam_core.localization.labelled.labelled_iou`) the ``median_iou`` over images, and
        MaxBoxAcc in %.
    """
    sizes = list(zip(manifest.table["width"].tolist(), manifest.table["height"].tolist(), strict=True))
    boxes = [np.array(plain_value(one), dtype=np.int64) for one in manifest.table["boxes"]]
    every = np.concatenate(boxes)  # (K, 4)
    ends = np.repeat(sizes, [len(one) for one in boxes], axis=0)  # (K, 2)
    starts_at_zero, past = (every[:, :2] == 0).all(axis=1), every[:, 2:] >= ends
    iou = labelled_iou(boxes, sizes, scaled_boxes(manifest, MAP_SIZE))
    accuracy = {f"maxboxacc@{p}": 100 * float((iou >= p / 100).mean()) for p in IOU_PERCENTAGES}
    return {
        "images": len(manifest),
        "boxes": len(every),
        "flat": int((every[:, 2:] == every[:, :2]).any(axis=1).sum()),
        "whole_image": int((starts_at_zero & (every[:, 2:] >= ends - 1).all(axis=1)).sum()),
        "past_the_edge": int(past.any(axis=1).sum()),
        "median_iou": float(np.median(iou)),
        **accuracy,
        "maxboxacc_v2": float(np.mean(list(accuracy.values()))),
    }
