"""One style for all figures: fonts, lines, colours and colour maps."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from itertools import cycle
from typing import Any, ParamSpec, TypeVar

import matplotlib.pyplot as plt

from ..common.titles import METHOD_TITLES

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

COLORS = {"softmax": "#0072B2", "sigmoid": "#D55E00"}  # blue and vermilion: distinct for colour-blind readers
SEVERAL = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
"""Colours for what has none of its own, such as data sets and networks, in this order."""
OURS, PEER = COLORS["softmax"], COLORS["sigmoid"]
TRUE_BOX, ESTIMATED_BOX = "white", "#E69F00"
MAP_COLORS = "viridis"
METHOD_MARKERS = dict(zip(METHOD_TITLES, cycle("os^DvPX*<>"), strict=False))
"""By a method's place in the table, so that whatever is added gets a name and a marker by itself."""
STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "svg.hashsalt": "sigcam",  # the same drawing has the same bytes
}
"""Settings of matplotlib, in which every figure of the book is drawn."""


def in_style(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function draw in :data:`STYLE`, and leave the settings of others as they were."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with plt.rc_context(STYLE):  # type: ignore[arg-type]
            return draw(*args, **kwargs)

    return drawn
