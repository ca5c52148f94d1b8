"""How a notebook shows tables and figures: names as people write them, best values marked, folds, sharp pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from jinja2 import Environment, StrictUndefined, Template
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from sigcam_core.common.errors import fail
from sigcam_core.common.titles import METHOD_TITLES, METRIC_TITLES
from sigcam_core.summarise.csv import csv_text

from .names import QUANTITY_TITLES, SCALAR_TITLES, UNIT_NAMES, data_set_title, network_title
from .saved import save_figure, svg_of

TREATMENTS = ("signed", "truncated")
CELL_NAMES = {
    "dataset": data_set_title,
    "network": network_title,
    "backbone": network_title,
    "method": lambda name: _method_title(name),
    "head": lambda name: "–" if name == "none" else name,
    "metric": lambda name: METRIC_TITLES.get(name, name.replace("_", " ")),
    "quantity": lambda name: QUANTITY_TITLES.get(name, name.replace("_", " ")),
    "unit": lambda name: UNIT_NAMES.get(name, name),
}
"""How the cells of a column are written, by the column's name."""
HEADINGS = {"dataset": "data set", "dual_branch": "two heads", "baseline": "one head"}
LOWER_IS_BETTER = ("average_drop", "deletion_auc", "drop_at_50")
NOT_JUDGED = ("coverage",)  # neither more nor less of it is better
DOTS_PER_INCH = 150  # of pictures that hold photographs, twice what a page shows on a column of its width


def _method_title(name: str) -> str:
    """Write a method's name as people do; what is cut or shifted comes after a comma."""
    plain, comma, rest = name.rpartition(", ")
    if rest not in TREATMENTS:
        plain, comma, rest = name, "", ""
    return METHOD_TITLES.get(plain, SCALAR_TITLES.get(plain, plain)) + comma + rest


def written(table: pd.DataFrame) -> pd.DataFrame:
    """Write the names in a table's cells and headings as people do."""
    cells = {name: table[name].map(how, na_action="ignore") for name, how in CELL_NAMES.items() if name in table}
    titles = METRIC_TITLES | HEADINGS
    return table.assign(**cells).rename(columns=lambda name: titles.get(name, name.replace("_", " ")))


def show(
    table: pd.DataFrame, caption: str, decimals: int = 2, *, wrap: bool = False, best: Iterable[str] = ()
) -> Styler:
    """Format a table for a notebook: ``decimals`` places, a dash for missing values, narrow enough for a page.

    Args:
        table: names in its cells and headings are written as people write them.
        caption: above it.
        decimals: of numbers; text is shown as it is.
        wrap: let long cells wrap, as headings do.
        best: metrics whose best value is set in bold, lower or higher as the metric is better.
    """
    # Names come from manifests of anybody: whatever they hold is text, and no page may run it.
    style = written(table).style.format(precision=decimals, na_rep="–", escape="html").hide(axis="index")
    style = style.format_index(escape="html", axis="columns").set_caption(escape(caption, quote=False))
    for metric in (name for name in best if name in table and name not in NOT_JUDGED):
        marks = [("font-weight: 700;" if is_best else "") for is_best in _is_best(table[metric], metric)]
        style = style.apply(lambda _, marks=marks: marks, axis=0, subset=[METRIC_TITLES.get(metric, metric)])
    return style.set_table_styles(
        [
            {"selector": "caption", "props": "caption-side: top; text-align: left; font-weight: 600;"},
            {"selector": "th", "props": "vertical-align: bottom; white-space: normal;"},
            {"selector": "td", "props": f"white-space: {'normal' if wrap else 'nowrap'};"},
            {"selector": "th, td", "props": "text-align: left; padding: 2px 6px;"},
        ]
    )


def leading_number(cell: object) -> float:
    """Read the number that a cell starts with, such as 61.2 of ``61.2 [60.3, 62.1]``; NaN where it has none.

    >>> leading_number("61.2 [60.3, 62.1]"), leading_number(3), leading_number("–")
    (61.2, 3.0, nan)
    """
    try:
        return float(str(cell).replace("−", "-").split(maxsplit=1)[0])
    except (ValueError, IndexError):
        return float("nan")


def _is_best(column: pd.Series[Any], metric: str) -> list[bool]:
    values = column.map(leading_number)
    best = values.min() if metric in LOWER_IS_BETTER else values.max()
    return [value == best for value in values]


def csv_link(table: pd.DataFrame, name: str) -> str:
    """Link to a table as CSV; the file is in the link, so that it needs no server."""
    data = base64.b64encode(csv_text(table).encode()).decode()
    return f'<a class="csv" download="{escape(name)}.csv" href="data:text/csv;base64,{data}">CSV</a>'


def fold(summary: str, *tables: Styler, name: str = "table") -> Any:
    """Tables behind one line that opens them, each with a link that saves it as CSV.

    Args:
        summary: the line.
        tables: what :func:`show` gives.
        name: of the CSV files.
    """
    from IPython.display import HTML  # comes with the notebooks, which other users of the package need not have

    parts = []
    for number, table in enumerate(tables, 1):
        link = csv_link(_data(table), name if len(tables) == 1 else f"{name}_{number}")
        parts.append(f'<div class="scrolls" tabindex="0">{table.to_html()}</div><p>{link}</p>')
    html = f'<details class="tables"><summary>{escape(summary)}</summary>{"".join(parts)}</details>'
    return HTML(html)  # type: ignore[no-untyped-call]


def _data(style: Styler) -> pd.DataFrame:
    data: pd.DataFrame = style.data  # type: ignore[attr-defined]
    return data


def show_figure(work_dir: Path, name: str, figure: Figure, alt: str) -> None:
    """Save a figure to the summary, and show it in a notebook: as SVG, or, where it holds photographs, as a fine JPEG.

    Args:
        work_dir: folder of everything that is made.
        name: of the file.
        figure: closed afterwards.
        alt: what a reader who does not see it must know: what it finds, not which axes it has.

    Raises:
        SigcamError: if ``alt`` is too short to say anything.
    """
    from IPython.display import display

    if len(alt) < 40:
        fail(f"figure {name} needs words for those who do not see it, and {alt!r} says too little.")
    has_photographs = any(axes.images for axes in figure.axes)
    mime, content = ("image/jpeg", _jpeg(figure)) if has_photographs else ("image/svg+xml", svg_of(figure))
    save_figure(work_dir, name, figure, svg="" if has_photographs else content)
    width = round(96 * figure.get_figwidth())  # in pixels of the page
    metadata = {mime: {"alt": alt, "width": width} if has_photographs else {"alt": alt}}
    display({mime: content, "text/plain": alt}, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]
    plt.close(figure)


def _jpeg(figure: Figure) -> str:
    buffer = io.BytesIO()
    options = {"quality": 82, "optimize": True}
    figure.savefig(buffer, format="jpeg", dpi=DOTS_PER_INCH, bbox_inches="tight", pil_kwargs=options)
    return base64.b64encode(buffer.getvalue()).decode()


def sentence_list(parts: Sequence[str]) -> str:
    """Parts of a sentence in a row.

    >>> sentence_list(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


@cache
def _template(path: Path) -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(path.read_text(encoding="utf-8"))


def render(path: Path, **values: Any) -> str:
    """Fill in a template; values are escaped, and a name that nobody gave is an error.

    Args:
        path: of the template, in Jinja's language.
        values: by the names that the template uses.
    """
    return _template(path).render(values)
