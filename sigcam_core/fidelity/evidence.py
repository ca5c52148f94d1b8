"""Fidelity in the evidence: what is kept of each map, how it is measured, and the metrics computed from it.

Two families: scores of the explained image, and insertion and deletion, which are measured on the first images alone
since they take some twenty times the passes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from ..cams.batch import MapBatch
from ..cams.score_maps import normalize_maps
from ..common.errors import check_choice, fail
from ..common.families import MetricFamily, Need
from ..common.resampling import FloatArray, Statistics
from ..common.titles import FIDELITY_TITLES, PERTURBATION_METRICS, PERTURBATION_TITLES
from ..dual.branch import HEADS, DualBranch
from .explained import MapsToScore, score_distinct_maps
from .perturbation import deletion_auc, insertion_auc, perturbation_curves
from .scores import adcc, relative_drop, softmax_of_class

SCORERS = HEADS
"""Branches whose softmax may give the scores."""
OWN = "own_branch"
"""Each map by its own branch, as the authors' earlier code does."""
COLUMNS = (
    ("coverage", pa.float32()),
    ("coherency", pa.float32()),
    *((f"{kind}_score_{scorer}", pa.float64()) for scorer in SCORERS for kind in ("image", "explained")),
)

EXPLAINED = Need("fidelity", "coverage")
"""An evaluation may explain a sample of the images alone, since that is most of its passes."""
PERTURBATION_COLUMNS = (
    ("insertion_auc", pa.float32()),
    ("deletion_auc", pa.float32()),
    # Insertion from the mean colour, scored by the softmax branch, over the share of pixels that is kept.
    ("insertion_fractions", pa.list_(pa.float32())),
    ("insertion_curve", pa.list_(pa.float32())),
)


def measure(batch: MapBatch) -> dict[str, Any]:
    """Measure the columns of N x R maps of the predicted classes, image-major; None where an image is not explained."""
    if batch.explained is not None:
        return _of_sample(batch, batch.explained)
    image_scores = {scorer: softmax_of_class(batch.logits[scorer], batch.predicted) for scorer in SCORERS}
    maps = MapsToScore(batch.images, batch.predicted, batch.predicted_maps, batch.options.rows, batch.distinct)
    explained = score_distinct_maps(batch.dual, maps, batch.options.batch_size, batch.options)
    count = len(batch.options.rows)
    return {
        "coverage": explained.coverage.flatten().cpu().numpy(),
        "coherency": explained.coherency.flatten().cpu().numpy(),
        **{f"image_score_{name}": np.repeat(image_scores[name].cpu().numpy(), count) for name in SCORERS},
        **{f"explained_score_{name}": explained.scores[name].flatten().cpu().numpy() for name in SCORERS},
    }


def _of_sample(batch: MapBatch, explained: Tensor) -> dict[str, Any]:
    """Measure the columns of a batch of which some images (N,) alone are explained."""
    count = len(batch.options.rows)
    values = {name: np.full((len(batch.images), count), np.nan) for name, _ in COLUMNS}
    if bool(explained.any()):
        own = {name: getattr(batch, name)[explained] for name in ("images", "labels", "predicted", "predicted_maps")}
        logits = {head: one[explained] for head, one in batch.logits.items()}
        measured = measure(replace(batch, **own, logits=logits, explained=None))
        for name, column in measured.items():
            values[name][explained.cpu().numpy()] = column.reshape(-1, count)
    return {name: pa.array(column.ravel(), from_pandas=True) for name, column in values.items()}  # NaN is missing


def fidelity_statistics(rows: pd.DataFrame, weights: FloatArray, scorer: str = "softmax") -> Statistics:
    """Fidelity figures in % of one network, method and head (Chattopadhay et al. 2018; Poppi et al. 2021).

    Args:
        rows: evidence, one row per image.
        weights: (B, N) resampling weights.
        scorer: the branch whose softmax gives the scores on the image and on the explained image, one of
            :data:`SCORERS`; or :data:`OWN`, for that of the rows' head.

    Returns:
        ``average_drop``, ``increase_in_confidence``, ``coverage`` (mean of the maps, which ADCC calls complexity),
        ``coherency`` and ``adcc``, each (B,).

    Raises:
        SigcamError: for an unknown scorer, or evidence without fidelity.
    """
    check_choice("scorer", scorer, (*SCORERS, OWN))
    if scorer == OWN:
        heads = rows["head"].unique()
        if len(heads) != 1:
            fail(f"the rows are of {len(heads)} heads, and have no scorer of their own: pass those of one head.")
        scorer = str(heads[0])
    rows, weights = EXPLAINED.restrict(rows, weights)
    if rows.empty:
        fail("this evidence has no fidelity: evaluate with_fidelity, to make a table of it.")
    count = weights.sum(axis=1)
    y = rows[f"image_score_{scorer}"].to_numpy()
    o = rows[f"explained_score_{scorer}"].to_numpy()
    drop = (weights @ relative_drop(y, o)) / count
    statistics = {
        "average_drop": 100 * drop,
        "increase_in_confidence": 100 * (weights @ (o > y).astype(np.float64)) / count,
    }
    coverage, coherency = (weights @ rows[name].to_numpy(np.float64) / count for name in ("coverage", "coherency"))
    terms = [torch.from_numpy(term.clip(0, 1)) for term in (coherency, coverage, drop)]  # rounding may pass 1
    return statistics | {"coverage": 100 * coverage, "coherency": 100 * coherency, "adcc": adcc(*terms).numpy()}


def measure_perturbation(batch: MapBatch) -> dict[str, list[Any]]:
    """Compute insertion and deletion of N x R maps, image-major, distinct maps once; None after the first images."""
    first = batch.num_perturbed
    owners, rank = batch.distinct
    owners, rank = owners[owners[:, 0] < first], rank[:first]  # image by image, so that numbers stay
    image_scores = softmax_of_class(batch.logits["softmax"], batch.predicted)
    columns: dict[str, list[Any]] = {name: [] for name, _ in PERTURBATION_COLUMNS}
    for start in range(0, len(owners), batch.options.batch_size):
        image, row = owners[start : start + batch.options.batch_size].unbind(1)  # (B,) each
        images = batch.images[image]
        score_maps = normalize_maps(batch.predicted_maps[image, row], (images.shape[2], images.shape[3]))
        curves = perturbation_curves(
            partial(_softmax_scores, batch.dual, batch.predicted[image]),
            images,
            score_maps,
            batch.perturbation_steps,
            batch_size=batch.options.batch_size,
            image_scores=image_scores[image],
        )
        columns["insertion_auc"] += insertion_auc(curves).tolist()
        columns["deletion_auc"] += deletion_auc(curves).tolist()
        columns["insertion_fractions"] += [curves.fractions.tolist()] * len(image)
        columns["insertion_curve"] += curves.insertion.tolist()
    missing = [None] * ((len(batch.images) - first) * len(batch.options.rows))
    places = rank.flatten().tolist()
    return {name: [values[place] for place in places] + missing for name, values in columns.items()}


def _softmax_scores(dual: DualBranch, class_idx: Tensor, images: Tensor, index: Tensor) -> Tensor:
    return softmax_of_class(dual.softmax_head(dual.extract(images)), class_idx[index])


def perturbation_statistics(rows: pd.DataFrame, weights: FloatArray) -> Statistics:
    """Areas under the insertion and deletion curves in % of one network, method and head (Petsiuk et al. 2018).

    Args:
        rows: evidence, one row per image, of images that were perturbed.
        weights: (B, N) resampling weights.

    Returns:
        ``insertion_auc`` (higher is better) and ``deletion_auc`` (lower is better), each (B,).
    """
    count = weights.sum(axis=1)
    return {name: 100 * (weights @ rows[name].to_numpy(np.float64)) / count for name in PERTURBATION_METRICS}


FIDELITY = MetricFamily(
    "fidelity",
    COLUMNS,
    measure,
    fidelity_statistics,
    FIDELITY_TITLES,
    needs=dict.fromkeys(FIDELITY_TITLES, EXPLAINED),
    variant="scorer",
    variants=(*SCORERS, OWN),
    makes_passes=True,
)
PERTURBATION = MetricFamily(
    "perturbation",
    PERTURBATION_COLUMNS,
    measure_perturbation,
    perturbation_statistics,
    PERTURBATION_TITLES,
    makes_passes=True,
    of_first_images=True,
)
