#!/usr/bin/env bash
# torch 2.13.0: BatchNorm whose track_running_stats is set to False later still judges by the stored averages.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import torch

print("torch", version("torch"))
torch.manual_seed(0)
batch = 5 * torch.randn(256, 2) + 7
constructed = torch.nn.BatchNorm1d(2, track_running_stats=False)
switched = torch.nn.BatchNorm1d(2)
switched.track_running_stats = False  # as code does that wants to freeze a network

means = {}
for name, layer in (("constructed so", constructed), ("switched later", switched)):
    means[name] = [round(layer.train(mode)(batch).mean().item(), 2) for mode in (True, False)]
    print(f"{name}: mean of the output in training {means[name][0]}, in evaluation {means[name][1]}")
print("updates of the switched layer's averages:", int(switched.num_batches_tracked))
constructed_alike = abs(means["constructed so"][1]) < 0.01  # by the batch in both modes
switched_differs = abs(means["switched later"][0]) < 0.01 and abs(means["switched later"][1] - 7) < 1
sys.exit(not (constructed_alike and switched_differs and switched.num_batches_tracked == 0))
PYTHON
