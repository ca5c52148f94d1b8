"""Localisation of maps that know no class, as rows to add to a table of methods: how much of a score is saliency?

The centre of the image, which needs no network, is :mod:`sigcam_core.localization.centre`. Nothing here trains, and
only the constant shift of the softmax weights is chosen, on held-out images.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from sigcam_core.cams.maps import MapOptions, maps_from_features, methods_of
from sigcam_core.common.errors import fail
from sigcam_core.common.titles import METHOD_TITLES
from sigcam_core.dual.branch import HEADS, DualBranch
from sigcam_core.dual.linear import linear_head_bias, linear_head_weight
from sigcam_core.localization.evidence import BOXES, MASKS
from sigcam_core.localization.fixed import best_fixed_box, fixed_box_iou, whole_image
from sigcam_core.localization.hits import hit_rates, max_box_acc
from sigcam_core.localization.protocol import GT_LOC_IOU, MAP_SIZE, pixel_average_precision
from sigcam_core.prepare.images import has_masks, image_batches, known_masks, scaled_boxes
from sigcam_core.prepare.manifest import Manifest

from .maps import Control, LinearHead
from .measured import ControlBatch, have_boxes, have_masks, locate_maps
from .names import BASELINES, CENTRE, FIXED, NO_HEAD, SHIFTED, WEIGHTS, WRONG_CLASS
from .shards import Arrays
from .tables import fixed_figures

SHIFTS = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Shifts of the softmax head's weights that are tried on held-out images, in units of their mean absolute value."""
BATCH_SIZE = 32
OF_BOXES = ("gt_loc", "maxboxacc_v2", "maxboxacc_v2_outer")
"""Columns that need boxes."""


def linear_head(head: nn.Module, *, is_sigmoid: bool = False) -> LinearHead:
    """Copy the weights and biases of a head of global average pooling and one linear layer.

    Raises:
        SigcamError: if the head is another.
    """
    weight, bias = linear_head_weight(head), linear_head_bias(head)
    if weight is None or bias is None:
        fail(f"{type(head).__name__} is not global average pooling and one linear layer: its channels have no weights.")
    return LinearHead(weight.detach().clone(), bias.detach().clone(), is_sigmoid)


def baseline_figures(dual: DualBranch, manifest: Manifest, network: str) -> pd.DataFrame:
    """Figures in % of maps that know no class: one row per map, with the columns of a table of localisation.

    Sums of the feature maps with equal and with random weights; and where the heads are linear, the map of a random
    wrong class, signed and truncated, and softmax weights that are all shifted by the constant that is best on held-out
    images. Then the negative of every map of the table, one minus the map, and two boxes that are the same for all
    images: the whole image, and the one that is best on held-out images.

    Args:
        dual: the network.
        manifest: a data set with boxes, whose split ``val`` chooses the shift and the box; PxAP where test images have
            masks.
        network: its name, for the column.

    Returns:
        Columns ``network, method, head, gt_loc, maxboxacc_v2, maxboxacc_v2_outer``, and ``pxap``, which a box has not;
        and where not all images have boxes, or masks, ``images_with_boxes`` and ``images_with_masks``.

    Raises:
        SigcamError: if no image of a split has a box, or no mask an object.
    """
    held_out, test = manifest.split("val"), manifest.split("test")
    controls = [Control(NO_HEAD, baseline) for baseline in BASELINES if baseline != CENTRE]
    heads: dict[str, LinearHead] = {}
    if linear_head_weight(dual.softmax_head) is not None:
        heads = {name: linear_head(dual.head(name), is_sigmoid=name == "sigmoid") for name in HEADS}
        heads["softmax"] = replace(heads["softmax"], shift=_best_shift(dual, heads["softmax"], held_out))
        controls += [Control(head, WRONG_CLASS, weights) for head in HEADS for weights in WEIGHTS]
        controls += [Control("softmax", SHIFTED)]
    options = MapOptions(methods_of(dual.softmax_head))
    located = _located(dual, test, controls, heads, options)
    boxed = _boxed(located, test)
    counts = {BOXES.heading: int(boxed.sum())}
    if "histograms" in located:
        counts[MASKS.heading] = int(have_masks(located).sum())
    fewer = {heading: count for heading, count in counts.items() if count < len(test)}
    names = [(one.scalar if one.head == NO_HEAD else f"{one.scalar}, {one.weights}", one.head) for one in controls]
    names += [(f"negative of {METHOD_TITLES[method]}", head) for head, method in options.rows]
    rows = [(name, head, _figures(located, boxed, row)) for row, (name, head) in enumerate(names)]
    boxes = scaled_boxes(test, MAP_SIZE)
    for name, box in zip(FIXED, (whole_image(), best_fixed_box(scaled_boxes(held_out, MAP_SIZE))), strict=True):
        of_box = fixed_figures(fixed_box_iou(box, boxes), resamples=1)
        rows.append((name, NO_HEAD, {metric: float(of_box[metric][0]) for metric in OF_BOXES}))
    return pd.DataFrame(
        [{"network": network, "method": name, "head": head} | figures | fewer for name, head, figures in rows]
    )


def _figures(located: Arrays, boxed: NDArray[np.bool_], row: int) -> dict[str, float]:
    """Compute the values of one row of maps, of those images that have boxes, or masks."""
    everyone = np.ones((1, int(boxed.sum())))
    figures = {"gt_loc": 100 * float((located["gt_loc_iou"][boxed, row] >= np.float32(GT_LOC_IOU)).mean())}
    for metric, hits in zip(OF_BOXES[1:], ("hits", "outer_hits"), strict=True):
        figures[metric] = float(max_box_acc(hit_rates(located[hits][boxed, row], everyone))["maxboxacc_v2"][0])
    if "histograms" in located:
        figures["pxap"] = float(pixel_average_precision(located["histograms"][:, row].sum(axis=0, dtype=np.int64)))
    return figures


def shift_table(hits: NDArray[np.uint8]) -> pd.DataFrame:
    """MaxBoxAccV2 of every shift on held-out images; the best is chosen, the first of equals.

    Args:
        hits: (V, S, 96) of V held-out images and the S shifts of :data:`SHIFTS`.

    Returns:
        Columns ``shift, held_out_maxboxacc_v2, chosen``.
    """
    everyone = np.ones((1, len(hits)))
    values = [float(max_box_acc(hit_rates(hits[:, row], everyone))["maxboxacc_v2"][0]) for row in range(hits.shape[1])]
    table = pd.DataFrame({"shift": SHIFTS, "held_out_maxboxacc_v2": values})
    return table.assign(chosen=table.index == table["held_out_maxboxacc_v2"].idxmax())


def shifted_heads(head: LinearHead) -> dict[str, LinearHead]:
    """Apply each of the shifts to a head, and return the heads by name."""
    return {f"{shift:g}": replace(head, shift=shift) for shift in SHIFTS}


def _best_shift(dual: DualBranch, head: LinearHead, held_out: Manifest) -> float:
    heads = shifted_heads(head)
    located = _located(dual, held_out, [Control(name, SHIFTED) for name in heads], heads)
    table = shift_table(located["hits"][_boxed(located, held_out)])
    return float(table.loc[table["chosen"], "shift"].iloc[0])


def _boxed(located: Arrays, images: Manifest) -> NDArray[np.bool_]:
    """Say which images have boxes (N,), if any has."""
    boxed = have_boxes(located)
    if not boxed.any():
        fail(f"no image of {images.name} that maps without a class are measured on has a box: use one that has boxes.")
    return boxed


def _located(
    dual: DualBranch,
    images: Manifest,
    controls: list[Control],
    heads: dict[str, LinearHead],
    negatives: MapOptions | None = None,
) -> Arrays:
    """Locate maps in all images with :func:`~companion.controls.measured.locate_maps`, from one pass each.

    The rows of the controls come first, then the negatives of the maps that are asked for.
    """
    masked = has_masks(images)
    parts = []
    for rows, batch, labels in image_batches(images, BATCH_SIZE, dual.input_format):
        part = images.take(rows.tolist())
        features = dual.extract(batch)
        masks = known_masks(part, MAP_SIZE) if masked else None
        with torch.no_grad():
            maps = ControlBatch(dual.feature_maps(features), labels, controls, heads, rows).maps()
        if negatives:
            made = maps_from_features(dual, features, labels, negatives, batch)
            maps = torch.cat([maps, *(-made[row][:, None] for row in negatives.rows)], dim=1)
        parts.append(locate_maps(maps.cpu(), scaled_boxes(part, MAP_SIZE), masks))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
