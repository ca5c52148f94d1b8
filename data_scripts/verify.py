"""Whether the images and masks that a manifest names are there and can be read to their end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import track

from data_scripts.parts import MASK_COLUMN
from sigcam_core.common.errors import SigcamError, fail
from sigcam_core.prepare.contents import recorded_files
from sigcam_core.prepare.decode import decode_image, decode_values
from sigcam_core.prepare.manifest import Manifest

THREADS = 8


def missing_files(manifest: Manifest) -> list[Path]:
    """Files of images and masks, and others that were recorded, that are not there, or are empty."""
    recorded = (manifest.root / name for name in recorded_files(manifest.root))
    files = dict.fromkeys([*_files(manifest), *recorded])
    return [path for path in files if not (path.is_file() and path.stat().st_size)]


def verify(manifest: Manifest) -> int:
    """Decode every image and mask.

    Returns:
        How many there are.

    Raises:
        SigcamError: if some are missing or damaged; the sentence names the first.
    """
    files = _files(manifest)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(
            track(
                pool.map(_damage, files, files.values()), f"reading {manifest.name}", total=len(files), transient=True
            )
        )
    damaged = [reason for reason in found if reason]
    if damaged:
        fail(f"{len(damaged)} of {len(files)} files cannot be used, so run this again with --force: {damaged[0]}")
    return len(files)


def _files(manifest: Manifest) -> dict[Path, bool]:
    """Map each file of all images and masks to whether it is a mask."""
    images = dict.fromkeys(map(str, manifest.table["path"]), False)
    columns = [column for column in ("mask", MASK_COLUMN) if column in manifest.table]
    masks = {str(name): True for column in columns for name in manifest.table[column].dropna()}
    return {manifest.locate(name): is_mask for name, is_mask in (images | masks).items()}


def _damage(path: Path, is_mask: bool) -> str:
    """Say what is wrong with a file, or nothing."""
    if not path.is_file():
        return f"{path} is missing."
    try:
        if is_mask:
            decode_values(path)
        else:
            decode_image(path, 8)
    except SigcamError as error:
        return str(error)
    return ""
