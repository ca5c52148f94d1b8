"""The values that the paper prints, to compare with."""

from __future__ import annotations

from importlib.resources import as_file, files

import pandas as pd

from sigcam_core.common.errors import check_choice

PAPER_TABLES = ("table1_wsol", "table2_fidelity", "table3_overhead")


def paper_table(table: str) -> pd.DataFrame:
    """Read one of the paper's tables (Oh and Noh 2025, Tables 1 to 3).

    Args:
        table: ``"table1_wsol"``, ``"table2_fidelity"`` or ``"table3_overhead"``.

    Returns:
        One row per line of the table, figures in % (in Table 3 as the column ``unit`` says); empty cells are NaN.

    Raises:
        SigcamError: for an unknown table.

    >>> paper_table("table3_overhead").query("backbone == 'resnet50' and quantity == 'parameters'").baseline.item()
    25.56
    """
    check_choice("table of the paper", table, PAPER_TABLES)
    with as_file(files(__package__) / "paper_tables" / f"{table}.csv") as path:
        return pd.read_csv(path)
