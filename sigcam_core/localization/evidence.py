"""Localisation in the evidence: what is kept of each map, how it is measured, and the metrics computed from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from ..cams.batch import MapBatch
from ..cams.distinct import same_as_earlier
from ..cams.score_maps import normalize_maps
from ..common.cores import over_cores
from ..common.errors import check_choice
from ..common.families import MetricFamily, Need
from ..common.packed import PACKED, is_packed, pack, unpack
from ..common.resampling import FloatArray, Statistics, drawn_images
from ..common.titles import WSOL_TITLES
from .contours import NUM_LEVELS, BoxArray
from .hits import drawn_hit_rates, in_ten_thousandths, max_box_acc, mean_box_acc, pack_hits
from .protocol import (
    FIRST_THRESHOLD_OF_LEVEL,
    GT_LOC_IOU,
    GT_LOC_THRESHOLD_INDEX,
    IOU_PERCENTAGES,
    MAP_SIZE,
    NUM_BINS,
    PROTOCOLS,
    iou_curves,
    pixel_average_precision,
    score_histograms,
    to_gray,
)
from .thresholds import LEVEL_RULES

COLUMNS = (
    # Best IoU of any contour at each of the 255 gray levels that thresholds cut at, in 1/10,000.
    ("best_iou_multi", PACKED),
    # The same of outer contours alone, where boundaries of holes are no boxes.
    ("best_iou_outer", PACKED),
    # Best IoU of any contour at the gray level that a rule gives this map without any box.
    *((f"best_iou_{rule}", pa.float32()) for rule in LEVEL_RULES),
    # IoU of GT-Loc's box with any ground-truth box, and with the first.
    ("gt_loc_iou_any", pa.float32()),
    ("gt_loc_iou_first", pa.float32()),
    # Object and background pixels in each of the 1,002 score bins.
    ("object_histogram", PACKED),
    ("background_histogram", PACKED),
)
BOXES, MASKS = Need("boxes", "best_iou_multi"), Need("masks", "object_histogram")
BOX_METRICS = (
    "top1_loc",
    "gt_loc",
    *(f"maxboxacc@{percentage}" for percentage in IOU_PERCENTAGES),
    "maxboxacc_v2",
    "maxboxacc_v2_outer",
    *(f"boxacc_v2_{rule}" for rule in LEVEL_RULES),
)
MeasureMaps = Callable[[Tensor, BoxArray, NDArray[np.uint8] | None], list[dict[str, Any]]]
"""From an image's maps, boxes and mask to the quantities of each map."""


def measure(batch: MapBatch) -> dict[str, list[Any]]:
    """Compute the columns of N x R maps of the labels, image-major; None for images without boxes or without mask."""
    columns = measure_once(batch, same_as_earlier(batch.label_maps), _measure_maps, [name for name, _ in COLUMNS])
    return columns | {name: pack(columns[name]) for name, kind in COLUMNS if is_packed(kind)}


def measure_once(
    batch: MapBatch, source: NDArray[np.int64], measure_maps: MeasureMaps, columns: Sequence[str]
) -> dict[str, list[Any]]:
    """Columns of N x R maps of the labels, image-major and over the cores; maps that are the same are measured once.

    Args:
        batch: the images.
        source: (N, R) for each map, the first of its image that is the same.
        measure_maps: from an image's different maps (D, h, w), its boxes and mask to the quantities of each.
        columns: names of the quantities; None where an image has not what one needs.
    """

    def of_image(
        maps: Tensor, same: NDArray[np.int64], boxes: BoxArray, mask: NDArray[np.uint8] | None
    ) -> list[dict[str, Any]]:
        distinct, index = np.unique(same, return_inverse=True)
        measured = measure_maps(maps[distinct], boxes, mask)
        return [measured[position] for position in index]

    masks = [None] * len(source) if batch.masks is None else batch.masks
    rows = over_cores(of_image, batch.label_maps, source, batch.boxes, masks)
    return {name: [row.get(name) for image_rows in rows for row in image_rows] for name in columns}


def _measure_maps(maps: Tensor, boxes: BoxArray, mask: NDArray[np.uint8] | None) -> list[dict[str, Any]]:
    score_maps = normalize_maps(maps, (MAP_SIZE, MAP_SIZE)).cpu().numpy()
    return [measure_map(score_map, boxes, mask) for score_map in score_maps]


def measure_map(score_map: NDArray[np.float64], boxes: BoxArray, mask: NDArray[np.uint8] | None) -> dict[str, Any]:
    """Measure one map: IoUs at 255 gray levels and at its own, GT-Loc IoU, PxAP histograms.

    The curves are in 1/10,000, see :func:`sigcam_core.localization.hits.in_ten_thousandths`.

    Args:
        score_map: (H, W) stretched to [0, 1].
        boxes: (M, 4); with M = 0 there are no box quantities.
        mask: (H, W), or ``None`` for no histograms.
    """
    values: dict[str, Any] = {}
    if len(boxes):
        curves = iou_curves(score_map, boxes, with_outer=True)  # (1000,) each
        by_level = {kind: curves[kind][FIRST_THRESHOLD_OF_LEVEL] for kind in ("multi", "outer")}  # (255,) each
        values |= {f"best_iou_{kind}": in_ten_thousandths(curve) for kind, curve in by_level.items()}
        gray = to_gray(score_map)
        values |= {f"best_iou_{name}": by_level["multi"][rule(gray)] for name, rule in LEVEL_RULES.items()}
        values["gt_loc_iou_any"] = curves["largest"][GT_LOC_THRESHOLD_INDEX]
        values["gt_loc_iou_first"] = curves["largest_first"][GT_LOC_THRESHOLD_INDEX]
    if mask is not None:
        values["object_histogram"], values["background_histogram"] = score_histograms(score_map, mask).astype(np.uint16)
    return values


def wsol_statistics(rows: pd.DataFrame, weights: FloatArray, protocol: str = "standard") -> Statistics:
    """Localisation figures in % of one network, method and head (Choe et al. 2020).

    Args:
        rows: evidence, one row per image.
        weights: (B, N) resampling weights.
        protocol: GT-Loc and Top-1 Loc against ``"standard"`` any box, or ``"paper"`` the first box only, as the
            official code of Oh and Noh 2025 does.

    Returns:
        Each metric as (B,): ``top1_cls`` of all images; ``top1_loc``, ``gt_loc``, ``maxboxacc@30/50/70``,
        ``maxboxacc_v2``, ``maxboxacc_v2_outer`` by outer contours alone, and ``boxacc_v2_otsu`` and ``boxacc_v2_half``
        at each map's own threshold, of those that have boxes; ``pxap`` of those that have a mask, where there are such.
        NaN in a resample that draws none of them, or no object pixel.

    Raises:
        SigcamError: for an unknown protocol, or masks of which none has an object pixel.
    """
    check_choice("protocol", protocol, PROTOCOLS)
    statistics = {"top1_cls": 100 * (weights @ _is_correct(rows)) / drawn_images(weights)}
    boxed, of_boxed = BOXES.restrict(rows, weights)
    if len(boxed):
        statistics |= _box_figures(boxed, of_boxed, protocol)
    masked, of_masked = MASKS.restrict(rows, weights)
    if len(masked):
        kinds = (unpack(masked[f"{kind}_histogram"], NUM_BINS) for kind in ("object", "background"))
        # (B, 2, bins); whole numbers, exact
        histograms = np.stack([of_masked @ counts.astype(np.float64) for counts in kinds], axis=1)
        statistics["pxap"] = pixel_average_precision(histograms)
    return statistics


def _is_correct(rows: pd.DataFrame) -> FloatArray:
    correct: FloatArray = (rows["label"] == rows["predicted"]).to_numpy().astype(np.float64)
    return correct


def _box_figures(rows: pd.DataFrame, weights: FloatArray, protocol: str) -> Statistics:
    """Compute the values of images that have boxes."""
    count = drawn_images(weights)
    column = "gt_loc_iou_any" if protocol == "standard" else "gt_loc_iou_first"
    located = (rows[column].to_numpy() >= np.float32(GT_LOC_IOU)).astype(np.float64)
    statistics = {
        "top1_loc": 100 * (weights @ (located * _is_correct(rows))) / count,
        "gt_loc": 100 * (weights @ located) / count,
    }
    # At the 255 levels: the maximum over 1,000 thresholds meets no other.
    multi, outer = (pack_hits(unpack(rows[f"best_iou_{kind}"], NUM_LEVELS)) for kind in ("multi", "outer"))
    statistics |= max_box_acc(drawn_hit_rates(multi, weights))
    statistics["maxboxacc_v2_outer"] = max_box_acc(drawn_hit_rates(outer, weights))["maxboxacc_v2"]
    for rule in LEVEL_RULES:
        statistics[f"boxacc_v2_{rule}"] = mean_box_acc(rows[f"best_iou_{rule}"].to_numpy(np.float32), weights)
    return statistics


LOCALIZATION = MetricFamily(
    "wsol",
    COLUMNS,
    measure,
    wsol_statistics,
    WSOL_TITLES,
    needs={**dict.fromkeys(BOX_METRICS, BOXES), "pxap": MASKS},
    variant="protocol",
    variants=PROTOCOLS,
)
