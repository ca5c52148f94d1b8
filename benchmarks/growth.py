"""How an evaluation grows with its images and with the processes that share it: ``python -m benchmarks.growth``.

EfficientNet-Lite0 and made-up images, with localisation, pointing and fidelity of ten maps: by one process of one
thread, and by two. Where a number of images would take longer than is allowed, as many as fit are measured, and both
numbers are reported. A straight line through the times is the law: seconds that are fixed, and seconds per image.

From the costs that a plan counts follow the hours of a profile on machines that were not measured. What is assumed of
them is written next to these hours, by name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.random_images import draw_images, manifest_of
from benchmarks.shares import load_of_the_machine, loads_since
from companion.chapters.speed import BENCHMARKS
from companion.matrix import profile_of, shown_runs
from companion.plan import (
    Cost,
    Speed,
    cost_of_classifier,
    cost_of_head,
    costs_of,
    fitted_speed,
    images_of,
    observations,
)
from sigcam_core import DualBranch
from sigcam_core.backbones import IMAGENET_CLASSES, build
from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.common.files import write_json
from sigcam_core.common.provenance import provenance
from sigcam_core.evaluate.evaluate import EvaluationOptions, evaluate_shards
from sigcam_core.evaluate.shards import Part

SIZES, WORKERS = (300, 3_000, 30_000), (1, 2)
FILES = 300  # images that are drawn, and shown again and again
GROWTH = BENCHMARKS.parent / "growth"
PROFILE = "paper"


@dataclass(frozen=True)
class Machine:
    """A machine that was not measured.

    Attributes:
        name: for the table.
        gpus: how many it has.
        tflops: TFLOP/s that each sustains, an assumption.
        nodes: that work side by side.
        cores: of each node.
    """

    name: str
    gpus: int
    tflops: float
    nodes: int
    cores: int


ASSUMED_TFLOPS, ASSUMED_CORES, MEASURED_CORES = 25.0, 32, 2
MACHINES = (
    Machine("one H100", gpus=1, tflops=ASSUMED_TFLOPS, nodes=1, cores=16),
    Machine("eight H100", gpus=8, tflops=ASSUMED_TFLOPS, nodes=1, cores=128),
    Machine("100 nodes without GPUs", gpus=0, tflops=0.0, nodes=100, cores=ASSUMED_CORES),
)
ASSUMPTIONS = (
    f"an H100 sustains {ASSUMED_TFLOPS:g} TFLOP/s on these networks in 32-bit numbers: assumed, not measured",
    f"a node of the cluster has {ASSUMED_CORES} cores, each as fast as one of the {MEASURED_CORES} that were measured",
    "16 cores serve each GPU, and localise maps while it makes passes",
    "jobs do not wait for files, for each other's results or for a queue; one training runs on one GPU or one node",
)


class Run(NamedTuple):
    """One measured evaluation."""

    asked: int  #: images
    images: int  #: that were measured
    workers: int
    seconds: float
    processor_seconds: float


def main() -> None:
    """Measure as the command line says, print the result and write it as JSON."""
    parser = CommandLine(prog="python -m benchmarks.growth", description="Measure how an evaluation grows.")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="images, default: 300 3000 30000")
    parser.add_argument("--minutes", type=float, default=10.0, help="a run at most, default: %(default)s")
    parser.add_argument("--costs", action="store_true", help="measure nothing, work out what the profile costs")
    parser.add_argument("--output", type=Path, help="JSON file, default: results/growth/cpu.json")
    parser.add_argument("--part", help="evaluate this part of a folder's images, in this process")
    parser.add_argument("--images", type=int, help="of the part")
    parser.add_argument("--folder", type=Path, help="of the part")
    options = parser.parse_args()
    if options.part:
        evaluate_part(options.folder, options.images, Part.parse(options.part))
        return
    if min(options.sizes) < 1 or not options.minutes > 0:
        fail(f"--sizes {options.sizes} and --minutes {options.minutes:g} are out of range: give positive numbers.")
    load = load_of_the_machine()
    runs = [] if options.costs else measure(sorted(options.sizes), 60 * options.minutes)
    result = {
        "network": "efficientnet_lite0",
        "runs": [run._asdict() for run in runs],
        "laws": {str(workers): law_of(runs, workers) for workers in WORKERS if runs},
        "load_of_the_machine": loads_since(load),
        "profile": costs_on_machines(),
        "provenance": provenance(seed=0, threads=1, parameters={"minutes": options.minutes}),
    }
    print(json.dumps(result, indent=2))
    write_json(options.output or GROWTH / "cpu.json", result)


def measure(sizes: list[int], limit: float) -> list[Run]:
    """Evaluate each number of images by each number of processes; as many as fit into ``limit`` seconds."""
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_images(folder, FILES)
        for workers in WORKERS:
            own: list[Run] = []
            for asked in sizes:
                images = min(asked, _fitting(own, limit))
                if own and images <= own[-1].images:  # no more would fit than was measured
                    break
                own.append(_run(folder, asked, images, workers))
            runs += own
    return runs


def _fitting(done: list[Run], limit: float) -> int:
    """Say how many images fit into ``limit`` seconds, by the last run; any number before the first."""
    return int(limit / (done[-1].seconds / done[-1].images)) if done else sys.maxsize


def _run(folder: Path, asked: int, images: int, workers: int) -> Run:
    start, before = time.perf_counter(), os.times()
    command = [sys.executable, "-m", "benchmarks.growth", "--folder", str(folder), "--images", str(images)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    parts = [subprocess.Popen([*command, "--part", f"{n}/{workers}"], env=environment) for n in range(1, workers + 1)]
    codes = [part.wait() for part in parts]
    if any(codes):
        fail(f"an evaluation of {images} images by {workers} processes failed: see what it said above.")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(asked, images, workers, time.perf_counter() - start, used)


def evaluate_part(folder: Path, images: int, part: Part) -> None:
    """Evaluate the shards of some images that fall to one of several processes, on one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build("efficientnet_lite0", IMAGENET_CLASSES, pretrained=True)
    dual = DualBranch.from_classifier(network, init="fresh")
    manifest = manifest_of(folder, images, IMAGENET_CLASSES, FILES)
    with tempfile.TemporaryDirectory() as shards:
        # Batches so small that processes share also few images evenly, in shards of 32 batches.
        evaluate_shards(dual, manifest, "network", Path(shards), EvaluationOptions(batch_size=4), part=part)


def law_of(runs: list[Run], workers: int) -> dict[str, float]:
    """Fit fixed seconds and seconds per image: the line through the times with the least relative error.

    >>> law = law_of([Run(n, n, 1, 2 + 0.1 * n, 1 + 0.2 * n) for n in (10, 100, 1000)], 1)
    >>> {name: round(value, 6) for name, value in law.items()}["seconds_per_image"]
    0.1
    """
    own = [run for run in runs if run.workers == workers]
    law: dict[str, float] = {}
    for name, times in (
        ("seconds", [run.seconds for run in own]),
        ("processor_seconds", [run.processor_seconds for run in own]),
    ):
        design = np.array([[1 / t, run.images / t] for run, t in zip(own, times, strict=True)])
        (fixed, per_image), *_ = np.linalg.lstsq(design, np.ones(len(own)), rcond=None)
        law |= {f"fixed_{name}": float(fixed), f"{name}_per_image": float(per_image)}
    return law


def costs_on_machines() -> dict[str, Any]:
    """Hours of the profile on each machine, what it waits for, and what is assumed."""
    speed = fitted_speed(observations())
    cost, longest = sum(costs_of(profile_of(PROFILE)).values(), Cost()), longest_training()
    return {
        "name": PROFILE,
        "gflop": cost.gflop,
        "located_images": cost.located,
        "longest_training": longest._asdict(),
        "machines": [asdict(machine) | hours_on(machine, cost, longest, speed) for machine in MACHINES],
        "assumptions": ASSUMPTIONS,
        "measured": {"gflop_per_second": speed.gflop_per_second, "seconds_per_image": speed.seconds_per_image},
    }


class Training(NamedTuple):
    """One training, which is not shared between machines."""

    name: str
    gflop: float


def longest_training() -> Training:
    """Find the training of the profile that needs the most passes."""
    trainings = []
    for run, *_ in shown_runs(PROFILE, Path()):
        data, name = images_of(run.dataset), f"{run.backbone} on {run.dataset}"
        trainings.append(Training(f"the classifier {name}", cost_of_classifier(run, data).train_gflop))
        trainings.append(Training(f"the head of {name}", cost_of_head(run, data).train_gflop))
    return max(trainings, key=lambda one: one.gflop)


def hours_on(machine: Machine, cost: Cost, longest: Training, speed: Speed) -> dict[str, Any]:
    """Hours of passes, of localising maps and of the longest training, and of all of it.

    Passes and maps go side by side where there is a GPU, and one after the other where there is none. Whatever else is
    shared, nothing ends before the longest training does.
    """
    shares = machine.cores / MEASURED_CORES  # of what was measured on two cores, a node
    located = cost.located * speed.seconds_per_image / shares / machine.nodes / 3600
    rate = 1000 * machine.tflops if machine.gpus else speed.gflop_per_second * shares  # of a GPU, or of a node
    passes = cost.gflop / rate / (machine.gpus or machine.nodes) / 3600
    alone = longest.gflop / rate / 3600
    together = max(passes, located) if machine.gpus else passes + located
    bottleneck = f"passes of the {'GPUs' if machine.gpus else 'cores'}" if passes >= located else "maps to localise"
    return {
        "hours_of_passes": passes,
        "hours_of_localisation": located,
        "hours_of_longest_training": alone,
        "hours": max(together, alone),
        "bottleneck": longest.name if alone > together else bottleneck,
    }


if __name__ == "__main__":
    run_command_line(main)
