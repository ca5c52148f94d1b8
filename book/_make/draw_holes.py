"""The picture of the chapter on metrics: a map, its negative, and their boxes, with and without holes."""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from sigcam_core.common.files import write_atomically
from sigcam_core.localization.contours import BoxArray
from sigcam_core.localization.protocol import MAP_SIZE, to_gray
from sigcam_core.summarise.drawing import Panel, panel_grid
from sigcam_core.summarise.style import in_style

CENTRE, SPREAD = (96, 128), 40.0  # x and y of a generated map's peak, and its width, pixels
LEVEL = 115  # gray level that the map is cut at
ALL, OUTER = cv2.RETR_TREE, cv2.RETR_EXTERNAL


def generated_map(size: int = MAP_SIZE) -> NDArray[np.float64]:
    """Make a map (size, size) of one peak, stretched to [0, 1]."""
    rows, columns = np.mgrid[:size, :size]
    peak = np.exp(-((columns - CENTRE[0]) ** 2 + (rows - CENTRE[1]) ** 2) / (2 * SPREAD**2))
    stretched: NDArray[np.float64] = (peak - peak.min()) / (peak.max() - peak.min())
    return stretched


def boxes_at(score_map: NDArray[np.float64], level: int, mode: int) -> BoxArray:
    """Find the boxes (B, 4) of the contours of ``gray > level``, all or the outer ones alone, as the protocol does.

    Args:
        score_map: (H, W) in [0, 1].
        level: gray level.
        mode: :data:`ALL` or :data:`OUTER`.
    """
    height, width = score_map.shape
    binary = (to_gray(score_map) > level).astype(np.uint8)
    contours, _ = cv2.findContours(binary, mode, cv2.CHAIN_APPROX_SIMPLE)
    rectangles = [cv2.boundingRect(contour) for contour in contours]
    return np.array([[x, y, min(x + w, width - 1), min(y + h, height - 1)] for x, y, w, h in rectangles])


@in_style  # while it is written, too: the style makes the same drawing the same bytes
def draw_holes(path: Path) -> Path:
    """Draw the picture; the same one at every build.

    Args:
        path: SVG file to write.
    """
    score_map = generated_map()
    negative = 1 - score_map
    image = np.full((*score_map.shape, 3), 255, dtype=np.uint8)
    object_box = boxes_at(score_map, LEVEL, OUTER)
    shown = (
        ("a map", score_map, boxes_at(score_map, LEVEL, ALL)),
        ("its negative, all contours", negative, boxes_at(negative, 255 - LEVEL, ALL)),
        ("its negative, outer contours", negative, boxes_at(negative, 255 - LEVEL, OUTER)),
    )
    panels = [Panel(title, image, one, object_box, boxes) for title, one, boxes in shown]
    figure = panel_grid([panels], width=2.4)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="svg", metadata={"Date": None}))
    plt.close(figure)
    return path
