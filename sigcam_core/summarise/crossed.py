"""The page of the crossed controls: what each factor moves, and what maps that know nothing score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..cams.controls import CENTRE, CLASS_FREE, NO_HEAD, RANDOM, RANDOM_POSITIVE, SHIFTED, WRONG_CLASS
from ..common.errors import fail
from .controls import COMPARISONS
from .measured import Measured

TITLES = {
    "maxboxacc_v2": "MaxBoxAccV2",
    "maxboxacc_v2_held_out": "MaxBoxAccV2, held-out threshold",
    "gt_loc": "GT-Loc",
    "pxap": "PxAP",
    "pointing_game": "pointing game",
    "energy_pointing": "energy in box",
    "grid_2x2": "grid 2 × 2",
    "grid_3x3": "grid 3 × 3",
    "average_drop": "average drop",
    "increase_in_confidence": "increase in confidence",
    "coverage": "coverage",
    "drop_at_50": "drop at half the pixels",
    "insertion_auc": "insertion",
    "deletion_auc": "deletion",
}
"""Metrics of the crossed controls, as people write them."""
LOWER_IS_BETTER = ("average_drop", "drop_at_50", "deletion_auc")
WHERE_METRICS = tuple(TITLES)[:6]
CLASS_METRICS = ("grid_2x2", "grid_3x3", "energy_pointing", "pointing_game")
FIDELITY = tuple(TITLES)[8:]
SCALAR_TITLES = {
    "logit": "logit",
    "centred": "centred logit",
    "log_odds": "log-odds",
    "finer": "Finer-CAM",
    SHIFTED: "best shift",
    WRONG_CLASS: "wrong class",
    CENTRE: "centre, no image",
    CLASS_FREE: "class-free: sum of feature maps",
    RANDOM: "random weights",
    RANDOM_POSITIVE: "random positive weights",
}
HEAD_TITLES = {
    "softmax": "softmax, as given or by recipe",
    "softmax optimum": "softmax, at its optimum",
    "softmax sgd": "softmax, by SGD",
    "sigmoid": "sigmoid, by recipe",
    "sigmoid from softmax": "sigmoid, started from the softmax head",
    "sigmoid optimum": "sigmoid, at its optimum",
    NO_HEAD: "no head",
}
FACTORS = {
    "sigmoid_as_published": "as published: truncated\nsigmoid − signed softmax",
    "sigmoid_vs_softmax_signed": "head: sigmoid − softmax,\nboth signed",
    "sigmoid_vs_softmax_truncated": "head: sigmoid − softmax,\nboth truncated",
    "truncation_softmax": "truncation, softmax",
    "truncation_sigmoid": "truncation, sigmoid",
    "centring_softmax": "centring, softmax",
    "log_odds_softmax": "log-odds, softmax",
    "wrong_class_sigmoid_signed": "wrong − right class,\nsigmoid signed",
    "wrong_class_sigmoid_truncated": "wrong − right class,\nsigmoid truncated",
    "class_free_vs_sigmoid_truncated": "truncated sigmoid −\nsum of feature maps",
    "centre_vs_sigmoid_truncated": "truncated sigmoid −\ncentred square",
}
"""Comparisons that the figure shows, with their labels."""
FIGURE_METRICS = ("maxboxacc_v2_held_out", "gt_loc", "grid_2x2", "average_drop", "drop_at_50")
SAME = 0.05  # points; rows that differ by less in every metric are one line of a table
MARKERS, COLORS = "osD^v", ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")


def crossed_table(one: Measured, metrics: Sequence[str], heads: Sequence[str] = ()) -> pd.DataFrame:
    """Every row of control maps: text, a figure and half the width of its 95 % interval, one column a metric.

    Rows of one head and treatment of weights whose figures all agree within :data:`SAME` points are one line, since
    what tells them apart moves nothing.

    Args:
        one: of a crossed measurement.
        metrics: which to show; those that no row has are left out, and so are rows that have none.
        heads: names of the heads to show; empty for all.
    """
    table = one.tables["figures"]
    table = table[table["metric"].isin(metrics) & (table["head"].isin(heads) if heads else True)]
    there = [metric for metric in metrics if metric in set(table["metric"])]
    lines: list[tuple[str, list[str], str, pd.DataFrame]] = []
    for (head, scalar, weights), rows in table.groupby(["head", "scalar", "weights"], sort=False):
        figures = rows.set_index("metric").reindex(there)
        same = next((line for line in lines if line[0] == head and line[2] == weights and _same(line[3], figures)), None)
        if same is not None and head != NO_HEAD:
            same[1].append(SCALAR_TITLES[scalar])
        else:
            lines.append((head, [SCALAR_TITLES[scalar]], weights, figures))
    shown = []
    for head, scalars, weights, figures in lines:
        names = {"head": HEAD_TITLES[head], "explained": ", ".join(scalars), "weights": weights}
        shown.append(names | {TITLES[metric]: _with_width(figures.loc[metric]) for metric in there})
    return pd.DataFrame(shown)


def _same(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    missing = first["value"].isna() | second["value"].isna()
    return bool(((first["value"] - second["value"]).abs() < SAME)[~missing].all())


def _with_width(row: pd.Series) -> str:
    if pd.isna(row["value"]):
        return "–"
    return f"{row['value']:.1f} ± {(row['high'] - row['low']) / 2:.1f}"


def factor_figure(measured: Mapping[str, Measured], metrics: Sequence[str] = FIGURE_METRICS) -> Figure:
    """Which factor moves what: one row a comparison, one column a metric, one mark a data set.

    Lines are simultaneous 95 % intervals over all comparisons and metrics of a data set.

    Args:
        measured: crossed measurements.
        metrics: the columns.

    Raises:
        SigcamError: if there is no measurement.
    """
    if not measured:
        fail("there is nothing to draw: measure the controls of an experiment first.")
    labels = [one.label for one in measured.values()]
    figure, axes = plt.subplots(
        1, len(metrics), figsize=(2.3 * len(metrics) + 1.6, 0.55 * len(FACTORS) + 1.4), sharey=True, layout="constrained"
    )
    for metric, ax in zip(metrics, axes, strict=True):
        for position, one in enumerate(measured.values()):
            rows = one.tables["differences"]
            rows = rows[rows["metric"] == metric].set_index("comparison")
            for place, comparison in enumerate(FACTORS):
                if comparison not in rows.index:
                    continue
                row = rows.loc[comparison]
                height = place + 0.7 * ((position + 0.5) / len(measured) - 0.5)
                ax.plot([row["low_all"], row["high_all"]], [height, height], color=COLORS[position], linewidth=1.2)
                ax.plot(row["difference"], height, MARKERS[position], color=COLORS[position], markersize=5)
        ax.axvline(0, color="0.3", linewidth=0.8)
        for edge in range(1, len(FACTORS)):
            ax.axhline(edge - 0.5, color="0.9", linewidth=0.6)
        arrow = "← better" if metric in LOWER_IS_BETTER else "better →"
        ax.set_title(TITLES[metric].replace(", ", ",\n"), fontsize=9)
        ax.set_xlabel(f"points, {arrow}", fontsize=8)
        ax.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(FACTORS)), list(FACTORS.values()), fontsize=8)
    axes[0].invert_yaxis()
    handles = [
        plt.Line2D([], [], color=COLORS[i], marker=MARKERS[i], linestyle="-", label=label)
        for i, label in enumerate(labels)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def comparisons_table(one: Measured, metrics: Sequence[str]) -> pd.DataFrame:
    """Every comparison: text, the difference in points with its simultaneous interval, one column a metric."""
    table = one.tables["differences"]
    table = table[table["metric"].isin(metrics)]
    there = [metric for metric in metrics if metric in set(table["metric"])]
    text = [f"{d:+.1f} [{low:+.1f}, {high:+.1f}]" for d, low, high in table[["difference", "low_all", "high_all"]].values]
    wide = table.assign(text=text).pivot(index="comparison", columns="metric", values="text")
    wide = wide.reindex([name for name in COMPARISONS if name in wide.index])[there]
    wide = wide.rename(columns=TITLES).fillna("–")
    wide.insert(0, "difference", [COMPARISONS[name].words for name in wide.index])
    return wide.reset_index(drop=True).rename_axis(columns=None)
