"""What a threshold chosen on the test images does to MaxBoxAcc, its bootstrap intervals, and paired differences.

MaxBoxAcc is a maximum over thresholds, so it and its resamples lean upwards. How much, and what helps, is measured
here: the test images of a run are taken for the population, data sets are drawn from them, and every estimator is
judged by what the population has. ``python -m companion publish threshold_bias`` does that for each experiment whose
crossed controls, or else whose evidence, is in the work dir, and writes ``bias.csv``.

What this project makes of it:

- Figures at the threshold that is best on the test set stay the protocol's, to be compared with those of others. Their
  percentile intervals cover too seldom in small data sets, since value and resamples lean the same way.
- Paired differences of such values need no correction: the biases of two maps partly cancel, and the percentile
  interval covers more than it says on photographs, hardly less on a hundred generated images. Subtracting the bias that
  the bootstrap estimates brings a value nearer to the truth, but does not correct its interval, and makes that of a
  difference cover less, since corrections add noise of their own. So nothing is corrected.
- Conclusions rest on thresholds that were chosen on held-out images. Such a value is a mean over images and has no
  bias about its target, and nothing of it was tuned on the test images. The plain percentile interval of MaxBoxAccV2
  and of its differences covers about as it says, a little less for 100 images. It covers too seldom, as any bootstrap
  of a mean does, where few images decide: where a map hits nearly all or two maps differ on a handful. And it is about
  these thresholds: how lucky their choice was is not in it.

A population of a few hundred images has a more ragged curve of accuracy over thresholds than the endless one it stands
for, hence fewer near-ties and less bias. What is measured is rather too little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sigcam_core.common.errors import fail
from sigcam_core.common.files import write_json
from sigcam_core.common.packed import unpack
from sigcam_core.common.progress import Report
from sigcam_core.common.provenance import provenance
from sigcam_core.common.resampling import FloatArray, Statistics, figure_and_resamples
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.localization.contours import NUM_LEVELS
from sigcam_core.localization.hits import HELD_OUT, NAMES, best_levels, box_acc_at, hit_rates, max_box_acc, pack_hits
from sigcam_core.run import Run
from sigcam_core.stations import record_of
from sigcam_core.summarise.csv import write_csv

from ..controls.study import located_pairs

METHODS = ("cam", "layercam")
"""Methods whose two heads are compared; these differ much in the first, and, by truncation, little in the second."""
SIZES = (100, 300, 1000)
"""Images of the data sets that are drawn, as far as the evidence has so many."""
COLUMNS = ["quantity", "metric", "estimator", "target", "N", "bias", "bootstrap_bias", "coverage", "mean_width"]
"""Columns of one simulation's table."""
ROUNDING = 1e-9  # points; an interval without width holds what equals it but for rounding
Estimates = dict[str, tuple[FloatArray, FloatArray, FloatArray]]
"""By estimator, point estimates, lower and upper ends, of S data sets each."""
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Packed hits (P, 96) of the maps of two heads."""
Population = tuple[NDArray[np.uint8], FloatArray]
"""Packed hits of one map of every image (P, 96), and their rates (1, 3, 255)."""


@dataclass(frozen=True)
class Simulation:
    """How data sets are drawn.

    Attributes:
        data_sets: from each population, with replacement. A coverage of 95 % has a standard error of 1 for 500.
        resamples: of the bootstrap in each.
        seed: of all draws.
    """

    data_sets: int = 500
    resamples: int = 400
    seed: int = 0


def publish_threshold_bias(
    runs: Mapping[str, Run], folder: Path, report: Report, simulation: Simulation | None = None
) -> None:
    """Measure the bias in every population whose evidence is there, and write ``bias.csv`` and ``record.json``.

    Args:
        runs: by the name of their experiment.
        folder: of the two files.
        report: called with a line before each simulation.
        simulation: how data sets are drawn; ``None`` for the usual way.

    Raises:
        SigcamError: if no run has evidence.
    """
    simulation = simulation or Simulation()
    found = {name: pairs for name, run in runs.items() if (pairs := located_pairs(run) or _pairs_of_evidence(run))}
    if not found:
        fail(f"nothing was measured to draw from: run `python -m companion publish {next(iter(runs))}` first.")
    tables = []
    for name, pairs in found.items():
        for method, (softmax, sigmoid) in pairs.items():
            for num_images in [size for size in SIZES if size <= len(softmax)] or [len(softmax)]:
                report(f"{name}, {method}: {simulation.data_sets} data sets of {num_images} images")
                table = simulate(softmax, sigmoid, num_images, simulation)
                tables.append(table.assign(experiment=name, method=method, population=len(softmax)))
    whole = pd.concat(tables, ignore_index=True)
    write_csv(folder / "bias.csv", whole[["experiment", "method", "population", *COLUMNS]])
    sources = {name: record_of(runs[name].sigmoid_head) for name in found}
    facts = {"simulation": asdict(simulation), "sigmoid_heads": sources}
    write_json(folder / "record.json", provenance(**facts))


def _pairs_of_evidence(run: Run) -> dict[str, Pair]:
    """Packed hits of both heads by method, where the run was evaluated."""
    if not run.evidence.exists():
        return {}
    evidence = read_evidence(run.evidence)
    rows = {method: evidence[evidence["method"] == method] for method in METHODS}
    return {
        method: (_packed(of[of["head"] == "softmax"]), _packed(of[of["head"] == "sigmoid"]))
        for method, of in rows.items()
    }


def _packed(rows: pd.DataFrame) -> NDArray[np.uint8]:
    """Pack the hits of one head's maps, one per image that has boxes, in the order that all heads share."""
    best_iou = rows.sort_values("image_id")["best_iou_multi"].dropna()
    if best_iou.empty:
        fail("no image of this evidence has a box: evaluate a data set that has boxes.")
    return pack_hits(unpack(best_iou, NUM_LEVELS))


def simulate(
    first: NDArray[np.uint8], second: NDArray[np.uint8], num_images: int, simulation: Simulation
) -> pd.DataFrame:
    """Draw data sets of ``num_images`` from a population, and judge every estimator in them.

    Args:
        first: (P, 96) packed hits of one map of every image of the population.
        second: (P, 96) of another map of the same images.
        num_images: of a data set. As many further ones are drawn to choose held-out thresholds on, map by map.
        simulation: how data sets are drawn.

    Returns:
        Columns of :data:`COLUMNS`, figures in %, or points, widths and biases in points. ``quantity``: ``figure`` of
        the first map, or ``difference``, second minus first. ``estimator``: see :func:`estimates`, with ``maximum_``
        where the threshold is best on the data set, or ``held_out_percentile``. ``target``, which is to be covered:
        ``maximum`` of the population, or the population ``at_thresholds`` that were chosen. ``bias``: mean of the
        point estimate minus the target; ``bootstrap_bias``: what the bootstrap says of it, the mean of resamples minus
        the figure. ``coverage``: share of data sets whose 95 % interval holds the target.

    Raises:
        SigcamError: if the two maps are not of the same images.
    """
    if first.shape != second.shape:
        fail(f"both maps must be of the same images, got packed hits of shape {first.shape} and {second.shape}.")
    draws = list(_draws(first, second, num_images, simulation))
    rows = []
    for quantity, (of_first, of_second) in {"figure": (1, 0), "difference": (-1, 1)}.items():

        def collect(
            which: int, name: str, factors: tuple[int, int] = (of_first, of_second)
        ) -> FloatArray:  # figure and resamples (S, 1 + B), or truth (S, 1)
            pairs = (draw[which] for draw in draws)
            return np.stack([factors[0] * one[name] + factors[1] * other[name] for one, other in pairs])

        for metric in NAMES:
            maximum, at_thresholds = (collect(1, name)[:, 0] for name in (metric, metric + HELD_OUT))
            of_maximum, of_held_out = collect(0, metric), collect(0, metric + HELD_OUT)
            judged = [(f"maximum_{name}", "maximum", of_maximum, maximum, name) for name in estimates(of_maximum[:1])]
            judged += [
                ("held_out_percentile", "at_thresholds", of_held_out, at_thresholds, "percentile"),
                ("held_out_percentile", "maximum", of_held_out, maximum, "percentile"),
            ]
            for label, target, values, truth, name in judged:
                figures = _judge(estimates(values)[name], values, truth)
                rows.append((quantity, metric, label, target, num_images, *figures))
    return pd.DataFrame(rows, columns=COLUMNS)


def _draws(
    first: NDArray[np.uint8], second: NDArray[np.uint8], num_images: int, simulation: Simulation
) -> Iterator[tuple[list[Statistics], list[Statistics]]]:
    """Draw each data set's and map's value and resamples (1 + B,), and the truth (1,), at best and held-out thresholds.

    All data sets share the draws of their bootstrap, by position: images fall on positions at random.
    """
    generator = np.random.default_rng(simulation.seed)
    weights = figure_and_resamples(num_images, simulation.resamples, simulation.seed)
    populations: list[Population] = [
        (packed, hit_rates(packed, np.ones((1, len(packed))))) for packed in (first, second)
    ]
    for _ in range(simulation.data_sets):
        images, held_out = generator.integers(len(first), size=(2, num_images))
        sampled: list[Statistics] = []
        true: list[Statistics] = []
        for packed, population_rates in populations:
            levels = best_levels(hit_rates(packed[held_out], weights[:1])[0])
            for rates, found in ((hit_rates(packed[images], weights), sampled), (population_rates, true)):
                found.append(max_box_acc(rates) | box_acc_at(rates, levels))
        yield sampled, true


def estimates(values: FloatArray) -> Estimates:
    """Point estimates and 95 % intervals of S data sets, by the ways of using a bootstrap (Efron and Tibshirani 1993).

    With b the mean of the resamples minus the figure, which estimates its bias:

    - ``percentile``: the value; percentiles 2.5 and 97.5 of the resamples.
    - ``centred``: the figure; the same, moved by -b, so that it stands about the figure.
    - ``corrected``: the figure minus b; the same, moved by -2 b, so that it stands about the corrected figure.
    - ``basic``: the figure minus b; the percentiles mirrored at the figure.

    Args:
        values: (S, 1 + B) value and resamples.

    >>> {name: point.tolist() for name, (point, _, _) in estimates(np.array([[10.0, 11.0, 13.0]])).items()}
    {'percentile': [10.0], 'centred': [10.0], 'corrected': [8.0], 'basic': [8.0]}
    """
    figure, resamples = values[:, 0], values[:, 1:]
    bias = resamples.mean(axis=1) - figure
    low, high = np.percentile(resamples, [2.5, 97.5], axis=1)
    return {
        "percentile": (figure, low, high),
        "centred": (figure, low - bias, high - bias),
        "corrected": (figure - bias, low - 2 * bias, high - 2 * bias),
        "basic": (figure - bias, 2 * figure - high, 2 * figure - low),
    }


def _judge(
    estimate: tuple[FloatArray, FloatArray, FloatArray], values: FloatArray, truth: FloatArray
) -> tuple[float, float, float, float]:
    """Bias, the bootstrap's estimate of it, coverage in %, and mean width, over data sets."""
    point, low, high = estimate
    holds = (low - ROUNDING <= truth) & (truth <= high + ROUNDING)
    bootstrap_bias = values[:, 1:].mean() - values[:, 0].mean()
    return float((point - truth).mean()), float(bootstrap_bias), float(100 * holds.mean()), float((high - low).mean())
