"""The figures of the book. Notebooks, pages and scripts call these, so that all draw the same picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from sigcam_core.common.errors import fail
from sigcam_core.common.titles import METHOD_TITLES, METRIC_TITLES
from sigcam_core.summarise.drawing import Panel, draw_panel
from sigcam_core.summarise.style import (
    COLORS,
    METHOD_MARKERS,
    SEVERAL,
    in_style,
)

from .names import QUANTITY_TITLES, data_set_title, network_title


@in_style
def invariance_figure(
    panels: Sequence[Panel], probabilities: Mapping[str, Sequence[float]], classes: Sequence[str]
) -> Figure:
    """Above, maps of one image under heads that softmax cannot tell apart; below, their class probabilities.

    Args:
        panels: the image and one map per head.
        probabilities: for each head, the probabilities of ``classes``.
        classes: names of the classes shown.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    names = [f"map{i}" for i in range(rows * columns)]
    layout: list[Any] = [names[columns * row : columns * (row + 1)] for row in range(rows)]
    figure: Figure
    figure, axes = plt.subplot_mosaic(
        [*layout, ["bars"] * columns],
        figsize=(2.6 * columns, 3.0 * rows + 2.2),
        height_ratios=[*[3.0] * rows, 2.2],
        layout="constrained",
    )
    for name in names[len(panels) :]:
        axes[name].set_axis_off()
    for name, panel in zip(names, panels, strict=False):
        draw_panel(axes[name], panel)
    data = pd.DataFrame(probabilities, index=list(classes)).rename_axis("class").reset_index()
    long = data.melt(id_vars="class", var_name="head", value_name="probability")
    sns.barplot(long, y="class", x="probability", hue="head", palette=SEVERAL[: len(probabilities)], ax=axes["bars"])
    axes["bars"].set(xlabel="softmax probability", ylabel="", xlim=(0, 1))
    for label in axes["bars"].get_yticklabels():
        label.set_parse_math(False)  # as above
    axes["bars"].legend(fontsize=8, title=None, loc="lower right")
    return figure


@in_style
def training_figure(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot loss and validation accuracy per network, by epoch.

    Args:
        histories: for each run, columns ``epoch``, ``loss``, ``val_top1``.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.8), layout="constrained")
    for column, label, ax in zip(("loss", "val_top1"), ("training loss", "validation Top-1 (%)"), axes, strict=True):
        for (name, history), style in zip(histories.items(), ("-", "--", "-.", ":"), strict=False):
            ax.plot(history["epoch"], history[column], style, label=name, linewidth=1.8)
        ax.set(xlabel="epoch", ylabel=label)
        ax.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].yaxis.set_minor_formatter(NullFormatter())
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


@in_style
def difference_figure(differences: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    """Sigmoid minus softmax with 95 % intervals, one panel per metric, one row per network and method.

    Args:
        differences: what :func:`sigcam_core.summarise.tables.head_differences` returns.
        metrics: which of its metrics to draw; those that the table lacks are left out.

    Raises:
        SigcamError: if the table has none of them.
    """
    there = differences["metric"].unique()
    if not set(metrics) & set(there):
        fail(f"none of the metrics {', '.join(metrics)} is in the table: choose among {', '.join(there)}.")
    metrics = [metric for metric in metrics if metric in there]
    titles = differences["network"].map(network_title), differences["method"].map(METHOD_TITLES)
    labels = (titles[0] + "  " + titles[1]).rename("label")
    order = list(dict.fromkeys(labels))
    figure, axes = plt.subplots(
        1,
        len(metrics),
        figsize=(2.9 * len(metrics) + 1.8, 0.3 * len(order) + 1.2),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for metric, ax in zip(metrics, axes[0], strict=True):
        part = differences[differences["metric"] == metric]
        y = [order.index(label) for label in labels[part.index]]
        error = np.stack([part["difference"] - part["low"], part["high"] - part["difference"]]).clip(min=0)
        ax.errorbar(part["difference"], y, xerr=error, fmt="o", color="black", capsize=3, markersize=5)
        ax.axvline(0, color="gray", linewidth=1)
        ax.set_title(METRIC_TITLES.get(metric, metric), fontsize=10)
        ax.set_xlabel("sigmoid − softmax (points)")
        ax.grid(axis="x", alpha=0.3)
    axes[0, 0].set_yticks(range(len(order)), order)
    axes[0, 0].invert_yaxis()
    return figure


@in_style
def coverage_figure(table: pd.DataFrame) -> Figure:
    """Average drop against coverage: how much of the image each map keeps explains much of its drop.

    Args:
        table: fidelity figures with columns ``network, method, head, coverage, average_drop``.
    """
    networks = list(dict.fromkeys(table["network"]))
    figure, axes = plt.subplots(
        1, len(networks), figsize=(3.6 * len(networks) + 1.6, 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    for network, ax in zip(networks, axes[0], strict=True):
        for row in table[table["network"] == network].to_dict("records"):
            # Open markers of different shapes stay apart where methods coincide.
            ax.plot(
                row["coverage"],
                row["average_drop"],
                METHOD_MARKERS[row["method"]],
                color=COLORS[row["head"]],
                markerfacecolor="none",
                markersize=9,
                markeredgewidth=1.6,
            )
        ax.set_title(network_title(network), fontsize=10)
        ax.set(xlabel="coverage: mean of the maps (%)")
        ax.grid(alpha=0.3)
        ax.margins(0.12)
    axes[0, 0].set_ylabel("average drop (%), lower is better")
    methods = [method for method in METHOD_TITLES if method in set(table["method"])]
    style: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "none"}
    entries = [
        Line2D([], [], marker=METHOD_MARKERS[m], color="black", label=METHOD_TITLES[m], **style) for m in methods
    ]
    entries += [Line2D([], [], color=color, linewidth=4, label=f"{head} head") for head, color in COLORS.items()]
    figure.legend(handles=entries, loc="outside right center", fontsize=8)
    return figure


@in_style
def matched_coverage_figure(points: pd.DataFrame) -> Figure:
    """Average drop where every map keeps the same share of the image, one panel per network, one curve per map.

    Args:
        points: what :func:`sigcam_core.summarise.tables.matched_coverage` returns.
    """
    networks = list(dict.fromkeys(points["network"]))
    methods = [method for method in METHOD_TITLES if method in set(points["method"])]
    lines: dict[str, tuple[Any, float]] = {"softmax": ("-", 3.0), "sigmoid": ("--", 1.3)}
    figure, axes = plt.subplots(
        1, len(networks), figsize=(3.6 * len(networks) + 1.6, 3.8), sharey=True, squeeze=False, layout="constrained"
    )
    for network, ax in zip(networks, axes[0], strict=True):
        for (method, head), curve in points[points["network"] == network].groupby(["method", "head"], sort=False):
            # Widths, dashes, shapes and sizes keep curves apart where they coincide.
            ax.plot(
                curve["coverage"],
                curve["average_drop"],
                METHOD_MARKERS[method],
                color=COLORS[head],
                linestyle=lines[head][0],
                linewidth=lines[head][1],
                markerfacecolor="none",
                markeredgewidth=0.9,
                markersize=9 - 1.2 * methods.index(method),
            )
        ax.set_title(network_title(network), fontsize=10)
        ax.set(xlabel="coverage: pixels kept (%)", xlim=(-3, 103))
        ax.grid(alpha=0.3)
    axes[0, 0].set_ylabel("average drop (%), lower is better")
    style: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "none"}
    entries = [
        Line2D([], [], marker=METHOD_MARKERS[m], color="black", label=METHOD_TITLES[m], **style) for m in methods
    ]
    entries += [
        Line2D([], [], color=COLORS[head], linestyle=dashes, linewidth=width, label=f"{head} head")
        for head, (dashes, width) in lines.items()
    ]
    figure.legend(handles=entries, loc="outside right center", fontsize=8)
    return figure


@in_style
def overhead_figure(table: pd.DataFrame) -> Figure:
    """Dual branch over baseline, one bar per network and quantity.

    Args:
        table: columns ``network, quantity, ratio``.
    """
    figure, ax = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
    table = table.assign(quantity=table["quantity"].map(QUANTITY_TITLES), network=table["network"].map(network_title))
    palette = SEVERAL[: table["network"].nunique()]
    sns.barplot(table, y="quantity", x="ratio", hue="network", palette=palette, ax=ax)
    ax.axvline(1, color="gray", linewidth=1)
    ax.set(xlabel="dual branch / baseline", ylabel="")
    ax.legend(fontsize=8, title=None, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


@in_style
def gains_figure(cells: pd.DataFrame) -> Figure:
    """Our gain against the paper's, one panel per metric, one mark per cell, with our interval where there is one.

    Args:
        cells: columns ``metric, method, dataset, paper_gain, our_gain, gain_low, gain_high``, in points.
    """
    metrics = list(dict.fromkeys(cells["metric"]))
    data_sets = list(dict.fromkeys(cells["dataset"]))
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(2.8 * columns, 2.7 * rows + 0.6), squeeze=False, layout="constrained"
    )
    axes = grid.ravel()
    for ax in axes[len(metrics) :]:
        ax.set_axis_off()
    for metric, ax in zip(metrics, axes, strict=False):
        for row in cells[cells["metric"] == metric].to_dict("records"):
            color = SEVERAL[data_sets.index(row["dataset"])]
            x, y = row["paper_gain"], row["our_gain"]
            if pd.notna(row["gain_low"]):
                ax.plot([x, x], [row["gain_low"], row["gain_high"]], color=color, linewidth=1)
            ax.plot(x, y, METHOD_MARKERS[row["method"]], color=color, markerfacecolor="none", markersize=6)
        low, high = (edge([*ax.get_xlim(), *ax.get_ylim()]) for edge in (min, max))
        ax.plot([low, high], [low, high], color="0.7", linewidth=0.8, linestyle=":")
        ax.axhline(0, color="gray", linewidth=0.8)
        ax.axvline(0, color="gray", linewidth=0.8)
        ax.set(title=METRIC_TITLES.get(metric, metric), xlabel="the paper's gain (points)")
    for row_of_axes in grid:
        row_of_axes[0].set_ylabel("our gain (points)")
    marks = [
        Line2D(
            [], [], marker=METHOD_MARKERS[name], color="black", linestyle="none", markerfacecolor="none", label=title
        )
        for name, title in METHOD_TITLES.items()
        if name in set(cells["method"])
    ]
    marks += [
        Line2D([], [], color=color, linewidth=4, label=data_set_title(name))
        for color, name in zip(SEVERAL, data_sets, strict=False)
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=5)
    return figure
