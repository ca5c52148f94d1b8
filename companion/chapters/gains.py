"""What a softmax head gains by each change of its map, beside its gauge energy: does the one predict the other?

Every softmax head of a network is compared with three maps: its own after centring, its own after truncation, and the
truncated map of the sigmoid head, which is the paper's. All heads of a network see the same features, so that within a
data set nothing but the head, and with it the freedom that it uses, differs.
"""

from __future__ import annotations

from collections.abc import Mapping

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
REMEDIES = {
    "centring": "centring its own weights,\nno training",
    "truncation": "truncating its own weights,\nno training",
    "sigmoid": "a second, trained head,\ntruncated",
}
"""The same changes as remedies for a head that uses the freedom, from the simplest."""


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
    """What the figure finds, in words: gains of a head that uses the freedom, and of one that does not.

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
    """Gain beside gauge energy: one panel a change, one mark a softmax head, heads of one data set joined.

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


@in_style
def centring_figure(measured: Mapping[str, Measured]) -> Figure:
    """What the simplest remedy gains beside the others: one panel a data set, one line a remedy.

    Of each data set, the softmax head of greatest gauge energy among several. Lines are simultaneous 95 % intervals
    over all heads, changes and metrics of a data set.

    Args:
        measured: crossed measurements that have a table ``gains``.
    """
    heads = drifted_heads(measured)
    figure, axes = plt.subplots(
        1,
        len(heads),
        figsize=(3.0 * len(heads) + 1.8, 2.4),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for (name, head), ax in zip(heads.items(), axes[0], strict=True):
        rows = _of_head(measured[name], head).set_index("gain").loc[list(REMEDIES)]
        ax.hlines(range(len(rows)), rows["low_all"], rows["high_all"], color="black", linewidth=1.2)
        ax.plot(rows["difference"], range(len(rows)), "o", color="black", markersize=6)
        ax.axvline(0, color="0.3", linewidth=0.8)
        ax.set(title=measured[name].place, xlabel=f"gain in {SHORT[METRIC]}, points", ylim=(len(rows) - 0.5, -0.5))
    axes[0, 0].set_yticks(range(len(REMEDIES)), list(REMEDIES.values()))
    return figure


def drifted_heads(measured: Mapping[str, Measured]) -> dict[str, str]:
    """The softmax head of greatest gauge energy of every measurement that has several, by the measurement's name."""
    found = {}
    for name, one in measured.items():
        energies = _shown(one).groupby("head")["gauge_energy"].first()
        if len(energies) > 1 and energies.max() >= NONE:
            found[name] = str(energies.idxmax())
    return found


def centring_values(measured: Mapping[str, Measured]) -> dict[str, str]:
    """The same for the prose: gains as text, with simultaneous intervals, such as ``centring_stanford_cars``."""
    values: dict[str, str] = {}
    for name, head in drifted_heads(measured).items():
        rows = _of_head(measured[name], head)
        dataset = measured[name].record["experiment"]["dataset"]
        texts = zip(rows["gain"], rows["difference"], rows["low_all"], rows["high_all"], strict=True)
        values |= {f"{gain}_{dataset}": f"{value:+.2f} [{low:.2f}, {high:.2f}]" for gain, value, low, high in texts}
    return values


def centring_told(measured: Mapping[str, Measured]) -> str:
    """What the figure finds, in words."""
    values, parts = centring_values(measured), []
    for name in drifted_heads(measured):
        dataset = measured[name].record["experiment"]["dataset"]
        centred, second = values[f"centring_{dataset}"], values[f"sigmoid_{dataset}"]
        parts.append(f"on {measured[name].place} {centred}, and by a second head {second}")
    if not parts:
        return "No softmax head that was measured beside others uses what softmax leaves open."
    return (
        f"Centring the weights of a softmax head that AdamW trained changes {SHORT[METRIC]}, in points and without "
        f"training, {'; '.join(parts)}."
    )


def _shown(one: Measured) -> pd.DataFrame:
    table = one.tables["gains"]
    return table[table["metric"] == METRIC]


def _of_head(one: Measured, head: str) -> pd.DataFrame:
    table = _shown(one)
    return table[table["head"] == head]


def _text(energy: float) -> str:
    return "0" if energy < NONE else f"{energy:.2g}"
