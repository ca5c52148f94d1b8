"""The page "Paper against reproduction": every published cell in one table that sorts and filters where it is read.

HTML, since a table of this kind is beyond Markdown. The script of the book, ``_static/sortable.js``, makes it sort and
filter; without scripts, and in Jupyter, it is a plain table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sigcam_core.common.titles import METHOD_TITLES, METRIC_TITLES

from ..show.figures import gains_figure as gains_figure
from ..show.names import QUANTITY_TITLES, SCALAR_TITLES, UNIT_NAMES, data_set_title, network_title
from ..show.saved import Value
from ..show.shown import LOWER_IS_BETTER, csv_link, render, sentence_list
from .cells import MEASURED_HERE, NOT_MEASURED, STATUSES
from .own import own_table as own_table
from .own import own_told as own_told
from .own import read_cells as read_cells
from .predictions import predicted_and_measured as predicted_and_measured

HEADINGS = (
    ("Cell", "method and metric"),
    ("Table", ""),
    ("Data set", "of the paper"),
    ("Network", "of the paper"),
    ("Paper", "gain over softmax"),
    ("Ours", "95 % interval"),
    ("Our gain", "95 % interval"),
    ("Ours − paper", ""),
    ("Ours is of", "data, network"),
    ("Status", ""),
    ("How", "to see and to make it"),
)
"""Headings of the columns, and what stands below them."""
FILTERS = (1, 2, 3, 9)
"""Columns that the script offers as choices."""


def whole_table(cells: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """Stack the cells and, below them, the maps that know no class."""
    return pd.concat([cells, baselines], ignore_index=True)


def against_table(cells: pd.DataFrame, baselines: pd.DataFrame) -> str:
    """Write the table as HTML: one row per published cell, then the maps that know no class.

    Args:
        cells: of :func:`companion.paper.cells.paper_cells`.
        baselines: of :func:`companion.paper.cells.baseline_rows`.
    """
    whole = pd.concat([cells, baselines], ignore_index=True).astype(object)
    return render(
        Path(__file__).with_name("against.html"),
        headings=HEADINGS,
        filters=" ".join(map(str, FILTERS)),
        rows=[_row(row) for row in whole.to_dict("records")],
        link=csv_link(whole, "all_cells"),
    )


def cell_name(row: dict[Any, Any]) -> str:
    """Name a published cell, such as ``CAM + Ours, GT-Loc``."""
    method = METHOD_TITLES.get(row["method"], SCALAR_TITLES.get(row["method"], row["method"]))
    method += " + Ours" if row["head"] == "sigmoid" else ""
    metric = METRIC_TITLES.get(row["metric"], QUANTITY_TITLES.get(row["metric"], row["metric"]))
    arrow = " ↓" if row["metric"] in LOWER_IS_BETTER or row["unit"] != "%" else " ↑"
    return f"{method}, {metric}{arrow}"


def _row(row: dict[Any, Any]) -> dict[str, Any]:
    """Collect what the template shows of a cell: texts with the values to sort by, and commands that make it."""
    unit = "" if row["unit"] == "%" else f" {UNIT_NAMES[row['unit']]}"
    digits = 1 if row["unit"] == "%" else 2
    paper = _number(row["paper"], 2) + (f" ({row['paper_gain']:+.2f})" if pd.notna(row["paper_gain"]) else "") + unit
    cells = [
        (row["table"], row["table"]),
        (data_set_title(row["dataset"]), None),
        ("–" if row["network"] == "none" else network_title(row["network"]), None),
        (paper if pd.notna(row["paper"]) else "–", row["paper"]),
        (_with_interval(row["ours"], row["low"], row["high"], digits), row["ours"]),
        (_with_interval(row["our_gain"], row["gain_low"], row["gain_high"], digits, "+"), row["our_gain"]),
        (_number(row["difference"], digits, "+"), row["difference"]),
        (_origin(row), None),
        (row["status"], str(STATUSES.index(row["status"]))),
    ]
    commands = []
    if row["measured_by"]:
        commands.append({"what": "Ours", "job": "", "command": row["measured_by"]})
    if row["command"] and row["status"] != MEASURED_HERE:
        needs = "The paper's own, with a GPU and its data" if row["status"] != NOT_MEASURED else "Needs a GPU and data"
        commands.append({"what": needs, "job": row["job"], "command": row["command"]})
    return {
        "name": cell_name(row),
        "cells": [(str(text) or "–", None if value is None or pd.isna(value) else value) for text, value in cells],
        "page": row["page"],
        "commands": commands,
        "all_commands": "; ".join(text for text in (row["measured_by"], row["command"]) if text),
    }


def _origin(row: dict[Any, Any]) -> str:
    """Say what ours is of, and in what it differs from the paper's where it fills the paper's own cell."""
    scored = f", scored by the {row['scored_by']}" if row["scored_by"] else ""
    differs = f"; unlike the paper's: {row['differs']}" if row["differs"] else ""
    return f"{row['ours_on'].split(' (')[0]}{scored}{differs}"


def _number(value: Any, digits: int, sign: str = "") -> str:
    return "–" if pd.isna(value) else f"{value:{sign}.{digits}f}"


def _with_interval(value: Any, low: Any, high: Any, digits: int, sign: str = "") -> str:
    text = _number(value, digits, sign)
    return text if pd.isna(low) else f"{text} [{_number(low, digits, sign)}, {_number(high, digits, sign)}]"


def opening_of_cells(cells: pd.DataFrame) -> str:
    """Say how many published cells were measured on what, and how often the gain has the paper's sign.

    Args:
        cells: of :func:`companion.paper.cells.paper_cells`.
    """
    words = dict(zip(STATUSES, ("as they are", "with another network", "on other data", "not at all"), strict=True))
    counts = [(words[status], int((cells["status"] == status).sum())) for status in STATUSES]
    told = sentence_list([f"{count} {word}" for word, count in counts if count])
    return f"Of the paper's {len(cells)} published numbers, this book measured {told}; {_signs(gains_of_maps(cells))}."


def gains_of_maps(cells: pd.DataFrame) -> pd.DataFrame:
    """Select the cells where both the paper and this book have a gain of a map that is not zero for both."""
    rows = cells.dropna(subset=["paper_gain", "our_gain"])
    return rows[(rows["unit"] == "%") & (rows["metric"] != "top1_cls")]


def _signs(rows: pd.DataFrame) -> str:
    same = int((rows["paper_gain"] * rows["our_gain"] > 0).sum())
    told = f"ours has the sign of the paper's gain in {same} of the {len(rows)} cells of maps that have both"
    distinct = distinct_gains(rows)
    if len(distinct) == len(rows):
        return told
    most = int((2 * distinct["same_sign"] > distinct["cells"]).sum())
    return (
        f"{told}. These cells hold {len(distinct)} different numbers of ours, of which {most} have that sign in more "
        "than half of the cells that they stand in"
    )


def distinct_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """Our gains, each number once: one of ours stands in for several networks, and equal maps have equal numbers.

    Args:
        rows: of :func:`gains_of_maps`.

    Returns:
        Columns ``ours_on, metric, our_gain``, ``cells`` in which it stands, and ``same_sign``, in how many of these it
        has the sign of the paper's gain.
    """
    keyed = rows.assign(
        our_gain=rows["our_gain"].astype(float).round(6), same_sign=rows["paper_gain"] * rows["our_gain"] > 0
    )
    groups = keyed.groupby(["ours_on", "metric", "our_gain"], sort=False)["same_sign"]
    return groups.agg(cells="size", same_sign="sum").reset_index()


def cell_values(cells: pd.DataFrame) -> dict[str, Value]:
    """Count for the prose: all cells, those of each status, and gains that have the paper's sign."""
    rows = gains_of_maps(cells)
    values: dict[str, Value] = {"cells": len(cells), "gains": len(rows)}
    values["distinct_gains"] = len(distinct_gains(rows))
    values["gains_of_same_sign"] = int((rows["paper_gain"] * rows["our_gain"] > 0).sum())
    return values | {status.replace(" ", "_"): int((cells["status"] == status).sum()) for status in STATUSES}
