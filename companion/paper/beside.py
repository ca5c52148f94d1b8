"""Our rows and gains next to those of the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from sigcam_core.evaluate.schema import NEEDS

from ..matrix import DATA_SETS
from ..show.results import Measured, usual_rows
from .tables import paper_table


def beside_paper(ours: pd.DataFrame, dataset: str, table: str) -> pd.DataFrame:
    """Our rows and the paper's, in one table with a column that says whose they are.

    Rows of one data set stand above all of the paper's. Rows of several are each followed by the paper's row of the
    same data set, network, method and head, where there is one; what else the paper has comes last.

    Args:
        ours: with column ``network`` and some of the paper's columns; with ``dataset`` where there are several.
        dataset: the data set of our rows, where they do not say.
        table: name of the paper's table, see :func:`companion.paper.tables.paper_table`.
    """
    theirs = paper_table(table).rename(columns={"backbone": "network"})
    is_several = "dataset" in ours
    ours = ours.assign(source="this book", **({} if is_several else {"dataset": dataset}))
    theirs = theirs.assign(source="paper")
    if "baseline" in theirs:
        theirs["ratio"] = theirs["dual_branch"] / theirs["baseline"]
    columns = ["source", *[name for name in theirs.columns if name in ours.columns and name != "source"]]
    counts = [name for name in dict.fromkeys(need.heading for need in NEEDS.values()) if name in ours]
    whole = pd.concat([ours[columns], theirs[columns]], ignore_index=True)
    if counts:
        whole = whole.join(ours[counts].reset_index(drop=True))
    return _in_pairs(whole, len(ours)) if is_several else whole


def _in_pairs(whole: pd.DataFrame, count: int) -> pd.DataFrame:
    """Each of the first ``count`` rows, which are ours, followed by the paper's of the same names."""
    names = [name for name in ("dataset", "network", "method", "head", "quantity") if name in whole]
    keys = list(whole[names].replace({"dataset": DATA_SETS}).itertuples(index=False, name=None))
    place = {key: row for row, key in reversed(list(enumerate(keys[:count])))}
    order = sorted(range(len(keys)), key=lambda row: (row if row < count else place.get(keys[row], count), row))
    return whole.iloc[order].reset_index(drop=True)


def gains_beside_paper(measured: Mapping[str, Measured], ours: str, paper: str, metrics: Sequence[str]) -> pd.DataFrame:
    """Sigmoid minus softmax of every experiment, above the differences of the paper's rows.

    Args:
        measured: what :func:`companion.show.results.read_measured` gives.
        ours: name of our table of differences; of its protocols the standard one, of its scorers the softmax branch.
        paper: name of the paper's table, see :func:`companion.paper.tables.paper_table`.
        metrics: which to show.

    Returns:
        Columns ``source, dataset, network, method`` and one per metric, in points; NaN where a source has none.
    """
    frames = []
    for result in measured.values():
        rows = usual_rows(result.tables[ours])
        part = rows[rows["metric"].isin(metrics)]
        wide = part.pivot(index="method", columns="metric", values="difference").reindex(part["method"].unique())
        names = {"source": "this book", "dataset": result.label, "network": result.record["experiment"]["backbone"]}
        frames.append(wide.reset_index().assign(**names))
    keys = ["dataset", "backbone", "method"]
    theirs = paper_table(paper).set_index(keys)
    heads = {head: theirs[theirs["head"] == head][list(metrics)] for head in ("softmax", "sigmoid")}
    gains = (heads["sigmoid"] - heads["softmax"]).dropna(how="all").loc[lambda table: ~table.index.duplicated()]
    order = [key for key in dict.fromkeys(theirs.index) if key in gains.index]
    frames.append(gains.loc[order].reset_index().rename(columns={"backbone": "network"}).assign(source="paper"))
    return pd.concat(frames, ignore_index=True)[["source", "dataset", "network", "method", *metrics]]
