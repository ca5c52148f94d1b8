"""The summary: what notebooks save for the book, and the headline values at the end of a run.

Values, tables and figures of one run lie in ``summary/`` of the work dir. What was measured and is committed lies in
``results/`` of the project (:mod:`companion.show.results`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from sigcam_core.common.files import read_json, write_atomically, write_json
from sigcam_core.common.provenance import provenance
from sigcam_core.summarise.csv import write_csv

Value = float | int | str
SUMMARY = "summary"  # folder within the work dir


@dataclass(frozen=True)
class Chapter:
    """What a chapter of the book shows and saves.

    Attributes:
        values: numbers for the prose, by name.
        tables: by the name that they are saved under.
        formatted: how to print some of the values; others are printed with two decimals.
    """

    values: dict[str, Value]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    formatted: dict[str, str] = field(default_factory=dict)


def save_values(
    work_dir: Path, name: str, values: dict[str, Value], formatted: dict[str, str] | None = None, **facts: Any
) -> Path:
    """Save the numbers of a notebook, with provenance, where the book's prose finds them.

    Args:
        work_dir: folder of everything that is made.
        name: of the file, and the first part of its keys in the book.
        values: the numbers.
        formatted: how to print some of them; others are printed with two decimals.
        facts: provenance of the run: parameters, and the records of what it was computed from.

    Returns:
        The JSON file.
    """
    shown = {key: _format(value) for key, value in values.items()} | (formatted or {})
    path = work_dir / SUMMARY / f"{name}.json"
    return write_json(path, {"name": name, "values": values, "formatted": shown, "provenance": provenance(**facts)})


def _format(value: Value) -> str:
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value


def save_chapter(work_dir: Path, name: str, chapter: Chapter, **facts: Any) -> Path:
    """Save the values of a chapter under ``name``, and its tables under their own names.

    Args:
        work_dir: folder of everything that is made.
        name: of the values, the first part of their keys in the book.
        chapter: what it shows.
        facts: provenance, see :func:`save_values`.

    Returns:
        The JSON file.
    """
    for table_name, table in chapter.tables.items():
        save_table(work_dir, table_name, table)
    return save_values(work_dir, name, chapter.values, chapter.formatted, **facts)


def save_table(work_dir: Path, name: str, table: pd.DataFrame) -> Path:
    """Save a table as CSV in the summary; returns its path."""
    return write_csv(work_dir / SUMMARY / f"{name}.csv", table)


def svg_of(figure: Figure) -> str:
    """Draw a figure as SVG; the same drawing has the same bytes, since it carries no date."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return buffer.getvalue()


def save_figure(work_dir: Path, name: str, figure: Figure, svg: str = "") -> Path:
    """Save a figure as PNG of 150 dots per inch in the summary, and as SVG, which pages of the book show.

    Args:
        work_dir: folder of everything that was made.
        name: of the files.
        figure: to save.
        svg: the same, as :func:`svg_of` draws it; empty for one with photographs, of which it would hold each pixel.

    Returns:
        The PNG file.
    """
    path = work_dir / SUMMARY / f"{name}.png"
    if svg:
        write_atomically(path.with_suffix(".svg"), lambda temporary: temporary.write_text(svg, encoding="utf-8"))
    return write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=150, bbox_inches="tight"))


def flat_values(table: pd.DataFrame, columns: Sequence[str]) -> dict[str, Value]:
    """Flatten a table's values to names for the book's prose, such as ``gap_cam_softmax_pxap``.

    Args:
        table: with columns ``network`` (whose last part names the head), ``method``, and ``head`` or ``metric``.
        columns: the values; those that the table lacks or that are missing in a row are left out.
    """
    values: dict[str, Value] = {}
    for row in table.to_dict("records"):
        method = row["method"].replace("++", "_plus_plus")
        prefix = f"{row['network'].split('-')[-1]}_{method}_{row.get('head', row.get('metric'))}"
        values |= {f"{prefix}_{c}": float(row[c]) for c in columns if c in row and pd.notna(row[c])}
    return values


HEADLINE = (
    ("invariance", "max_probability_difference", "largest change of a probability under shift and sign collapse"),
    ("training", "top1_gap", "Top-1, GAP network (%)"),
    ("training", "top1_mlp", "Top-1, MLP-head network (%)"),
    ("table1", "gap_cam_softmax_maxboxacc_v2", "MaxBoxAccV2, CAM, softmax head (%)"),
    ("table1", "gap_cam_sigmoid_maxboxacc_v2", "MaxBoxAccV2, CAM, sigmoid head (%)"),
    ("table1", "gap_cam_softmax_pxap", "PxAP, CAM, softmax head (%)"),
    ("table1", "gap_cam_sigmoid_pxap", "PxAP, CAM, sigmoid head (%)"),
    ("table2", "gap_cam_softmax_average_drop", "average drop, CAM, softmax head (%, lower is better)"),
    ("table2", "gap_cam_sigmoid_average_drop", "average drop, CAM, sigmoid head (%, lower is better)"),
    ("table3", "gap_inference_ratio", "inference with two heads / with one (ratio)"),
)


def print_headline(work_dir: Path) -> None:
    """Print the headline values of a run, and where its book is.

    Args:
        work_dir: folder of everything that was made.

    Raises:
        SigcamError: if a notebook has not saved its values.
    """
    table = Table(title="Headline figures, on generated data with small networks (not the paper's)")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, key, label in HEADLINE:
        saved = read_json(work_dir / SUMMARY / f"{name}.json")
        table.add_row(label, saved["formatted"][key])
    console = Console()
    console.print(table)
    say_where_the_book_is(console, work_dir)


def say_where_the_book_is(console: Console, work_dir: Path) -> None:
    """Print the path of the built book's first page, in one line however long it is."""
    page = work_dir / "book" / "_build" / "html" / "index.html"
    console.print(f"The book: {page.resolve()}", soft_wrap=True, markup=False)
