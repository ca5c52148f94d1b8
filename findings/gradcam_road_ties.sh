#!/usr/bin/env bash
# grad-cam 1.5.7: where a map has ties, ROAD removes other shares of the image than its percentiles say.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 grad-cam==1.5.7
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from pytorch_grad_cam.metrics.perturbation_confidence import RemoveLeastRelevantFirst, RemoveMostRelevantFirst

print("grad-cam", version("grad-cam"))
score_map = torch.zeros(7, 7)
score_map[2:4, 3:5] = torch.tensor([[0.4, 0.6], [0.8, 1.0]])  # a Grad-CAM map behind its ReLU, 4 of 49 cells above 0
score_map = score_map.repeat_interleave(32, 0).repeat_interleave(32, 1)
image = torch.rand(3, 224, 224)

shares = {}
for order in (RemoveMostRelevantFirst, RemoveLeastRelevantFirst):
    kept = []
    for percentile in range(10, 100, 10):
        # In place of the imputation, hand the mask of what stays through.
        kept.append(order(percentile, lambda _, mask: mask)(image, score_map).mean().item())
    shares[order.__name__] = [round(100 * (1 - share)) for share in kept]
print("asked for, %:", [100 - percentile for percentile in range(10, 100, 10)])
for name, removed in shares.items():
    print(f"{name} removed, %: {removed}")
sys.exit(shares["RemoveMostRelevantFirst"] != [100] * 9 or shares["RemoveLeastRelevantFirst"] != [92] * 9)
PYTHON
