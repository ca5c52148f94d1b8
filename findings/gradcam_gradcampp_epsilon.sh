#!/usr/bin/env bash
# grad-cam 1.5.7: behind global average pooling the 1e-6 in Grad-CAM++ outweighs g^2, and weights become ReLU(w)^3.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 grad-cam==1.5.7
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from pytorch_grad_cam import GradCAMPlusPlus
from torch import nn

print("grad-cam", version("grad-cam"))
rng = np.random.default_rng(0)
maps = np.maximum(rng.normal(size=(1, 512, 14, 14)), 0).astype(np.float32)  # after a ReLU
head = rng.normal(scale=0.05, size=512).astype(np.float32)  # weights of one class of a linear layer
gradient = np.broadcast_to(head[None, :, None, None] / 196, maps.shape)  # of its logit, behind the pooling

network = nn.Sequential(nn.Conv2d(3, 3, 1))
with GradCAMPlusPlus(network, [network[0]]) as cam:
    weights = cam.get_cam_weights(None, None, None, maps, gradient)[0]
positive = head > 0
cubed = np.maximum(head, 0) ** 3
published = np.where(positive, head / (2 + head * maps.mean((2, 3))[0]), 0)  # Equation 19, simplified

def likeness(values: np.ndarray) -> float:
    """Cosine with what the library gives."""
    return float(weights @ values / np.linalg.norm(weights) / np.linalg.norm(values))

print(f"g^2 is {np.median(gradient**2):.1e} in the middle, the constant 1e-6")
print(f"cosine with ReLU(w)^3: {likeness(cubed):.4f}, with Equation 19: {likeness(published):.4f}")
sys.exit(not (likeness(cubed) > 0.99 > 0.9 > likeness(published)))
PYTHON
