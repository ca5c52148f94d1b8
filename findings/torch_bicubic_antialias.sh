#!/usr/bin/env bash
# torch 2.13.0: antialias=True changes a bicubic enlargement, which has nothing to alias: the kernel becomes another.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pillow==12.0.0 opencv-python-headless==4.14.0.94
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import cv2
import numpy as np
import torch
from PIL import Image

print(*(f"{name} {version(name)}" for name in ("torch", "pillow", "opencv-python-headless")))
small = np.random.default_rng(0).random((7, 7)).astype(np.float32)


def by_torch(mode: str, antialias: bool) -> np.ndarray:
    maps = torch.from_numpy(small)[None, None]
    return torch.nn.functional.interpolate(maps, (224, 224), mode=mode, antialias=antialias)[0, 0].numpy()


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


plain, smoothed = by_torch("bicubic", False), by_torch("bicubic", True)
by_opencv = cv2.resize(small, (224, 224), interpolation=cv2.INTER_CUBIC)
by_pillow = np.asarray(Image.fromarray(small).resize((224, 224), Image.Resampling.BICUBIC))
found = {
    "bicubic, antialias against none": distance(plain, smoothed),
    "bilinear, antialias against none": distance(by_torch("bilinear", False), by_torch("bilinear", True)),
    "bicubic without antialias against OpenCV": distance(plain, by_opencv),
    "bicubic with antialias against Pillow": distance(smoothed, by_pillow),
}
for name, value in found.items():
    print(f"{name}: greatest difference {value:.1e} of a range of 1")
one, *others = found.values()
sys.exit(not (one > 0.02 and max(others) < 1e-5))
PYTHON
