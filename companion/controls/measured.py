"""Control maps measured: where they lie, whether they know their class, and what the network says of what they keep.

All from cached feature maps. Localisation and pointing run no network; fidelity runs one pass of the backbone for each
distinct map, whose pooled features then give the scores of every head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigcam_core.cams.distinct import distinct_maps, same_as_earlier
from sigcam_core.cams.score_maps import normalize_maps, resize_maps
from sigcam_core.common.cores import over_cores
from sigcam_core.fidelity.perturbation import perturbation_curves
from sigcam_core.fidelity.scores import explain_images, softmax_of_class
from sigcam_core.localization.centre import centre_map
from sigcam_core.localization.contours import BoxArray
from sigcam_core.localization.evidence import measure_map
from sigcam_core.localization.hits import NUM_BYTES, pack_hits
from sigcam_core.localization.protocol import MAP_SIZE, NUM_BINS
from sigcam_core.localization.thresholds import LEVEL_RULES
from sigcam_core.pointing.grids import GridBatch
from sigcam_core.pointing.scores import (
    boxes_to_masks,
    cell_shares,
    energy_shares,
    named_cells,
    pointing_hits,
    top_shares,
)

from .maps import Control, LinearHead, control_maps
from .names import CENTRE, WRONG_CLASS
from .shards import Arrays

PERTURBATION_STEPS = 4  # points at 25, 50 and 75 % of the pixels
GRID_MEASURES = {"shares": cell_shares, "top": top_shares, "named": named_cells}
"""The share of what is above zero in the maps of a grid, and two measures that know no zero."""


@dataclass(frozen=True, eq=False)
class ControlBatch:
    """N images of which control maps are measured.

    Attributes:
        features: (N, K, h, w) feature maps.
        class_idx: (N,) classes to explain.
        controls: the R rows.
        heads: by name.
        image_seeds: (N,), see :func:`companion.controls.maps.control_maps`.
    """

    features: Tensor
    class_idx: Tensor
    controls: Sequence[Control]
    heads: Mapping[str, LinearHead]
    image_seeds: Tensor

    def maps(self) -> Tensor:
        """All control maps (N, R, h, w)."""
        return control_maps(self.features, self.class_idx, self.controls, self.heads, self.image_seeds)


def locate_controls(
    batch: ControlBatch, boxes: Sequence[BoxArray], masks: Sequence[NDArray[np.uint8] | None] | None = None
) -> Arrays:
    """Localisation and pointing of N x R control maps.

    Args:
        batch: the images; ``class_idx`` are their labels.
        boxes: N arrays (M, 4) at the size of the protocol's maps; M may be 0.
        masks: N uint8 arrays (S, S) at that size, ``None`` for an image that has none; ``None`` for no histograms.

    Returns:
        ``hits`` and ``outer_hits`` (N, R, 96), of all contours and of outer ones, as
        :func:`sigcam_core.localization.hits.pack_hits` packs them; ``iou_otsu`` and ``iou_half`` (N, R), the best IoU
        at each map's own threshold; ``gt_loc_iou`` (N, R); ``pointing_hit`` (N, R); ``energy_in_box`` (N, R);
        ``correlation`` (N, R) of a wrong class's map with that of the label, NaN where there are not both; with masks
        ``histograms`` (N, R, 2, 1002). :func:`have_boxes` and :func:`have_masks` say of which images they are; those of
        the others hold nothing.
    """
    maps = batch.maps().cpu()  # contours are found there
    located = locate_maps(maps, boxes, masks, _centre_maps(batch.controls))
    return located | {"correlation": _correlations(maps, batch.controls)}


def locate_maps(
    maps: Tensor,
    boxes: Sequence[BoxArray],
    masks: Sequence[NDArray[np.uint8] | None] | None = None,
    given: Mapping[int, NDArray[np.float64]] | None = None,
) -> Arrays:
    """Localisation and pointing of any maps.

    Args:
        maps: (N, R, h, w) on the CPU.
        boxes: as for :func:`locate_controls`.
        masks: as for :func:`locate_controls`.
        given: by row, a map (S, S) in [0, 1] that takes the place of that of every image.

    Returns:
        What :func:`locate_controls` gives, without ``correlation``.
    """
    source = same_as_earlier(maps)  # (N, R)
    each_mask = [None] * len(maps) if masks is None else masks
    rows = over_cores(partial(_locate_image, given or {}), maps, source, boxes, each_mask)
    empty = _nothing(maps.shape[1])
    names = [name for name in empty if name != "histograms" or masks is not None]
    return {name: np.stack([row.get(name, empty[name]) for row in rows]) for name in names}


def have_boxes(located: Arrays) -> NDArray[np.bool_]:
    """Say which images of :func:`locate_controls` have a box, (N,)."""
    return np.logical_not(np.isnan(located["gt_loc_iou"][:, 0]))


def have_masks(located: Arrays) -> NDArray[np.bool_]:
    """Say which images of :func:`locate_controls` have a mask of which some pixel counts, (N,)."""
    pixels: NDArray[np.int64] = located["histograms"][:, 0].sum(axis=(1, 2), dtype=np.int64)
    return pixels > 0


def _nothing(num_rows: int) -> Arrays:
    """Return the measurements of an image without box and mask."""
    return {
        "hits": np.zeros((num_rows, NUM_BYTES), dtype=np.uint8),
        "outer_hits": np.zeros((num_rows, NUM_BYTES), dtype=np.uint8),
        **{f"iou_{rule}": np.full(num_rows, np.nan, dtype=np.float32) for rule in LEVEL_RULES},
        "gt_loc_iou": np.full(num_rows, np.nan, dtype=np.float32),
        "histograms": np.zeros((num_rows, 2, NUM_BINS), dtype=np.uint16),
        "pointing_hit": np.zeros(num_rows, dtype=np.bool_),
        "energy_in_box": np.full(num_rows, np.nan, dtype=np.float32),
    }


def _correlations(maps: Tensor, controls: Sequence[Control]) -> NDArray[np.float32]:
    """Pearson's correlation (N, R) of each wrong class's map with the label's of the same head and weights."""
    flat = maps.flatten(2).double()
    flat = flat - flat.mean(dim=2, keepdim=True)
    unit = flat / flat.norm(dim=2, keepdim=True)
    values = np.full(maps.shape[:2], np.nan, dtype=np.float32)
    places = {control: row for row, control in enumerate(controls)}
    for control, row in places.items():
        own = places.get(replace(control, scalar="logit")) if control.scalar == WRONG_CLASS else None
        if own is not None:
            values[:, row] = (unit[:, row] * unit[:, own]).sum(dim=1).numpy()
    return values


def _centre_maps(controls: Sequence[Control]) -> dict[int, NDArray[np.float64]]:
    """By row, the map (S, S) of the centre and of its negative: itself, not a 7 x 7 sample of it."""
    centre = centre_map(MAP_SIZE)
    return {
        row: 1 - centre if control.is_negative else centre
        for row, control in enumerate(controls)
        if control.scalar == CENTRE
    }


def _locate_image(
    centre_maps: Mapping[int, NDArray[np.float64]],
    maps: Tensor,
    source: NDArray[np.int64],
    boxes: BoxArray,
    mask: NDArray[np.uint8] | None,
) -> Arrays:
    """Measure one image's R maps (R, h, w) by its annotations; maps equal after stretching are located once."""
    distinct, index = np.unique(source, return_inverse=True)
    score_maps = normalize_maps(maps[distinct], (MAP_SIZE, MAP_SIZE)).numpy()
    for place, row in enumerate(distinct.tolist()):
        score_maps[place] = centre_maps.get(row, score_maps[place])
    measured = [measure_map(score_map, boxes, mask) for score_map in score_maps]
    columns: dict[str, Any] = {}
    if mask is not None:
        kinds = [np.stack([one[f"{kind}_histogram"] for one in measured]) for kind in ("object", "background")]
        columns["histograms"] = np.stack(kinds, axis=1).astype(np.uint16)[index]
    if len(boxes):
        for name, kind in (("hits", "multi"), ("outer_hits", "outer")):
            columns[name] = pack_hits(np.stack([one[f"best_iou_{kind}"] for one in measured]))[index]
        names = {"gt_loc_iou": "gt_loc_iou_any"} | {f"iou_{rule}": f"best_iou_{rule}" for rule in LEVEL_RULES}
        for name, column in names.items():
            columns[name] = np.array([one[column] for one in measured], dtype=np.float32)[index]
        # Sign and scale matter to these: a map and its stretched copy are not the same.
        raw = resize_maps(maps, (MAP_SIZE, MAP_SIZE))  # (R, S, S)
        columns["pointing_hit"] = pointing_hits(raw, [boxes] * len(raw)).numpy()
        columns["energy_in_box"] = energy_shares(raw, boxes_to_masks([boxes], (MAP_SIZE, MAP_SIZE))).float().numpy()
    return columns


def score_controls(extract: Callable[[Tensor], Tensor], images: Tensor, batch: ControlBatch, batch_size: int) -> Arrays:
    """Score the explained images of N x R control maps with every head.

    Args:
        extract: images (B, 3, H, W) to feature maps (B, K, h, w).
        images: (N, 3, H, W) normalised.
        batch: the images; ``class_idx`` are the classes that are predicted.
        batch_size: explained images a forward pass.

    Returns:
        ``image_scores`` (N, S) and ``explained_scores`` (N, R, S), probabilities by a softmax over the logits of each
        of the S heads in their order, float64; ``coverage`` (N, R).
    """
    maps = batch.maps()
    owners, rank = distinct_maps(maps)  # (P, 2), (N, R)
    heads = list(batch.heads.values())
    scores = maps.new_zeros((len(owners), len(heads)), dtype=torch.float64)
    coverage = maps.new_zeros(len(owners), dtype=torch.float64)
    for start in range(0, len(owners), batch_size):
        done = slice(start, start + batch_size)
        image, row = owners[done].unbind(1)
        score_maps = normalize_maps(maps[image, row], (images.shape[2], images.shape[3]))
        pooled = extract(explain_images(images[image], score_maps)).mean(dim=(2, 3))
        scores[done] = _scores(heads, pooled, batch.class_idx[image])
        coverage[done] = score_maps.mean(dim=(1, 2))
    image_scores = _scores(heads, batch.features.mean(dim=(2, 3)), batch.class_idx)
    arrays = {"image_scores": image_scores, "explained_scores": scores[rank], "coverage": coverage[rank].float()}
    return {name: values.cpu().numpy() for name, values in arrays.items()}


def _scores(heads: Sequence[LinearHead], pooled: Tensor, class_idx: Tensor) -> Tensor:
    """Probabilities (B, S) of one class per image by each head."""
    return torch.stack([softmax_of_class(head.logits(pooled), class_idx) for head in heads], dim=1)


def perturb_controls(
    extract: Callable[[Tensor], Tensor], images: Tensor, batch: ControlBatch, judge: str, batch_size: int
) -> Arrays:
    """Compute insertion and deletion of N x R control maps, scored by one head; each distinct map once.

    Args:
        extract: images (B, 3, H, W) to feature maps (B, K, h, w).
        images: (N, 3, H, W) normalised.
        batch: the images; ``class_idx`` are the classes that are predicted.
        judge: name of the head that gives the scores.
        batch_size: perturbed images a forward pass.

    Returns:
        ``insertion`` and ``deletion`` (N, R, 5) at 0, 25, 50, 75 and 100 % of the pixels.
    """
    maps, head = batch.maps(), batch.heads[judge]
    owners, rank = distinct_maps(maps)
    image_scores = softmax_of_class(head.logits(batch.features.mean(dim=(2, 3))), batch.class_idx)
    insertion, deletion = [], []
    for start in range(0, len(owners), batch_size):
        image, row = owners[start : start + batch_size].unbind(1)
        classes = batch.class_idx[image]

        def score(perturbed: Tensor, index: Tensor, classes: Tensor = classes) -> Tensor:
            return softmax_of_class(head.logits(extract(perturbed).mean(dim=(2, 3))), classes[index])

        curves = perturbation_curves(
            score,
            images[image],
            normalize_maps(maps[image, row], (images.shape[2], images.shape[3])),
            PERTURBATION_STEPS,
            batch_size=batch_size,
            image_scores=image_scores[image],
        )
        insertion.append(curves.insertion)
        deletion.append(curves.deletion)
    both = {"insertion": torch.cat(insertion)[rank], "deletion": torch.cat(deletion)[rank]}
    return {name: values.cpu().numpy() for name, values in both.items()}


def grid_controls(
    batch: GridBatch, features: Tensor, controls: Sequence[Control], heads: Mapping[str, LinearHead]
) -> dict[str, Tensor]:
    """Play the grid pointing game with R control maps, computed on the grid.

    Args:
        batch: G grids of n x n images.
        features: (G, K, h, w) feature maps of the grids; h and w are multiples of n.
        controls: the R rows.
        heads: by name.

    Returns:
        By name of :data:`GRID_MEASURES`, (G, n*n, R) float32: ``shares``, how much of the positive evidence for each
        cell's class lies in its cell; ``top``, how many of its highest 1 / n^2 pixels; ``named``, whether the cell of
        the greatest mean is its own.
    """
    by_cell = []
    for cell in range(batch.classes.shape[1]):
        seeds = batch.rows[:, cell]  # of the image that is in the cell
        by_cell.append(control_maps(features, batch.classes[:, cell], controls, heads, seeds))
    maps = torch.stack(by_cell, dim=1)  # (G, n*n, R, h, w)
    n = math.isqrt(batch.classes.shape[1])
    return {
        name: torch.stack([measure(maps[:, :, row], n) for row in range(len(controls))], dim=2).float()
        for name, measure in GRID_MEASURES.items()
    }
