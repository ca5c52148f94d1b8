"""The paper's own cells as values of the book, so that prose quotes them from the tables and from nowhere else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

from companion.paper.tables import paper_table

KEYS = ("dataset", "backbone", "method", "head")


def paper_values() -> dict[str, str]:
    """Every cell of Tables 1 and 2 as printed there, by data set, network, method, head and column.

    >>> paper_values()["cub_200_2011_resnet50_layercam_sigmoid_average_drop"]
    '19.07'
    """
    found: dict[str, str] = {}
    for name in ("table1_wsol", "table2_fidelity"):
        table = paper_table(name)
        for _, row in table.iterrows():
            words = "_".join(str(row[key]) for key in KEYS).replace("++", "pp")
            for column in table.columns.difference(list(KEYS)):
                if pd.notna(row[column]):
                    found[re.sub(r"\W", "_", f"{words}_{column}")] = f"{row[column]:.2f}"
    return found


def write_paper_values(folder: Path) -> None:
    """Write ``paper.json`` to the folder of the values that the book's pages quote."""
    text = json.dumps({"name": "paper", "values": paper_values()}, indent=1)
    (folder / "paper.json").write_text(text, encoding="utf-8")
