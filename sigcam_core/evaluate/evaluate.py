"""Evaluation: one pass over the images that writes evidence, the raw numbers of each image, head and method.

Nothing is averaged here. Tables, intervals and figures are computed from the evidence, so that a new one costs
seconds and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..backbones.networks import input_format
from ..cams.maps import maps_from_features, methods_of
from ..cams.score_maps import normalize_maps
from ..common.errors import fail
from ..common.progress import Report, print_to_stderr, progress_bar
from ..common.provenance import atomic_path
from ..dual.branch import HEADS, DualBranch
from ..fidelity.perturbation import deletion_auc, insertion_auc, perturbation_curves
from ..fidelity.scores import class_scores, distinct_maps, explained_scores, same_as_earlier
from ..localization.contours import BoxArray
from ..localization.protocol import (
    FIRST_THRESHOLD_OF_LEVEL,
    GT_LOC_THRESHOLD_INDEX,
    iou_curves,
    over_cores,
    score_histograms,
)
from ..prepare.images import Manifest, image_batches, load_masks, scaled_boxes

MAP_SIZE = 224  # pixels; the protocol of Choe et al. 2020 scores maps at this size

SCHEMA = pa.schema(
    [
        ("network", pa.string()),
        ("image_id", pa.string()),
        ("label", pa.int32()),
        ("predicted", pa.int32()),
        ("head", pa.string()),
        ("method", pa.string()),
        # Of the map of the label: localisation. Best IoU at each of the 255 gray levels that thresholds cut at.
        ("best_iou_multi", pa.list_(pa.float32())),
        ("best_iou_largest", pa.list_(pa.float32())),
        ("gt_loc_iou_any", pa.float32()),
        ("gt_loc_iou_first", pa.float32()),
        ("object_histogram", pa.list_(pa.int32())),
        ("background_histogram", pa.list_(pa.int32())),
        # Of the map of the predicted class: fidelity. The scorer is the softmax over one branch's logits.
        ("coverage", pa.float32()),
        ("coherency", pa.float32()),
        ("image_score_softmax", pa.float64()),
        ("explained_score_softmax", pa.float64()),
        ("image_score_sigmoid", pa.float64()),
        ("explained_score_sigmoid", pa.float64()),
        # Of the map of the predicted class, on the first images only: insertion and deletion from the mean colour,
        # scored by the softmax branch. The curve is over the share of pixels that is kept.
        ("insertion_auc", pa.float32()),
        ("deletion_auc", pa.float32()),
        ("insertion_fractions", pa.list_(pa.float32())),
        ("insertion_curve", pa.list_(pa.float32())),
    ]
)
PERTURBATION_COLUMNS = ("insertion_auc", "deletion_auc", "insertion_fractions", "insertion_curve")


def evaluate(
    dual: DualBranch,
    manifest: Manifest,
    backbone: str,
    network: str,
    path: Path,
    methods: Sequence[str] | None = None,
    heads: Sequence[str] = HEADS,
    batch_size: int = 32,
    with_fidelity: bool = True,
    perturbation_images: int = 0,
    perturbation_steps: int = 10,
    report: Report = print_to_stderr,
) -> Path:
    """Write the evidence of a network on a split: one Parquet row an image, head and method.

    Localisation uses the map of the image's label, as the protocol does; fidelity uses the map of the class that
    the softmax branch predicts. Rows are written batch by batch, so memory does not grow with the data set. An
    image with M distinct maps costs 1 + M forward passes, and (2 S - 1) M more where it is perturbed in S steps.

    Args:
        dual: the network.
        manifest: the images, with boxes and masks where the data set has them.
        backbone: name of the network, for its input format.
        network: what to call this network in the evidence, such as ``"small_cnn-gap"``.
        path: Parquet file to write, whole or not at all.
        methods: names from :data:`sigcam_core.cams.maps.METHODS` and ``EXTRA_METHODS``; ``None`` takes those of the
            paper that the head allows.
        heads: the heads to evaluate.
        batch_size: images a batch, and a forward pass.
        with_fidelity: without it, only localisation is measured, in one pass an image.
        perturbation_images: how many images get insertion and deletion, the first in the order of the manifest.
        perturbation_steps: steps of these curves.
        report: called with a line from time to time.

    Returns:
        ``path``.

    Raises:
        SigcamError: for an empty split, counts out of range, perturbation without fidelity, or anything wrong with
            images, boxes or masks.
    """
    if len(manifest) == 0:
        fail(f"there are no images to evaluate in {manifest.name}: choose a split that has some.")
    if perturbation_images < 0 or perturbation_steps < 1:
        fail(f"cannot perturb {perturbation_images} images in {perturbation_steps} steps: give at least 0 and 1.")
    if perturbation_images and not with_fidelity:
        fail("insertion and deletion are part of fidelity: leave with_fidelity on, or perturb 0 images.")
    methods = methods or methods_of(dual.softmax_head)
    rows = [(head, method) for head in heads for method in methods]
    boxes = scaled_boxes(manifest, MAP_SIZE)
    device = next(dual.parameters()).device
    # Convolutions take up to half the time in this layout.
    dual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    done = 0
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer,
        progress_bar(len(manifest), f"{network} evaluation", report) as advance,
    ):
        # No image is kept: each is needed once.
        for indices, images, labels in image_batches(manifest, batch_size, *input_format(backbone), memory_budget=0):
            images, labels = images.to(device, memory_format=torch.channels_last), labels.to(device)
            features = dual.extract(images)
            label_maps = _stack(dual, images, features, labels, rows, batch_size)
            table = _columns_of_classes(dual, features, labels, rows)
            if with_fidelity:
                num_perturbed = min(len(images), max(0, perturbation_images - done))
                steps = (num_perturbed, perturbation_steps)
                table |= _fidelity_of_batch(dual, images, features, labels, label_maps, rows, batch_size, *steps)
            batch = manifest.take(indices.tolist())
            table |= _localization_of_batch(label_maps, batch, [boxes[i] for i in indices])
            table["image_id"] = np.repeat(batch.table["image_id"].to_numpy(), len(rows))
            table["network"] = [network] * len(table["image_id"])
            missing = [None] * len(table["image_id"])
            columns = {field.name: table.get(field.name, missing) for field in SCHEMA}
            writer.write_table(pa.table(columns, schema=SCHEMA))
            done += len(images)
            advance(len(images))
    return path


def _columns_of_classes(
    dual: DualBranch, features: Tensor, labels: Tensor, rows: list[tuple[str, str]]
) -> dict[str, Any]:
    """Columns that say which row is which, of N images x R rows, image-major."""
    with torch.no_grad():
        predicted = dual.softmax_head(features).argmax(dim=1)
    return {
        "label": np.repeat(labels.cpu().numpy(), len(rows)),
        "predicted": np.repeat(predicted.cpu().numpy(), len(rows)),
        "head": [head for _ in range(len(labels)) for head, _ in rows],
        "method": [method for _ in range(len(labels)) for _, method in rows],
    }


def _fidelity_of_batch(
    dual: DualBranch,
    images: Tensor,
    features: Tensor,
    labels: Tensor,
    label_maps: Tensor,
    rows: list[tuple[str, str]],
    batch_size: int,
    num_perturbed: int,
    steps: int,
) -> dict[str, Any]:
    """Fidelity columns of N images x R rows, image-major. The maps are those of the predicted class."""
    with torch.no_grad():
        logits = {head: dual.head(head)(features) for head in HEADS}
    predicted = logits["softmax"].argmax(dim=1)
    wrong = predicted != labels
    predicted_maps = label_maps.clone()
    if bool(wrong.any()):
        predicted_maps[wrong] = _stack(dual, images[wrong], features[wrong], predicted[wrong], rows, batch_size)
    image_scores = {head: class_scores(logits[head], predicted) for head in HEADS}
    maps = dict(zip(rows, predicted_maps.unbind(1), strict=True))
    explained = explained_scores(dual, images, predicted, maps, batch_size)
    first = slice(num_perturbed)
    perturbation = _perturbation_columns(
        dual, images[first], predicted[first], predicted_maps[first], image_scores["softmax"][first], steps, batch_size
    )
    count, missing = len(rows), [None] * ((len(images) - num_perturbed) * len(rows))
    return {
        "coverage": explained.coverage.flatten().cpu().numpy(),
        "coherency": explained.coherency.flatten().cpu().numpy(),
        **{f"image_score_{head}": np.repeat(image_scores[head].cpu().numpy(), count) for head in HEADS},
        **{f"explained_score_{head}": explained.scores[head].flatten().cpu().numpy() for head in HEADS},
        **{name: perturbation[name] + missing for name in PERTURBATION_COLUMNS},
    }


def _perturbation_columns(
    dual: DualBranch,
    images: Tensor,
    class_idx: Tensor,
    maps: Tensor,
    image_scores: Tensor,
    steps: int,
    batch_size: int,
) -> dict[str, list[Any]]:
    """Insertion and deletion of N x R maps, image-major, each distinct map once."""
    columns: dict[str, list[Any]] = {name: [] for name in PERTURBATION_COLUMNS}
    owners, rank = distinct_maps(maps)
    for start in range(0, len(owners), batch_size):
        chosen = slice(start, start + batch_size)
        image, row = owners[chosen].unbind(1)
        score_maps = normalize_maps(maps[image, row], (images.shape[2], images.shape[3]))
        score = partial(_softmax_scores, dual, class_idx[image])
        curves = perturbation_curves(
            score, images[image], score_maps, steps, batch_size=batch_size, image_scores=image_scores[image]
        )
        columns["insertion_auc"] += insertion_auc(curves).tolist()
        columns["deletion_auc"] += deletion_auc(curves).tolist()
        columns["insertion_fractions"] += [curves.fractions.tolist()] * len(image)
        columns["insertion_curve"] += curves.insertion.tolist()
    return {name: [values[position] for position in rank.flatten().tolist()] for name, values in columns.items()}


def _softmax_scores(dual: DualBranch, class_idx: Tensor, images: Tensor, index: Tensor) -> Tensor:
    return class_scores(dual.softmax_head(dual.extract(images)), class_idx[index])


def _stack(
    dual: DualBranch,
    images: Tensor,
    features: Tensor,
    class_idx: Tensor,
    rows: list[tuple[str, str]],
    batch_size: int,
) -> Tensor:
    """Maps (N, R, h, w) in the order of ``rows``."""
    heads, methods = list(dict.fromkeys(h for h, _ in rows)), list(dict.fromkeys(m for _, m in rows))
    maps = maps_from_features(dual, features, class_idx, methods, heads, images=images, batch_size=batch_size)
    return torch.stack([maps[row] for row in rows], dim=1)


def _localization_of_batch(maps: Tensor, batch: Manifest, boxes: list[BoxArray]) -> dict[str, list[Any]]:
    """Localisation columns of N x R maps, image-major; None where an image has no boxes or no mask."""
    has_masks = batch.table["mask"].map(lambda name: isinstance(name, str)).all()
    masks = load_masks(batch, MAP_SIZE).numpy() if has_masks else None
    source = same_as_earlier(maps)
    rows = over_cores(_localization_of_image, maps, source, boxes, masks if masks is not None else [None] * len(maps))
    names = [
        field.name for field in SCHEMA if field.name.startswith(("best_iou", "gt_loc")) or "histogram" in field.name
    ]
    return {name: [row.get(name) for image_rows in rows for row in image_rows] for name in names}


def _localization_of_image(
    maps: Tensor, source: NDArray[np.int64], boxes: BoxArray, mask: NDArray[np.uint8] | None
) -> list[dict[str, Any]]:
    """The quantities of each of an image's R maps (R, h, w); equal maps are measured once."""
    distinct, index = np.unique(source, return_inverse=True)
    score_maps = normalize_maps(maps[distinct], (MAP_SIZE, MAP_SIZE)).cpu().numpy()
    measured = [localization_of_map(score_map, boxes, mask) for score_map in score_maps]
    return [measured[position] for position in index]


def localization_of_map(
    score_map: NDArray[np.float64], boxes: BoxArray, mask: NDArray[np.uint8] | None
) -> dict[str, Any]:
    """The raw localisation quantities of one map: IoU curves at 255 gray levels, GT-Loc IoU, PxAP histograms.

    Args:
        score_map: (H, W) stretched to [0, 1].
        boxes: (M, 4); with M = 0 there are no box quantities.
        mask: (H, W), or ``None`` for no histograms.
    """
    values: dict[str, Any] = {}
    if len(boxes):
        curves = iou_curves(score_map, boxes)
        values["best_iou_multi"] = curves["multi"][FIRST_THRESHOLD_OF_LEVEL].astype(np.float32)
        values["best_iou_largest"] = curves["largest"][FIRST_THRESHOLD_OF_LEVEL].astype(np.float32)
        values["gt_loc_iou_any"] = curves["largest"][GT_LOC_THRESHOLD_INDEX]
        values["gt_loc_iou_first"] = curves["largest_first"][GT_LOC_THRESHOLD_INDEX]
    if mask is not None:
        values["object_histogram"], values["background_histogram"] = score_histograms(score_map, mask).astype(np.int32)
    return values


def read_evidence(*paths: Path) -> pd.DataFrame:
    """Read evidence files into one table.

    Raises:
        SigcamError: if a file is missing, is not evidence, or was written by a version with other columns.
    """
    frames = []
    for path in paths:
        if not path.exists():
            fail(f"evidence {path} does not exist: run `python -m sigcam_core evidence` first.")
        try:
            columns = pq.read_schema(path).names
            frame: pd.DataFrame = pq.read_table(path, schema=SCHEMA).to_pandas()
        except (pa.ArrowInvalid, KeyError, ValueError) as error:
            fail(f"{path} is not an evidence file ({error}): delete it and evaluate again.")
        if missing := set(SCHEMA.names) - set(columns):  # they have been read as nulls
            fail(f"{path} lacks column {min(missing)}, as another version wrote it: delete it and evaluate again.")
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
