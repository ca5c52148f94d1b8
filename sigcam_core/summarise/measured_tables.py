"""What was measured on real images, as tables under their captions: what the chapter on real images shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from ..fidelity.evidence import FIDELITY_METRICS, PERTURBATION_METRICS
from ..localization.evidence import WSOL_METRICS
from .chapters import SHOWN_COVERAGES
from .measured import Measured, figures_with_intervals, provenance_line

MAPS = ["method", "head"]
AT_EQUAL_COVERAGE = ("cam", "gradcam", "layercam")  # the other methods coincide with one of these behind GAP + linear
Tables = dict[str, pd.DataFrame]
"""Tables by their captions."""


def localization_tables(measured: Iterable[Measured]) -> Tables:
    """Every method and head by the standard protocol, with intervals."""
    tables = {}
    for result in measured:
        part = result.tables["wsol"].query("protocol == 'standard'")
        caption = f"Localisation in %, {result.title}, {result.record['test_images']:,} test images"
        tables[caption] = figures_with_intervals(part, WSOL_METRICS, MAPS)
    return tables


def localization_differences(measured: Iterable[Measured]) -> Tables:
    """Sigmoid minus softmax by the standard protocol, paired over images."""
    return {
        f"Sigmoid minus softmax in points, {result.title}": figures_with_intervals(
            result.tables["wsol_differences"].query("protocol == 'standard'"), WSOL_METRICS[1:], ["method"]
        )
        for result in measured
    }


def differences_for_figure(measured: Iterable[Measured]) -> pd.DataFrame:
    """The differences of all, for :func:`sigcam_core.summarise.figures.difference_figure`."""
    frames = [
        result.tables["wsol_differences"].query("protocol == 'standard'").assign(network=result.label)
        for result in measured
    ]
    return pd.concat(frames, ignore_index=True)


def fidelity_tables(measured: Iterable[Measured], *, by_own_branch: bool = False) -> Tables:
    """Every method and head scored by the softmax branch, or each map by the branch that it comes from."""
    tables = {}
    for result in measured:
        table = result.tables["fidelity"]
        part = table[table["scorer"] == (table["head"] if by_own_branch else "softmax")]
        scorer = "each map scored by the branch it comes from" if by_own_branch else "scored by the softmax branch"
        tables[f"Fidelity in %, {result.title}, {scorer}"] = figures_with_intervals(part, FIDELITY_METRICS, MAPS)
    return tables


def equal_coverage_tables(measured: Iterable[Measured]) -> Tables:
    """Average drop where every map keeps the same share of the pixels, and areas under insertion and deletion."""
    tables = {}
    for result in measured:
        points = result.tables["matched_coverage"].round({"coverage": 0})
        points = points[points["coverage"].isin(SHOWN_COVERAGES) & points["method"].isin(AT_EQUAL_COVERAGE)]
        wide = points.pivot(index=MAPS, columns="coverage", values="average_drop").reset_index()
        wide = wide.rename(columns=lambda share: share if isinstance(share, str) else f"drop at {share:.0f} %")
        areas = figures_with_intervals(result.tables["perturbation"], PERTURBATION_METRICS, MAPS)
        tables[f"Average drop in % at equal coverage, and areas in %, {result.title}"] = wide.merge(areas, on=MAPS)
    return tables


def seed_tables(measured: Iterable[Measured]) -> Tables:
    """What the seed of the sigmoid head decides, where several were trained."""
    tables = {}
    for result in measured:
        if "seeds" in result.tables:
            table = result.tables["seeds"]
            shown = table[table["metric"].isin(WSOL_METRICS)][["method", "metric", "mean", "min", "max", "count"]]
            tables[f"Sigmoid head over {int(table['count'].max())} seeds, {result.title}"] = shown
    return tables


def recipe_tables(measured: Iterable[Measured]) -> Tables:
    """The recipes that were tried on held-out training images, and which was chosen."""
    return {
        f"The {name.removeprefix('choice_')} head of {result.title}: held-out training images": table.assign(
            chosen=table["chosen"].map({True: "chosen", False: ""})
        )
        for result in measured
        for name, table in result.tables.items()
        if name.startswith("choice_")
    }


def freezing_tables(measured: Iterable[Measured]) -> Tables:
    """The official freezing minus the correct one, for CAM and the sigmoid branch, where they were compared."""
    names = ["sigmoid_top1", *WSOL_METRICS, *FIDELITY_METRICS]
    tables = {}
    for result in sorted(measured, key=lambda result: result.name):
        if "freezing" in result.tables:
            table = result.tables["freezing"]
            of_cam = table["metric"].isin(names) & (table["method"] == "cam")
            part = table[of_cam | (table["metric"] == "sigmoid_top1")]
            shown = part[["head", "method", "metric", "eval", "official", "difference", "low", "high"]]
            tables[f"Official freezing minus correct freezing in points, {result.title}"] = shown
    return tables


def missing_table(names: Iterable[str]) -> pd.DataFrame:
    """Measurements that were not made, with their commands.

    Args:
        names: of the measurements; what follows a name, such as a device, is no part of the command.
    """
    rows = [(name, "not measured", f"python -m sigcam_core publish {name.split()[0]}") for name in names]
    return pd.DataFrame(rows, columns=["experiment", "result", "command"])


def provenance_lines(measured: Iterable[Measured], overhead: Mapping[str, tuple[Any, Any, dict[str, Any]]]) -> str:
    """Where the numbers come from, some lines a measurement."""
    lines = []
    for result in measured:
        record = result.record
        head, evaluation = record["sigmoid_heads"][0]["seconds"], record["evidence"]["seconds"]
        lines += [
            f"{result.name}\n  {provenance_line(record['evidence'])}",
            f"  manifest {record['evidence']['manifest_checksum'][:12]}, seeds {record['experiment']['seeds']}",
            f"  sigmoid head {head:,.0f} s (with its features, unless they were there), evaluation {evaluation:,.0f} s",
        ]
    return "\n".join(lines + [f"overhead, {name}\n  {provenance_line(one)}" for name, (_, _, one) in overhead.items()])
