"""The chapter on what maps know: shares of evidence on known parts, and what removing each part does.

Evidence is what :func:`companion.cue.measured.measure_parts` gives, with columns ``correlation`` (of the context
cue with the class, 0 to 1) and ``seed`` (of training). All seeds see the same test images, so that the bootstrap draws
images once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from data_scripts.parts import PARTS, REMOVABLE
from sigcam_core.common.resampling import FloatArray, figure_and_resamples, interval
from sigcam_core.summarise.style import SEVERAL, in_style

from ..show.results import figures_with_intervals
from .measured import HEADS
from .ranks import rank_correlation

KEYS = ["correlation", "head", "map"]
EFFECTS = ("logit_drop", "log_odds_drop")
"""What removing a part does to the class, to the head's logit and to its log-odds, which no shift changes."""
ALL_PARTS = "all"
PART_COLORS = {"object": SEVERAL[2], "cue": SEVERAL[1], "distractors": SEVERAL[0], "clutter": "#777777"}
MAP_LINES: dict[str, Literal["-", "--", ":"]] = {"signed": "-", "truncated": "--", "uniform": ":"}
COLUMNS = ["value", "low", "high", "least", "greatest"]


def shares_table(evidence: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Means over images and seeds, with 95 % bootstrap intervals over images.

    Args:
        evidence: see the module.
        resamples: draws of the bootstrap over images.
        seed: of the draws.

    Returns:
        Columns ``correlation, head, map, part, metric, value, low, high, least, greatest``, the last two of the seeds.
        Metrics are ``share`` (%, of the map's positive evidence), ``logit_drop``, ``log_odds_drop``, and ``top1_drop``,
        the points of accuracy that the head loses without the part. Only the first depends on the map. Images whose map
        has no positive evidence do not count.
    """
    top1_drop = evidence["is_correct"].astype(float) - evidence["is_correct_without"].astype(float)
    measured = evidence.assign(share=100 * evidence["share"], top1_drop=100 * top1_drop)
    weights = figure_and_resamples(evidence["image_id"].nunique(), resamples, seed)
    rows = []
    for keys, by_part in _groups(measured, ("share", *EFFECTS, "top1_drop")):
        for part, metrics in by_part.items():
            for metric, values in metrics.items():
                if part in REMOVABLE or metric == "share":
                    means = np.stack([_mean(one, weights) for one in values])
                    rows.append((*keys, part, metric, *_summary(means)))
    return pd.DataFrame(rows, columns=[*KEYS, "part", "metric", *COLUMNS])


def agreement_table(evidence: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Spearman's rank correlation between the share of evidence on a part and the effect of its removal.

    Args:
        evidence: see the module.
        resamples: draws of the bootstrap over images.
        seed: of the draws.

    Returns:
        Columns ``correlation, head, map, part, metric, value, low, high, least, greatest``: the mean over seeds, its
        95 % bootstrap interval over images, and the least and greatest of the seeds. Metrics are :data:`EFFECTS`. Over
        images for one part; for ``all``, over images and parts together, where the three parts of an image are
        drawn together.
    """
    one_part = figure_and_resamples(evidence["image_id"].nunique(), resamples, seed)
    all_parts = np.tile(one_part, len(REMOVABLE))  # the parts of an image are drawn together
    rows = []
    for keys, by_part in _groups(evidence, ("share", *EFFECTS)):
        for part in (*REMOVABLE, ALL_PARTS):
            chosen = [by_part[name] for name in (REMOVABLE if part == ALL_PARTS else (part,))]
            weights = all_parts if part == ALL_PARTS else one_part
            shares = np.concatenate([metrics["share"] for metrics in chosen], axis=1)  # (seeds, parts x N)
            for effect in EFFECTS:
                effects = np.concatenate([metrics[effect] for metrics in chosen], axis=1)
                pairs = zip(shares, effects, strict=True)
                values = [rank_correlation(one, other, weights) for one, other in pairs]
                rows.append((*keys, part, effect, *_summary(np.stack(values))))
    return pd.DataFrame(rows, columns=[*KEYS, "part", "metric", *COLUMNS])


def _groups(
    evidence: pd.DataFrame, metrics: tuple[str, ...]
) -> Iterator[tuple[tuple[object, ...], dict[str, dict[str, FloatArray]]]]:
    """For each correlation, head and map: by part and metric, (seeds, N), images in the same order."""
    ordered = evidence.sort_values(["seed", "image_id"])
    seeds = ordered["seed"].nunique()
    order = evidence.drop_duplicates(KEYS)[KEYS].itertuples(index=False, name=None)
    groups = ordered.groupby([*KEYS, "part"], sort=False)
    for keys in order:
        by_part = {}
        for part in PARTS:
            rows = groups.get_group((*keys, part))
            by_part[part] = {name: rows[name].to_numpy(dtype=np.float64).reshape(seeds, -1) for name in metrics}
        yield keys, by_part


def _mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted means (B,) of those of N values that are known."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: FloatArray = weights[:, known] @ values[known] / weights[:, known].sum(axis=1)
    return mean


def _summary(values: FloatArray) -> tuple[float, ...]:
    """Figure, interval, least and greatest seed of values (seeds, 1 + B), the first of which are the figures."""
    means = values.mean(axis=0)
    return float(means[0]), *interval(means[1:]), float(values[:, 0].min()), float(values[:, 0].max())


def cue_table(shares: pd.DataFrame, metric: str = "share") -> pd.DataFrame:
    """One row per correlation, head and map, one column per part: text with 95 % intervals, for a page.

    Args:
        shares: what :func:`shares_table` or :func:`agreement_table` gives.
        metric: which of its metrics.

    Returns:
        Columns ``correlation, head, map`` and one per part. Where a metric does not depend on the map, ``map`` is left
        out.
    """
    part = shares[shares["metric"] == metric].drop(columns="metric").rename(columns={"part": "metric"})
    keys = KEYS
    if part.groupby([*KEYS[:2], "metric"], sort=False)["value"].nunique().max() == 1:
        keys = KEYS[:2]
        part = part.drop_duplicates([*keys, "metric"])
    return figures_with_intervals(part, [*PARTS[1:], PARTS[0], ALL_PARTS], keys)


@in_style
def cue_figure(shares: pd.DataFrame) -> Figure:
    """As the cue comes to agree with the class: above, where evidence lies; below, what removing each part does.

    Args:
        shares: what :func:`shares_table` gives.
    """
    figure, axes = plt.subplots(2, len(HEADS), figsize=(9.6, 6.0), sharex=True, sharey="row", layout="constrained")
    for head, (above, below) in zip(HEADS, axes.T, strict=True):
        of_head = shares[shares["head"] == head]
        for part, color in PART_COLORS.items():
            of_part = of_head[of_head["part"] == part].sort_values("correlation")
            for kind, line in MAP_LINES.items():
                one = of_part[(of_part["map"] == kind) & (of_part["metric"] == "share")]
                _draw(above, one, color, line)
            drops = of_part[(of_part["map"] == "signed") & (of_part["metric"] == "log_odds_drop")]
            if part in REMOVABLE:
                _draw(below, drops, color, "-")
        above.set_title(f"{head} head", fontsize=10)
        below.set_xlabel("correlation of cue and class")
        below.axhline(0, color="gray", linewidth=1)
        for ax in (above, below):
            ax.grid(alpha=0.3)
    axes[0, 0].set_yscale("log")  # a cue is a hundredth of the image: what counts is its share compared with its area
    axes[0, 0].yaxis.set_major_formatter("{x:g}")
    axes[0, 0].set_ylabel("share of positive evidence (%)")
    axes[1, 0].set_ylabel("drop of the log-odds when removed")
    entries = [Line2D([], [], color=color, linewidth=4, label=part) for part, color in PART_COLORS.items()]
    entries += [
        Line2D([], [], color="black", linestyle=line, label="area" if kind == "uniform" else f"{kind} map")
        for kind, line in MAP_LINES.items()
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), fontsize=8)
    return figure


def _draw(ax: Axes, rows: pd.DataFrame, color: str, line: str) -> None:
    """One curve over the correlations, with its 95 % band."""
    ax.plot(rows["correlation"], rows["value"], line, color=color, marker="o", markersize=3, linewidth=1.5)
    ax.fill_between(rows["correlation"], rows["low"], rows["high"], color=color, alpha=0.15, linewidth=0)
