"""Sample photos that ship inside scikit-image and scikit-learn: real images without a download.

They are what the figures on a real ImageNet network show. Labels are ImageNet-1k classes, chosen by eye: what the
photo shows, or the class nearest to it. They serve to pick a class to explain, not to measure accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import skimage.data

from data_scripts.shapes import write_png
from sigcam_core.prepare.manifest import Manifest, write_manifest

Pixels = npt.NDArray[np.uint8]


def _scikit_learn_sample(name: str) -> Pixels:
    from sklearn.datasets import load_sample_image  # slow to import, and the other data sets need neither of the two

    pixels: Pixels = load_sample_image(name)
    return pixels


PHOTOS: dict[str, tuple[Callable[[], Pixels], str]] = {
    # ImageNet's three domestic tabbies look alike; EfficientNet-Lite0 says Egyptian cat (0.77; tabby 0.08).
    "chelsea": (skimage.data.chelsea, "Egyptian cat"),
    "coffee": (skimage.data.coffee, "espresso"),
    # A launch vehicle on its pad: ImageNet has no rocket, missile is its nearest class.
    "rocket": (skimage.data.rocket, "missile"),
    # ImageNet has no class for a person; the model behind her shoulder is a space shuttle.
    "astronaut": (skimage.data.astronaut, "space shuttle"),
    # A cruiser: ImageNet has no motorcycle, moped is the nearest of its two-wheelers (and the network's choice).
    "motorcycle_left": (lambda: skimage.data.stereo_motorcycle()[0], "moped"),
    # A dahlia: daisy is the only garden flower of the same family, and the network's choice.
    "flower": (lambda: _scikit_learn_sample("flower.jpg"), "daisy"),
    # A tower of the Summer Palace in Beijing.
    "china": (lambda: _scikit_learn_sample("china.jpg"), "palace"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add no options: the photos have none."""


def check_parameters() -> dict[str, Any]:
    """Return the labels: there is nothing else to record of the photos."""
    return {"labels": {name: label for name, (_, label) in PHOTOS.items()}}


def prepare(folder: Path, parameters: dict[str, Any]) -> Manifest:
    """Write the photos as PNG with their manifest, all in split ``test``, without boxes or masks.

    Args:
        folder: where ``images/`` and ``manifest.parquet`` go.
        parameters: from :func:`check_parameters`.
    """
    from torchvision.models import ResNet50_Weights

    class_names = ResNet50_Weights.DEFAULT.meta["categories"]
    (folder / "images").mkdir(exist_ok=True)
    rows = []
    for name, (load, _) in PHOTOS.items():
        pixels = load()
        path = f"images/{name}.png"
        write_png(folder / path, pixels)
        height, width = pixels.shape[:2]
        rows.append(
            {
                "image_id": name,
                "path": path,
                "label": class_names.index(parameters["labels"][name]),
                "split": "test",
                "width": width,
                "height": height,
                "boxes": [],
                "mask": None,
            }
        )
    return write_manifest(
        folder / "manifest.parquet", pd.DataFrame(rows), name="photos", class_names=class_names, parameters=parameters
    )
