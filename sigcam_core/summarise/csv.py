"""Tables as CSV files, of which no cell is a formula to a spreadsheet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from ..common.files import write_atomically

FORMULA = re.compile(r"\s*[=@\t\r]|\s*[+-](?![\d\s.,()\[\]%e+−-]*$)")
"""The beginning of a cell that a spreadsheet would compute, and of none that is a number or an interval."""


def write_csv(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV without its index, whole or not at all; returns ``path``."""
    return write_atomically(path, lambda temporary: temporary.write_text(csv_text(table), encoding="utf-8"))


def csv_text(table: pd.DataFrame) -> str:
    r"""Write a table as CSV without its index; no cell is a formula to a spreadsheet.

    Text that begins like one, such as a class called ``=1+1``, gets an apostrophe in front, by which spreadsheets know
    text (OWASP, *CSV injection*). Numbers, with their intervals, are left as they are.

    >>> csv_text(pd.DataFrame({"class": ["=1+1", "cat"], "gain": ["-0.5 [-1, 0]", -1]}))
    'class,gain\n\'=1+1,"-0.5 [-1, 0]"\ncat,-1\n'
    """
    plain = table.map(_no_formula).rename(columns=_no_formula)
    return plain.to_csv(index=False, lineterminator="\n")


def _no_formula(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell
