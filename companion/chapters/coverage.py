"""Average drop against coverage: how much of the image maps keep, and what they score where all keep the same share."""

from __future__ import annotations

import pandas as pd

from sigcam_core.common.families import KEYS

from ..show.names import network_title
from ..show.shown import sentence_list

SHOWN_COVERAGES = (10, 20, 30, 50)  # % of the pixels, of the points that the insertion curves have


def at_coverages(points: pd.DataFrame, *shares: int) -> pd.DataFrame:
    """Select the points at which maps keep some share of the pixels, in whole percent.

    Args:
        points: with column ``coverage``, as :func:`sigcam_core.summarise.tables.matched_coverage` gives it.
        shares: in %.
    """
    rounded = points.round({"coverage": 0})
    return rounded[rounded["coverage"].isin(shares)]


def drops_at_equal_coverage(points: pd.DataFrame) -> pd.DataFrame:
    """Average drop of every map where all keep the same share of the pixels, one column a share.

    Args:
        points: what :func:`sigcam_core.summarise.tables.matched_coverage` returns.
    """
    shown = at_coverages(points, *SHOWN_COVERAGES)
    order = shown.drop_duplicates(KEYS).set_index(KEYS).index
    wide = shown.pivot(index=KEYS, columns="coverage", values="average_drop").reindex(order)
    return wide.rename(columns=lambda share: f"keep {share:.0f} %").reset_index()


def trend_sentence(table: pd.DataFrame) -> str:
    """Say how average drop goes with coverage over the maps of a network.

    Args:
        table: columns ``network, coverage, average_drop``, one row per map.
    """
    parts = []
    for name, rows in table.groupby("network", sort=False):
        rank = rows["coverage"].corr(rows["average_drop"], method="spearman")
        parts.append(f"{rank:+.2f} ({network_title(str(name))})")
    return f"Rank correlation of average drop with coverage, over maps: {sentence_list(parts)}."


def equal_coverage_sentence(table: pd.DataFrame) -> str:
    """Say how far apart the two heads are where all maps keep the same share.

    Args:
        table: of :func:`drops_at_equal_coverage`.
    """
    shares = [column for column in table if str(column).startswith("keep")]
    means = {head: rows[shares].mean() for head, rows in table.groupby("head")}
    gaps = means["sigmoid"] - means["softmax"]
    parts = [f"{gap:+.1f} points where maps {share}" for share, gap in gaps.items()]
    return f"From softmax to sigmoid, average drop over all maps moves by {sentence_list(parts)} of the pixels."
