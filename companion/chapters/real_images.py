"""The chapter on real images: tables of what was measured there, as its pages show them. No network runs.

What is imported here under its own name (``as``) is handed on to the notebook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from sigcam_core.common.titles import FIDELITY_METRICS, PERTURBATION_METRICS, WSOL_METRICS

from ..controls.names import NO_HEAD, SHIFTED, WRONG_CLASS
from ..experiments import CROSSED, EXPERIMENTS, OVERHEAD
from ..paper.beside import beside_paper, gains_beside_paper
from ..show.figures import difference_figure as difference_figure
from ..show.results import Measured, Overhead, figures_with_intervals, provenance_line, read_measured, usual_rows
from ..show.results import flat_measured as flat_measured
from ..show.results import read_overhead as read_overhead
from ..show.sentences import count_words, sides
from ..show.shown import show
from .coverage import SHOWN_COVERAGES, at_coverages

MAP = ["method", "head"]  # what tells the rows of one network apart
COVERAGE_METHODS = ("cam", "gradcam", "layercam")  # the others coincide with one of these on a linear head
GAINS_WHERE, GAINS_FAITHFUL = ("top1_loc", "gt_loc", "maxboxacc_v2"), ("average_drop", "increase_in_confidence")
"""Metrics whose gains are compared with the paper's."""
FREEZING_COLUMNS = ["head", "method", "metric", "eval", "official", "difference", "low", "high"]


def each(
    measured: Mapping[str, Measured], figures: Callable[[Measured], pd.DataFrame], caption: str, **options: Any
) -> list[Styler]:
    """One table per experiment, for ``IPython.display.display``.

    Args:
        measured: the experiments, in the order of the page.
        figures: what makes a table of one, such as :func:`localization_figures`.
        caption: with ``{title}``, ``{images}`` (of the test split) and ``{seeds}`` (how many) to fill in.
        options: of :func:`companion.show.shown.show`.
    """
    shown = []
    for one in measured.values():
        facts = {"images": one.record["test_images"], "seeds": len(one.record["experiment"]["seeds"])}
        shown.append(show(figures(one), caption.format(title=one.title, **facts), **options))
    return shown


def read_experiments(results: Path) -> dict[str, Measured]:
    """All experiments that were measured, by name.

    Args:
        results: folder of all that was measured.
    """
    return read_measured(results, list(EXPERIMENTS))


def with_table(measured: Mapping[str, Measured], name: str) -> dict[str, Measured]:
    """Those experiments that have a table of this name, in the order of their names."""
    return {key: one for key, one in sorted(measured.items()) if name in one.tables}


def with_baselines(measured: Mapping[str, Measured], crossed: Mapping[str, Measured]) -> dict[str, Measured]:
    """Add a table ``baselines`` to the experiments: the rows of their crossed controls that know no class.

    Args:
        measured: experiments by name.
        crossed: crossed measurements by name, ``controls-NAME``.
    """
    whole = {}
    for name, one in measured.items():
        whole[name] = one
        if controls := crossed.get(f"controls-{name}"):
            table = controls.tables["figures"]
            rows = table[(table["head"] == NO_HEAD) | table["scalar"].isin((SHIFTED, WRONG_CLASS))]
            methods = [
                scalar if head == NO_HEAD else f"{scalar}, {weights}"
                for head, scalar, weights in rows[["head", "scalar", "weights"]].to_numpy()
            ]
            whole[name] = replace(one, tables=one.tables | {"baselines": rows.assign(method=methods)})
    return whole


def localization_figures(one: Measured) -> pd.DataFrame:
    """Every method and head by the standard protocol, and what knows no class where that was measured.

    Text, in % with 95 % intervals, one column per metric. Top-1 depends on no map, and is not repeated for those.
    """
    table = usual_rows(one.tables["wsol"])
    if "baselines" in one.tables:
        table = pd.concat([table, one.tables["baselines"]], ignore_index=True)
    return figures_with_intervals(table, WSOL_METRICS, MAP).fillna("–")


def localization_gains(one: Measured) -> pd.DataFrame:
    """Sigmoid minus softmax by the standard protocol: text, in points, one row per method.

    Top-1 Cls is left out: both heads share it.
    """
    return figures_with_intervals(usual_rows(one.tables["wsol_differences"]), WSOL_METRICS[1:], ["method"])


def all_localization_gains(measured: Mapping[str, Measured]) -> pd.DataFrame:
    """Stack the localisation gains of all experiments, for :func:`companion.show.figures.difference_figure`."""
    frames = [usual_rows(one.tables["wsol_differences"]).assign(network=one.label) for one in measured.values()]
    return pd.concat(frames, ignore_index=True)


def fidelity_figures(one: Measured) -> pd.DataFrame:
    """Every method and head scored by the softmax branch: text, in % with 95 % intervals."""
    return figures_with_intervals(usual_rows(one.tables["fidelity"]), FIDELITY_METRICS, MAP)


def fidelity_by_own_branch(one: Measured) -> pd.DataFrame:
    """Tabulate fidelity with each map scored by its own branch, as the authors' earlier code does."""
    table = one.tables["fidelity"]
    return figures_with_intervals(table[table["scorer"] == table["head"]], FIDELITY_METRICS, MAP)


def equal_coverage_figures(one: Measured) -> pd.DataFrame:
    """Average drop (%) where every map keeps the same share of the pixels, and areas under the perturbation curves."""
    points = at_coverages(one.tables["matched_coverage"], *SHOWN_COVERAGES)
    wide = points[points["method"].isin(COVERAGE_METHODS)].pivot(index=MAP, columns="coverage", values="average_drop")
    wide = wide.rename(columns=lambda share: f"drop at {share:.0f} %").reset_index()
    return wide.merge(figures_with_intervals(one.tables["perturbation"], PERTURBATION_METRICS, MAP), on=MAP)


def seeds_figures(one: Measured) -> pd.DataFrame:
    """Localisation (%) of the sigmoid heads of all seeds: mean, least and greatest, and how many seeds."""
    table = one.tables["seeds"]
    return table[table["metric"].isin(WSOL_METRICS)][["method", "metric", "mean", "min", "max", "count"]]


def recipe_choices(one: Measured) -> Iterator[tuple[str, pd.DataFrame]]:
    """For each head that was trained, its name and the recipes that were compared, the chosen one marked."""
    for name, table in one.tables.items():
        if name.startswith("choice_"):
            yield name.removeprefix("choice_"), table.assign(chosen=table["chosen"].map({True: "chosen", False: ""}))


def recipe_tables(measured: Mapping[str, Measured]) -> list[Styler]:
    """Tabulate the recipes tried for each trained head, one table per head."""
    return [
        show(table, f"The {head} head of {one.title}: held-out training images", 4)
        for one in measured.values()
        for head, table in recipe_choices(one)
    ]


def overhead_tables(overhead: Mapping[str, Overhead]) -> list[Styler]:
    """Compare Table 3 with the paper's, and the times of training a head, of every device."""
    tables = []
    for table, training, record in overhead.values():
        caption = f"Table 3, ours on {record['device']} with batches of {record['batch_size']}; and the paper's"
        tables.append(show(beside_paper(table, "random images", "table3_overhead"), caption))
        caption = f"Training the sigmoid head for {record['epochs']} epochs, ms per image, {record['device']}"
        tables.append(show(training, caption))
    return tables


def fidelity_gains_beside_paper(measured: Mapping[str, Measured]) -> pd.DataFrame:
    """Sigmoid minus softmax in fidelity: ours by either way to score, with a column that says which, and the paper's.

    The paper's authors score each map by its own branch. Such a gain of ours is the difference of two figures.
    """
    table = gains_beside_paper(measured, "fidelity_differences", "table2_fidelity", GAINS_FAITHFUL)
    is_ours = table["source"] == "this book"
    by_softmax = table[is_ours].assign(scored="softmax branch")
    by_own = by_softmax.assign(scored="own branch")
    for one in measured.values():
        rows = one.tables["fidelity"]
        rows = rows[rows["scorer"] == rows["head"]].pivot(index="method", columns=["metric", "head"], values="value")
        for metric in GAINS_FAITHFUL:
            gain = rows[metric, "sigmoid"] - rows[metric, "softmax"]
            own = by_own["dataset"] == one.label
            by_own.loc[own, metric] = by_own.loc[own, "method"].map(gain)
    whole = pd.concat([by_own, by_softmax, table[~is_ours].assign(scored="own branch")], ignore_index=True)
    return whole.rename(columns={"scored": "scored by"})


def freezing_figures(one: Measured) -> pd.DataFrame:
    """Tabulate CAM's values (%) under either freezing, and the sigmoid branch's Top-1; differences in points."""
    table = one.tables["freezing"]
    is_sigmoid_top1 = table["metric"] == "sigmoid_top1"
    is_shown = table["metric"].isin([*WSOL_METRICS, *FIDELITY_METRICS]) & (table["method"] == "cam")
    return table[is_shown | is_sigmoid_top1][FREEZING_COLUMNS]


def read_on_photographs(results: Path, everything: Mapping[str, Measured]) -> dict[str, Measured]:
    """Select the experiments on photographs, with the rows of their crossed controls that know no class.

    Args:
        results: folder of all that was measured.
        everything: what :func:`read_experiments` gives.
    """
    measured = {name: one for name, one in everything.items() if one.record["experiment"]["dataset"] != "shapes"}
    return with_baselines(measured, read_measured(results, list(CROSSED)))


def missing_measurements(everything: Mapping[str, Measured], overhead: Mapping[str, Overhead]) -> list[str]:
    """Names of experiments that were not measured, and of Table 3 if it was not measured on a GPU."""
    return [name for name in EXPERIMENTS if name not in everything] + [f"{OVERHEAD} (GPU)"] * ("cuda" not in overhead)


def not_measured(missing: Sequence[str]) -> pd.DataFrame:
    """Tabulate what is left to measure, with the command that measures it.

    Args:
        missing: names of measurements, each perhaps with a remark after a space, such as ``overhead (GPU)``.

    Returns:
        Columns ``experiment, result, command``.
    """
    rows = [(name, "not measured", f"python -m companion publish {name.split()[0]}") for name in missing]
    return pd.DataFrame(rows, columns=["experiment", "result", "command"])


def sources(measured: Mapping[str, Measured], overhead: Mapping[str, Overhead]) -> str:
    """Where the numbers come from, three lines per experiment and two per device: machine, date, commit, seconds."""
    lines = []
    for one in measured.values():
        record, seeds = one.record, one.record["experiment"]["seeds"]
        head, evaluation = record["sigmoid_heads"][0]["seconds"], record["evidence"]["seconds"]
        lines += [
            f"{one.name}\n  {provenance_line(record['evidence'])}",
            f"  manifest {record['evidence']['manifest_checksum'][:12]}, seeds {seeds}",
            f"  sigmoid head {head:,.0f} s (with its features, unless they were there), evaluation {evaluation:,.0f} s",
        ]
    lines += [f"overhead, {device}\n  {provenance_line(record)}" for device, (_, _, record) in overhead.items()]
    return "\n".join(lines)


def real_images_sentence(measured: Mapping[str, Measured]) -> str:
    """Compare the sigmoid head's CAM with softmax's by MaxBoxAccV2 over data sets and networks, also if both are cut.

    Args:
        measured: experiments on photographs.
    """

    def gains(method: str) -> str:
        tables = [usual_rows(one.tables["wsol_differences"]) for one in measured.values()]
        table = pd.concat(tables, ignore_index=True)
        rows = table[(table["method"] == method) & (table["metric"] == "maxboxacc_v2")]
        told = count_words(sides(rows, "maxboxacc_v2"), ("higher", "lower", "not distinguishable"))
        return f"{told.removesuffix(' rows')} ({_span(rows['difference'])} points)"

    return (
        f"Over data sets and networks, MaxBoxAccV2 of the sigmoid head's CAM against softmax's is {gains('cam')}; "
        f"where the weights of both heads are truncated (Layer-CAM), it is {gains('layercam')}."
    )


def _span(values: pd.Series[float]) -> str:
    """Write the smallest and the largest of some differences to one decimal, with no minus before a zero.

    >>> _span(pd.Series([1.26, -0.04]))
    '+0.0 to +1.3'
    """
    low, high = (round(float(value), 1) + 0.0 for value in (values.min(), values.max()))
    return f"{low:+.1f}" if low == high else f"{low:+.1f} to {high:+.1f}"
