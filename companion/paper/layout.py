"""The paper's Tables 1 to 3 as the paper prints them, method, "+ Ours" and gain, with ours next to each cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sigcam_core.common.titles import METHOD_TITLES, METRIC_TITLES

from ..show.names import QUANTITY_TITLES, UNIT_NAMES, data_set_title, network_title
from ..show.results import decimals_of
from ..show.shown import LOWER_IS_BETTER, leading_number, render
from .cells import JobOf, committed_cells, with_own

UNDECIDED = "°"
"""Behind a gain of ours whose 95 % interval holds zero."""
NOTE = (
    f"Bold: the best of a column. In brackets: the gain over the row above. {UNDECIDED}: its 95 % interval holds zero. "
    "Arrows: which way is better."
)
Columns = dict[tuple[str, str], list[str]]
"""Text of the cells of each column, by its two headings."""


def laid_out(table: str, results: Path, job_of: JobOf, own: pd.DataFrame | None = None) -> Any:
    """One of the paper's tables with ours next to it, as a notebook shows it.

    Args:
        table: ``"Table 1"``, ``"Table 2"`` or ``"Table 3"``.
        results: folder of all that was measured.
        job_of: see :func:`companion.paper.cells.committed_cells`.
        own: values of runs on the paper's data and networks, see :func:`companion.paper.cells.with_own`.
    """
    from IPython.display import HTML  # comes with the notebooks, which other users of the package need not have

    cells = committed_cells(results, job_of)
    cells = cells if own is None else with_own(cells, own)
    html = paper_layout_of_overhead(cells) if table == "Table 3" else paper_layout(cells, table)
    return HTML(html)  # type: ignore[no-untyped-call]


def paper_layout(cells: pd.DataFrame, table: str) -> str:
    """Table 1 or 2 as HTML, one part per data set: rows are methods and "+ Ours", columns networks and metrics.

    What was measured here stands in the last columns, or, where each network was measured, next to each.

    Args:
        cells: of :func:`companion.paper.cells.paper_cells`.
        table: ``"Table 1"`` or ``"Table 2"``.
    """
    rows = cells[cells["table"] == table]
    by_data_set = rows.groupby("dataset", sort=False)
    parts = [_part(part, f"{table}, {data_set_title(str(name))}, in %") for name, part in by_data_set]
    return "".join(parts) + f"<p>{NOTE}</p>"


def _part(part: pd.DataFrame, caption: str) -> str:
    metrics = list(dict.fromkeys(part["metric"]))
    methods = list(dict.fromkeys(part["method"]))
    is_one_run = part["ours_on"].nunique() == 1
    networks = list(dict.fromkeys(part["network"]))
    columns: Columns = {}
    for network in networks:
        own = part[part["network"] == network]
        groups = [("paper", f"{network_title(network)}, paper")] + ([] if is_one_run else [("ours", _where(own))])
        for column, heading in groups:
            columns |= _columns(own, column, heading, metrics, methods)
    if is_one_run:
        columns |= _columns(part[part["network"] == networks[0]], "ours", _where(part), metrics, methods)
    labels = [text for method in methods for text in (METHOD_TITLES[method], "+ Ours")]
    return _html(columns, labels, caption)


def _where(part: pd.DataFrame) -> str:
    """On what ours was measured, short enough for a heading."""
    return "ours: " + str(part["ours_on"].iloc[0]).split(" (")[0]


def _columns(part: pd.DataFrame, column: str, heading: str, metrics: list[str], methods: list[str]) -> Columns:
    """One column per metric: for each method the value of softmax, then that of sigmoid with its gain."""
    found = {}
    for metric in metrics:
        rows = part[part["metric"] == metric]
        digits = 2 if column == "paper" else _digits(rows)
        by_key = {(row["method"], row["head"]): row for row in rows.to_dict("records")}
        arrow = "↓" if metric in LOWER_IS_BETTER else "↑"
        found[heading, f"{METRIC_TITLES[metric]} {arrow}"] = [
            _text(by_key.get((method, head)), column, digits) for method in methods for head in ("softmax", "sigmoid")
        ]
    return found


def _digits(rows: pd.DataFrame) -> int:
    known = rows.dropna(subset=["low", "high"])
    return decimals_of(known["low"], known["high"]) if len(known) else 1


def _text(row: dict[Any, Any] | None, column: str, digits: int) -> str:
    if row is None or pd.isna(row[column]):
        return "–"
    text = f"{row[column]:.{digits}f}"
    gain = row["paper_gain" if column == "paper" else "our_gain"]
    if pd.isna(gain):
        return text
    # An interval from 0 to 0 is no doubt: both heads share the figure.
    low, high = row["gain_low"], row["gain_high"]
    is_undecided = column == "ours" and pd.notna(low) and low <= 0 <= high and low < high
    return f"{text} ({gain:+.{digits}f}{UNDECIDED if is_undecided else ''})"


def _html(columns: Columns, labels: list[str], caption: str, corner: str = "method") -> str:
    """Write a table with headings in two rows and the best values in bold."""
    groups: dict[str, int] = {}
    for group, _ in columns:
        groups[group] = groups.get(group, 0) + 1
    best = [_best(texts, name) for (_, name), texts in columns.items()]
    rows = []
    for row, label in enumerate(labels):
        cells = []
        for place, texts in enumerate(columns.values()):
            value, _, gain = texts[row].partition(" (")
            cells.append({"value": value, "gain": gain, "is_best": row in best[place]})
        rows.append((label, cells))
    names = [name for _, name in columns]
    path = Path(__file__).with_name("layout.html")
    return render(path, caption=caption, corner=corner, groups=groups, names=names, rows=rows)


def _best(texts: list[str], name: str) -> list[int]:
    """Find the rows that hold a column's best value; none where all are equal or neither direction is better."""
    if not name.endswith(("↓", "↑")):
        return []
    values = [leading_number(text) for text in texts]
    known = [value for value in values if value == value]
    if len(set(known)) < 2:
        return []
    best = min(known) if name.endswith("↓") else max(known)
    return [row for row, value in enumerate(values) if value == best]


def paper_layout_of_overhead(cells: pd.DataFrame) -> str:
    """Table 3 as HTML: one row per network, one head, two heads and their ratio, the paper's and ours.

    Args:
        cells: of :func:`companion.paper.cells.paper_cells`.
    """
    rows = cells[cells["table"] == "Table 3"]
    networks = list(dict.fromkeys(rows["network"]))
    columns: Columns = {}
    for metric in dict.fromkeys(rows["metric"]):
        part = rows[rows["metric"] == metric].set_index(["network", "head"]).to_dict("index")
        unit = UNIT_NAMES[next(iter(part.values()))["unit"]]
        for column, whose in (("paper", "paper"), ("ours", "ours")):
            texts = [_pair(part[name, "softmax"][column], part[name, "sigmoid"][column]) for name in networks]
            columns[f"{QUANTITY_TITLES[metric]}, {unit}", whose] = texts
    return _html(
        columns, [network_title(name) for name in networks], "Table 3: one head → two heads (ratio)", "network"
    )


def _pair(one: float, two: float) -> str:
    if pd.isna(one) or pd.isna(two):
        return "–"
    return f"{one:.4g} → {two:.4g} (× {two / one:.2f})"
