"""What the maps know: every head, scalar and treatment of weights crossed, beside maps that know nothing.

``python -m companion publish controls-NAME`` measures the controls of an experiment whose heads are linear. Feature
maps are cached; localisation, pointing and fidelity are kept shard by shard, so that a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import Tensor, nn

from sigcam_core.backbones.passes import Pass, fast_pass
from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json, write_json
from sigcam_core.common.progress import Report
from sigcam_core.common.provenance import provenance
from sigcam_core.localization.protocol import MAP_SIZE
from sigcam_core.pointing.grids import batches_of_rows, choose_grids, grid_batches, grid_features
from sigcam_core.prepare.images import has_masks, image_batches, known_masks, scaled_boxes
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.prepare.views import View
from sigcam_core.run import Run
from sigcam_core.stations import ensure_manifest, record_of
from sigcam_core.summarise.csv import write_csv
from sigcam_core.train.features import cache_features

from ..experiments import Experiment
from ..heads import run_of, train_heads
from .baselines import shift_table, shifted_heads
from .comparisons import differences_table
from .heads import ControlHeads, control_heads
from .maps import Control, LinearHead
from .measured import ControlBatch, grid_controls, have_boxes, locate_controls, perturb_controls, score_controls
from .names import BASELINES, CLASS_FREE, NO_HEAD, SHIFTED, WEIGHTS, WRONG_CLASS
from .shards import Arrays, in_shards, seconds_of
from .tables import (
    ControlEvidence,
    comparison_pairs,
    figures_table,
    gains_table,
    likeness_table,
    resampled_figures,
    scorers_table,
    with_image_counts,
)

CROSSED = ("logit", "centred", "log_odds", "finer", WRONG_CLASS)
"""Scalars that are crossed with weights for the two heads that are compared."""
SHARD, BATCH = 256, 32  # images
RESAMPLES = 1000  # of the bootstrap over images
GRIDS, CELLS = 1000, (2, 3)
STEPS = ("located_test", "located_val", "located_shifts", "scored", "perturbed", *(f"grids_{n}" for n in CELLS))
PATHS = ("penalties_softmax", "penalties_sigmoid")
SURE = 0.5  # probability of an image's class, for the grid pointing game
ROWS = "rows.json"
LOCATED = "located_test.safetensors"


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
        """The rows that get fidelity, which are all but random signed weights."""
        return tuple(control for control in self.controls if control.scalar != "random weights")

    def facts(self, controls: Sequence[Control], features: Path) -> dict[str, Any]:
        """All that decides the numbers of some rows."""
        heads = {name: _digest(head) for name, head in self.made.heads.items()}
        return {"controls": [control.name for control in controls], "heads": heads, "features": features.parent.name}


def publish_controls(experiment: Experiment, folder: Path, work_dir: Path, report: Report) -> None:
    """Make the heads of an experiment, measure all control maps, and write their tables.

    Args:
        experiment: whose.
        folder: of the tables.
        work_dir: folder of everything that is made; what is there is not made again.
        report: called with a line now and then.

    Raises:
        SigcamError: for a network whose heads are not linear.
    """
    run = run_of(experiment, work_dir, experiment.seeds[0])
    for head, table in train_heads(experiment, [run], report).items():
        write_csv(folder / f"choice_{head}.csv", table)
    kept = folder_of(run)
    made = control_heads(run, kept, report)
    for name, table in made.tables.items():
        write_csv(folder / f"{name}.csv", table)
    study = Study(run, kept, made, (), experiment.perturbed_images, report)
    shifts = _best_shift(study)
    write_csv(folder / "shifts.csv", shifts)
    shift = float(shifts["shift"][shifts["chosen"]].iloc[0])
    made.heads[made.softmax] = replace(made.heads[made.softmax], shift=shift)
    study = replace(study, controls=control_rows(made))
    # What else reads the shards must know their rows.
    rows = {"rows": [control.name for control in study.controls], "softmax": made.softmax, "sigmoid": made.sigmoid}
    write_json(kept / ROWS, rows)
    evidence = _measure(study)
    begin = time.perf_counter()
    for name, table in control_tables(evidence, made).items():
        write_csv(folder / f"{name}.csv", table)
    seconds = {path.stem: seconds_of(path) for path in sorted(kept.glob("*.safetensors")) if path.stem in STEPS}
    seconds |= {"optima": sum(float(table["seconds"].sum()) for name, table in made.tables.items() if name in PATHS)}
    seconds |= {"tables": time.perf_counter() - begin}
    write_json(folder / "record.json", _record(study, experiment, seconds))


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


def control_tables(evidence: ControlEvidence, made: ControlHeads) -> dict[str, pd.DataFrame]:
    """All tables of the controls by name.

    Args:
        evidence: the raw numbers.
        made: the heads.
    """
    figures = resampled_figures(evidence, RESAMPLES)
    heads = made.tables["heads"]
    known = zip(heads["head"], heads["gauge_energy"], strict=True)
    energies = {name: energy for name, energy in known if not made.heads[name].is_sigmoid}
    return {
        "figures": with_image_counts(figures_table(figures, evidence.controls), evidence),
        "differences": with_image_counts(
            differences_table(figures, comparison_pairs(figures, made.softmax, made.sigmoid)), evidence
        ),
        "gains": with_image_counts(gains_table(figures, energies, made.sigmoid), evidence),
        "scorers": scorers_table(evidence),
        "likeness": likeness_table(evidence),
    }


def control_rows(made: ControlHeads) -> tuple[Control, ...]:
    """The rows of a network: its two heads crossed with scalars and weights, its other heads, and no head."""
    compared = (made.softmax, made.sigmoid)
    rows = [Control(head, scalar, weights) for head in compared for scalar in CROSSED for weights in WEIGHTS]
    rows += [Control(made.softmax, SHIFTED, weights) for weights in WEIGHTS]
    others = [name for name in made.heads if name not in compared]
    scalars = {name: ("logit",) if made.heads[name].is_sigmoid else ("logit", "centred") for name in others}
    rows += [Control(name, scalar, weights) for name in others for scalar in scalars[name] for weights in WEIGHTS]
    rows += [Control(NO_HEAD, baseline) for baseline in BASELINES]
    # Of the sigmoid head the log-odds are the logit.
    return tuple(row for row in rows if not (row.scalar == "log_odds" and made.heads[row.head].is_sigmoid))


def _measure(study: Study) -> ControlEvidence:
    """Every station of the measurement."""
    test, val = (study.dataset.split(name) for name in ("test", "val"))
    sizes = [n for n in CELLS if n**2 <= test.num_classes]  # each cell shows another class
    maps = _feature_maps(study, test)
    logits = _logits(study, maps)
    grids = {n: _grids(study, test, n, maps, logits) for n in sizes}
    return ControlEvidence(
        controls=study.controls,
        located=_locate(study, test, study.controls),
        held_out_hits=_held_out_hits(_locate(study, val, study.controls)),
        scored_controls=study.scored,
        scored=_score(study, test, maps, logits),
        perturbed_controls=study.perturbed,
        perturbed=_perturb(study, test, maps, logits),
        grid_controls=study.scored,
        grids={n: one["shares"] for n, one in grids.items()},
        grid_images={n: one["images"] for n, one in grids.items()},
        scorers=tuple(study.made.heads),
        judge=study.made.softmax,
    )


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """Cached feature maps of a split.

    Attributes:
        path: their file, whose folder is named by a digest of all that decides them.
        values: (N, K, h, w), memory-mapped.
    """

    path: Path
    values: Tensor


def _feature_maps(study: Study, images: Manifest) -> FeatureMaps:
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


def _locate(study: Study, images: Manifest, controls: Sequence[Control], name: str = "") -> Arrays:
    maps, masked = _feature_maps(study, images), has_masks(images)

    def measure(items: slice) -> Arrays:
        part = images.take(list(range(items.start, items.stop)))
        masks = known_masks(part, MAP_SIZE) if masked else None
        batch = _batch(study, maps, items, images.labels, controls)
        return locate_controls(batch, scaled_boxes(part, MAP_SIZE), masks)

    path = study.folder / f"located_{name or images.table['split'].iloc[0]}.safetensors"
    facts = study.facts(controls, maps.path)
    return in_shards(path, len(images), measure, facts, shard_size=64, report=study.report)


def _logits(study: Study, maps: FeatureMaps) -> Tensor:
    """Logits (N, C) of the softmax head which is compared."""
    head = study.made.heads[study.made.softmax]
    return torch.cat([head.logits(part.mean(dim=(2, 3))) for part in torch.split(maps.values, SHARD)])


def _score(study: Study, test: Manifest, maps: FeatureMaps, logits: Tensor) -> Arrays:
    classes, controls = logits.argmax(dim=1), study.scored
    extract = _extractor(study, test, len(test) * len(controls))

    def measure(items: slice) -> Arrays:
        batch = _batch(study, maps, items, classes, controls)
        return score_controls(extract, _decoded(study, test, items), batch, BATCH)

    facts = study.facts(controls, maps.path)
    return in_shards(
        study.folder / "scored.safetensors", len(test), measure, facts, shard_size=BATCH, report=study.report
    )


def _perturb(study: Study, test: Manifest, maps: FeatureMaps, logits: Tensor) -> Arrays:
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


def _grids(study: Study, test: Manifest, cells: int, maps: FeatureMaps, logits: Tensor) -> Arrays:
    """Grids of test images that the softmax head which is compared is sure of.

    Returns:
        ``shares`` (G, cells * cells, R), and the ``images`` (G, cells * cells) in the cells.
    """
    made, controls = study.made, study.scored
    grids = choose_grids(logits.softmax(dim=1), test.labels, cells, GRIDS, SURE, study.run.seed)
    at_once = max(1, BATCH // cells**2)
    used, places = torch.unique(grids, return_inverse=True)
    shown = test.take(used.tolist())  # one object for all shards: what fits into memory is decoded once

    def measure(items: slice) -> Arrays:
        batches = batches_of_rows(places[items], at_once)
        images = image_batches(shown, 1, made.dual.input_format, batches=batches)
        shares = []
        for batch in grid_batches(images, cells):
            own = batch._replace(rows=used[batch.rows])  # random rows are drawn by an image's place in the split
            shares.append(grid_controls(own, grid_features(made.dual, batch.images), controls, made.heads))
        return {"shares": torch.cat(shares).numpy(), "images": grids[items].numpy()}

    path = study.folder / f"grids_{cells}.safetensors"
    facts = study.facts(controls, maps.path) | {"sure": SURE, "seed": study.run.seed}
    return in_shards(path, len(grids), measure, facts, shard_size=2 * at_once, report=study.report)


def _extractor(study: Study, images: Manifest, num_passes: int) -> Pass:
    study.made.dual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    example = _decoded(study, images, slice(0, min(BATCH, len(images))))
    return fast_pass(study.made.dual.backbone, example, num_passes, study.report)


def _decoded(study: Study, images: Manifest, items: slice) -> Tensor:
    part = images.take(list(range(items.start, items.stop)))
    (batch,) = image_batches(part, len(part), study.made.dual.input_format, memory_budget=0)
    return batch[1].to(memory_format=torch.channels_last)


def _best_shift(study: Study) -> pd.DataFrame:
    """MaxBoxAccV2 on held-out images of softmax weights that are all shifted by one constant; the best is chosen."""
    heads = shifted_heads(study.made.heads[study.made.softmax])
    rows = tuple(Control(name, SHIFTED) for name in heads)
    tried = replace(study, made=replace(study.made, heads=heads))
    return shift_table(_held_out_hits(_locate(tried, study.dataset.split("val"), rows, "shifts")))


def _held_out_hits(located: Arrays) -> NDArray[np.uint8]:
    """The hits (V, R, 96) of those held-out images that have boxes."""
    there = have_boxes(located)
    if not there.any():
        fail("no held-out image has a box, so that no threshold can be chosen: prepare a split val that has boxes.")
    return located["hits"][there]


def _digest(head: LinearHead) -> str:
    parts = (head.weight, head.bias)
    return hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in parts)).hexdigest() + str(head.shift)


def _record(study: Study, experiment: Experiment, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Where the numbers come from."""
    run, manifest = study.run, study.dataset
    return provenance(
        experiment=asdict(experiment),
        manifest_checksum=manifest.checksum,
        test_images=len(manifest.split("test")),
        held_out_images=len(manifest.split("val")),
        perturbed_images=min(study.perturbed_images, len(manifest.split("test"))),
        softmax=study.made.softmax,
        sigmoid=study.made.sigmoid,
        classifier=record_of(run.classifier),
        sigmoid_head=record_of(run.sigmoid_head),
        seconds=dict(seconds),
        resamples=RESAMPLES,
        resampling_seed=0,
        threads=torch.get_num_threads(),
    )
