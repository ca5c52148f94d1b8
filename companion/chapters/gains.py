"""What a softmax head gains by each change of its map, against its gauge energy: does the one predict the other?

Every softmax head of a network is compared with three maps: its own after centring, its own after truncation, and the
truncated map of the sigmoid head, which is the paper's. All heads of a network see the same features, so that within a
data set nothing but the head, and with it the freedom that it uses, differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sigcam_core.summarise.style import SEVERAL, in_style

from ..controls.names import GAINS
from ..show.results import Measured
from ..show.shown import sentence_list
from .crossed import HEAD_TITLES, MARKERS, SHORT, data_set_handles, difference_texts

METRIC = "maxboxacc_v2_held_out"
"""That the page shows; the file has all."""
NONE = 1e-6
"""Gauge energy below which a head uses no freedom."""


def gains_figures(measured: Mapping[str, Measured]) -> pd.DataFrame:
    """Every softmax head, the greatest gauge energy first: text, the gains in points with simultaneous intervals.

    Args:
        measured: crossed measurements that have a table ``gains``.
    """
    table = pd.concat([_shown(one).assign(data=one.place) for one in measured.values()])
    table = table.assign(text=difference_texts(table))
    wide = table.pivot(index=["data", "head", "gauge_energy"], columns="gain", values="text")[list(GAINS)]
    wide = wide.reset_index().sort_values("gauge_energy", ascending=False, ignore_index=True)
    titles = {"data": "data set", "head": "softmax head", "gauge_energy": "gauge energy"} | GAINS
    wide = wide.assign(head=wide["head"].map(HEAD_TITLES), gauge_energy=wide["gauge_energy"].map(_text))
    return wide.rename(columns=titles).rename_axis(columns=None)


def gains_told(measured: Mapping[str, Measured]) -> str:
    """Say what the figure finds: the gains of a head that uses the freedom, and of one that does not.

    Args:
        measured: crossed measurements that have a table ``gains``.
    """
    parts = []
    for one in measured.values():
        by_head = _shown(one).pivot(index="gauge_energy", columns="gain", values="difference")[list(GAINS)]
        least, most = min(by_head.index), max(by_head.index)
        if least < NONE <= most:
            parts.append(
                f"{one.place}, {_gains(by_head, most)} for the head of gauge energy {_text(most)} and "
                f"{_gains(by_head, least)} for one that has none"
            )
    if not parts:
        return "No data set has both a softmax head that uses the freedom and one that does not."
    changes = sentence_list(list(GAINS.values()))
    return f"What {SHORT[METRIC]} gains by {changes}, in points: on {'; on '.join(parts)}."


def _gains(by_head: pd.DataFrame, energy: float) -> str:
    return ", ".join(f"{value:+.1f}" for value in by_head.loc[energy].round(1) + 0.0)  # no minus before a zero


@in_style
def gain_figure(measured: Mapping[str, Measured]) -> Figure:
    """Plot gain against gauge energy: one panel per change, one mark per softmax head, heads of one data set joined.

    Lines are simultaneous 95 % intervals over all heads, changes and metrics of a data set.

    Args:
        measured: crossed measurements that have a table ``gains``.
    """
    figure, axes = plt.subplots(1, len(GAINS), figsize=(9.0, 3.1), sharey=True, layout="constrained")
    for gain, ax in zip(GAINS, axes, strict=True):
        for place, one in enumerate(measured.values()):
            rows = _shown(one)
            rows = rows[rows["gain"] == gain].sort_values("gauge_energy", kind="stable")
            energy = rows["gauge_energy"] + 0.003 * (place - (len(measured) - 1) / 2)  # so that none hides another
            ax.plot(energy, rows["difference"], MARKERS[place], linestyle=":", color=SEVERAL[place], markersize=5)
            ax.vlines(energy, rows["low_all"], rows["high_all"], color=SEVERAL[place], linewidth=1.2)
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.set_title(f"by {GAINS[gain]}")
        ax.set_xlabel("gauge energy of the softmax head")
    axes[0].set_ylabel(f"gain in {SHORT[METRIC]}, points")
    figure.legend(
        handles=data_set_handles([one.place for one in measured.values()], ":"),
        loc="outside lower center",
        ncols=len(measured),
    )
    return figure


def gains_sentences(measured: Mapping[str, Measured]) -> str:
    """Say, per data set, what the paper's map gains over a softmax head with the freedom and over one without.

    Args:
        measured: crossed measurements that have a table ``gains``; data sets that lack one of the heads are left out.
    """
    sentences = []
    for one, most, least in _contrasted(measured):
        over_most, over_least, centred = (
            _with_interval(row) for row in (most["sigmoid"], least["sigmoid"], most["centring"])
        )
        sentences.append(
            f"On {one.data_set} the paper's map gains {over_most} points over a softmax head with a gauge energy of "
            f"{_text(most['centring'].gauge_energy)} and {over_least} over one that has none; centring the former, "
            f"which needs no second head, gains {centred}."
        )
    return " ".join(sentences)


@in_style
def gains_forest(measured: Mapping[str, Measured]) -> Figure:
    """Draw the gains over a softmax head with gauge energy and over one without, two rows per data set and head.

    Args:
        measured: crossed measurements that have a table ``gains``; data sets that lack one of the heads are left out.
    """
    shown = {"sigmoid": "the paper's map instead", "centring": "the softmax map, centred"}
    blocks = [(one, head) for one, *heads in _contrasted(measured) for head in heads]
    figure, ax = plt.subplots(figsize=(4.2, 0.95 * len(blocks) + 1.1), layout="constrained")
    for place, (one, head) in enumerate(blocks):
        energy = f"gauge energy {_text(head['centring'].gauge_energy)}"
        # Above its rows and not beside them, so that it can be read on a phone.
        heading = f"{one.data_set}: softmax head with {energy}"
        across, plain = ax.get_yaxis_transform(), {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        ax.text(0.0, place - 0.38, heading, fontsize=9, va="center", transform=across, bbox=plain)
        for below, (gain, text) in enumerate(shown.items()):
            row, height, color = head[gain], place + 0.28 * below - 0.08, SEVERAL[below]
            ax.hlines(height, row.low_all, row.high_all, color=color, linewidth=2)
            ax.plot(
                row.difference, height, MARKERS[below], color=color, markersize=6, label=text if not place else None
            )
            end = max(row.high_all, row.difference)
            ax.annotate(
                f"{row.difference:+.1f}", (end, height), (6, 0), textcoords="offset points", va="center", fontsize=9
            )
    ax.axvline(0, ymax=0.98, color="0.3", linewidth=0.8, zorder=0)
    ax.set(ylim=(len(blocks) - 0.5, -0.6), yticks=[], xlabel=f"gain in {SHORT[METRIC]}, points")
    ax.margins(x=0.12)
    ax.spines[["left", "right", "top"]].set_visible(False)
    figure.legend(loc="outside upper left", ncols=2, fontsize=9, handletextpad=0.2, columnspacing=1.0)
    return figure


def _contrasted(measured: Mapping[str, Measured]) -> Iterator[tuple[Measured, dict[str, Any], dict[str, Any]]]:
    """List data sets with a softmax head that uses the freedom and one that does not, with the gains over both."""
    for one in measured.values():
        table = _shown(one)
        most, least = (table[table["gauge_energy"] == find(table["gauge_energy"])] for find in (max, min))
        if least["gauge_energy"].iloc[0] < NONE <= most["gauge_energy"].iloc[0]:
            yield one, _by_gain(most), _by_gain(least)


def _by_gain(rows: pd.DataFrame) -> dict[str, Any]:
    return {str(row.gain): row for row in rows.itertuples()}


def _with_interval(row: Any) -> str:
    difference, low, high = (value if round(value, 1) else 0.0 for value in (row.difference, row.low_all, row.high_all))
    return f"{difference:+.1f} [{low:.1f}, {high:.1f}]"


def _shown(one: Measured) -> pd.DataFrame:
    table = one.tables["gains"]
    return table[table["metric"] == METRIC]


def _text(energy: float) -> str:
    return "0" if energy < NONE else f"{energy:.2g}"
