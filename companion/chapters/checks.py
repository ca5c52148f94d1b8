"""What the measures see, as tables: negatives, boxes without maps, grids, permuted heads, weights, penalties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ..controls.names import CENTRE, CLASS_FREE, FURTHER_TITLES, NEGATIVES, NO_HEAD, TITLES
from ..experiments import CHECKS
from ..predictions import judged_predictions, read_predictions
from ..show.names import SCALAR_TITLES
from ..show.results import Measured, read_measured
from ..show.saved import Value
from ..show.shown import fold, show
from .crossed import HEAD_TITLES
from .real_images import each

ALL_TITLES = TITLES | FURTHER_TITLES
BOX_METRICS = ("maxboxacc_v2", "maxboxacc_v2_outer", "maxboxacc_v2_held_out", "boxacc_v2_otsu", "boxacc_v2_half")
GRID_METRICS = tuple(f"grid_{n}x{n}{suffix}" for n in (2, 3) for suffix in ("", "_top", "_named"))
PATH_METRICS = ("maxboxacc_v2", "maxboxacc_v2_held_out", "grid_2x2", "grid_2x2_top", "average_drop", "average_drop_own")
TREATMENTS = {"signed": "", "truncated": ", truncated"} | {NEGATIVES["signed"]: ", negative"}
TREATMENTS |= {NEGATIVES["truncated"]: ", truncated, negative"}
INFLUENCE_TITLES = {
    "rank_weight": "rank correlation with the weight",
    "rank_contribution": "with weight times activation",
    "sign": "signs right, %",
}
SHOWN_SCORES = {
    "own probability": "its own probability",
    "softmax over own logits": "a softmax over its logits",
    "classifier's probability": "the classifier's probability",
}


def read_checks(results: Path) -> dict[str, Measured]:
    """Read the checks that were measured, by name.

    Args:
        results: folder of all that was measured.
    """
    return read_measured(results, list(CHECKS))


def show_fold(name: str, measured: Mapping[str, Measured]) -> None:
    """Show a fold of :data:`FOLDS` in a notebook, each of its tables once per data set.

    Args:
        name: of the fold, and of its tables.
        measured: checks that were measured.
    """
    summary, tables = FOLDS[name]
    shown = [table for build, caption in tables for table in each(measured, build, f"{caption}, {{title}}", decimals=1)]
    fold(summary, *shown, name=name)


def show_randomised(measured: Mapping[str, Measured]) -> None:
    """Show how much of a map a permuted head leaves, in one table of all data sets."""
    permuted = show(randomised_figures(measured), "Correlation with the map of a permuted head", wrap=True)
    fold("Maps of permuted heads", permuted, name="randomised")


def show_predictions(results: Path) -> None:
    """Show the predictions that were committed beforehand, with what was measured."""
    expected = show(predictions_table(results), "Predictions that were committed before the measurement", wrap=True)
    fold("Predictions and what was measured", expected, name="predictions")


def box_figures(one: Measured) -> pd.DataFrame:
    """MaxBoxAccV2 of maps, of their negatives and of boxes without a map, by several thresholds: text, in %."""
    compared = [one.record["softmax"], one.record["sigmoid"]]
    table = one.tables["figures"]
    is_shown = table["head"].isin(compared) & (table["scalar"] == "logit")
    is_shown |= (table["head"] == NO_HEAD) & ~table["scalar"].str.startswith("random")
    return _wide(table[is_shown], BOX_METRICS)


def grid_figures(one: Measured) -> pd.DataFrame:
    """Grid pointing as published and without a zero, as trained and with both heads centred: text, in %."""
    heads = [one.record["softmax"], one.record["sigmoid"], "softmax", "sigmoid"]
    table = one.tables["figures"]
    is_shown = table["head"].isin(heads) & table["scalar"].isin(("logit", "centred"))
    is_shown |= (table["head"] == NO_HEAD) & (table["scalar"] == CLASS_FREE)
    return _wide(table[is_shown], GRID_METRICS)


def _wide(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row a map, one column per metric: a figure and half the width of its 95 % interval."""
    there = [metric for metric in metrics if metric in set(table["metric"])]
    rows = table[table["metric"].isin(there)]
    text = [f"{row['value']:.1f} ± {(row['high'] - row['low']) / 2:.1f}" for row in rows.to_dict("records")]
    keys = ["head", "scalar", "weights"]
    wide = rows.assign(text=text).pivot(index=keys, columns="metric", values="text")[there]
    wide = wide.reindex(rows.drop_duplicates(keys).set_index(keys).index).fillna("–").reset_index()
    names = wide["scalar"].map(SCALAR_TITLES) + wide["weights"].map(TREATMENTS)
    shown = wide.assign(head=wide["head"].map(HEAD_TITLES), scalar=names).drop(columns="weights")
    return shown.rename(columns={"scalar": "map"} | ALL_TITLES).rename_axis(columns=None)


def randomised_figures(measured: Mapping[str, Measured]) -> pd.DataFrame:
    """Correlation of a map with that of its permuted head: text, one row per map and data set, both compared heads."""
    lines = []
    for one in measured.values():
        heads = {one.record["softmax"]: "softmax", one.record["sigmoid"]: "sigmoid"}
        table = one.tables["randomised"]
        for (kind, permuted), rows in table.groupby(["map", "permuted"], sort=False):
            by_head = rows.set_index("head")
            names = [name for name in (*heads, NO_HEAD) if name in by_head.index]
            text = {heads.get(name, "no head"): _correlation(by_head.loc[name]) for name in names}
            title = SCALAR_TITLES.get(str(kind), str(kind))
            lines.append({"data set": one.label, "map": title, "permuted over": permuted} | text)
    return pd.DataFrame(lines).fillna("–")


def _correlation(row: pd.Series[float]) -> str:
    return f"{row['correlation']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def influence_figures(one: Measured) -> pd.DataFrame:
    """Tabulate what weights foretell of a removed channel: text, one row per head and score."""
    table = one.tables["influence"]
    table = table[table["removed"] == "zero"]
    text = []
    for row in table.to_dict("records"):
        form = ".1f" if row["metric"] == "sign" else ".2f"
        text.append(f"{row['value']:{form}} [{row['low']:{form}}, {row['high']:{form}}]")
    keys = ["head", "weights", "score"]
    wide = table.assign(text=text).pivot(index=keys, columns="metric", values="text")[list(INFLUENCE_TITLES)]
    wide = wide.reindex(table.drop_duplicates(keys).set_index(keys).index).reset_index()
    titles = HEAD_TITLES | {"sigmoid sgd": "sigmoid, by SGD", "difference": "compared sigmoid − softmax"}
    shown = wide.assign(head=wide["head"].map(titles), score=wide["score"].map(SHOWN_SCORES))
    return shown.rename(columns=INFLUENCE_TITLES).rename_axis(columns=None)


def path_figures(one: Measured) -> pd.DataFrame:
    """Every optimum along the penalty paths: numbers in %, one row per head, penalty and treatment of weights."""
    table = one.tables["penalty_path"]
    keys = ["head", "l2", "chosen", "weights", "test_top1"]
    there = [metric for metric in PATH_METRICS if metric in set(table["metric"])]
    wide = table.pivot(index=keys, columns="metric", values="value")[there]
    wide = wide.reindex(table.drop_duplicates(keys).set_index(keys).index).reset_index()
    marks = wide["chosen"].map({True: "chosen", False: ""})
    shown = wide.assign(l2=wide["l2"].map("{:.0e}".format), chosen=marks)
    return shown.rename(columns={"test_top1": "test Top-1"} | ALL_TITLES).rename_axis(columns=None)


def energy_figures(one: Measured) -> pd.DataFrame:
    """Gauge energy of softmax heads and common energy of sigmoid heads by optimiser and start: means over seeds."""
    parts = []
    for kind, name in (("softmax", "gauge"), ("sigmoid", "gauge_sigmoid")):
        if name in one.tables:
            table = one.tables[name].fillna({"start": ""})
            means = table.groupby(["optimizer", "start"], sort=False)[["gauge_energy", "top1"]].mean().reset_index()
            parts.append(means.assign(head=kind))
    whole = pd.concat(parts, ignore_index=True)[["head", "optimizer", "start", "gauge_energy", "top1"]]
    text = {"gauge_energy": whole["gauge_energy"].map("{:.2g}".format), "top1": whole["top1"].map("{:.1f}".format)}
    return whole.assign(**text).rename(columns={"gauge_energy": "shared energy", "top1": "held-out Top-1"})


def predictions_table(results: Path) -> pd.DataFrame:
    """Every prediction beside what was measured under it: text.

    Args:
        results: folder of all that was measured.
    """
    judged = judged_predictions(results)
    words = {one.name: one.words for one in read_predictions()}
    return pd.DataFrame(
        {
            "expected": judged["prediction"].map(words),
            "on": judged["measured_on"],
            "range": [f"{low:g} to {high:g}" for low, high in zip(judged["low"], judged["high"], strict=True)],
            "measured": judged["value"].map("{:.2f}".format),
            "held": judged["held"].map({True: "yes", False: "no"}),
            "known before": judged["seen"],
        }
    )


def checks_sentence(measured: Mapping[str, Measured]) -> str:
    """Say what the negative of a map that sees no image scores, with and without holes."""
    parts = []
    for one in measured.values():
        table = one.tables["figures"]
        rows = table[(table["head"] == NO_HEAD) & (table["scalar"] == CENTRE)]
        value = rows.set_index(["weights", "metric"])["value"].to_dict()
        negative = NEGATIVES["signed"]
        parts.append(
            f"{value['signed', 'maxboxacc_v2']:.1f} and {value[negative, 'maxboxacc_v2']:.1f} on {one.label}, "
            f"{value[negative, 'maxboxacc_v2_outer']:.1f} by outer contours"
        )
    return f"MaxBoxAccV2 of a centred Gaussian and of its negative: {'; '.join(parts)}."


def flat_checks(measured: Mapping[str, Measured]) -> tuple[dict[str, Value], dict[str, str]]:
    """Figures under flat names for the prose, such as ``NAME_sigmoid_logit_signed_grid_2x2_top``.

    The two heads that are compared are ``softmax`` and ``sigmoid`` there.

    Returns:
        The values, in %; and how to print them.
    """
    values: dict[str, Value] = {}
    for one in measured.values():
        name = one.name.removeprefix("checks-")
        short = {one.record["softmax"]: "softmax", one.record["sigmoid"]: "sigmoid", NO_HEAD: NO_HEAD}
        for row in one.tables["figures"].to_dict("records"):
            if row["head"] in short:
                words = (name, short[row["head"]], row["scalar"], row["weights"], row["metric"])
                values[_key(*words)] = row["value"]
        for row in one.tables["differences"].to_dict("records"):
            key = _key(name, row["comparison"], row["metric"])
            values[key] = row["difference"]
            values[f"{key}_interval"] = f"[{row['low_all']:.1f}, {row['high_all']:.1f}]"
    return values, {key: f"{value:.1f}" for key, value in values.items() if isinstance(value, float)}


def _key(*words: str) -> str:
    return "_".join(word.replace(", ", "_").replace(" ", "_").replace("-", "_") for word in words)


FOLDS = {
    "negatives": ("Maps, their negatives, and boxes without a map", [(box_figures, "MaxBoxAccV2 in %")]),
    "zero_free": ("Grid pointing with and without a zero", [(grid_figures, "Grid pointing in %")]),
    "influence": (
        "Weights and the effects of removed channels",
        [(influence_figures, "Weights and the effects of removed channels")],
    ),
    "penalty_path": (
        "Every penalty, and what all classes share by optimiser",
        [
            (path_figures, "Every optimum along the path of penalties, in %"),
            (energy_figures, "Gauge energy (softmax) and common energy (sigmoid)"),
        ],
    ),
}
"""Folds of the page, by name: what it is of, and its tables with their captions."""
