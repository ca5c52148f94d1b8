"""Evaluation: one pass over the images that writes evidence, the raw numbers of each image, head and method.

Nothing is averaged here. Tables, intervals and figures are computed from the evidence, so that a new one costs
seconds and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from .backbones import INPUT_FORMATS
from .cams import maps_from_features, methods_of, normalize_maps
from .contours import BoxArray
from .data import Manifest, image_batches, load_masks, scaled_boxes
from .dual import HEADS, DualBranch
from .errors import fail
from .fidelity import explain_images
from .protocol import (
    FIRST_THRESHOLD_OF_LEVEL,
    GT_LOC_THRESHOLD_INDEX,
    LEVELS,
    iou_curves,
    score_histograms,
)
from .provenance import atomic_path
from .train import Report, print_to_stderr

MAP_SIZE = 224  # pixels; the protocol of Choe et al. 2020 scores maps at this size
SAME_MAP_TOLERANCE = 1e-5  # of a map's range; rounding in float32 leaves about 1e-6

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
        ("image_score_softmax", pa.float64()),
        ("explained_score_softmax", pa.float64()),
        ("image_score_sigmoid", pa.float64()),
        ("explained_score_sigmoid", pa.float64()),
    ]
)


def evaluate(
    dual: DualBranch,
    manifest: Manifest,
    backbone: str,
    network: str,
    path: Path,
    methods: Sequence[str] | None = None,
    heads: Sequence[str] = HEADS,
    batch_size: int = 32,
    report: Report = print_to_stderr,
) -> Path:
    """Write the evidence of a network on a split: one Parquet row an image, head and method.

    Localisation uses the map of the image's label, as the protocol does; fidelity uses the map of the class that
    the softmax branch predicts. Rows are written batch by batch, so memory does not grow with the data set.

    Args:
        dual: the network.
        manifest: the images, with boxes and masks where the data set has them.
        backbone: name of the network, for its input format.
        network: what to call this network in the evidence, such as ``"small_cnn-gap"``.
        path: Parquet file to write, whole or not at all.
        methods: names from :data:`sigcam_core.cams.METHODS`; ``None`` takes all that the head allows.
        heads: the heads to evaluate.
        batch_size: images a batch.
        report: called with a line from time to time.

    Returns:
        ``path``.

    Raises:
        SigcamError: for an empty split, or anything wrong with images, boxes or masks.
    """
    if len(manifest) == 0:
        fail(f"there are no images to evaluate in {manifest.name}: choose a split that has some.")
    methods = methods or methods_of(dual.softmax_head)
    rows = [(head, method) for head in heads for method in methods]
    boxes = scaled_boxes(manifest, MAP_SIZE)
    device = next(dual.parameters()).device
    done = 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for indices, images, labels in image_batches(manifest, batch_size, *INPUT_FORMATS[backbone]):
            table = _evidence_of_batch(dual, images.to(device), labels.to(device), rows)
            batch = manifest.take(indices.tolist())
            table |= _localization_of_batch(table.pop("label_maps"), batch, [boxes[i] for i in indices])
            table["image_id"] = np.repeat(batch.table["image_id"].to_numpy(), len(rows))
            table["network"] = [network] * len(table["image_id"])
            writer.write_table(pa.table({field.name: table[field.name] for field in SCHEMA}, schema=SCHEMA))
            done += len(images)
            report(f"{network} evaluation: {done}/{len(manifest)} images")
    return path


def _evidence_of_batch(dual: DualBranch, images: Tensor, labels: Tensor, rows: list[tuple[str, str]]) -> dict[str, Any]:
    """Columns of N images x R rows, image-major; and the label maps (N, R, h, w) for localisation."""
    features = dual.extract(images)
    with torch.no_grad():
        logits = {head: dual.head(head)(features) for head in HEADS}
    predicted = logits["softmax"].argmax(dim=1)
    label_maps = _stack(dual, features, labels, rows)
    wrong = predicted != labels
    predicted_maps = label_maps.clone()
    if bool(wrong.any()):
        predicted_maps[wrong] = _stack(dual, features[wrong], predicted[wrong], rows)
    image_scores = {head: _scores(logits[head], predicted) for head in HEADS}
    explained, coverage = _explained_scores(dual, images, predicted, predicted_maps)
    count = len(rows)
    return {
        "label_maps": label_maps,
        "label": np.repeat(labels.cpu().numpy(), count),
        "predicted": np.repeat(predicted.cpu().numpy(), count),
        "head": [head for _ in range(len(images)) for head, _ in rows],
        "method": [method for _ in range(len(images)) for _, method in rows],
        "coverage": coverage.flatten().cpu().numpy(),
        **{f"image_score_{head}": np.repeat(image_scores[head].cpu().numpy(), count) for head in HEADS},
        **{f"explained_score_{head}": explained[head].flatten().cpu().numpy() for head in HEADS},
    }


def _stack(dual: DualBranch, features: Tensor, class_idx: Tensor, rows: list[tuple[str, str]]) -> Tensor:
    """Maps (N, R, h, w) in the order of ``rows``."""
    heads, methods = list(dict.fromkeys(h for h, _ in rows)), list(dict.fromkeys(m for _, m in rows))
    maps = maps_from_features(dual, features, class_idx, methods, heads)
    return torch.stack([maps[row] for row in rows], dim=1)


def _scores(logits: Tensor, class_idx: Tensor) -> Tensor:
    return logits.double().softmax(dim=1).gather(1, class_idx[:, None])[:, 0]


def same_as_earlier(maps: Tensor) -> NDArray[np.int64]:
    """For each of R maps of an image, the first of them that is the same map once stretched to [0, 1].

    On a head of global average pooling and one linear layer most methods coincide (up to rounding), and there is
    no need to score one map twice.

    Args:
        maps: (N, R, h, w), before normalisation.

    Returns:
        (N, R) indices into the R maps.
    """
    flat = maps.flatten(2).double()
    low = flat.amin(dim=2, keepdim=True)
    span = flat.amax(dim=2, keepdim=True) - low
    flat = torch.where(span > 0, (flat - low) / span, 0.0)
    same = ((flat[:, :, None] - flat[:, None]).abs().amax(dim=3) <= SAME_MAP_TOLERANCE).cpu().numpy()
    source = np.tile(np.arange(same.shape[1]), (len(same), 1))
    for row in range(1, same.shape[1]):
        # Only maps that stand for themselves qualify: closeness within a tolerance is not transitive.
        earlier = same[:, row, :row] & (source[:, :row] == np.arange(row))
        source[:, row] = np.where(earlier.any(axis=1), earlier.argmax(axis=1), row)
    return source


@torch.no_grad()
def _explained_scores(
    dual: DualBranch, images: Tensor, predicted: Tensor, maps: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Scores (N, R) of the predicted class on the explained images by each branch, and coverage (N, R)."""
    num_images, num_rows = maps.shape[:2]
    source = torch.from_numpy(same_as_earlier(maps)).to(images.device)
    scores = {head: torch.zeros(num_images, num_rows, dtype=torch.float64, device=images.device) for head in HEADS}
    coverage = torch.zeros(num_images, num_rows, dtype=torch.float64, device=images.device)
    for row in range(num_rows):
        own = (source[:, row] == row).nonzero()[:, 0]
        if len(own):
            score_maps = normalize_maps(maps[own, row], (images.shape[2], images.shape[3]))
            output = dual(explain_images(images[own], score_maps))
            scores["softmax"][own, row] = _scores(output.softmax_logits, predicted[own])
            scores["sigmoid"][own, row] = _scores(output.sigmoid_logits, predicted[own])
            coverage[own, row] = score_maps.mean(dim=(1, 2))
    return {head: values.gather(1, source) for head, values in scores.items()}, coverage.gather(1, source)


def _localization_of_batch(maps: Tensor, batch: Manifest, boxes: list[BoxArray]) -> dict[str, list[Any]]:
    """Localisation columns of N x R maps, image-major; None where an image has no boxes or no mask."""
    has_masks = batch.table["mask"].map(lambda name: isinstance(name, str)).all()
    masks = load_masks(batch, MAP_SIZE).numpy() if has_masks else None
    source = same_as_earlier(maps)
    names = [
        field.name for field in SCHEMA if field.name.startswith(("best_iou", "gt_loc")) or "histogram" in field.name
    ]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for image in range(len(maps)):
        mask = None if masks is None else masks[image]
        distinct, index = np.unique(source[image], return_inverse=True)
        score_maps = normalize_maps(maps[image, distinct], (MAP_SIZE, MAP_SIZE)).cpu().numpy()
        measured = [localization_of_map(score_map, boxes[image], mask) for score_map in score_maps]
        for position in index:
            for name in names:
                columns[name].append(measured[position].get(name))
    return columns


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


def expand_levels(best_iou: NDArray[np.float32]) -> NDArray[np.float32]:
    """Best IoU at all 1,000 thresholds from the 255 distinct levels that evidence keeps.

    Args:
        best_iou: (..., 255).

    Returns:
        (..., 1000).
    """
    return best_iou[..., LEVELS]


def read_evidence(*paths: Path) -> pd.DataFrame:
    """Read evidence files into one table.

    Raises:
        SigcamError: if a file is missing or is not evidence.
    """
    frames = []
    for path in paths:
        if not path.exists():
            fail(f"evidence {path} does not exist: run `python -m sigcam_core evidence` first.")
        try:
            frame: pd.DataFrame = pq.read_table(path, schema=SCHEMA).to_pandas()
            frames.append(frame)
        except (pa.ArrowInvalid, KeyError, ValueError) as error:
            fail(f"{path} is not an evidence file ({error}): delete it and evaluate again.")
    return pd.concat(frames, ignore_index=True)
