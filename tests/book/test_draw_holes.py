"""The picture of holes shows what the protocol finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from draw_holes import ALL, LEVEL, OUTER, boxes_at, draw_holes, generated_map
from sigcam_core.localization.protocol import best_iou_per_threshold

BOOK = Path(__file__).resolve().parents[2] / "book"


def test_the_negative_has_the_box_of_the_map_as_the_rim_of_a_hole_and_outer_contours_have_it_not() -> None:
    score_map = generated_map()
    (box,) = boxes_at(score_map, LEVEL, ALL)
    negative = boxes_at(1 - score_map, 255 - LEVEL, ALL)
    assert len(negative) == 2
    assert (np.abs(negative - box).max(axis=1) <= 1).sum() == 1
    assert boxes_at(1 - score_map, 255 - LEVEL, OUTER).tolist() == [[0, 0, 223, 223]]
    assert best_iou_per_threshold(1 - score_map, box[None]).max() > 0.95
    assert best_iou_per_threshold(1 - score_map, box[None], with_holes=False).max() < 0.3


def test_the_same_picture_is_drawn_each_time_and_the_page_shows_it(tmp_path: Path) -> None:
    first, second = draw_holes(tmp_path / "one.svg"), draw_holes(tmp_path / "two.svg")
    assert first.read_bytes() == second.read_bytes()
    assert "_static/holes.svg" in (BOOK / "metrics.md").read_text(encoding="utf-8")
