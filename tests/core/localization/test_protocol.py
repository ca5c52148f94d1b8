"""GT-Loc's box: that of the largest blob, and of OpenCV."""

import cv2
import numpy as np
import torch

from sigcam_core import normalize_maps
from sigcam_core.localization.protocol import gt_loc_box, gt_loc_iou


def test_the_box_surrounds_the_largest_blob() -> None:
    score_map = np.zeros((40, 60))
    score_map[5:20, 10:30] = 1.0
    score_map[30:35, 50:55] = 1.0
    score_map[25:39, 2:40] = 0.15  # below the threshold of a fifth
    assert gt_loc_box(score_map).tolist() == [10, 5, 30, 20]
    score_map[25:39, 2:40] = 0.25
    assert gt_loc_box(score_map).tolist() == [2, 25, 40, 39]


def test_the_box_equals_opencvs_on_a_smooth_map() -> None:
    score_map = normalize_maps(torch.rand(1, 6, 6), (64, 64))[0].numpy()
    gray = (255 * score_map).astype(np.uint8)
    _, binary = cv2.threshold(gray, int(0.2 * gray.max()), 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    x, y, width, height = cv2.boundingRect(max(contours, key=cv2.contourArea))
    assert gt_loc_box(score_map).tolist() == [x, y, min(x + width, 63), min(y + height, 63)]


def test_gt_loc_judges_this_box() -> None:
    score_map = normalize_maps(torch.rand(1, 6, 6), (64, 64))[0].numpy()
    box = gt_loc_box(score_map)
    any_box, first_box = gt_loc_iou(score_map, np.stack([np.array([0, 0, 1, 1]), box]))
    assert any_box == 1.0 > first_box
