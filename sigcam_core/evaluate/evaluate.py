"""Evaluation: one pass over the images that writes evidence, the raw numbers of each image, head and method.

Nothing is averaged here. Tables, intervals and figures are computed from the evidence, so that a new one costs
seconds and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from ..cams.batch import MapBatch, maps_of_labels_and_predictions, predict
from ..cams.maps import MapOptions, methods_of
from ..common.errors import fail
from ..common.families import MetricFamily
from ..common.files import atomic_path
from ..common.progress import Report, print_to_stderr, progress_bar
from ..dual.branch import HEADS, DualBranch
from ..localization.evidence import LOCALIZATION
from ..localization.protocol import MAP_SIZE
from ..pointing.evidence import POINTING
from ..prepare.images import image_batches, known_masks, scaled_boxes
from ..prepare.manifest import Manifest
from .schema import FAMILIES, SCHEMA


@dataclass(frozen=True)
class EvaluationOptions:
    """What is measured, and in what portions.

    Attributes:
        methods: names from :data:`sigcam_core.cams.methods.CAM_METHODS`; ``None`` takes those of the paper that the
            head allows.
        heads: the heads to evaluate.
        batch_size: images a batch, and a forward pass. More than 32 at 224 pixels gains nothing on a CPU and costs
            memory.
        with_fidelity: without it, only localisation and pointing are measured, in one pass an image.
        perturbation_images: how many images get insertion and deletion, the first in the order of the manifest.
        perturbation_steps: of these curves. Ten give points at 10, 20, ... % of the pixels, which tables show.

    Raises:
        SigcamError: for counts out of range, or perturbation without fidelity.
    """

    methods: Sequence[str] | None = None
    heads: Sequence[str] = HEADS
    batch_size: int = 32
    with_fidelity: bool = True
    perturbation_images: int = 0
    perturbation_steps: int = 10

    def __post_init__(self) -> None:
        images, steps = self.perturbation_images, self.perturbation_steps
        if images < 0 or steps < 1:
            fail(f"cannot perturb {images} images in {steps} steps: give at least 0 and 1.")
        if images and not self.with_fidelity:
            fail("insertion and deletion are part of fidelity: leave with_fidelity on, or perturb 0 images.")


WHOLE = EvaluationOptions()
"""All that the paper reports; no insertion and deletion."""


def evaluate(
    dual: DualBranch,
    manifest: Manifest,
    network: str,
    path: Path,
    options: EvaluationOptions = WHOLE,
    report: Report = print_to_stderr,
) -> Path:
    """Write the evidence of a network on a split: one Parquet row an image, head and method.

    Localisation and pointing use the map of the image's label, as the protocols do; fidelity uses the map of the
    class that the softmax branch predicts. Rows are written batch by batch, so memory does not grow with the data set.
    An image with M distinct maps costs 1 + M forward passes, and (2 S - 1) M more where it is perturbed in S steps.

    Args:
        dual: the network.
        manifest: the images, with boxes and masks where they have them; an image without is missing in what needs them.
        network: what to call this network in the evidence, such as ``"small_cnn-gap"``.
        path: Parquet file to write, whole or not at all.
        options: what is measured.
        report: called with a line from time to time.

    Returns:
        ``path``.

    Raises:
        SigcamError: for an empty split, a network that knows too few classes, or anything wrong with images, boxes or
            masks.
    """
    if len(manifest) == 0:
        fail(f"there are no images to evaluate in {manifest.name}: choose a split that has some.")
    methods = options.methods or methods_of(dual.softmax_head)
    map_options = MapOptions(methods, options.heads, batch_size=options.batch_size)
    families = FAMILIES if options.with_fidelity else (LOCALIZATION, POINTING)
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
        for indices, images, labels in image_batches(manifest, options.batch_size, dual.input_format, memory_budget=0):
            part = manifest.take(indices.tolist())
            images = images.to(device, memory_format=torch.channels_last)
            num_perturbed = min(len(images), max(0, options.perturbation_images - done))
            batch = _batch(dual, images, labels.to(device), part, map_options, options, num_perturbed)
            writer.write_table(_table_of(batch, part, network, families))
            done += len(images)
            advance(len(images))
    return path


def _batch(
    dual: DualBranch,
    images: Tensor,
    labels: Tensor,
    part: Manifest,
    map_options: MapOptions,
    options: EvaluationOptions,
    num_perturbed: int,
) -> MapBatch:
    """One pass of the backbone over N images, and all maps that they are judged by."""
    features = dual.extract(images)
    logits, predicted = predict(dual, features, part.num_classes)
    judged = predicted if options.with_fidelity else labels
    label_maps, predicted_maps = maps_of_labels_and_predictions(dual, images, features, labels, judged, map_options)
    return MapBatch(
        dual,
        images,
        labels,
        predicted,
        logits,
        map_options,
        label_maps,
        predicted_maps,
        boxes=scaled_boxes(part, MAP_SIZE),
        masks=known_masks(part, MAP_SIZE),
        num_perturbed=num_perturbed,
        perturbation_steps=options.perturbation_steps,
    )


def _table_of(batch: MapBatch, part: Manifest, network: str, families: Sequence[MetricFamily]) -> pa.Table:
    """The rows of the evidence: N images x R maps, image-major, with the columns of all families."""
    rows, count = batch.options.rows, len(part)
    table = {
        "network": [network] * (count * len(rows)),
        "image_id": np.repeat(part.table["image_id"].astype(str).to_numpy(), len(rows)),
        "label": np.repeat(batch.labels.cpu().numpy(), len(rows)),
        "predicted": np.repeat(batch.predicted.cpu().numpy(), len(rows)),
        "head": [head for head, _ in rows] * count,
        "method": [method for _, method in rows] * count,
    }
    for family in families:
        table |= family.measure(batch)
    missing = [None] * (count * len(rows))
    return pa.table({field.name: table.get(field.name, missing) for field in SCHEMA}, schema=SCHEMA)
