"""Class specificity in the evidence: what is kept of each map, how it is measured, and the metrics computed from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cams.batch import MapBatch
from ..cams.distinct import same_up_to_scale
from ..cams.score_maps import resize_maps
from ..common.checks import IGNORE, OBJECT
from ..common.families import MetricFamily, Need
from ..common.resampling import FloatArray, Statistics, drawn_images
from ..common.titles import POINTING_METRICS, POINTING_TITLES
from ..localization.contours import BoxArray
from ..localization.evidence import measure_once
from ..localization.protocol import MAP_SIZE
from .scores import boxes_to_masks, energy_shares, pointing_hits

COLUMNS = (
    # Whether the maximum lies in a box, or within 15 of 224 pixels of one.
    ("pointing_hit", pa.bool_()),
    # Share of the positive energy in any box, and on the object of the mask.
    ("energy_in_box", pa.float32()),
    ("energy_in_mask", pa.float32()),
)
NEEDS = {
    metric: Need(what, column)
    for metric, what, (column, _) in zip(POINTING_METRICS, ("boxes", "boxes", "masks"), COLUMNS, strict=True)
}


def measure(batch: MapBatch) -> dict[str, list[Any]]:
    """Compute the columns of N x R raw maps of the labels, image-major; None without a box, or a masked object."""
    return measure_once(batch, same_up_to_scale(batch.label_maps), _measure_resized, [name for name, _ in COLUMNS])


def _measure_resized(maps: Tensor, boxes: BoxArray, mask: NDArray[np.uint8] | None) -> list[dict[str, Any]]:
    return measure_maps(resize_maps(maps, (MAP_SIZE, MAP_SIZE)), boxes, mask)


def measure_maps(maps: Tensor, boxes: BoxArray, mask: NDArray[np.uint8] | None) -> list[dict[str, Any]]:
    """Measure the raw quantities of several maps of one image.

    Args:
        maps: (R, H, W) raw maps at the size of boxes and mask.
        boxes: (M, 4); with M = 0 there are no box quantities.
        mask: (H, W); without an object pixel, or with ``None``, there is no mask quantity.

    Returns:
        R rows of those columns that there are.
    """
    columns: dict[str, list[Any]] = {}
    if len(boxes):
        inside = boxes_to_masks([boxes], (maps.shape[1], maps.shape[2])).to(maps.device)
        columns["pointing_hit"] = pointing_hits(maps, [boxes] * len(maps)).tolist()
        columns["energy_in_box"] = energy_shares(maps, inside).tolist()
    if mask is not None and (mask == OBJECT).any():
        values = torch.from_numpy(mask).to(maps.device)
        columns["energy_in_mask"] = energy_shares(maps, values == OBJECT, values != IGNORE).tolist()
    return [{name: values[row] for name, values in columns.items()} for row in range(len(maps))]


def pointing_statistics(rows: pd.DataFrame, weights: FloatArray) -> Statistics:
    """Class specificity in % of one network, method and head (Zhang et al. 2018; Wang et al. 2020).

    Args:
        rows: evidence, one row per image.
        weights: (B, N) resampling weights.

    Returns:
        Each metric as (B,): ``pointing_game`` and ``energy_pointing`` of the images that have boxes, and
        ``energy_pointing_mask`` of those that have an object in a mask, where there are such; NaN in a resample that
        draws none of them. A map without positive energy counts as 0.
    """
    statistics = {}
    for metric, need in NEEDS.items():
        some, of_some = need.restrict(rows, weights)
        if len(some):
            statistics[metric] = 100 * (of_some @ some[need.column].to_numpy(np.float64)) / drawn_images(of_some)
    return statistics


POINTING = MetricFamily("pointing", COLUMNS, measure, pointing_statistics, POINTING_TITLES, NEEDS)
