"""Which numbers of the paper were measured on its own network and data: said once, for all pages that say it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..matrix import job_of
from ..show.names import data_set_title, network_title
from ..show.shown import sentence_list
from .cells import MEASURED_HERE, STATUSES, committed_baselines, committed_cells

HEADINGS = dict(zip(STATUSES, ("on its own", "with another network", "on other data", "not at all"), strict=True))
"""Statuses of cells as headings, for numbers of the paper that were measured so."""


def read_cells(results: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every published cell with ours, and the rows of maps that know no class.

    Args:
        results: folder of all that was measured.
    """
    return committed_cells(results, job_of), committed_baselines(results)


def own_table(cells: pd.DataFrame) -> pd.DataFrame:
    """How many numbers of each table, data set and network of the paper were measured on what.

    Args:
        cells: of :func:`companion.paper.cells.paper_cells`.

    Returns:
        Columns ``table, data set, network`` and one a status, as :data:`HEADINGS` names it.
    """
    counts = cells.groupby(["table", "dataset", "network"], sort=False)["status"].value_counts().unstack(fill_value=0)
    counts = counts.reindex(columns=STATUSES, fill_value=0).rename(columns=HEADINGS).reset_index()
    names = {"dataset": counts["dataset"].map(data_set_title), "network": counts["network"].map(network_title)}
    return counts.assign(**names).rename(columns={"dataset": "data set"}).rename_axis(columns=None)


def own_told(cells: pd.DataFrame) -> str:
    """Which numbers of the paper were measured on its own network and data, in one sentence or two.

    Args:
        cells: of :func:`companion.paper.cells.paper_cells`.
    """
    own = cells[cells["status"] == MEASURED_HERE]
    if own.empty:
        return f"None of the paper's {len(cells)} numbers was measured on its own network and data."
    networks: dict[str, list[str]] = {}
    for row in own.drop_duplicates(["table", "dataset", "network"]).to_dict("records"):
        networks.setdefault(f"{row['table']}, {data_set_title(row['dataset'])}", []).append(
            network_title(row["network"])
        )
    parts = [f"{where}: {sentence_list(names)}" for where, names in networks.items()]
    return (
        f"Of the paper's {len(cells)} numbers, {len(own)} were measured on its own network and data "
        f"({'; '.join(parts)}). Verdicts on all others rest on other networks or other data."
    )
