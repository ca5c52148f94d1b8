"""Widths and heights of images, from their headers alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import track

from sigcam_core.prepare.decode import image_size


def image_sizes(folder: Path, names: Sequence[str]) -> list[tuple[int, int]]:
    """Width and height in pixels of every image ``folder / name``, as they are stored.

    Raises:
        SigcamError: if an image is missing or cannot be read; the sentence names it.
    """
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        sizes = pool.map(lambda name: _size(folder / name), names)
        return list(track(sizes, "reading image sizes", total=len(names)))


def _size(path: Path) -> tuple[int, int]:
    return image_size(path, f"image {path}", "delete it, and run the same command again")
