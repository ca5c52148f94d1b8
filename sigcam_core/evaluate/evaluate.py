"""Evaluation: one pass over the images that writes evidence, the raw numbers of each image, head and method.

Nothing is averaged here. A split is measured in shards, which processes may share. Tables, intervals and figures are
computed from the evidence, so that a new one costs seconds and no network.
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ..backbones.passes import FastBackbone, InBfloat16
from ..cams.batch import MapBatch, maps_of_labels_and_predictions, predict
from ..cams.maps import MapOptions, methods_of
from ..common.digests import digest_of, digest_of_weights
from ..common.errors import fail
from ..common.families import MetricFamily
from ..common.files import write_atomically
from ..common.paths import user_path
from ..common.progress import Report, print_to_stderr, progress_bar
from ..common.seeds import derived_seed
from ..dual.branch import HEADS, DualBranch, dual_branch_of
from ..localization.evidence import LOCALIZATION
from ..localization.protocol import MAP_SIZE
from ..pointing.evidence import POINTING
from ..prepare.images import image_batches, known_masks, scaled_boxes
from ..prepare.manifest import Manifest
from .schema import FAMILIES, SCHEMA
from .shards import ALONE, Part, folder_of_shards, gather, is_whole, shards_of, write_shard

BATCHES_A_SHARD = 32
BATCHES_BEHIND = 1
"""How many batches localisation may lag behind the passes; it is faster, and a batch takes memory."""


@dataclass(frozen=True)
class EvaluationOptions:
    """What is measured, and in what portions.

    Attributes:
        methods: names from :data:`sigcam_core.cams.methods.CAM_METHODS`, or one name; ``None`` takes those of the
            paper that the head allows.
        heads: the heads to evaluate.
        batch_size: images per batch, and a forward pass. More than 32 at 224 pixels gains nothing on a CPU and costs
            memory.
        with_fidelity: without it, only localisation and pointing are measured, in one pass per image.
        perturbation_images: how many images get insertion and deletion, the first in the order of the manifest.
        perturbation_steps: of these curves. Ten give points at 10, 20, ... % of the pixels, which tables show.
        explained_images: how many images get fidelity, drawn at random by a fixed seed; ``None`` for all.
        in_bfloat16: run the backbone on bfloat16 numbers, a third of the time on a CPU that has instructions for them.

    Raises:
        SigcamError: for counts out of range, or perturbation without fidelity.
    """

    methods: str | Sequence[str] | None = None
    heads: str | Sequence[str] = HEADS
    batch_size: int = 32
    with_fidelity: bool = True
    perturbation_images: int = 0
    perturbation_steps: int = 10
    explained_images: int | None = None
    in_bfloat16: bool = False

    def __post_init__(self) -> None:
        images, steps = self.perturbation_images, self.perturbation_steps
        if images < 0 or steps < 1:
            fail(f"cannot perturb {images} images in {steps} steps: give at least 0 and 1.")
        if self.explained_images is not None and (self.explained_images < 1 or not self.with_fidelity):
            fail(f"cannot explain {self.explained_images} images: give at least 1, and leave with_fidelity on.")
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
    class that the softmax branch predicts. Rows are kept shard by shard in a folder next to ``path``, so memory does
    not grow with the data set, and a run that was stopped goes on. An image with M distinct maps costs 1 + M forward
    passes, and (2 S - 1) M more where it is perturbed in S steps.

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
    path = user_path(path)
    shards = evaluate_shards(dual, manifest, network, folder_of_shards(path), options, report)
    write_atomically(path, partial(gather, shards))
    shutil.rmtree(folder_of_shards(path))
    return path


def evaluate_shards(
    dual: DualBranch,
    manifest: Manifest,
    network: str,
    folder: Path,
    options: EvaluationOptions = WHOLE,
    report: Report = print_to_stderr,
    part: Part = ALONE,
) -> list[Path]:
    """Measure the shards of a split that fall to one process; what is there already is not measured again.

    Shards are whole batches, the same whichever process measures them, so that several processes on one kind of machine
    write what one alone does, bit by bit.

    Args:
        dual: see :func:`evaluate`, as for all up to ``network``.
        manifest: the images.
        network: its name.
        folder: of the shards.
        options: what is measured.
        report: called with a line from time to time.
        part: which of how many processes this one is.

    Returns:
        The files that fall to this process, in the order of the images.

    Raises:
        SigcamError: as :func:`evaluate` does.
    """
    if len(manifest) == 0:
        fail(f"there are no images to evaluate in {manifest.name}: choose a split that has some.")
    dual = dual_branch_of(dual)
    methods = options.methods or methods_of(dual.softmax_head)
    map_options = MapOptions(methods, options.heads, batch_size=options.batch_size)
    digest = _digest(dual, manifest, network, options, map_options)
    shards = shards_of(folder, len(manifest), BATCHES_A_SHARD * options.batch_size, part)
    todo = [shard for shard in shards if not is_whole(shard.path, digest)]
    done = sum(len(shard.images) for shard in shards) - sum(len(shard.images) for shard in todo)
    with progress_bar(sum(len(shard.images) for shard in shards), f"{network} evaluation", report) as advance:
        advance(done)
        if todo:
            dual, passes = _made_fast(dual, manifest, options, map_options, report)
        for shard in todo:
            start = time.perf_counter()
            table = _measure_shard(dual, manifest, shard.images, network, options, map_options, advance)
            write_shard(shard.path, table, digest, time.perf_counter() - start, passes)
    return [shard.path for shard in shards]


def _digest(
    dual: DualBranch, manifest: Manifest, network: str, options: EvaluationOptions, map_options: MapOptions
) -> str:
    """Compute a digest of everything that affects the rows."""
    ids = digest_of(manifest.table["image_id"].astype(str).tolist())
    facts = asdict(options) | {"methods": list(map_options.methods), "heads": list(map_options.heads)}
    return digest_of(
        {
            **facts,
            "network": [network, digest_of(repr(dual)), digest_of_weights(dual)],
            "images": [manifest.checksum, manifest.contents, ids],
            "device": next(dual.parameters()).device.type,
            "schema": str(SCHEMA),
            "versions": {name: version(name) for name in ("torch", "pillow", "numpy", "numba")},
        }
    )


def _made_fast(
    dual: DualBranch, manifest: Manifest, options: EvaluationOptions, map_options: MapOptions, report: Report
) -> tuple[DualBranch, str]:
    """Compile the network's backbone where the passes of the whole split, by all processes, are many.

    Returns:
        The network, and whether its passes are ``"compiled"`` or ``"plain"``.
    """
    # Convolutions take up to half the time in this layout.
    dual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    first = manifest.take(list(range(min(options.batch_size, len(manifest)))))
    ((_, images, _),) = image_batches(first, len(first), dual.input_format, memory_budget=0)
    images = images.to(next(dual.parameters()).device, memory_format=torch.channels_last)
    passes = len(manifest) * (1 + len(map_options.rows) * options.with_fidelity)
    backbone = InBfloat16(dual.backbone) if options.in_bfloat16 else FastBackbone(dual.backbone, images, passes, report)
    fast = DualBranch(backbone, dual.softmax_head, dual.sigmoid_head, dual.to_maps, dual.known_format)
    return fast, backbone.kind


def _measure_shard(
    dual: DualBranch,
    manifest: Manifest,
    shard: range,
    network: str,
    options: EvaluationOptions,
    map_options: MapOptions,
    advance: Callable[[int], None],
) -> pa.Table:
    """Measure the images of a shard."""
    families = FAMILIES if options.with_fidelity else (LOCALIZATION, POINTING)
    device = next(dual.parameters()).device
    explained = sample_of(len(manifest), options.explained_images)
    own = manifest.take(list(shard))
    tables: list[pa.Table] = []
    begun: deque[Callable[[], pa.Table]] = deque()
    done = shard.start
    with ThreadPoolExecutor(1) as beside:  # one: what it does is spread over the cores
        # No image is kept: each is needed once.
        for indices, images, labels in image_batches(own, options.batch_size, dual.input_format, memory_budget=0):
            part = own.take(indices.tolist())
            images = images.to(device, memory_format=torch.channels_last)
            num_perturbed = min(len(images), max(0, options.perturbation_images - done))
            chosen = None if explained is None else explained[done : done + len(images)]
            batch = _batch(dual, images, labels.to(device), part, map_options, options, num_perturbed, chosen)
            begun.append(_begin_table(batch, part, network, families, beside))
            if len(begun) > BATCHES_BEHIND:
                tables.append(begun.popleft()())
            done += len(images)
            advance(len(images))
        tables += [table() for table in begun]
    return pa.concat_tables(tables)


def _batch(
    dual: DualBranch,
    images: Tensor,
    labels: Tensor,
    part: Manifest,
    map_options: MapOptions,
    options: EvaluationOptions,
    num_perturbed: int,
    explained: Tensor | None,
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
        explained=explained,
    )


def sample_of(num_images: int, count: int | None) -> Tensor | None:
    """Which of the images of a split (N,) are in a sample of so many; ``None`` where all are.

    >>> int(sample_of(10, 4).sum()), sample_of(10, 10)
    (4, None)
    """
    if count is None or count >= num_images:
        return None
    generator = torch.Generator().manual_seed(derived_seed(0, "explained images"))
    chosen = torch.zeros(num_images, dtype=torch.bool)
    chosen[torch.randperm(num_images, generator=generator)[:count]] = True
    return chosen


def _begin_table(
    batch: MapBatch, part: Manifest, network: str, families: Sequence[MetricFamily], beside: ThreadPoolExecutor
) -> Callable[[], pa.Table]:
    """Make the passes of a batch, while ``beside``, a second thread, measures what takes none.

    Returns:
        What waits for that too, and puts the table together.
    """
    others = beside.submit(_columns_of, batch, [family for family in families if not family.makes_passes])
    columns = _columns_of(batch, [family for family in families if family.makes_passes])
    return lambda: _table_of(batch, part, network, columns | others.result())


def _columns_of(batch: MapBatch, families: Sequence[MetricFamily]) -> dict[str, Any]:
    return {name: values for family in families for name, values in family.measure(batch).items()}


def _table_of(batch: MapBatch, part: Manifest, network: str, columns: Mapping[str, Any]) -> pa.Table:
    """Build the rows of the evidence: N images x R maps, image-major; what was not measured is missing."""
    rows, count = batch.options.rows, len(part)
    table = {
        "network": [network] * (count * len(rows)),
        "image_id": np.repeat(part.table["image_id"].astype(str).to_numpy(), len(rows)),
        "label": np.repeat(batch.labels.cpu().numpy(), len(rows)),
        "predicted": np.repeat(batch.predicted.cpu().numpy(), len(rows)),
        "head": [head for head, _ in rows] * count,
        "method": [method for _, method in rows] * count,
        **columns,
    }
    missing = [None] * (count * len(rows))
    return pa.table({field.name: table.get(field.name, missing) for field in SCHEMA}, schema=SCHEMA)
