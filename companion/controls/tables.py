"""What the maps know, in tables: every control map's figures, and the comparisons that bear on a claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sigcam_core.common.resampling import FloatArray, drawn_images, figure_and_resamples, interval
from sigcam_core.fidelity.scores import relative_drop
from sigcam_core.localization.hits import (
    best_levels,
    box_acc_at,
    drawn_hit_rates,
    hit_rates,
    max_box_acc,
    mean_box_acc,
)
from sigcam_core.localization.protocol import GT_LOC_IOU, pixel_average_precision
from sigcam_core.localization.thresholds import LEVEL_RULES

from .comparisons import Kept, differences_table
from .maps import Control
from .measured import have_boxes, have_masks
from .names import (
    COMPARISONS,
    FURTHER_COMPARISONS,
    FURTHER_TITLES,
    GAINS,
    NO_HEAD,
    SIGMOID,
    SOFTMAX,
    WRONG_CLASS,
    Comparison,
)
from .shards import Arrays

AT_OWN_THRESHOLD = {f"boxacc_v2_{rule}": f"iou_{rule}" for rule in LEVEL_RULES}
"""Metrics at each map's own threshold, and the arrays that they are of."""
NEED_BOXES = (
    *("maxboxacc_v2", "maxboxacc_v2_held_out", "gt_loc", "pointing_game", "energy_pointing", "maxboxacc_v2_outer"),
    *AT_OWN_THRESHOLD,
)
"""Metrics of those images alone that have boxes; PxAP is of those that have masks."""


@dataclass(frozen=True, eq=False)
class ControlEvidence:
    """The raw numbers of all control maps of one network on a test split.

    Attributes:
        controls: the R rows that were located.
        located: of :func:`companion.controls.measured.locate_controls`, on the test images.
        held_out_hits: (V, R, 96) of images held out from the training split, which choose thresholds.
        scored_controls: the rows whose fidelity was measured, on all test images.
        scored: of :func:`companion.controls.measured.score_controls`.
        perturbed_controls: the rows that were perturbed, on the first images.
        perturbed: of :func:`companion.controls.measured.perturb_controls`.
        grid_controls: the rows of the grid pointing game.
        grids: by the number of cells a side, shares (G, n n, R) of evidence in the right cell.
        grid_images: by the same, the image (G, n n) in each cell, a row of the test split.
        scorers: names of the heads that scored.
        judge: the head whose scores the tables show.
        zero_free: by the number of cells a side and the name of a measure of
            :data:`companion.controls.measured.GRID_MEASURES`, (G, n n, R) of those that know no zero.
    """

    controls: Sequence[Control]
    located: Arrays
    held_out_hits: np.typing.NDArray[np.uint8]
    scored_controls: Sequence[Control]
    scored: Arrays
    perturbed_controls: Sequence[Control]
    perturbed: Arrays
    grid_controls: Sequence[Control]
    grids: Mapping[int, np.typing.NDArray[np.float32]]
    grid_images: Mapping[int, np.typing.NDArray[np.int64]]
    scorers: Sequence[str]
    judge: str
    zero_free: Mapping[int, Mapping[str, np.typing.NDArray[np.float32]]] = field(default_factory=dict)


Resampled = dict[str, dict[str, FloatArray]]
"""By name of the row and metric, the value and its resamples (1 + B,)."""


def resampled_figures(evidence: ControlEvidence, resamples: int = 1000, seed: int = 0) -> Resampled:
    """Every figure in % of every row, with resamples that all rows share.

    Args:
        evidence: the raw numbers.
        resamples: B draws of the bootstrap over images, in the grid pointing game over those in the cells.
        seed: of the draws.
    """
    figures: Resampled = {control.name: {} for control in evidence.controls}
    for add in (_add_localization, _add_grids, _add_fidelity, _add_perturbation):
        add(figures, evidence, resamples, seed)
    return figures


def _add_localization(figures: Resampled, evidence: ControlEvidence, resamples: int, seed: int) -> None:
    """Figures of the images that have boxes, and of those that have masks."""
    weights = figure_and_resamples(len(evidence.located["hits"]), resamples, seed)
    boxed = have_boxes(evidence.located)
    if boxed.all():
        _add_box_figures(figures, evidence, evidence.located, weights)
    elif boxed.any():
        of_boxed = {name: values[boxed] for name, values in evidence.located.items()}
        _add_box_figures(figures, evidence, of_boxed, weights[:, boxed])
    if "histograms" in evidence.located:
        for row, control in enumerate(evidence.controls):
            of_row = evidence.located["histograms"][:, row].astype(np.float64)  # (N, 2, 1002), 0 without a mask
            summed = (weights @ of_row.reshape(len(of_row), -1)).reshape(len(weights), *of_row.shape[1:])
            figures[control.name]["pxap"] = pixel_average_precision(summed)


def _add_box_figures(figures: Resampled, evidence: ControlEvidence, located: Arrays, weights: FloatArray) -> None:
    """Figures of N images that have boxes, and their resampling weights (B, N)."""
    count = drawn_images(weights)
    everyone = np.ones((1, len(evidence.held_out_hits)))
    for row, control in enumerate(evidence.controls):
        mine = figures[control.name]
        rates = drawn_hit_rates(located["hits"][:, row], weights)
        levels = best_levels(hit_rates(evidence.held_out_hits[:, row], everyone)[0])
        mine |= {"maxboxacc_v2": max_box_acc(rates)["maxboxacc_v2"]}
        mine |= {"maxboxacc_v2_held_out": box_acc_at(rates, levels)["maxboxacc_v2_held_out"]}
        each = {
            "gt_loc": located["gt_loc_iou"][:, row] >= np.float32(GT_LOC_IOU),
            "pointing_game": located["pointing_hit"][:, row],
            "energy_pointing": located["energy_in_box"][:, row],
        }
        mine |= {name: 100 * (weights @ values.astype(np.float64)) / count for name, values in each.items()}
        mine["maxboxacc_v2_outer"] = max_box_acc(drawn_hit_rates(located["outer_hits"][:, row], weights))[
            "maxboxacc_v2"
        ]
        mine |= {name: mean_box_acc(located[iou][:, row], weights) for name, iou in AT_OWN_THRESHOLD.items()}


def fixed_figures(
    best_iou: np.typing.NDArray[np.float32], resamples: int = 1000, seed: int = 0
) -> dict[str, FloatArray]:
    """Figures of a box that is the same for all images: it is its own contour at every threshold, whoever chooses that.

    Args:
        best_iou: (N,) with each image's boxes, NaN where an image has none.
        resamples: draws of the bootstrap over images.
        seed: of the draws.
    """
    boxed = ~np.isnan(best_iou)
    weights = figure_and_resamples(len(best_iou), resamples, seed)[:, boxed]
    mean = mean_box_acc(best_iou[boxed], weights)
    same = ("maxboxacc_v2", "maxboxacc_v2_held_out", "maxboxacc_v2_outer", *AT_OWN_THRESHOLD)
    located = best_iou[boxed] >= np.float32(GT_LOC_IOU)
    gt_loc = 100 * (weights @ located.astype(np.float64)) / drawn_images(weights)
    return dict.fromkeys(same, mean) | {"gt_loc": gt_loc}


def _add_grids(figures: Resampled, evidence: ControlEvidence, resamples: int, seed: int) -> None:
    """Add the grid values; a cell counts as often as its image is drawn: grids share images, so they are no sample."""
    num_images = len(evidence.located["hits"])
    weights = figure_and_resamples(num_images, resamples, seed)
    for cells, shares in evidence.grids.items():
        images = evidence.grid_images[cells].ravel()
        count = weights @ np.bincount(images, minlength=num_images).astype(np.float64)
        measured = {"": shares} | {f"_{name}": one for name, one in evidence.zero_free.get(cells, {}).items()}
        for suffix, each in measured.items():
            of_image = np.zeros((num_images, each.shape[2]))  # (N, R), summed over the cells of an image
            np.add.at(of_image, images, each.reshape(len(images), -1).astype(np.float64))
            values = 100 * (weights @ of_image) / np.where(count > 0, count, np.nan)[:, None]
            for row, control in enumerate(evidence.grid_controls):
                figures[control.name][f"grid_{cells}x{cells}{suffix}"] = values[:, row]


def _add_fidelity(figures: Resampled, evidence: ControlEvidence, resamples: int, seed: int) -> None:
    if not evidence.scored_controls:
        return
    scored = evidence.scored
    weights = figure_and_resamples(len(scored["coverage"]), resamples, seed)
    count = weights.sum(axis=1)
    judge = list(evidence.scorers).index(evidence.judge)
    y = scored["image_scores"][:, judge]
    for row, control in enumerate(evidence.scored_controls):
        o = scored["explained_scores"][:, row, judge]
        each = {
            "average_drop": relative_drop(y, o),
            "increase_in_confidence": (o > y).astype(np.float64),
            "coverage": scored["coverage"][:, row].astype(np.float64),
        }
        if control.head in evidence.scorers:  # as the paper scores: each map by its own branch
            own = list(evidence.scorers).index(control.head)
            y_own, o_own = scored["image_scores"][:, own], scored["explained_scores"][:, row, own]
            each["average_drop_own"] = relative_drop(y_own, o_own)
            each["increase_in_confidence_own"] = (o_own > y_own).astype(np.float64)
        figures[control.name] |= {name: 100 * (weights @ values) / count for name, values in each.items()}


def _add_perturbation(figures: Resampled, evidence: ControlEvidence, resamples: int, seed: int) -> None:
    if not evidence.perturbed_controls:
        return
    insertion, deletion = evidence.perturbed["insertion"], evidence.perturbed["deletion"]  # (N, R, 5)
    weights = figure_and_resamples(len(insertion), resamples, seed)
    count = weights.sum(axis=1)
    middle = insertion.shape[2] // 2
    for row, control in enumerate(evidence.perturbed_controls):
        whole = insertion[:, row, -1]
        each = {
            "drop_at_50": relative_drop(whole, insertion[:, row, middle]),
            "insertion_auc": np.trapezoid(insertion[:, row], dx=1 / (insertion.shape[2] - 1), axis=1),
            "deletion_auc": np.trapezoid(deletion[:, row], dx=1 / (deletion.shape[2] - 1), axis=1),
        }
        figures[control.name] |= {name: 100 * (weights @ values) / count for name, values in each.items()}


def figures_table(figures: Resampled, controls: Sequence[Control]) -> pd.DataFrame:
    """Tabulate every value with its 95 % interval.

    Returns:
        Columns ``head, scalar, weights, metric, value, low, high``, in %.
    """
    rows = [
        (control.head, control.scalar, control.weights, metric, values[0], *interval(values[1:]))
        for control in controls
        for metric, values in figures[control.name].items()
    ]
    return pd.DataFrame(rows, columns=["head", "scalar", "weights", "metric", "value", "low", "high"])


def with_image_counts(table: pd.DataFrame, evidence: ControlEvidence) -> pd.DataFrame:
    """Add a column ``metric``, and a column ``images`` where localisation uses fewer than all images.

    The column says on how many boxes, or masks, were there for; it is missing where a metric needs neither.
    """
    boxed, total = int(have_boxes(evidence.located).sum()), len(evidence.located["hits"])
    counts = dict.fromkeys(NEED_BOXES, boxed)
    if "histograms" in evidence.located:
        counts["pxap"] = int(have_masks(evidence.located).sum())
    if all(count == total for count in counts.values()):
        return table
    return table.assign(images=table["metric"].map(counts).astype("Int64"))


def comparison_pairs(
    figures: Resampled, softmax: str, sigmoid: str, comparisons: Mapping[str, Comparison] = COMPARISONS
) -> list[tuple[str, str, str]]:
    """Name, first and second row of every comparison of two heads whose rows are there.

    Args:
        figures: of :func:`resampled_figures`.
        softmax: the softmax head that is compared.
        sigmoid: the sigmoid head.
        comparisons: by name.
    """
    heads = {SOFTMAX: softmax, SIGMOID: sigmoid, NO_HEAD: NO_HEAD}
    pairs = []
    for name, comparison in comparisons.items():
        one, other = (Control(heads[head], *rest).name for head, *rest in (comparison.first, comparison.second))
        if one in figures and other in figures:
            pairs.append((name, one, other))
    return pairs


def without_later(comparison: str, metric: str) -> bool:
    """Whether a comparison by a metric is of the family of those that came first."""
    return comparison not in FURTHER_COMPARISONS and metric not in FURTHER_TITLES


def gains_table(
    figures: Resampled, energies: Mapping[str, float], sigmoid: str, keep: Kept = without_later
) -> pd.DataFrame:
    """Tabulate what each softmax head's signed map gains by each of ``GAINS``, and the freedom that the head uses.

    Args:
        figures: of :func:`resampled_figures`.
        energies: gauge energy of each softmax head by its name.
        sigmoid: the sigmoid head that is compared.
        keep: which gains and metrics are lines of the table, and with it one family.

    Returns:
        Columns ``head, gauge_energy, gain, metric, difference, low, high, low_all, high_all``, in points, as
        :func:`companion.controls.comparisons.differences_table` has them; intervals hold for all of this table.
    """
    owners = {Control(head, "logit", "signed").name: head for head in energies}
    pairs = []
    for signed, head in owners.items():
        truncated = (Control(one, "logit", "truncated") for one in (head, sigmoid))
        changed = (Control(head, "centred"), *truncated)
        pairs += [(gain, signed, row.name) for gain, row in zip(GAINS, changed, strict=True)]
    table = differences_table(figures, pairs, keep).rename(columns={"comparison": "gain"})
    heads = table["first"].map(owners)
    table = table.drop(columns=["first", "second"])
    table.insert(0, "head", heads)
    table.insert(1, "gauge_energy", heads.map(energies))
    return table


def scorers_table(evidence: ControlEvidence) -> pd.DataFrame:
    """Score the same maps with every head: average drop, increase in confidence, and the scorer's own confidence.

    Returns:
        Columns ``head, scalar, weights, scorer, average_drop, increase_in_confidence, confidence``, in %; the last is
        the mean probability that the scorer gives the explained class on the whole image.
    """
    scored = evidence.scored
    rows = []
    for position, scorer in enumerate(evidence.scorers):
        y = scored["image_scores"][:, position]
        for row, control in enumerate(evidence.scored_controls):
            o = scored["explained_scores"][:, row, position]
            figures = (relative_drop(y, o).mean(), (o > y).mean(), y.mean())
            rows.append((control.head, control.scalar, control.weights, scorer, *(100 * value for value in figures)))
    names = ["head", "scalar", "weights", "scorer", "average_drop", "increase_in_confidence", "confidence"]
    return pd.DataFrame(rows, columns=names)


def likeness_table(evidence: ControlEvidence) -> pd.DataFrame:
    """Tabulate how similar the maps of the right class and of a random wrong one are.

    Returns:
        Columns ``head, weights, correlation``, the mean of Pearson's correlation over places of the feature map.
    """
    rows = [
        (control.head, control.weights, float(np.nanmean(evidence.located["correlation"][:, row])))
        for row, control in enumerate(evidence.controls)
        if control.scalar == WRONG_CLASS
    ]
    return pd.DataFrame(rows, columns=["head", "weights", "correlation"])
