"""Chapters of several data sets at once: each is computed by itself, and their tables stand below one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from sigcam_core.common.errors import fail
from sigcam_core.run import Shown
from sigcam_core.stations import record_of

from ..matrix import DATA_SETS
from ..paper.tables import PAPER_TABLES, paper_table
from ..show.saved import SUMMARY, Chapter, Value, say_where_the_book_is

COUNTS = ("test_images", "perturbed_images")


def several(chapters: Mapping[str, Chapter]) -> Chapter:
    """One chapter of several; a single one as it is.

    Args:
        chapters: by data set.

    Returns:
        Their tables below one another, with a first column ``dataset``. Of the values, the names of the data sets and
        the numbers of images, of all of them in words and of each.
    """
    if len(chapters) == 1:
        return next(iter(chapters.values()))
    tables: dict[str, list[pd.DataFrame]] = {}
    values: dict[str, Value] = {"dataset": ", ".join(chapters)}
    for name in COUNTS:
        counts = [str(chapter.values[name]) for chapter in chapters.values() if name in chapter.values]
        values |= {name: " and ".join(dict.fromkeys(counts))} if counts else {}
    for dataset, chapter in chapters.items():
        values |= {f"{dataset}_{name}": chapter.values[name] for name in COUNTS if name in chapter.values}
        for name, table in chapter.tables.items():
            whole = table.copy()
            whole.insert(0, "dataset", dataset)
            tables.setdefault(name, []).append(whole)
    return Chapter(values, {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()})


def records_of(shown: Sequence[Shown]) -> dict[str, Any]:
    """Return the provenance of each run's evidence, by the run's name.

    Args:
        shown: the runs, whose evidence was made.
    """
    return {one.run.full_name: record_of(one.run.evidence) for one in shown}


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Prefix the network with the data set, where there is one, so that a figure can tell rows apart."""
    if "dataset" not in table:
        return table
    return table.assign(network=table["dataset"] + " " + table["network"])


def filled_rows(work_dir: Path) -> pd.DataFrame:
    """Count the rows of the paper's tables that have one of ours next to them, by table and data set.

    Args:
        work_dir: folder of everything that was made for a profile.

    Returns:
        Columns ``table, dataset, filled, rows``.

    Raises:
        SigcamError: if a table was not saved.
    """
    counts = []
    for number, name in enumerate(PAPER_TABLES, 1):
        path = work_dir / SUMMARY / f"table{number}.csv"
        if not path.is_file():
            fail(f"{path} does not exist: run the workflow (`make reproduce`) for this profile first.")
        ours, theirs = pd.read_csv(path), paper_table(name).rename(columns={"backbone": "network"})
        theirs["dataset"] = theirs["dataset"].replace(DATA_SETS)
        keys = [key for key in ("dataset", "network", "method", "head", "quantity") if key in theirs and key in ours]
        there = set(ours[keys].itertuples(index=False, name=None)) if "dataset" in keys else set()
        for dataset, rows in theirs.groupby("dataset", sort=False):
            filled = sum(key in there for key in rows[keys].itertuples(index=False, name=None))
            counts.append((f"Table {number}", dataset, filled, len(rows)))
    return pd.DataFrame(counts, columns=["table", "dataset", "filled", "rows"])


def print_filled(work_dir: Path, about: str) -> None:
    """Print how many rows of the paper's tables a profile has filled, and where its book is.

    Args:
        work_dir: folder of everything that was made.
        about: what the rows are of, in one sentence.

    Raises:
        SigcamError: if a table was not saved.
    """
    counts, console = filled_rows(work_dir), Console()
    table = Table(title="Rows of the paper's tables that have ours next to them")
    for column in ("table", "data set", "rows"):
        table.add_column(column)
    for row in counts.to_dict("records"):
        table.add_row(row["table"], row["dataset"], f"{row['filled']} of {row['rows']}")
    console.print(table)
    console.print(about.replace("*", ""), soft_wrap=True, highlight=False)
    say_where_the_book_is(console, work_dir)
