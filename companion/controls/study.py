"""The steps of the crossed controls: where maps lie, whether they know their class, and how faithful they are.

Feature maps are cached; localisation, pointing and fidelity are kept shard by shard, so that a run that was stopped
goes on. What is published of it is in :mod:`companion.controls.publish`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import Tensor, nn

from sigcam_core.backbones.passes import Pass, fast_pass
from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json
from sigcam_core.common.progress import Report
from sigcam_core.localization.protocol import MAP_SIZE
from sigcam_core.pointing.grids import batches_of_rows, choose_grids, grid_batches, grid_features
from sigcam_core.prepare.images import has_masks, image_batches, known_masks, scaled_boxes
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.prepare.views import View
from sigcam_core.run import Run
from sigcam_core.stations import ensure_manifest
from sigcam_core.train.features import cache_features

from .heads import ControlHeads
from .maps import Control, LinearHead
from .measured import (
    GRID_MEASURES,
    ControlBatch,
    grid_controls,
    have_boxes,
    locate_controls,
    perturb_controls,
    score_controls,
)
from .names import CLASS_FREE, NO_HEAD, RANDOM, WEIGHTS
from .shards import Arrays, in_shards

SHARD, BATCH = 256, 32  # images
GRIDS, CELLS = 1000, (2, 3)
SURE = 0.5  # probability of an image's class, for the grid pointing game
ROWS = "rows.json"
LOCATED = "located_test.safetensors"
QUANTITIES = 2
"""Part of the digests of what is located and of grids; raise it when more is kept of a map."""


@dataclass(frozen=True, eq=False)
class Study:
    """One network on one data set, and what is measured of it.

    Attributes:
        run: whose.
        folder: of all that is kept.
        made: its heads.
        controls: the rows that are located.
        perturbed_images: how many test images get insertion and deletion, the first.
        report: called with a line now and then.
    """

    run: Run
    folder: Path
    made: ControlHeads
    controls: tuple[Control, ...]
    perturbed_images: int
    report: Report

    @property
    def dataset(self) -> Manifest:
        """The manifest of all splits."""
        return ensure_manifest(self.run.dataset, self.run.work_dir)

    @property
    def perturbed(self) -> tuple[Control, ...]:
        """The rows that get insertion and deletion, the paper's two maps, what each is made of, and no class."""
        softmax, sigmoid = self.made.softmax, self.made.sigmoid
        rows = [Control(head, "logit", weights) for head in (softmax, sigmoid) for weights in WEIGHTS]
        return (*rows, Control(softmax, "centred"), Control(NO_HEAD, CLASS_FREE))

    @property
    def scored(self) -> tuple[Control, ...]:
        """The rows that get fidelity and grids, which are all but random signed weights, and no negatives."""
        return tuple(one for one in self.controls if one.scalar != RANDOM and not one.is_negative)

    def facts(self, controls: Sequence[Control], features: Path) -> dict[str, Any]:
        """All that decides the numbers of some rows."""
        heads = {name: _digest(head) for name, head in self.made.heads.items()}
        return {"controls": [control.name for control in controls], "heads": heads, "features": features.parent.name}


def folder_of(run: Run) -> Path:
    """Where the controls of a run are kept."""
    return run.work_dir / "controls" / run.full_name


def located_pairs(run: Run) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Packed hits (N, 96) of the softmax and the sigmoid head that are compared, for each treatment of weights.

    Returns:
        ``signed`` and ``truncated``; nothing where the controls of the run were not located.
    """
    folder = folder_of(run)
    if not (folder / ROWS).exists() or not (folder / LOCATED).exists():
        return {}
    known = read_json(folder / ROWS)
    hits = load_file(folder / LOCATED)["hits"]
    heads = (known["softmax"], known["sigmoid"])
    places = {
        weights: [known["rows"].index(Control(head, "logit", weights).name) for head in heads] for weights in WEIGHTS
    }
    return {weights: (hits[:, one], hits[:, other]) for weights, (one, other) in places.items()}


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """Cached feature maps of a split.

    Attributes:
        path: their file, whose folder is named by a digest of all that decides them.
        values: (N, K, h, w), memory-mapped.
    """

    path: Path
    values: Tensor


def feature_maps(study: Study, images: Manifest) -> FeatureMaps:
    """Load the feature maps of a split, from the cache where they are there."""
    dual = study.made.dual
    body = nn.Sequential(dual.backbone, nn.Flatten()).eval()
    body.input_format = dual.input_format  # type: ignore[assignment]  # torch types all attributes as modules
    cache = cache_features(body, images, [View()], study.run.features, cache_type="float32", report=study.report)
    form = dual.input_format
    with torch.no_grad():
        shape = dual.extract(torch.zeros(1, form.channels, form.size, form.size)).shape[1:]
    return FeatureMaps(cache.views[0], cache.open(0).view(-1, *shape))


def _batch(study: Study, maps: FeatureMaps, items: slice, classes: Tensor, controls: Sequence[Control]) -> ControlBatch:
    rows = torch.arange(items.start, items.stop)
    return ControlBatch(maps.values[items], classes[items], controls, study.made.heads, rows)


def locate(study: Study, images: Manifest, controls: Sequence[Control], name: str = "") -> Arrays:
    """Locate controls in all images of a split by :func:`companion.controls.measured.locate_controls`."""
    maps, masked = feature_maps(study, images), has_masks(images)

    def measure(items: slice) -> Arrays:
        part = images.take(list(range(items.start, items.stop)))
        masks = known_masks(part, MAP_SIZE) if masked else None
        batch = _batch(study, maps, items, images.labels, controls)
        return locate_controls(batch, scaled_boxes(part, MAP_SIZE), masks)

    path = study.folder / f"located_{name or images.table['split'].iloc[0]}.safetensors"
    facts = study.facts(controls, maps.path) | {"quantities": QUANTITIES}
    return in_shards(path, len(images), measure, facts, shard_size=64, report=study.report)


def class_logits(study: Study, maps: FeatureMaps) -> Tensor:
    """Logits (N, C) of the softmax head which is compared."""
    head = study.made.heads[study.made.softmax]
    return torch.cat([head.logits(part.mean(dim=(2, 3))) for part in torch.split(maps.values, SHARD)])


def score(study: Study, test: Manifest, maps: FeatureMaps, logits: Tensor) -> Arrays:
    """Score the images of these maps and logits (N, C) by :func:`companion.controls.measured.score_controls`."""
    classes, controls = logits.argmax(dim=1), study.scored
    extract = _extractor(study, test, len(test) * len(controls))

    def measure(items: slice) -> Arrays:
        batch = _batch(study, maps, items, classes, controls)
        return score_controls(extract, _decoded(study, test, items), batch, BATCH)

    facts = study.facts(controls, maps.path)
    return in_shards(
        study.folder / "scored.safetensors", len(test), measure, facts, shard_size=BATCH, report=study.report
    )


def perturb(study: Study, test: Manifest, maps: FeatureMaps, logits: Tensor) -> Arrays:
    """Perturb the first images by :func:`companion.controls.measured.perturb_controls`."""
    images = test.take(list(range(min(len(test), study.perturbed_images))))
    classes, controls = logits.argmax(dim=1), study.perturbed
    extract = _extractor(study, images, 7 * len(images) * len(controls))

    def measure(items: slice) -> Arrays:
        batch = _batch(study, maps, items, classes, controls)
        return perturb_controls(extract, _decoded(study, images, items), batch, study.made.softmax, BATCH)

    facts = study.facts(controls, maps.path)
    return in_shards(
        study.folder / "perturbed.safetensors", len(images), measure, facts, shard_size=BATCH, report=study.report
    )


def grids(study: Study, test: Manifest, cells: int, logits: Tensor, features: Path, count: int = 0) -> Arrays:
    """Grids of test images that the softmax head which is compared is sure of.

    Args:
        study: whose.
        test: the images.
        cells: along each side.
        logits: (N, C) of that head.
        features: file of the feature maps, for the digest.
        count: G, how many of the grids; 0 for all.

    Returns:
        By name of :data:`companion.controls.measured.GRID_MEASURES`, (G, cells * cells, R); and the ``images``
        (G, cells * cells) in the cells.
    """
    made, controls = study.made, study.scored
    chosen = choose_grids(logits.softmax(dim=1), test.labels, cells, GRIDS, SURE, study.run.seed)
    chosen = chosen[: count or None]
    at_once = max(1, BATCH // cells**2)
    used, places = torch.unique(chosen, return_inverse=True)
    shown = test.take(used.tolist())  # one object for all shards: what fits into memory is decoded once

    def measure(items: slice) -> Arrays:
        batches = batches_of_rows(places[items], at_once)
        images = image_batches(shown, 1, made.dual.input_format, batches=batches)
        parts = []
        for batch in grid_batches(images, cells):
            own = batch._replace(rows=used[batch.rows])  # random rows are drawn by an image's place in the split
            parts.append(grid_controls(own, grid_features(made.dual, batch.images), controls, made.heads))
        arrays = {name: torch.cat([part[name] for part in parts]).numpy() for name in GRID_MEASURES}
        return arrays | {"images": chosen[items].numpy()}

    path = study.folder / f"grids_{cells}.safetensors"
    facts = study.facts(controls, features) | {"sure": SURE, "seed": study.run.seed, "quantities": QUANTITIES}
    return in_shards(path, len(chosen), measure, facts, shard_size=2 * at_once, report=study.report)


def _extractor(study: Study, images: Manifest, num_passes: int) -> Pass:
    study.made.dual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    example = _decoded(study, images, slice(0, min(BATCH, len(images))))
    return fast_pass(study.made.dual.backbone, example, num_passes, study.report)


def _decoded(study: Study, images: Manifest, items: slice) -> Tensor:
    part = images.take(list(range(items.start, items.stop)))
    (batch,) = image_batches(part, len(part), study.made.dual.input_format, memory_budget=0)
    return batch[1].to(memory_format=torch.channels_last)


def held_out_hits(located: Arrays) -> NDArray[np.uint8]:
    """Select the hits (V, R, 96) of the held-out images that have boxes."""
    there = have_boxes(located)
    if not there.any():
        fail("no held-out image has a box, so that no threshold can be chosen: prepare a split val that has boxes.")
    return located["hits"][there]


def _digest(head: LinearHead) -> str:
    parts = (head.weight, head.bias)
    return hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in parts)).hexdigest() + str(head.shift)
