"""The whole evaluation of images: ten maps each, localised and scored: ``python -m benchmarks.whole_line``.

Ours is the evaluation that every table of this project rests on, from image files to a file of evidence, and the
values that are read from it. The peer is :mod:`benchmarks.peer_line`. Both decode the same files. Localisation is of
the maps of the labels, fidelity of those of the predicted classes: they are measured where all labels are predicted, so
that one set of ten maps per image serves both, and where none is.

A peer's time grows in proportion to the images, so it may be measured on the first of them alone; ratios are of times
an image. Where passes are compiled, that was done before: the first turn does not count, and its seconds are reported.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torchvision.models import resnet50

from benchmarks.memory import environment
from benchmarks.peer_line import Figures, evaluate_by_peers, passes_of_peer, peer_networks
from benchmarks.random_images import random_images
from benchmarks.shares import Clock, load_of_the_machine, loads_since, timed_passes
from benchmarks.timing import ForwardPass, Row
from companion.chapters.speed import BENCHMARKS
from sigcam_core import DualBranch, cam_maps
from sigcam_core.backbones import IMAGENET_CLASSES, build, passes
from sigcam_core.backbones.formats import IMAGENET_FORMAT
from sigcam_core.cams.distinct import distinct_maps
from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.common.files import write_json
from sigcam_core.common.provenance import provenance
from sigcam_core.evaluate.evaluate import EvaluationOptions, evaluate
from sigcam_core.evaluate.overhead import seconds_of
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.fidelity.evidence import fidelity_statistics
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.prepare.images import image_batches
from sigcam_core.prepare.manifest import Manifest

IMAGES, PEER_IMAGES, REPEATS, BATCH_SIZE = 200, 16, 3, 32
GOALS = {"resnet50": 12.0, "efficientnet_lite0": 20.0}
NAMES = {"resnet50": "ResNet-50", "efficientnet_lite0": "EfficientNet-Lite0"}
LABELS = {"predicted": 0, "others": 1}
"""What the labels are, and by how much they differ from the predicted class: all the same, or none."""
PEER = "grad-cam, OpenCV and a pass per map"
OTHER_PLUS_PLUS = "gradcam++"
"""Not compared: grad-cam adds 1e-6 to a denominator that is of that size."""


class Counts(NamedTuple):
    """How much is measured."""

    images: int  #: of ours
    peer_images: int  #: the first of these, which the peer measures
    repeats: int  #: turns of each that count

    def of(self, line: str) -> int:
        """Images that a line measures."""
        return self.peer_images if line == "peer" else self.images


Line = Callable[[Manifest], Figures]
"""A whole evaluation of a manifest; the peer takes no more of it than it shall measure."""


def main() -> None:
    """Measure as the command line says, print the result and write it as JSON."""
    parser = CommandLine(prog="python -m benchmarks.whole_line", description="Measure a whole evaluation.")
    parser.add_argument("--images", type=int, default=IMAGES, help="default: %(default)s")
    parser.add_argument("--peer-images", type=int, default=PEER_IMAGES, help="of the peer, default: %(default)s")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="pairs of runs, default: %(default)s")
    parser.add_argument("--output", type=Path, help="JSON file, default: results/benchmarks/whole_line/cpu.json")
    options = parser.parse_args()
    counts = Counts(options.images, options.peer_images, options.repeats)
    if min(counts) < 1:
        given = f"--images {counts.images}, --peer-images {counts.peer_images} and --repeats {counts.repeats}"
        fail(f"{given} must be at least 1.")
    if options.peer_images > options.images:
        fail(f"--peer-images {options.peer_images} are more than --images {options.images}: give at most as many.")
    load = load_of_the_machine()
    facts = {
        "seed": 0,
        "threads": torch.get_num_threads(),
        "environment": environment(),
        "parameters": counts._asdict(),
    }
    networks = [measure(name, counts, labels) for name in GOALS for labels in LABELS]
    result = {"networks": networks, "load_of_the_machine": loads_since(load), "provenance": provenance(**facts)}
    print(json.dumps(result, indent=2))
    write_json(options.output or BENCHMARKS / "whole_line" / "cpu.json", result)


def network_of(name: str) -> DualBranch:
    """Build a network with a fresh second head; batch norms of random weights take the statistics of their inputs."""
    torch.manual_seed(0)
    if name != "resnet50":
        return DualBranch.from_classifier(build(name, IMAGENET_CLASSES, pretrained=True), init="fresh")
    model = resnet50().train()
    with torch.no_grad():
        for layer in (layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)):
            layer.momentum = None
        model(torch.randn(16, 3, 224, 224))
    return DualBranch.from_classifier(model.eval(), init="fresh", input_format=IMAGENET_FORMAT)


def measure(name: str, counts: Counts, labels: str, batch_size: int = BATCH_SIZE) -> dict[str, Any]:
    """Rows of one network with plain and with compiled passes, the passes made, and where ours spends its time.

    A row names the kind of pass that was made, which is plain too where compiling fails.

    Args:
        name: a key of :data:`GOALS`.
        counts: images and repeats.
        labels: a key of :data:`LABELS`.
        batch_size: images per pass.
    """
    dual = network_of(name)
    with tempfile.TemporaryDirectory() as folder:
        drawn = random_images(Path(folder), counts.images, IMAGENET_CLASSES)
        manifest = _labelled(dual, drawn, LABELS[labels], batch_size)
        part = manifest.take(range(counts.peer_images))
        _, images, _ = next(image_batches(part, batch_size, dual.input_format))
        theirs = partial(evaluate_by_peers, peer_networks(dual), batch_size=batch_size)
        ours = partial(_ours, dual, folder=Path(folder), batch_size=batch_size, compared=counts.peer_images)
        lines: dict[str, Line] = {
            "peer": lambda shown: theirs(shown.take(range(min(len(shown), counts.peer_images)))),
            passes.PLAIN: partial(ours, passes.PLAIN),
            passes.COMPILED: partial(ours, passes.COMPILED),
        }
        first = {"peer": part.take([0])}  # a turn that does not count: it compiles, and fills caches
        warm = manifest.take(range(min(batch_size, len(manifest))))
        seconds = {one: seconds_of(partial(line, first.get(one, warm)), images.device) for one, line in lines.items()}
        forward = ForwardPass(torch.no_grad()(lambda: dual(images)), len(images), images.device)
        rounds = [_round(lines, manifest, forward) for _ in range(counts.repeats)]
    predicted = dual(images).softmax_logits.argmax(dim=1)
    maps = torch.stack(list(cam_maps(dual, images, predicted).values()), dim=1)
    forwards, backwards = passes_of_peer(same=not LABELS[labels])
    ours_made = 1 + len(distinct_maps(maps)[0]) / len(images)
    setting = f"{NAMES[name]}, {counts.images} images of 224 px, labels {labels}, passes"
    return {
        "network": name,
        "labels": labels,
        "passes": {"ours": ours_made, "peer_forward": forwards, "peer_backward": backwards},
        "rows": [
            asdict(_row(f"{setting} {_what_ran(kind, rounds)}", kind, rounds, counts, GOALS[name]))
            for kind in (passes.PLAIN, passes.COMPILED)
        ],
        "seconds_of_first_turn": seconds,
        "processor_seconds_per_image": {
            one: statistics.median(r.clocks[one].cpu for r in rounds) / counts.of(one) for one in lines
        },
        "shares": {one: statistics.median_low(r.shares[one] for r in rounds) for one in rounds[0].shares},
    }


class Round(NamedTuple):
    """One turn of each."""

    clocks: dict[str, Clock]  #: by line
    figures: dict[str, Figures]  #: by line
    shares: dict[str, float]  #: of ours, by kind of pass that is asked for, the share of the time that is passes
    kinds: dict[str, set[str]]  #: of ours, by kind of pass that is asked for, those that were made
    seconds_of_pass: float  #: of one image


def _round(lines: Mapping[str, Line], manifest: Manifest, forward: ForwardPass) -> Round:
    clocks, figures, shares, kinds = {name: Clock() for name in lines}, {}, {}, {}
    for name, line in lines.items():
        with timed_passes() as times, clocks[name].running():
            figures[name] = line(manifest)
        if name != "peer":
            shares[name], kinds[name] = times.wall / clocks[name].wall, times.kinds
    return Round(clocks, figures, shares, kinds, seconds_of(forward.run, forward.device) / forward.num_images)


def _what_ran(asked: str, rounds: Sequence[Round]) -> str:
    """Name the kind of pass that ran, and the one asked for where they differ: a compiler may be missing or fail."""
    made = ", ".join(sorted(set().union(*(r.kinds[asked] for r in rounds))))
    return made if made == asked else f"{made} ({asked} asked for)"


def _row(setting: str, kind: str, rounds: Sequence[Round], counts: Counts, goal: float) -> Row:
    """Build the table row, with times per image."""
    ours = [r.clocks[kind].wall / counts.images for r in rounds]
    theirs = [r.clocks["peer"].wall / counts.peer_images for r in rounds]
    floors = [r.seconds_of_pass for r in rounds]

    def ratio(times: Sequence[float], others: Sequence[float]) -> float:
        return statistics.median(one / other for one, other in zip(times, others, strict=True))

    return Row(
        task="whole evaluation, ten maps",
        setting=setting,
        peer=PEER,
        seconds=statistics.median(ours),
        peer_seconds=statistics.median(theirs),
        unit="image",
        passes=ratio(ours, floors),
        peer_passes=ratio(theirs, floors),
        speed_up=ratio(theirs, ours),
        goal=goal,
        max_difference=_difference(rounds[0].figures[kind], rounds[0].figures["peer"]),
    )


@contextmanager
def passes_of_kind(kind: str) -> Iterator[None]:
    """Have evaluations compile their passes, or not, however few they are."""
    before = passes.MANY_PASSES
    passes.MANY_PASSES = 0 if kind == passes.COMPILED else 2**62
    try:
        yield
    finally:
        passes.MANY_PASSES = before


def _ours(dual: DualBranch, kind: str, manifest: Manifest, folder: Path, batch_size: int, compared: int) -> Figures:
    """Figures of the first images, from evidence of all."""
    path = folder / "evidence.parquet"
    with passes_of_kind(kind):
        evaluate(dual, manifest, "network", path, EvaluationOptions(batch_size=batch_size), lambda _: None)
    evidence = read_evidence(path)
    path.unlink()
    few = evidence[evidence["image_id"].isin(manifest.table["image_id"][:compared])]
    figures: Figures = {}
    for (head, method), rows in few.groupby(["head", "method"], sort=False):
        weights = np.ones((1, len(rows)))
        told = wsol_statistics(rows, weights) | fidelity_statistics(rows, weights)
        names = ("maxboxacc_v2", "gt_loc", "average_drop", "increase_in_confidence")
        figures[str(head), str(method)] = {name: float(told[name][0]) for name in names}
    return figures


def _labelled(dual: DualBranch, manifest: Manifest, further: int, batch_size: int) -> Manifest:
    """Give each image the label that lies ``further`` classes after its predicted class."""
    with torch.no_grad():
        batches = image_batches(manifest, batch_size, dual.input_format, memory_budget=0)
        predicted = torch.cat([dual(images).softmax_logits.argmax(dim=1) for _, images, _ in batches])
    labels = (predicted + further) % manifest.num_classes
    return replace(manifest, table=manifest.table.assign(label=labels.numpy()))


def _difference(ours: Figures, peers: Figures) -> float:
    """Greatest difference between two figures, percentage points."""
    compared = [key for key in ours if key[1] != OTHER_PLUS_PLUS]
    return max(abs(ours[key][name] - peers[key][name]) for key in compared for name in ours[key])


if __name__ == "__main__":
    run_command_line(main)
