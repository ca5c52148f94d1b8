"""Pixel flipping and ROAD of ten maps: ours against Quantus: ``python -m benchmarks.removal``.

Both are given the ten maps of two heads and five methods, and both give the same numbers: of pixel flipping the class
probability after each step, of ROAD the share of images whose class is still predicted. Quantus flips single values of
single channels, so that images are of 240 pixels, where a step of whole pixels is one that it takes; and it solves for
one channel, so that ROAD is told to rank the values of the other two last. Ranks are given in place of maps, since
equal values have no order of their own.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from quantus.metrics.faithfulness.pixel_flipping import PixelFlipping
from quantus.metrics.faithfulness.road import ROAD
from torch import Tensor, nn

from benchmarks.case import Case, make_case
from benchmarks.memory import environment
from benchmarks.shares import load_of_the_machine, loads_since
from benchmarks.timing import Row, side_by_side
from companion.chapters.speed import BENCHMARKS
from sigcam_core import cam_maps, normalize_maps
from sigcam_core.backbones import IMAGENET_CLASSES, build, passes
from sigcam_core.backbones.passes import FastBackbone
from sigcam_core.cams.distinct import distinct_maps
from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.common.files import write_json
from sigcam_core.common.provenance import provenance
from sigcam_core.fidelity.perturbation import deletion_curve
from sigcam_core.fidelity.road import impute
from sigcam_core.fidelity.scores import class_scores

GOAL = 10.0
SIDE, STEPS = 240, 6  # 3 x 240 x 240 / 6 values a step, which divides 240 x 240 as Quantus asks
PERCENTAGES = (10, 30)
PEER = "Quantus"


class Given(NamedTuple):
    """A case with its maps."""

    case: Case
    network: nn.Module  #: as Quantus runs it
    own: nn.Module  #: the same, as we run it
    ranks: Tensor  #: (N, R, H, W) in (0, 1], the higher the earlier; of equal maps the same
    owners: Tensor  #: (P, 2) image and row of each distinct map
    rank_of: Tensor  #: (N, R) which of the P a map is


def main() -> None:
    """Measure as the command line says, print the result and write it as JSON."""
    parser = CommandLine(prog="python -m benchmarks.removal", description="Measure pixel flipping and ROAD.")
    parser.add_argument("--images", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of runs, default: %(default)s")
    parser.add_argument("--output", type=Path, help="JSON file, default: results/benchmarks/removal/cpu.json")
    options = parser.parse_args()
    if min(options.images, options.repeats) < 1:
        fail(f"--images {options.images} and --repeats {options.repeats} must be at least 1.")
    load = load_of_the_machine()
    torch.manual_seed(0)
    model = build("efficientnet_lite0", IMAGENET_CLASSES, pretrained=True)
    case = make_case(model, "EfficientNet-Lite0", options.images, SIDE, torch.device("cpu"))
    facts = {"seed": 0, "threads": torch.get_num_threads(), "parameters": {"repeats": options.repeats}}
    result = {
        "rows": [asdict(row) for row in measure_removal(case, options.repeats)],
        "load_of_the_machine": loads_since(load),
        "provenance": provenance(environment=environment(), peers={"quantus": version("quantus")}, **facts),
    }
    print(json.dumps(result, indent=2))
    write_json(options.output or BENCHMARKS / "removal" / "cpu.json", result)


def measure_removal(case: Case, repeats: int) -> list[Row]:
    """Rows for pixel flipping and for ROAD, with plain and with compiled passes of ours.

    Args:
        case: the network and the images, of a side that Quantus takes.
        repeats: pairs of runs.
    """
    maps = torch.stack(list(cam_maps(case.dual, case.images, case.class_idx).values()), dim=1)
    owners, rank_of = distinct_maps(maps)
    network = nn.Sequential(case.dual.backbone, case.dual.softmax_head).eval()
    ranks = _ranks(case, maps[owners.unbind(1)])[rank_of]
    tasks: list[tuple[str, Callable[[Given], Any], Callable[[Given], Any]]] = [
        (f"pixel flipping in {STEPS} steps, ten maps", flipped_by_ours, flipped_by_quantus),
        (f"ROAD at {len(PERCENTAGES)} percentages, ten maps", road_by_ours, road_by_quantus),
    ]
    rows = []
    for kind, count in ((passes.PLAIN, 0), (passes.COMPILED, passes.MANY_PASSES)):
        own = nn.Sequential(FastBackbone(case.dual.backbone, case.images, count), case.dual.softmax_head).eval()
        given = Given(case, network, own, ranks, owners, rank_of)
        for task, ours, theirs in tasks:
            pairs = side_by_side(partial(ours, given), partial(theirs, given), repeats, case.forward)
            difference = float(np.abs(pairs.results[0] - pairs.results[1]).max())
            setting = f"{case.setting}, passes {kind}"
            rows.append(pairs.row(task, setting, PEER, len(case.images), GOAL, difference))
    return rows


def flipped_by_ours(given: Given) -> NDArray[np.float64]:
    """Probabilities (N, R, S), each distinct map once."""
    image, row = given.owners.unbind(1)

    def score(batch: Tensor, index: Tensor) -> Tensor:
        return class_scores(given.own(batch), given.case.class_idx[image[index]])

    curves = deletion_curve(score, given.case.images[image], given.ranks[image, row], STEPS)  # (P, S)
    return curves[given.rank_of].numpy()


def flipped_by_quantus(given: Given) -> NDArray[np.float64]:
    """The same by Quantus, map by map."""
    values = given.case.images[0].numel()
    to_mean: dict[str, Any] = {"perturb_baseline": 0.0}  # a number is allowed, its types do not say so
    metric = PixelFlipping(features_in_step=values // STEPS, **_plain(), **to_mean)
    return np.stack([np.array(_asked(metric, given, r)) for r in range(given.ranks.shape[1])], axis=1)


def road_by_ours(given: Given) -> NDArray[np.float64]:
    """Share of images (R, percentages) whose class is predicted after removal, each distinct map once."""
    image, row = given.owners.unbind(1)
    images, ranks = given.case.images[image], given.ranks[image, row]  # (P, ...)
    kept = []
    for percentage in PERCENTAGES:
        count = int(3 * ranks[0].numel() * (percentage / 3) / 100)  # rounded as Quantus does
        removed = ranks > 1 - (count - 0.5) / ranks[0].numel()  # ranks are 1, 1 - 1 / (H W), ...
        with torch.no_grad():
            predicted = given.own(impute(images, removed, noise=0)).argmax(dim=1)
        kept.append((predicted == given.case.class_idx[image])[given.rank_of].double().mean(dim=0))
    return torch.stack(kept, dim=1).numpy()


def road_by_quantus(given: Given) -> NDArray[np.float64]:
    """The same by Quantus, map by map."""
    rows = []
    for row in range(given.ranks.shape[1]):
        # A third of the values of three channels are the pixels of the first, which alone it can solve for.
        metric = ROAD(percentages=[p / 3 for p in PERCENTAGES], noise=0.0, **_plain())
        rows.append(list(_asked(metric, given, row, channels=3).values()))
    return np.array(rows)


def _asked(metric: Any, given: Given, row: int, channels: int = 1) -> Any:
    """What Quantus says of one map of every image; other channels than the first are ranked last."""
    maps = given.ranks[:, row, None].numpy()
    others = np.full((len(maps), channels - 1, *maps.shape[2:]), -1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a metric's parameters may do
        return metric(
            model=given.network,
            x_batch=given.case.images.numpy(),
            y_batch=given.case.class_idx.numpy(),
            a_batch=np.concatenate([maps, others], axis=1),
            softmax=True,
            device="cpu",
            batch_size=len(maps),
        )


def _plain() -> dict[str, Any]:
    return {"normalise": False, "abs": False, "disable_warnings": True}


def _ranks(case: Case, maps: Tensor) -> Tensor:
    """The order of each map's pixels as distinct numbers (P, H, W) in (0, 1], of maps (P, h, w)."""
    order = normalize_maps(maps, case.size).flatten(1).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], dtype=torch.float64).expand_as(order)
    ranks = torch.empty_like(places).scatter_(1, order, 1 - places / order.shape[1])
    return ranks.view(-1, *case.size)


if __name__ == "__main__":
    run_command_line(main)
