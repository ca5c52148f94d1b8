#!/usr/bin/env bash
# pycocotools 2.0.11: a box without width has IoU 0 with itself, so a perfect detector stays below an AP of 1.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet numpy==2.4.6 pycocotools==2.0.11
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

print("pycocotools", version("pycocotools"))
flat, square = [10.0, 4.0, 0.0, 12.0], [10.0, 4.0, 12.0, 12.0]  # x, y, width, height
alone = {name: float(mask.iou([box], [box], [0])[0, 0]) for name, box in (("flat", flat), ("square", square))}
print("IoU of a box with itself:", alone)

boxes = [flat, square]  # one for each of two images, such as x0 = x1 = 10 in pixels gives
truth = COCO()
truth.dataset = {
    "images": [{"id": k + 1, "width": 64, "height": 64} for k in range(2)],
    "categories": [{"id": 1, "name": "object"}],
    "annotations": [
        {"id": k + 1, "image_id": k + 1, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for k, box in enumerate(boxes)
    ],
}
truth.createIndex()
found = truth.loadRes([{"image_id": k + 1, "category_id": 1, "bbox": box, "score": 1.0} for k, box in enumerate(boxes)])
evaluation = COCOeval(truth, found, "bbox")
evaluation.evaluate()
evaluation.accumulate()
evaluation.summarize()
print(f"AP of detections that are the truth: {evaluation.stats[0]:.2f}")
sys.exit(not (alone == {"flat": 0.0, "square": 1.0} and evaluation.stats[0] < 0.9))
PYTHON
