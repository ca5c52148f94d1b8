"""Images and score maps as panels of a figure, with boxes drawn into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from ..common.errors import fail
from .style import ESTIMATED_BOX, MAP_COLORS, TRUE_BOX, in_style

Image = NDArray[np.uint8]  # (H, W, 3)
ScoreMap = NDArray[np.float64]  # (H, W) in [0, 1]


class Panel(NamedTuple):
    """One picture of a row: an image, perhaps a map over it, boxes to draw, and a probability before and after."""

    title: str
    image: Image
    score_map: ScoreMap | None = None
    true_boxes: NDArray[np.int64] | None = None
    estimated_box: NDArray[np.int64] | None = None
    scores: tuple[float, float] | None = None


def draw_panel(ax: Axes, panel: Panel, alpha: float = 0.6) -> None:
    """Draw one panel: the image, its map in viridis, true boxes in white, the estimated box dashed in orange.

    Raises:
        SigcamError: if the map is not as large as the image.
    """
    if panel.score_map is not None and panel.score_map.shape != panel.image.shape[:2]:
        fail(f"the map of panel {panel.title!r} must be as large as its image {panel.image.shape[:2]}.")
    ax.imshow(panel.image)
    if panel.score_map is not None:
        ax.imshow(panel.score_map, cmap=MAP_COLORS, vmin=0, vmax=1, alpha=alpha)
    for boxes, color, line in ((panel.true_boxes, TRUE_BOX, "-"), (panel.estimated_box, ESTIMATED_BOX, "--")):
        for x0, y0, x1, y1 in [] if boxes is None else np.atleast_2d(boxes):
            ax.add_patch(
                Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, linestyle=line, linewidth=2)
            )
    ax.set_title(panel.title, fontsize=9, parse_math=False)  # names of classes and files are no formulas
    ax.set_xticks([])
    ax.set_yticks([])


@in_style
def panel_grid(rows: Sequence[Sequence[Panel]], row_labels: Sequence[str] | None = None, width: float = 1.9) -> Figure:
    """Plot a grid of panels with one colour bar for all maps.

    Args:
        rows: panels, all rows of equal length.
        row_labels: text on the left of each row.
        width: inches per panel.

    Raises:
        SigcamError: if there are no panels, or rows differ in length.
    """
    if not rows or len({len(row) for row in rows}) != 1 or not rows[0]:
        fail("panel_grid needs rows of equal length, at least one panel each.")
    figure, axes = plt.subplots(
        len(rows),
        len(rows[0]),
        figsize=(width * len(rows[0]) + 0.9, (width + 0.3) * len(rows)),
        squeeze=False,
        layout="constrained",
    )
    for row, row_axes in zip(rows, axes, strict=True):
        for panel, ax in zip(row, row_axes, strict=True):
            draw_panel(ax, panel)
    for label, row_axes in zip(row_labels or [], axes, strict=False):
        row_axes[0].set_ylabel(label, fontsize=9, parse_math=False)
    if any(panel.score_map is not None for row in rows for panel in row):
        scale = plt.cm.ScalarMappable(cmap=MAP_COLORS)
        bar = figure.colorbar(scale, ax=axes, shrink=min(1.0, 3 / len(rows)), aspect=25, pad=0.01)
        bar.set_label("score map (each stretched to 0–1)", fontsize=9)
    return figure


def to_pictures(images: Tensor) -> NDArray[np.uint8]:
    """uint8 images (N, D, H, W) as pictures (N, H, W, 3): gray ones, or the first three channels of more."""
    shown = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[:, :3]
    pictures: NDArray[np.uint8] = shown.permute(0, 2, 3, 1).cpu().numpy()
    return pictures
