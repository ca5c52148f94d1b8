"""What the measures see: maps turned into their negatives, boxes without maps, grids without a zero, permuted heads.

``python -m companion publish checks-NAME`` puts the measures of the crossed controls to the test, on the same heads and
maps, and what the paper says of weights with them. It runs the network for grids and for a sample of images alone.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from sigcam_core.common.files import write_json
from sigcam_core.common.progress import Report
from sigcam_core.localization.fixed import best_fixed_box, fixed_box_iou, whole_image
from sigcam_core.localization.protocol import MAP_SIZE
from sigcam_core.prepare.images import scaled_boxes
from sigcam_core.summarise.csv import write_csv

from ..experiments import Experiment
from .along import PATH_IMAGES, path_table
from .comparisons import differences_table
from .heads import pooled_rows
from .influence import Pooled, influence_table
from .maps import Control
from .names import COMPARISONS, FIXED, FURTHER_COMPARISONS, NO_HEAD
from .publish import gauge_energies, record_of_study, seconds_of_steps, study_of, where_and_which
from .randomised import randomised_table
from .study import FeatureMaps, Study, class_logits, feature_maps
from .tables import (
    Resampled,
    comparison_pairs,
    figures_table,
    fixed_figures,
    gains_table,
    resampled_figures,
    with_image_counts,
    without_later,
)

RESAMPLES, PATH_RESAMPLES = 10_000, 1000
"""Of the bootstrap over images; decisions rest on these intervals, and none on those along a path."""
STEPS = ("located_test", "located_val", "located_shifts", "grids_2", "grids_3")
ASKED_IMAGES = 2000
"""Test images, the first of a seeded order, of which heads are permuted and channels removed."""
OF_HEADS = ("heads", "heads_further", "gauge", "gauge_sigmoid")
"""Tables of how heads were made that stand beside those of the checks."""


def publish_checks(experiment: Experiment, folder: Path, work_dir: Path, report: Report) -> None:
    """Check the measures on the heads of an experiment, and write the tables.

    Args:
        experiment: whose.
        folder: of the tables.
        work_dir: folder of everything that is made; what is there is not made again.
        report: called with a line now and then.

    Raises:
        SigcamError: for a network whose heads are not linear.
    """
    study, tables = study_of(experiment, work_dir, report)
    for name in OF_HEADS:
        if name in tables:
            write_csv(folder / f"{name}.csv", tables[name])
    maps = feature_maps(study, study.dataset.split("test"))
    logits = class_logits(study, maps)
    boxes = _fixed_boxes(study)
    for name, table in _tables(study, maps, logits, boxes).items():
        write_csv(folder / f"{name}.csv", table)
    path, of_path = path_table(study, maps, PATH_RESAMPLES)
    write_csv(folder / "penalty_path.csv", path)
    seconds = seconds_of_steps(study, STEPS) | of_path | _ask_heads(study, maps, logits, folder)
    facts = {
        "fixed_boxes": {name: box.tolist() for name, box in boxes.items()},
        "path_images": min(PATH_IMAGES, len(logits)),
        "asked_images": min(ASKED_IMAGES, len(logits)),
        "resamples": RESAMPLES,
    }
    write_json(folder / "record.json", record_of_study(study, experiment, seconds, **facts))


def _tables(
    study: Study, maps: FeatureMaps, logits: torch.Tensor, boxes: dict[str, NDArray[np.int64]]
) -> dict[str, pd.DataFrame]:
    """Figures, differences and gains; the last two of what the crossed controls do not compare, in families apart."""
    made = study.made
    evidence = where_and_which(study, maps, logits)
    figures: Resampled = resampled_figures(evidence, RESAMPLES)
    truth = scaled_boxes(study.dataset.split("test"), MAP_SIZE)
    for name, box in boxes.items():
        figures[Control(NO_HEAD, name).name] = fixed_figures(fixed_box_iou(box, truth), RESAMPLES)
    compared = (figures, made.softmax, made.sigmoid)
    pairs = comparison_pairs(*compared, COMPARISONS) + comparison_pairs(*compared, FURTHER_COMPARISONS)
    energies = gauge_energies(made)
    rows = (*evidence.controls, *(Control(NO_HEAD, name) for name in boxes))
    tables = {
        "figures": figures_table(figures, rows),
        "differences": differences_table(figures, pairs, _is_later),
        "gains": gains_table(figures, energies, made.sigmoid, _is_later),
    }
    return {name: with_image_counts(table, evidence) for name, table in tables.items()}


def _is_later(comparison: str, metric: str) -> bool:
    """Whether a comparison by a metric is not of the family of the crossed controls."""
    return not without_later(comparison, metric)


def _fixed_boxes(study: Study) -> dict[str, NDArray[np.int64]]:
    """Find the boxes (4,) that are the same for all images, by name; the best is that of held-out images."""
    held_out = scaled_boxes(study.dataset.split("val"), MAP_SIZE)
    return dict(zip(FIXED, (whole_image(), best_fixed_box(held_out)), strict=True))


def _ask_heads(study: Study, maps: FeatureMaps, logits: torch.Tensor, folder: Path) -> dict[str, float]:
    """Tables of permuted heads and of removed channels, of some test images; returns the seconds of each."""
    made, dataset = study.made, study.dataset
    order = np.random.default_rng([study.run.seed, ASKED_IMAGES]).permutation(len(logits))
    images = torch.from_numpy(np.sort(order[:ASKED_IMAGES]))
    features, labels = maps.values[images], dataset.split("test").labels[images]
    heads = made.heads | made.further
    begin = time.perf_counter()
    write_csv(folder / "randomised.csv", randomised_table(features, labels, heads, RESAMPLES))
    between = time.perf_counter()
    train = pooled_rows(made.dual, dataset.split("train"), study.run.features, study.report)
    pooled = Pooled(features.mean(dim=(2, 3)), logits[images].argmax(dim=1), train.features.double().mean(dim=0))
    table = influence_table(pooled, heads, (made.softmax, made.sigmoid), RESAMPLES)
    write_csv(folder / "influence.csv", table)
    return {"randomised": between - begin, "influence": time.perf_counter() - between}
