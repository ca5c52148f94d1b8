"""The centred square next to the paper's values: which of its rows a map that knows nothing would beat.

And the other end: what the labels themselves reach as maps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json
from sigcam_core.common.titles import WSOL_METRICS

from ..show.names import SCALAR_TITLES
from ..show.saved import Chapter, Value
from ..show.shown import show
from .tables import paper_table

CENTRE = "centre"  # the folder of its figures, and what tables call it as a method
NOBODY = "none"  # its network and head
IMAGENET = "imagenet"  # among our collections of boxes
PAPER_IMAGENET = "imagenet-1k"  # and in the paper's table
METRIC = "maxboxacc_v2"
FACTS = ("whole_image", "past_the_edge", "median_iou")  # columns of the boxes that are no metric of the tables


def read_centre(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read the centre's values and record, as :func:`companion.studies.centre.publish_centre` writes them.

    Args:
        folder: of all that was measured, such as :data:`companion.show.results.MEASURED`.

    Returns:
        Columns ``dataset, images, metric, value, low, high`` in %, and the record.

    Raises:
        SigcamError: if there are none.
    """
    path = folder / CENTRE / "centre.csv"
    if not path.exists():
        fail(f"the centre was not measured in {folder}: run `python -m companion publish {CENTRE}`.")
    record: dict[str, Any] = read_json(path.with_name("record.json"))
    return pd.read_csv(path), record


def read_boxes(folder: Path) -> pd.DataFrame:
    """Read what the published boxes are and what the labels themselves score, from the same measurement.

    Args:
        folder: see :func:`read_centre`.

    Returns:
        A row of :func:`companion.studies.centre.boxes_row` for each ``dataset``.

    Raises:
        SigcamError: if there is none.
    """
    path = folder / CENTRE / "boxes.csv"
    if not path.exists():
        fail(f"the published boxes were not measured in {folder}: run `python -m companion publish {CENTRE}`.")
    return pd.read_csv(path)


def paper_beside_centre(centre: pd.DataFrame) -> pd.DataFrame:
    """Merge the paper's rows on ImageNet with the centre's, from the highest MaxBoxAccV2 down.

    Args:
        centre: what :func:`read_centre` returns.

    Returns:
        Columns ``source, network, method, head, maxboxacc_v2, above the centre``: figures in %, and points above the
        centre, negative below it.
    """
    value = figure_of(centre)["value"]
    ours = pd.DataFrame([{"network": NOBODY, "method": CENTRE, "head": NOBODY, METRIC: value, "source": "this book"}])
    table = paper_table("table1_wsol").rename(columns={"backbone": "network"})
    theirs = table[table["dataset"] == PAPER_IMAGENET].assign(source="paper")
    keys = ["source", "network", "method", "head", METRIC]
    whole = pd.concat([ours[keys], theirs[keys]]).sort_values(METRIC, ascending=False, kind="stable", ignore_index=True)
    return whole.assign(**{"above the centre": whole[METRIC] - value})


def figure_of(centre: pd.DataFrame, dataset: str = IMAGENET, metric: str = METRIC) -> dict[str, float]:
    """Look up one value of the centre, ``value``, and the ends of its interval, ``low`` and ``high``, in %."""
    rows = centre[(centre["dataset"] == dataset) & (centre["metric"] == metric)]
    return {name: float(rows[name].iloc[0]) for name in ("value", "low", "high")}


def mark_centre(style: Styler) -> Styler:
    """Draw the centre's row of a table in bold between two lines."""
    line = "font-weight: 700; border-top: 2px solid; border-bottom: 2px solid;"
    names = (CENTRE, SCALAR_TITLES[CENTRE])  # before and after names are written as people write them
    return style.apply(lambda row: [line if row["method"] in names else ""] * len(row), axis=1)


def centre_chapter(centre: pd.DataFrame, boxes: pd.DataFrame) -> Chapter:
    """Build the chapter: the centre's values, the paper's rows next to them, the boxes, and values for the prose.

    Args:
        centre: what :func:`read_centre` returns.
        boxes: what :func:`read_boxes` returns.
    """
    table = paper_beside_centre(centre)
    theirs = table[table["source"] == "paper"]
    below = theirs[theirs["above the centre"] < 0]
    low = figure_of(centre)["low"]
    values: dict[str, Value] = {
        "paper_rows": len(theirs),
        "paper_rows_below": len(below),
        "paper_rows_below_interval": int((theirs[METRIC] < low).sum()),
        "paper_gradcam_rows": int((theirs["method"] == "gradcam").sum()),
        "paper_gradcam_rows_below": int((below["method"] == "gradcam").sum()),
        "paper_most_above": float(theirs["above the centre"].max()),
    }
    for row in centre.to_dict("records"):
        key = f"{row['dataset']}_{row['metric'].replace('@', '_')}"
        values |= {f"{row['dataset']}_images": int(row["images"]), key: float(row["value"])}
        values[f"{key}_interval"] = f"[{row['low']:.2f}, {row['high']:.2f}]"
    for row in boxes.to_dict("records"):
        name = row.pop("dataset")
        values |= {f"boxes_{name}_{key}".replace("@", "_"): value for key, value in row.items()}
    formatted = {key: f"{value:.3f}" for key, value in values.items() if key.endswith("median_iou")}
    return Chapter(values, {"centre": centre, "centre_beside_paper": table, "boxes": boxes}, formatted)


def centre_caption(values: dict[str, Value]) -> str:
    """Say how many of the paper's rows lie below the centre, in a sentence.

    Args:
        values: of :func:`centre_chapter`.
    """
    return (
        f"MaxBoxAccV2 in % on ImageNet: of the paper's {values['paper_rows']} rows {values['paper_rows_below']} lie "
        f"below the centre, {values['paper_rows_below_interval']} of them below its 95 % interval "
        f"{values['imagenet_maxboxacc_v2_interval']}"
    )


def centre_tables(chapter: Chapter) -> list[Styler]:
    """Format the paper's rows with the centre's among them, the centre on all published boxes, and the boxes.

    Args:
        chapter: of :func:`centre_chapter`.
    """
    centre = chapter.tables["centre"]
    figures = show(centre[centre["metric"].isin(WSOL_METRICS)], "The centre in %, with 95 % intervals over images", 1)
    facts = chapter.tables["boxes"].rename(columns={name: name.replace("_", " ") for name in FACTS})
    return [
        mark_centre(show(chapter.tables["centre_beside_paper"], "MaxBoxAccV2 in % on ImageNet")),
        figures,
        show(facts, "The published boxes, and what a map of the labelled pixels themselves scores, in %", wrap=True),
    ]
