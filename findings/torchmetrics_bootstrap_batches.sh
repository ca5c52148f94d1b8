#!/usr/bin/env bash
# torchmetrics 1.9.0: BootStrapper draws within each batch, so 'multinomial' in batches of one has no spread at all.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 torchmetrics==1.9.0
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from torchmetrics import MeanMetric
from torchmetrics.wrappers import BootStrapper

print("torchmetrics", version("torchmetrics"))
torch.manual_seed(0)
values = torch.randn(200)
expected = (values.std() / len(values) ** 0.5).item()
print(f"standard error of the mean of {len(values)} values: {expected:.4f}")
found = {}
for size in (200, 2, 1):
    metric = BootStrapper(MeanMetric(), num_bootstraps=50, sampling_strategy="multinomial")
    for batch in values.split(size):
        metric.update(batch)
    found[size] = metric.compute()["std"].item()
    print(f"in batches of {size}: {found[size]:.4f}")
sys.exit(not (abs(found[200] / expected - 1) < 0.35 and found[2] < 0.85 * expected and found[1] == 0))
PYTHON
