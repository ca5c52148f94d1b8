"""Writers of small archives: what miniatures of data sets are packed with."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Files = dict[str, bytes]
"""Contents by their path in an archive."""
Mode = Literal["w", "w:gz"]


def encoded(pixels: npt.NDArray[Any], kind: str) -> bytes:
    """Encode an image as a file of a kind such as ``"JPEG"``.

    Args:
        pixels: uint8 (H, W) or (H, W, 3), or bool (H, W).
        kind: as Pillow calls it.
    """
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(buffer, kind)
    return buffer.getvalue()


def text(*lines: str) -> bytes:
    """Write lines as a text file."""
    return "".join(f"{line}\n" for line in lines).encode()


def write_zip(path: Path, files: Files) -> Path:
    """Write a zip; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tar_bytes(files: Files, mode: Mode = "w") -> bytes:
    """Write a tar, compressed in mode ``"w:gz"``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def write_tar(path: Path, files: Files, mode: Mode = "w") -> Path:
    """Write a tar; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(files, mode))
    return path
