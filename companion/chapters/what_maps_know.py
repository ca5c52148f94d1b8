"""The chapter on what the maps know: the crossed controls, and the sentence that opens it.

What is imported here under its own name (``as``) is handed on to the notebook.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..controls.names import CENTRE, NO_HEAD
from ..cue.tables import cue_figure as cue_figure
from ..cue.tables import cue_table as cue_table
from ..experiments import CROSSED
from ..show.results import Measured, read_measured
from ..show.saved import Value
from .crossed import flat_controls
from .gains import gains_sentences
from .real_images import each as each
from .real_images import with_table as with_table


def read_crossed(results: Path) -> dict[str, Measured]:
    """Read the crossed controls that were measured, by name.

    Args:
        results: folder of all that was measured.
    """
    return read_measured(results, list(CROSSED))


def controls_sentence(measured: Mapping[str, Measured]) -> str:
    """On how many data sets a map that sees no image beats all that were drawn.

    Args:
        measured: crossed measurements.
    """
    beaten = []
    for one in measured.values():
        table = one.tables["figures"]
        values = table[table["metric"] == "maxboxacc_v2"].set_index(["head", "scalar"])["value"]
        is_of_head = values.index.get_level_values("head") != NO_HEAD
        if float(values[NO_HEAD, CENTRE]) > float(values[is_of_head].max()):
            beaten.append(one.label)
    up = sum(_side(one, "truncation_sigmoid", "maxboxacc_v2_held_out") == "up" for one in measured.values())
    down = sum(_side(one, "truncation_sigmoid", "grid_2x2") == "down" for one in measured.values())
    count = len(measured)
    return (
        f"A centred square, which sees no image, has a higher MaxBoxAccV2 than every map of every head in "
        f"{len(beaten)} of {count} measurements; truncating the sigmoid map raises MaxBoxAccV2 in {up} of {count}, and "
        f"lowers the share of evidence in the right cell of a grid in {down} of {count}."
    )


def flat(measured: Mapping[str, Measured]) -> tuple[dict[str, Value], dict[str, str]]:
    """Flatten the crossed controls for the prose, with what the book's first page quotes.

    Args:
        measured: crossed measurements.
    """
    values, formatted = flat_controls(measured)
    return values | front_page(measured), formatted


def front_page(measured: Mapping[str, Measured]) -> dict[str, str]:
    """Write what the book's first page quotes of the crossed controls: the finding on gains, and when it was measured.

    Args:
        measured: crossed measurements.
    """
    days = sorted({one.record["date"][:10] for one in measured.values()})
    when = f"on {days[0]}" if len(days) == 1 else f"between {days[0]} and {days[-1]}"
    return {"gains_finding": gains_sentences(measured), "measured_on": when}


def _side(one: Measured, comparison: str, metric: str) -> str:
    """Where the simultaneous interval of a difference lies: ``up``, ``down``, or empty where it holds zero."""
    table = one.tables["differences"]
    row = table[(table["comparison"] == comparison) & (table["metric"] == metric)].iloc[0]
    return "up" if float(row["low_all"]) > 0 else "down" if float(row["high_all"]) < 0 else ""
