#!/usr/bin/env bash
# torchcam 0.5.0: the weights of Grad-CAM++ are sums of ReLU(g)^3, since its division is lost in a copy.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 torchcam==0.5.0
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from torch import nn
from torchcam.methods import GradCAMpp

print("torch", version("torch"), "torchcam", version("torchcam"))
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 14 * 14, 4)).eval()
image = torch.rand(1, 3, 16, 16, requires_grad=True)

maps = network[1](network[0](image)).detach().requires_grad_()
(gradient,) = torch.autograd.grad(network[3](network[2](maps))[0, 2], maps)
total = maps.detach().sum((2, 3), keepdim=True)
alpha = gradient**2 / (2 * gradient**2 + total * gradient**3)  # Equation 19 of Chattopadhay et al. 2018
published = (alpha.nan_to_num() * gradient.relu()).sum((2, 3))[0]
undivided = (gradient.relu() ** 3).sum((2, 3))[0]

with GradCAMpp(network, "1") as extractor:
    (weights,) = extractor._get_weights(2, network(image))
weights = weights.detach().flatten()
for name, values in (("torchcam", weights), ("sum ReLU(g)^3", undivided), ("Equation 19", published)):
    print(f"{name:14}", [f"{value:.2e}" for value in values.tolist()])
is_undivided = torch.allclose(weights, undivided, rtol=1e-4)
is_published = torch.allclose(weights, published, rtol=1e-2)
print("undivided:", is_undivided, "as published:", is_published)
sys.exit(not is_undivided or is_published)
PYTHON
