"""Made-up photographs: smooth random colours as JPEG files, each with a random box."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from sigcam_core.prepare.manifest import Manifest

SIDE = 256  # pixels
CELLS = 16  # a side, of random colours that are blended


def random_images(folder: Path, count: int, num_classes: int) -> Manifest:
    """Draw images, one file each, and return their manifest.

    Args:
        folder: where the files go.
        count: images.
        num_classes: of their labels, which are random.
    """
    draw_images(folder, count)
    return manifest_of(folder, count, num_classes, count)


def draw_images(folder: Path, count: int) -> None:
    """Write ``count`` files, numbered from 0."""
    generator = np.random.default_rng(0)
    for number in range(count):
        colours = generator.integers(0, 256, (CELLS, CELLS, 3), dtype=np.uint8)
        pixels = cv2.resize(colours, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / _name(number)), pixels)


def manifest_of(folder: Path, count: int, num_classes: int, files: int) -> Manifest:
    """Build a manifest of images that exist already, with random labels and boxes.

    Args:
        folder: where the files lie.
        count: images of the manifest.
        num_classes: of the labels.
        files: how many files there are; they are shown again and again where images are more.
    """
    generator = np.random.default_rng(1)
    corners = generator.integers(0, SIDE // 2, (count, 2))
    sides = generator.integers(SIDE // 4, SIDE // 2, (count, 2))
    table = pd.DataFrame(
        {
            "image_id": [f"{number:06d}" for number in range(count)],
            "path": [_name(number % files) for number in range(count)],
            "label": generator.integers(0, num_classes, count),
            "split": "test",
            "width": SIDE,
            "height": SIDE,
            "boxes": [[box] for box in np.hstack([corners, corners + sides]).tolist()],
            "mask": None,
        }
    )
    names = tuple(f"class {number}" for number in range(num_classes))
    return Manifest("random images", table, names, folder, checksum=f"random {count} {num_classes} {files}")


def _name(number: int) -> str:
    return f"{number:05d}.jpg"
