#!/usr/bin/env bash
# OpenCV 4.14: with RETR_TREE the rim of a hole is a contour, so a map that is low on the object finds its box.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet numpy==2.4.6 opencv-python-headless==4.14.0.94
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import sys

import cv2
import numpy as np

print("opencv-python-headless", cv2.__version__)
offsets = np.arange(224) - 111.5
profile = np.exp(-0.5 * (offsets / 56) ** 2)
centred = profile[:, None] * profile  # a Gaussian
centred = (centred - centred.min()) / (centred.max() - centred.min())
truth = (56, 56, 167, 167)  # a square in the middle, last pixels included


def iou(x: int, y: int, width: int, height: int) -> float:
    """With the truth, pixels counted inclusively."""
    across = min(x + width - 1, truth[2]) - max(x, truth[0]) + 1
    down = min(y + height - 1, truth[3]) - max(y, truth[1]) + 1
    common = max(across, 0) * max(down, 0)
    return common / (width * height + 112 * 112 - common)


def best_iou(score_map: np.ndarray, mode: int) -> float:
    """Of any contour's box at any threshold."""
    gray, best = (255 * score_map).astype(np.uint8), 0.0
    for level in range(255):
        binary = cv2.threshold(gray, level, 255, cv2.THRESH_BINARY)[1]
        contours = cv2.findContours(binary, mode, cv2.CHAIN_APPROX_SIMPLE)[0]
        best = max([best, *(iou(*cv2.boundingRect(contour)) for contour in contours)])
    return best


found = {}
for name, mode in (("RETR_TREE", cv2.RETR_TREE), ("RETR_EXTERNAL", cv2.RETR_EXTERNAL)):
    found[name] = best_iou(centred, mode), best_iou(1 - centred, mode)
    print(f"{name}: best IoU of the map {found[name][0]:.3f}, of its negative {found[name][1]:.3f}")
sys.exit(not (min(found["RETR_TREE"]) > 0.95 and found["RETR_EXTERNAL"][0] > 0.95 and found["RETR_EXTERNAL"][1] < 0.3))
PYTHON
