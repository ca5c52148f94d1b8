"""The page of the crossed controls: what each factor moves, and the scores of maps that carry no information."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sigcam_core.common.errors import fail
from sigcam_core.summarise.style import SEVERAL, in_style

from ..controls.names import CLASS_FREE, COMPARISONS, NO_HEAD, TITLES
from ..show.names import SCALAR_TITLES
from ..show.results import Measured, provenance_line
from ..show.saved import Value
from ..show.shown import sentence_list, show

SHORT = {"maxboxacc_v2_held_out": "MaxBoxAccV2", "grid_2x2": "share in the right cell"}
FINDINGS = {
    "truncation_sigmoid": "truncating the sigmoid map",
    "truncation_softmax": "truncating the softmax map",
    "sigmoid_vs_softmax_signed": "sigmoid instead of softmax, both signed",
    "sigmoid_vs_softmax_truncated": "sigmoid instead of softmax, both truncated",
    "wrong_class_sigmoid_truncated": "a random wrong class, sigmoid truncated",
}
"""The comparisons that the page tells first, in words."""
LOWER_IS_BETTER = ("average_drop", "drop_at_50", "deletion_auc")
WHERE_METRICS = tuple(TITLES)[:6]
CLASS_METRICS = ("grid_2x2", "grid_3x3", "energy_pointing", "pointing_game")
FIDELITY = tuple(TITLES)[8:]
HEAD_TITLES = {
    "softmax": "softmax, as given or by AdamW",
    "softmax optimum": "softmax, at its optimum",
    "softmax sgd": "softmax, by SGD",
    "sigmoid": "sigmoid, by AdamW",
    "sigmoid from softmax": "sigmoid, by AdamW from the softmax head",
    "sigmoid optimum": "sigmoid, at its optimum",
    NO_HEAD: "no head",
}
FACTORS = {
    "sigmoid_as_published": "the paper's two changes:\ntruncated sigmoid −\nsigned softmax",
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
SAME = 0.05
"""Points. Rows that differ by less in every metric are one line of a table."""
MARKERS = "osD^v"


def crossed_table(one: Measured, metrics: Sequence[str], heads: Sequence[str] = ()) -> pd.DataFrame:
    """Every row of control maps: text, a value and half the width of its 95 % interval, one column per metric.

    Rows of one head and treatment of weights whose values all agree within :data:`SAME` points are one line, since
    what tells them apart moves nothing.

    Args:
        one: of a crossed measurement.
        metrics: which to show; those that no row has are left out, and so are rows that have none.
        heads: names of the heads to show, in this order; empty for all.
    """
    table = one.tables["figures"]
    order = list(heads) or list(dict.fromkeys(table["head"]))
    table = table[table["metric"].isin(metrics) & table["head"].isin(order)]
    table = table.sort_values("head", key=lambda column: column.map(order.index), kind="stable")
    there = [metric for metric in metrics if metric in set(table["metric"])]
    lines: list[tuple[str, list[str], str, pd.DataFrame]] = []
    for keys, rows in table.groupby(["head", "scalar", "weights"], sort=False):
        head, scalar, weights = map(str, keys)
        figures = rows.set_index("metric").reindex(there)
        same = next(
            (line for line in lines if line[0] == head and line[2] == weights and _same(line[3], figures)), None
        )
        if same is not None and head != NO_HEAD:
            same[1].append(SCALAR_TITLES[scalar])
        else:
            lines.append((head, [SCALAR_TITLES[scalar]], weights, figures))
    shown = []
    for head, scalars, weights, figures in lines:
        names = {"head": HEAD_TITLES[head], "explained": ", ".join(scalars), "weights": weights}
        shown.append(names | {TITLES[metric]: _with_width(figures.loc[metric]) for metric in there})
    return pd.DataFrame(shown)


def _compared(one: Measured) -> tuple[str, str, str]:
    """No head, and the two that are compared; the others stand in the table of heads and in the files."""
    return NO_HEAD, one.record["softmax"], one.record["sigmoid"]


def where_figures(one: Measured) -> pd.DataFrame:
    """Localisation and pointing of the compared heads and of none, by :func:`crossed_table`."""
    return crossed_table(one, WHERE_METRICS, _compared(one))


def class_figures(one: Measured) -> pd.DataFrame:
    """Class specificity of the compared heads and of none, by :func:`crossed_table`."""
    return crossed_table(one, CLASS_METRICS, _compared(one))


def fidelity_figures(one: Measured) -> pd.DataFrame:
    """Fidelity of the compared heads and of none, by :func:`crossed_table`."""
    return crossed_table(one, FIDELITY, _compared(one))


def _same(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    missing = first["value"].isna() | second["value"].isna()
    return bool(((first["value"] - second["value"]).abs() < SAME)[~missing].all())


def _with_width(row: Any) -> str:
    if pd.isna(row["value"]):
        return "–"
    of_images = f", {row['images']:.0f} images" if pd.notna(row.get("images")) else ""
    return f"{row['value']:.1f} ± {(row['high'] - row['low']) / 2:.1f}{of_images}"


@in_style
def factor_figure(measured: Mapping[str, Measured], metrics: Sequence[str] = FIGURE_METRICS) -> Figure:
    """Plot which factor moves what: one row per comparison, one column per metric, one mark per data set.

    Lines are simultaneous 95 % intervals over all comparisons and metrics of a data set.

    Args:
        measured: crossed measurements.
        metrics: the columns.

    Raises:
        SigcamError: if there is no measurement.
    """
    if not measured:
        fail("there is nothing to draw: measure the controls of an experiment first.")
    figure, axes = plt.subplots(
        1,
        len(metrics),
        figsize=(2.3 * len(metrics) + 1.6, 0.55 * len(FACTORS) + 1.4),
        sharey=True,
        layout="constrained",
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
                ax.plot([row["low_all"], row["high_all"]], [height, height], color=SEVERAL[position], linewidth=1.2)
                ax.plot(row["difference"], height, MARKERS[position], color=SEVERAL[position], markersize=5)
        ax.axvline(0, color="0.3", linewidth=0.8)
        for edge in range(1, len(FACTORS)):
            ax.axhline(edge - 0.5, color="0.9", linewidth=0.6)
        arrow = "← better" if metric in LOWER_IS_BETTER else "better →"
        ax.set_title(TITLES[metric].replace(", ", ",\n"), fontsize=9)
        ax.set_xlabel(f"points, {arrow}", fontsize=8)
        ax.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(FACTORS)), list(FACTORS.values()), fontsize=8)
    axes[0].invert_yaxis()
    figure.legend(
        handles=data_set_handles([one.label for one in measured.values()], "-"),
        loc="outside lower center",
        ncols=2,
        fontsize=8,
        frameon=False,
    )
    return figure


def data_set_handles(labels: Sequence[str], linestyle: Literal["-", ":"]) -> list[Line2D]:
    """Draw what a legend shows: one mark per measurement, with its colour and label."""
    return [
        Line2D([], [], color=SEVERAL[place], marker=MARKERS[place], linestyle=linestyle, label=label)
        for place, label in enumerate(labels)
    ]


def comparisons_table(one: Measured, metrics: Sequence[str]) -> pd.DataFrame:
    """Every comparison: text, the difference in points with its simultaneous interval, one column per metric."""
    table = one.tables["differences"]
    table = table[table["metric"].isin(metrics)]
    there = [metric for metric in metrics if metric in set(table["metric"])]
    wide = table.assign(text=difference_texts(table)).pivot(index="comparison", columns="metric", values="text")
    wide = wide.reindex([name for name in COMPARISONS if name in wide.index])[there]
    wide = wide.rename(columns=TITLES).fillna("–")
    wide.insert(0, "difference", [COMPARISONS[name].words for name in wide.index])
    return wide.reset_index(drop=True).rename_axis(columns=None)


def all_comparisons(measured: Mapping[str, Measured]) -> list[pd.io.formats.style.Styler]:
    """Every difference of every measurement, in three tables each: where, which class, and how faithful."""
    tables = []
    for one in measured.values():
        for metrics in (WHERE_METRICS, CLASS_METRICS, FIDELITY):
            tables.append(show(comparisons_table(one, metrics), f"Differences in points, {one.title}", wrap=True))
    return tables


def penalty_figures(one: Measured) -> pd.DataFrame:
    """Tabulate the penalties tried per head: held-out loss and Top-1 (%), certificate, and which was chosen."""
    tables = [table for name, table in sorted(one.tables.items()) if name.startswith("penalties_")]
    whole = pd.concat(tables, ignore_index=True)
    marks = {"chosen": "chosen", "highest_top1": "highest Top-1"}
    notes = [", ".join(text for name, text in marks.items() if row[name]) for row in whole.to_dict("records")]
    shown = whole[["head", "l2", "certificate", "iterations", "held_out_loss", "held_out_top1"]]
    return shown.assign(
        l2=whole["l2"].map("{:.0e}".format), certificate=whole["certificate"].map("{:.0e}".format), note=notes
    )


def gauge_figures(one: Measured) -> pd.DataFrame:
    """Gauge energy by optimiser and start: the mean over seeds, the theory's, and held-out Top-1 (%)."""
    table = one.tables["gauge"].fillna({"start": ""})
    means = table.groupby(["optimizer", "start"], sort=False)[["gauge_energy", "theory", "top1"]].mean()
    counts = table.groupby(["optimizer", "start"], sort=False).size().rename("seeds")
    wide = means.join(counts).reset_index()
    text = {
        name: ["–" if pd.isna(value) else f"{value:.2g}" for value in wide[name]] for name in ("gauge_energy", "theory")
    }
    return wide.assign(**text, top1=wide["top1"].map("{:.1f}".format))


def findings_table(measured: Mapping[str, Measured]) -> pd.DataFrame:
    """Tabulate what each change moves: text, one row per change and metric, one column per data set and network.

    Points with simultaneous 95 % intervals; MaxBoxAccV2 is that at the threshold of held-out images.

    Args:
        measured: crossed measurements.
    """
    rows = []
    for comparison, words in FINDINGS.items():
        for metric in ("maxboxacc_v2_held_out", "grid_2x2"):
            moves = {one.label: _move(one, comparison, metric) for one in measured.values()}
            if all(moves.values()):
                rows.append({"change": words, "moves": SHORT[metric]} | moves)
    return pd.DataFrame(rows)


def _move(one: Measured, comparison: str, metric: str) -> str:
    """Say by how much a comparison moves a metric; empty where it was not measured."""
    table = one.tables["differences"]
    rows = table[(table["comparison"] == comparison) & (table["metric"] == metric)]
    return "".join(difference_texts(rows))


def difference_texts(differences: pd.DataFrame) -> list[str]:
    """Differences with their simultaneous intervals, in points."""
    figures = differences[["difference", "low_all", "high_all"]].to_numpy().round(1) + 0.0  # no minus before a zero
    return [f"{change:+.1f} [{low:+.1f}, {high:+.1f}]" for change, low, high in figures]


def likeness_figures(one: Measured) -> pd.DataFrame:
    """Mean correlation of the maps of the right and of a random wrong class, one line per head and weights."""
    table = one.tables["likeness"]
    return table.assign(head=table["head"].map(HEAD_TITLES), correlation=table["correlation"].map("{:.2f}".format))


def scorer_figures(one: Measured) -> pd.DataFrame:
    """Average drop (%) of the principal maps by scorer, one column per scorer, each with its own confidence first."""
    table = one.tables["scorers"]
    rows = table[table["head"].isin(_compared(one)) & table["scalar"].isin(("logit", "centred", CLASS_FREE))]
    wide = rows.pivot_table(index=["head", "scalar", "weights"], columns="scorer", values="average_drop", sort=False)
    confidence = table.groupby("scorer", sort=False)["confidence"].first()
    wide = wide[confidence.index].reset_index().rename_axis(columns=None)
    first = {"head": "confidence on the whole image", "scalar": "", "weights": ""} | confidence.to_dict()
    wide["head"] = wide["head"].map(HEAD_TITLES)
    wide["scalar"] = wide["scalar"].map(SCALAR_TITLES)
    whole = pd.concat([pd.DataFrame([first]), wide], ignore_index=True)
    by_scorer = {name: f"by {HEAD_TITLES[name]}" for name in confidence.index}
    return whole.rename(columns={"scalar": "explained"} | by_scorer)


def heads_figures(one: Measured) -> pd.DataFrame:
    """Gauge energy, Top-1 (%), and how near logits come to the compared softmax head's log-odds, of every head."""
    table = one.tables["heads"]
    text = {
        "head": table["head"].map(HEAD_TITLES),
        "gauge energy": table["gauge_energy"].map("{:.2g}".format),
        "held-out Top-1": table["val_top1"].map("{:.1f}".format),
        "test Top-1": table["test_top1"].map("{:.1f}".format),
    }
    likeness = one.tables["log_odds"].set_index("head").loc[table["head"]]
    names = {"all_classes": "correlation with log-odds, all classes", "label": "of the label"}
    return pd.DataFrame(text | {name: likeness[key].map("{:.3f}".format).to_numpy() for key, name in names.items()})


def read_cue(results: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Shares of evidence and their agreement with removal, of :func:`companion.cue.study.publish_cue`.

    Args:
        results: folder of all that was measured.

    Raises:
        SigcamError: if it was not measured.
    """
    return _committed(results, "cue", "shares"), _committed(results, "cue", "agreement")


def cue_told(shares: pd.DataFrame) -> str:
    """Say what the cue figure finds: the share of evidence on the cue as its correlation with the class grows.

    Args:
        shares: of :func:`read_cue`.
    """
    rows = shares[(shares["metric"] == "share") & (shares["part"] == "cue") & (shares["map"] == "signed")]
    least, most = rows["correlation"].min(), rows["correlation"].max()
    parts = []
    for head, part in rows.groupby("head", sort=False):
        values = part.set_index("correlation")["value"].to_dict()
        parts.append(f"{values[least]:.0f} to {values[most]:.0f} % ({head})")
    return (
        f"As the cue's colour comes to agree with the class, from {least:.0%} of images to {most:.0%}, the share of "
        f"positive evidence on it goes from {sentence_list(parts)}."
    )


def bias_figures(results: Path) -> pd.DataFrame:
    """Bias (points) of MaxBoxAccV2 and coverage (%) of its 95 % intervals: text, one line per quantity and estimator.

    Args:
        results: folder of all that was measured.

    Raises:
        SigcamError: if it was not measured.
    """
    table = _committed(results, "threshold_bias", "bias")
    aims = {"maximum_percentile": "maximum", "maximum_corrected": "maximum", "held_out_percentile": "at_thresholds"}
    rows = table[(table["metric"] == "maxboxacc_v2") & (table["estimator"].map(aims) == table["target"])]
    names = ["experiment", "method", "quantity", "estimator", "N", "bias", "coverage", "mean_width"]
    shown = rows[names].assign(estimator=rows["estimator"].str.replace("_", " "))
    text = {"bias": "{:+.2f}", "coverage": "{:.1f}", "mean_width": "{:.1f}"}
    return shown.assign(**{name: shown[name].map(form.format) for name, form in text.items()})


def _committed(results: Path, name: str, table: str) -> pd.DataFrame:
    path = results / name / f"{table}.csv"
    if not path.exists():
        fail(f"{path} does not exist: run `python -m companion publish {name} --results {results}`.")
    return pd.read_csv(path)


def sources(measured: Mapping[str, Measured]) -> str:
    """Where the numbers come from, and the seconds of every step, some lines per measurement."""
    lines = []
    for one in measured.values():
        record = one.record
        seconds = ", ".join(f"{name} {value:,.0f}" for name, value in record["seconds"].items())
        lines += [
            f"{one.name}\n  {provenance_line(record)}",
            f"  manifest {record['manifest_checksum'][:12]}; {record['test_images']:,} test images, insertion and "
            f"deletion on the first {record['perturbed_images']:,}",
            f"  seconds: {seconds}",
        ]
    return "\n".join(lines)


def flat_controls(measured: Mapping[str, Measured]) -> tuple[dict[str, Value], dict[str, str]]:
    """Figures and differences under flat names for the prose, such as ``NAME_sigmoid_logit_signed_grid_2x2``.

    The two heads that are compared are ``softmax`` and ``sigmoid`` there. Intervals are text, simultaneous, under the
    name with ``_interval``.

    Returns:
        The values, in % and points; and how to print those that two decimals do not suit.
    """
    values: dict[str, Value] = {}
    for one in measured.values():
        name = one.name.removeprefix("controls-").replace("-", "_")
        short = {one.record["softmax"]: "softmax", one.record["sigmoid"]: "sigmoid", NO_HEAD: NO_HEAD}
        for row in one.tables["figures"].to_dict("records"):
            if row["head"] in short:
                words = (short[row["head"]], row["scalar"], row["weights"], row["metric"])
                values["_".join([name, *(word.replace(" ", "_").replace("-", "_") for word in words)])] = row["value"]
        for row in one.tables["differences"].to_dict("records"):
            key = f"{name}_{row['comparison']}_{row['metric']}"
            values[key] = row["difference"]
            values[f"{key}_interval"] = f"[{row['low_all']:.1f}, {row['high_all']:.1f}]"
        for row in one.tables["likeness"].to_dict("records"):
            if row["head"] in short:
                values[f"{name}_likeness_{short[row['head']]}_{row['weights']}"] = row["correlation"]
        for row in one.tables["heads"].to_dict("records"):
            values[f"{name}_gauge_{row['head'].replace(' ', '_')}"] = row["gauge_energy"]
    formatted = {key: f"{value:.1f}" for key, value in values.items() if isinstance(value, float)}
    formatted |= {key: f"{values[key]:.2f}" for key in values if "_likeness_" in key}
    formatted |= {key: f"{values[key]:.2g}" for key in values if "_gauge_" in key}
    return values, formatted
