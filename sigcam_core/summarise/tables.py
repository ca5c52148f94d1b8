"""The paper's tables, computed from evidence, with bootstrap intervals on every difference between the heads.

Every statistic takes weights W (B, N): row b says how often each image is drawn in resample b. A row of ones gives
the figure itself. Both heads share the draws, so that their difference is paired.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..common.errors import check_choice, fail
from ..fidelity.perturbation import average_drop_at_coverage
from ..fidelity.scores import adcc
from ..localization.protocol import GT_LOC_IOU, IOU_PERCENTAGES, NUM_BINS, PROTOCOLS
from .paper import published

FloatArray = NDArray[np.float64]
Statistics = dict[str, FloatArray]

KEYS = ["network", "method", "head"]
SCORERS = ("softmax", "sigmoid")
WSOL_METRICS = ("top1_cls", "top1_loc", "gt_loc", "maxboxacc_v2", "pxap")
FIDELITY_METRICS = ("average_drop", "increase_in_confidence", "coverage")
ADCC_METRICS = ("coherency", "coverage", "average_drop", "adcc")
PERTURBATION_METRICS = ("insertion_auc", "deletion_auc")
METRIC_NAMES = {
    "top1_cls": "Top-1 Cls",
    "top1_loc": "Top-1 Loc",
    "gt_loc": "GT-Loc",
    "maxboxacc_v2": "MaxBoxAccV2",
    "pxap": "PxAP",
    "average_drop": "average drop",
    "increase_in_confidence": "increase in confidence",
    "coverage": "coverage",
    "coherency": "coherency",
    "adcc": "ADCC",
    "insertion_auc": "insertion AUC",
    "deletion_auc": "deletion AUC",
}


def wsol_statistics(rows: pd.DataFrame, weights: FloatArray, protocol: str = "standard") -> Statistics:
    """Localisation figures in % of one network, method and head.

    Args:
        rows: evidence, one row an image.
        weights: (B, N) resampling weights.
        protocol: GT-Loc and Top-1 Loc against ``"standard"`` any box, or ``"paper"`` the first box only, as the
            official code of Oh and Noh does.

    Returns:
        Each metric as (B,): ``top1_cls``, ``top1_loc``, ``gt_loc``, ``maxboxacc@30/50/70``, ``maxboxacc_v2`` where
        there are boxes, and ``pxap`` where there are masks.
    """
    check_choice("protocol", protocol, PROTOCOLS)
    count = weights.sum(axis=1)
    correct = (rows["label"] == rows["predicted"]).to_numpy(dtype=np.float64)
    statistics = {"top1_cls": 100 * (weights @ correct) / count}
    if rows["best_iou_multi"].notna().all():
        column = "gt_loc_iou_any" if protocol == "standard" else "gt_loc_iou_first"
        located = (rows[column].to_numpy() >= np.float32(GT_LOC_IOU)).astype(np.float64)
        statistics["top1_loc"] = 100 * (weights @ (located * correct)) / count
        statistics["gt_loc"] = 100 * (weights @ located) / count
        # At the 255 levels: the maximum over 1,000 thresholds meets no other.
        best_iou = np.stack(rows["best_iou_multi"].to_list()).astype(np.float32)
        for percentage in IOU_PERCENTAGES:
            # In float32 on both sides: two unequal ratios of pixel counts differ by far more than its rounding.
            hits = (best_iou >= np.float32(percentage / 100)).astype(np.float64)
            statistics[f"maxboxacc@{percentage}"] = 100 * (weights @ hits).max(axis=1) / count
        statistics["maxboxacc_v2"] = np.mean([statistics[f"maxboxacc@{p}"] for p in IOU_PERCENTAGES], axis=0)
    if rows["object_histogram"].notna().all():
        statistics["pxap"] = _pxap(rows, weights)
    return statistics


def _pxap(rows: pd.DataFrame, weights: FloatArray) -> FloatArray:
    """PxAP (B,): :func:`sigcam_core.localization.protocol.pixel_average_precision` for all resamples at once."""
    histograms = [np.stack(rows[f"{kind}_histogram"].to_list()) for kind in ("object", "background")]
    true_positive, false_positive = ((weights @ h.astype(np.float64))[:, ::-1].cumsum(axis=1) for h in histograms)
    recall = true_positive / true_positive[:, -1:]
    predicted = true_positive + false_positive
    precision = np.divide(true_positive, predicted, out=np.zeros((len(weights), NUM_BINS)), where=predicted > 0)
    average_precision: FloatArray = 100 * (precision[:, 1:] * np.diff(recall, axis=1)).sum(axis=1)
    return average_precision


def fidelity_statistics(rows: pd.DataFrame, weights: FloatArray, scorer: str = "softmax") -> Statistics:
    """Fidelity figures in % of one network, method and head.

    Args:
        rows: evidence, one row an image.
        weights: (B, N) resampling weights.
        scorer: the branch whose softmax gives the scores on the image and on the explained image. The official
            code scores maps of the sigmoid head by the sigmoid branch and all others by the softmax branch.

    Returns:
        ``average_drop``, ``increase_in_confidence``, ``coverage`` (mean of the maps, which ADCC calls complexity),
        ``coherency`` and ``adcc``, each (B,).

    Raises:
        SigcamError: for an unknown scorer, or evidence without fidelity.
    """
    check_choice("scorer", scorer, SCORERS)
    if rows["coverage"].isna().any():
        fail("this evidence has no fidelity: evaluate with_fidelity, to make a table of it.")
    count = weights.sum(axis=1)
    y = rows[f"image_score_{scorer}"].to_numpy()
    o = rows[f"explained_score_{scorer}"].to_numpy()
    drop = (weights @ ((y - o).clip(min=0) / y)) / count
    statistics = {
        "average_drop": 100 * drop,
        "increase_in_confidence": 100 * (weights @ (o > y).astype(np.float64)) / count,
    }
    coverage, coherency = (weights @ rows[name].to_numpy(np.float64) / count for name in ("coverage", "coherency"))
    terms = [torch.from_numpy(term.clip(0, 1)) for term in (coherency, coverage, drop)]  # rounding may pass 1
    return statistics | {"coverage": 100 * coverage, "coherency": 100 * coherency, "adcc": adcc(*terms).numpy()}


def perturbation_statistics(rows: pd.DataFrame, weights: FloatArray) -> Statistics:
    """Areas under the insertion and deletion curves in % of one network, method and head.

    Args:
        rows: evidence, one row an image, of images that were perturbed: see :func:`perturbed`.
        weights: (B, N) resampling weights.

    Returns:
        ``insertion_auc`` (higher is better) and ``deletion_auc`` (lower is better), each (B,).
    """
    count = weights.sum(axis=1)
    return {name: 100 * (weights @ rows[name].to_numpy(np.float64)) / count for name in PERTURBATION_METRICS}


def perturbed(evidence: pd.DataFrame) -> pd.DataFrame:
    """The rows of images that were perturbed.

    Raises:
        SigcamError: if there are none.
    """
    rows = evidence[evidence["insertion_curve"].notna()]
    if rows.empty:
        fail("no image of this evidence was perturbed: evaluate with perturbation_images above 0.")
    return rows


def matched_coverage(evidence: pd.DataFrame) -> pd.DataFrame:
    """Average drop where every map keeps the same share of the image, the pixels that it ranks highest.

    Args:
        evidence: of which some images were perturbed; the others do not count.

    Returns:
        Columns ``network, method, head, coverage, average_drop`` in %, one row a point of the insertion curves.

    Raises:
        SigcamError: if no image was perturbed.
    """
    points = []
    for keys, rows in perturbed(evidence).groupby(KEYS, sort=False):
        drops = average_drop_at_coverage(torch.from_numpy(np.stack(rows["insertion_curve"].to_list())))
        points.append(
            pd.DataFrame(
                dict(zip(KEYS, keys, strict=True))
                | {"coverage": 100 * rows["insertion_fractions"].iloc[0].astype(np.float64), "average_drop": drops}
            )
        )
    return pd.concat(points, ignore_index=True)


def bootstrap_weights(num_images: int, resamples: int, seed: int) -> FloatArray:
    """Weights (resamples, N) of the images drawn with replacement."""
    if num_images < 1 or resamples < 1:
        fail(f"a bootstrap needs at least 1 image and 1 resample, got {num_images} and {resamples}.")
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(num_images, np.full(num_images, 1 / num_images), size=resamples)
    return draws.astype(np.float64)


def table_of(evidence: pd.DataFrame, statistics: Callable[[pd.DataFrame, FloatArray], Statistics]) -> pd.DataFrame:
    """One row a network, method and head, one column a statistic, in the order of the evidence.

    Args:
        evidence: what :func:`sigcam_core.evaluate.evaluate.read_evidence` returns.
        statistics: such as :func:`wsol_statistics`.

    Raises:
        SigcamError: if there is no evidence.
    """
    if evidence.empty:
        fail("there is no evidence to make a table of: evaluate a network first.")
    table = []
    for keys, rows in evidence.groupby(KEYS, sort=False):
        values = statistics(rows, np.ones((1, len(rows))))
        table.append(dict(zip(KEYS, keys, strict=True)) | {name: value[0] for name, value in values.items()})
    return pd.DataFrame(table)


def table_with_intervals(
    evidence: pd.DataFrame,
    statistics: Callable[[pd.DataFrame, FloatArray], Statistics],
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Every figure with its 95 % bootstrap interval over images.

    Args:
        evidence: what :func:`sigcam_core.evaluate.evaluate.read_evidence` returns.
        statistics: such as :func:`wsol_statistics`.
        resamples: draws of the bootstrap over images.
        seed: of the draws.

    Returns:
        Columns ``network, method, head, metric, value, low, high``.
    """
    figures = []
    for keys, rows in evidence.groupby(KEYS, sort=False):
        for metric, values in statistics(rows, _one_and_resampled(len(rows), resamples, seed)).items():
            figures.append((*keys, metric, values[0], *np.percentile(values[1:], [2.5, 97.5])))
    return pd.DataFrame(figures, columns=[*KEYS, "metric", "value", "low", "high"])


def _one_and_resampled(num_images: int, resamples: int, seed: int) -> FloatArray:
    """Weights of the figure itself, then of its resamples."""
    return np.vstack([np.ones(num_images), bootstrap_weights(num_images, resamples, seed)])


def head_differences(
    evidence: pd.DataFrame,
    statistics: Callable[[pd.DataFrame, FloatArray], Statistics],
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Sigmoid minus softmax for each network, method and metric, with a paired 95 % bootstrap interval.

    Args:
        evidence: with both heads for the same images.
        statistics: such as :func:`wsol_statistics`.
        resamples: draws of the bootstrap over images.
        seed: of the draws.

    Returns:
        Columns ``network, method, metric, difference, low, high`` in percentage points.

    Raises:
        SigcamError: if the two heads were not evaluated on the same images.
    """
    differences = []
    for (network, method), rows in evidence.groupby(["network", "method"], sort=False):
        heads = {head: part.sort_values("image_id") for head, part in rows.groupby("head")}
        if set(heads) != {"softmax", "sigmoid"} or list(heads["softmax"].image_id) != list(heads["sigmoid"].image_id):
            fail(f"{network}, {method}: both heads must be evaluated on the same images to be compared.")
        table = paired_difference(heads["softmax"], heads["sigmoid"], statistics, resamples, seed)
        differences.append(table.drop(columns=["first", "second"]).assign(network=str(network), method=str(method)))
    columns = ["network", "method", "metric", "difference", "low", "high"]
    return pd.concat(differences, ignore_index=True)[columns]


def paired_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    statistics: Callable[[pd.DataFrame, FloatArray], Statistics],
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Second minus first for each metric, with a paired 95 % bootstrap interval over the images of both.

    Args:
        first: evidence, one row an image.
        second: evidence of the same images in the same order.
        statistics: such as :func:`wsol_statistics`.
        resamples: draws of the bootstrap over images.
        seed: of the draws.

    Returns:
        Columns ``metric, first, second, difference, low, high``, the last three in percentage points.

    Raises:
        SigcamError: if the images differ.
    """
    if list(first["image_id"]) != list(second["image_id"]):
        fail("a paired difference needs the same images in the same order on both sides.")
    weights = _one_and_resampled(len(first), resamples, seed)
    one, other = statistics(first, weights), statistics(second, weights)
    rows = []
    for metric in one:
        change = other[metric] - one[metric]
        rows.append((metric, one[metric][0], other[metric][0], change[0], *np.percentile(change[1:], [2.5, 97.5])))
    return pd.DataFrame(rows, columns=["metric", "first", "second", "difference", "low", "high"])


def beside_published(ours: pd.DataFrame, dataset: str, table: str) -> pd.DataFrame:
    """Our rows above the paper's, in one table with a column that says whose they are.

    Args:
        ours: with column ``network`` and some of the published columns.
        dataset: the data set of our rows.
        table: name of the published table.
    """
    theirs = published(table).rename(columns={"backbone": "network"})
    ours = ours.assign(source="this book", dataset=dataset)
    theirs = theirs.assign(source="paper")
    if "baseline" in theirs:
        theirs["ratio"] = theirs["dual_branch"] / theirs["baseline"]
    columns = ["source", *[name for name in theirs.columns if name in ours.columns and name != "source"]]
    return pd.concat([ours[columns], theirs[columns]], ignore_index=True)


def show(table: pd.DataFrame, caption: str, decimals: int = 2, *, wrap: bool = False) -> pd.io.formats.style.Styler:
    """A table for a notebook: figures to ``decimals`` places, a dash where there is none, narrow enough for a page.

    Headings are wrapped; with ``wrap``, long cells are too.
    """
    table = table.rename(columns={name: METRIC_NAMES.get(name, name.replace("_", " ")) for name in table.columns})
    style = table.style.format(precision=decimals, na_rep="–").hide(axis="index").set_caption(caption)
    return style.set_table_styles(
        [
            {"selector": "", "props": "font-size: 0.68rem; display: table; width: 100%;"},
            {"selector": "caption", "props": "caption-side: top; text-align: left; font-weight: 600;"},
            {"selector": "th", "props": "padding: 2px 3px; vertical-align: bottom;"},
            {"selector": "td", "props": f"padding: 1px 3px; white-space: {'normal' if wrap else 'nowrap'};"},
            {"selector": "th", "props": "white-space: normal;"},
            {"selector": "th, td", "props": "text-align: left;"},
        ]
    )
