"""Evidence at the size of ImageNet's validation set: ``python -m benchmarks.evidence``.

50,000 images with ten maps each. Curves are those of smooth random maps and boxes, each scaled by a factor of its own,
so that no two are the same; scores are random. The file is written as an evaluation writes it; another process reads
it and makes all tables with their intervals.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.memory import own_peak_mebibytes, without_kept_memory
from benchmarks.shares import Clock, load_of_the_machine, loads_since
from companion.chapters.speed import BENCHMARKS
from sigcam_core.cams.methods import METHODS
from sigcam_core.cams.score_maps import normalize_maps
from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.common.files import write_json
from sigcam_core.common.packed import pack
from sigcam_core.common.provenance import provenance
from sigcam_core.dual.branch import HEADS
from sigcam_core.evaluate.schema import SCHEMA, read_evidence
from sigcam_core.evaluate.shards import gather, write_shard
from sigcam_core.localization.evidence import measure_map
from sigcam_core.localization.protocol import MAP_SIZE
from sigcam_core.summarise.tables import tables_of

IMAGES, SHARD, KNOWN_MAPS, RESAMPLES = 50_000, 1024, 500, 1000
TARGETS = {"megabytes": 250, "seconds_to_load": 3, "peak_mebibytes": 2000, "seconds_of_tables": 60}


def main() -> None:
    """Measure as the command line says, print the result and write it as JSON."""
    parser = CommandLine(prog="python -m benchmarks.evidence", description="Measure a large file of evidence.")
    parser.add_argument("--images", type=int, default=IMAGES, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="JSON file, default: results/benchmarks/evidence/cpu.json")
    parser.add_argument("--read", type=Path, help="read this file in this process and print what that took")
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read_and_summarise(options.read)))
        return
    if options.images < 1:
        fail(f"cannot measure evidence of {options.images} images: give at least 1.")
    load = load_of_the_machine()
    with tempfile.TemporaryDirectory() as folder:
        path = write_made_up_evidence(Path(folder), options.images)
        measured = {"megabytes": path.stat().st_size / 1e6} | _in_another_process(path)
    facts: dict[str, Any] = {
        "images": options.images,
        "rows": 10 * options.images,
        "targets": TARGETS,
        "resamples": RESAMPLES,
    }
    facts["load_of_the_machine"] = loads_since(load)
    result = {**facts, **measured, "provenance": provenance(seed=0, threads=torch.get_num_threads())}
    print(json.dumps(result, indent=2))
    write_json(options.output or BENCHMARKS / "evidence" / "cpu.json", result)


def read_and_summarise(path: Path) -> dict[str, float]:
    """Seconds of loading a file and of all its tables, by the clock and of processors, and the peak memory."""
    loading, making = Clock(), Clock()
    with loading.running():
        evidence = read_evidence(path)
    with making.running():
        tables = tables_of(evidence, RESAMPLES)
    return {
        "seconds_to_load": loading.wall,
        "seconds_of_tables": making.wall,
        "processor_seconds_to_load": loading.cpu,
        "processor_seconds_of_tables": making.cpu,
        "peak_mebibytes": own_peak_mebibytes(),
        "rows_of_tables": sum(len(table) for table in tables.values()),
    }


def write_made_up_evidence(folder: Path, num_images: int) -> Path:
    """Write evidence of random maps and scores as an evaluation does, shard by shard; returns the file."""
    generator = np.random.default_rng(0)
    known = _random_curves(generator)
    path = folder / "evidence.parquet"
    shards = []
    for start in range(0, num_images, SHARD):
        images = range(start, min(start + SHARD, num_images))
        shards.append(folder / f"{start:08d}.parquet")
        write_shard(shards[-1], _made_up_rows(generator, known, images), "", 0.0, "plain")
    return gather(shards, path)


def _random_curves(generator: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    """IoU curves (M, 255) of smooth random maps with a random box each."""
    noise = torch.from_numpy(generator.standard_normal((KNOWN_MAPS, 7, 7))).float()
    score_maps = normalize_maps(noise, (MAP_SIZE, MAP_SIZE)).numpy()
    curves = []
    for score_map in score_maps:
        (x0, y0), (width, height) = generator.integers(0, 100, 2), generator.integers(40, 120, 2)
        box = np.array([[x0, y0, x0 + width, y0 + height]])
        curves.append(measure_map(score_map, box, None)["best_iou_multi"])
    return np.array(curves, dtype=np.float64)


def _made_up_rows(generator: np.random.Generator, known: np.ndarray[Any, Any], images: range) -> pa.Table:
    """Rows of some images, ten each."""
    rows = list(product(HEADS, METHODS))
    count = len(images) * len(rows)
    factors = generator.uniform(0.5, 1.2, (count, 1))
    curves = np.minimum(factors * known[generator.integers(len(known), size=count)], 10_000)  # (R, 255)
    scores = generator.random((4, count))
    labels = np.repeat(generator.integers(0, 1000, len(images)), len(rows))
    columns: dict[str, Any] = {
        "network": ["made up"] * count,
        "image_id": np.repeat([f"ILSVRC2012_val_{index + 1:08d}" for index in images], len(rows)),
        "label": labels,
        "predicted": np.where(generator.random(count) < 0.7, labels, 0),
        "head": [head for head, _ in rows] * len(images),
        "method": [method for _, method in rows] * len(images),
        "best_iou_multi": pack(list(curves)),
        "best_iou_outer": pack(list(curves)),
        "pointing_hit": generator.random(count) < 0.7,
    }
    shares = (
        *("gt_loc_iou_any", "gt_loc_iou_first", "best_iou_otsu", "best_iou_half"),
        *("energy_in_box", "coverage", "coherency"),
    )
    columns |= {name: generator.random(count) for name in shares}
    scored = ("image_score_softmax", "explained_score_softmax", "image_score_sigmoid", "explained_score_sigmoid")
    columns |= dict(zip(scored, scores, strict=True))
    return pa.table({field.name: columns.get(field.name, [None] * count) for field in SCHEMA}, schema=SCHEMA)


def _in_another_process(path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.evidence", "--read", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=without_kept_memory())
    if done.returncode != 0:
        fail(f"the evidence could not be read: {done.stderr.strip()[-300:]}")
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    run_command_line(main)
