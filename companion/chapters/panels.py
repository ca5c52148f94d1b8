"""Panels of the qualitative figures: maps with their boxes, and images as the maps explain them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sigcam_core.cams.maps import cam_maps
from sigcam_core.cams.score_maps import normalize_maps
from sigcam_core.common.titles import METHOD_TITLES
from sigcam_core.dual.branch import HEADS, DualBranch
from sigcam_core.fidelity.scores import explain_images
from sigcam_core.localization.protocol import gt_loc_box, gt_loc_iou
from sigcam_core.prepare.images import load_images, normalize, scaled_boxes
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.summarise.drawing import Panel, to_pictures

from ..show.shown import sentence_list

HIT = 0.5
"""IoU from which a box counts as found."""


@torch.no_grad()
def localization_panels(
    dual: DualBranch,
    manifest: Manifest,
    method: str,
    heads: Sequence[str] = HEADS,
    class_names: Sequence[str] = (),
) -> list[list[Panel]]:
    """For each image a row: the image with its true boxes, then each head's map with its GT-Loc box.

    Args:
        dual: the network.
        manifest: the N images, few enough to show.
        method: name from :data:`sigcam_core.cams.methods.METHODS`.
        heads: one column each.
        class_names: of the network, where the labels of the images are not its classes: the maps are then those of the
            class that the softmax branch predicts, not of the label.

    Returns:
        N rows of 1 + ``len(heads)`` panels, pictures and maps at the network's input size, boxes in their pixels.
    """
    form = dual.input_format
    images = load_images(manifest, form.size, form.channels)
    boxes = scaled_boxes(manifest, form.size)
    inputs = normalize(images, form.mean, form.std)
    class_idx = dual(inputs).softmax_logits.argmax(dim=1) if class_names else manifest.labels
    names = class_names or manifest.class_names
    maps = cam_maps(dual, inputs, class_idx, [method], heads)
    score_maps = {head: normalize_maps(maps[head, method], (form.size, form.size)).numpy() for head in heads}
    rows = []
    for i, picture in enumerate(to_pictures(images)):
        row = [Panel(names[int(class_idx[i])], picture, true_boxes=boxes[i])]
        for head in heads:
            score_map = score_maps[head][i]
            title = f"{METHOD_TITLES[method]}, {head}"
            row.append(Panel(title, picture, score_map, boxes[i], gt_loc_box(score_map)))
        rows.append(row)
    return rows


@torch.no_grad()
def explanation_panels(
    dual: DualBranch,
    manifest: Manifest,
    methods: Sequence[str],
    heads: Sequence[str] = HEADS,
    class_names: Sequence[str] = (),
) -> list[list[Panel]]:
    """For each image and head a row: the image, then the image as each method's map explains it, with its score.

    Class and score are the softmax branch's: its prediction, and the probability p of it. What a map explains is the
    normalised image times the map, as average drop scores it.

    Args:
        dual: the network.
        manifest: the N images, few enough to show.
        methods: one column each.
        heads: one row each.
        class_names: of the network, where they are not those of the images.

    Returns:
        N x ``len(heads)`` rows of 1 + ``len(methods)`` panels.
    """
    form = dual.input_format
    images = load_images(manifest, form.size, form.channels)
    inputs = normalize(images, form.mean, form.std)
    before = dual(inputs).softmax_logits.softmax(dim=1)
    class_idx = before.argmax(dim=1)
    maps = cam_maps(dual, inputs, class_idx, methods, heads)
    rows: list[list[Panel]] = []
    names = class_names or manifest.class_names
    pictures = to_pictures(images)
    for i, k in enumerate(class_idx.tolist()):
        for head in heads:
            row = [Panel(f"{names[k]}\np = {before[i, k]:.2f}", pictures[i])]
            for method in methods:
                score_map = normalize_maps(maps[head, method][i : i + 1], (form.size, form.size))
                explained = explain_images(inputs[i : i + 1], score_map)
                score = float(dual(explained).softmax_logits.softmax(dim=1)[0, k])
                title = f"{METHOD_TITLES[method]}\np = {score:.2f}"
                picture = to_pictures(denormalize(explained, form.mean, form.std))[0]
                row.append(Panel(title, picture, scores=(float(before[i, k]), score)))
            rows.append(row)
    return rows


def box_hits(rows: Sequence[Sequence[Panel]]) -> dict[str, tuple[int, int]]:
    """By the title of a column: how many of its boxes meet a true one by an IoU of 0.5 or more, and of how many.

    Args:
        rows: of :func:`localization_panels`.
    """
    hits: dict[str, tuple[int, int]] = {}
    for panel in (panel for row in rows for panel in row):
        if panel.score_map is None or panel.true_boxes is None or not len(panel.true_boxes):
            continue
        hit, count = hits.get(panel.title, (0, 0))
        hits[panel.title] = (hit + (gt_loc_iou(panel.score_map, panel.true_boxes)[0] >= HIT), count + 1)
    return hits


def map_likeness(rows: Sequence[Sequence[Panel]]) -> dict[str, float]:
    """By the title of a column of maps: its mean correlation, over images, with the last map of the row.

    Args:
        rows: of :func:`localization_panels`.
    """
    found: dict[str, list[float]] = {}
    for row in rows:
        maps = [(panel.title, panel.score_map) for panel in row if panel.score_map is not None]
        for title, score_map in maps[:-1]:
            found.setdefault(title, []).append(float(np.corrcoef(score_map.ravel(), maps[-1][1].ravel())[0, 1]))
    return {title: float(np.mean(values)) for title, values in found.items()}


def explained_scores(rows: Sequence[Sequence[Panel]], heads: Sequence[str] = HEADS) -> pd.DataFrame:
    """Collect the probabilities of a figure of explained images: columns ``head, before, after``, one row per map.

    Args:
        rows: of :func:`explanation_panels`.
        heads: as they were given there.
    """
    found = [
        (heads[place % len(heads)], *panel.scores) for place, row in enumerate(rows) for panel in row if panel.scores
    ]
    return pd.DataFrame(found, columns=["head", "before", "after"])


def denormalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalised images (N, D, H, W) back as uint8, clipped to 0 and 255.

    Args:
        images: float.
        mean: of the channels that :func:`sigcam_core.prepare.images.normalize` took off, of pixels in [0, 1].
        std: that it divided by.
    """
    scaled = images * torch.tensor(std).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)
    return (255 * scaled).round().clamp(0, 255).to(torch.uint8)


def boxes_sentence(hits: Mapping[str, tuple[int, int]]) -> str:
    """Say how many of the boxes that a figure shows are right.

    Args:
        hits: by map, how many of its boxes have an IoU of at least 0.5 with a true one, and of how many.
    """
    parts = [f"{hit} of {count} ({name})" for name, (hit, count) in hits.items()]
    return (
        f"Of the images below, drawn at random, the dashed box meets the object (IoU ≥ 0.5) in {sentence_list(parts)}."
    )


def likeness_sentence(likeness: Mapping[str, float], count: int) -> str:
    """Measure how similar the maps of a figure are to the last of each row.

    Args:
        likeness: by map, its mean correlation with the last.
        count: images.
    """
    parts = [f"{value:.2f} with {name}" for name, value in likeness.items()]
    return f"On these {count} photos the sigmoid head's map has a mean correlation of {sentence_list(parts)}."


def explained_sentence(scores: pd.DataFrame) -> str:
    """Say how much of the probability is left when only what a map shows is kept.

    Args:
        scores: columns ``head, before, after``, one row per map.
    """
    before = float(scores["before"].mean())
    softmax, sigmoid = (float(scores["after"][scores["head"] == head].mean()) for head in ("softmax", "sigmoid"))
    more = "more of it than" if sigmoid > softmax else "less of it than" if sigmoid < softmax else "as much of it as"
    return (
        f"Of a mean probability of {before:.2f}, the explained images below keep {softmax:.2f} by maps "
        f"of the softmax head and {sigmoid:.2f} by those of the sigmoid head, which keeps {more} softmax does."
    )
