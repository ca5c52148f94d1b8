"""OpenImages-30k of wsolevaluation: 100 classes, with a mask for every image of ``val`` and ``test``.

Splits, labels and the names of masks are those of the pinned text files; the images come from the public bucket of
Open Images. A mask is 1 on any instance of the class, 255 on the rest of the ignore region, 0 elsewhere, as
wsolevaluation merges them. The ignore regions are wsolevaluation's own: its archive of masks must be fetched by hand.
"""

from __future__ import annotations

import argparse
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.progress import track

from data_scripts.archive import Archive, obtain, refuse_damage
from data_scripts.download import download_all
from data_scripts.image_sizes import image_sizes
from data_scripts.metadata import read_metadata
from data_scripts.shapes import write_png
from sigcam_core.common.checks import IGNORE, OBJECT
from sigcam_core.common.errors import fail
from sigcam_core.common.files import write_atomically
from sigcam_core.prepare.manifest import Manifest, write_manifest

SPLITS = ("train", "val", "test")
BUCKET = "https://open-images-dataset.s3.amazonaws.com"
BUCKET_FOLDERS = {"train": "train", "val": "validation", "test": "test"}
# Sampled average of the originals, most of them 1,024 pixels wide.
BYTES_PER_IMAGE = 300_000
MASKS = Archive(
    name="OpenImages_annotations.zip",
    by_hand="download the segmentation masks of OpenImages30k that https://github.com/clovaai/wsolevaluation links to",
)
# The reference resizes masks to this size before it merges them.
REFERENCE_SIZE = 224

Mask = npt.NDArray[np.uint8]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add no options: the published splits leave nothing to choose."""


def check_parameters() -> dict[str, Any]:
    """Nothing to choose, nothing to record."""
    return {}


def prepare(folder: Path, parameters: dict[str, Any], archives: Sequence[Path]) -> Manifest:
    """Download the images, merge the masks and write the manifest.

    Args:
        folder: where ``images/``, ``masks/`` and ``manifest.parquet`` go.
        parameters: from :func:`check_parameters`.
        archives: folders where the archive of masks and the text files may lie.
    """
    # The archive that must be fetched by hand is asked for before gigabytes are downloaded.
    masks = obtain(MASKS, archives)
    labels = {
        name: int(label)
        for split in SPLITS
        for name, label in read_metadata(f"OpenImages/{split}", "class_labels", archives)
    }
    parts = [part for split in SPLITS[1:] for part in read_metadata(f"OpenImages/{split}", "localization", archives)]
    _download_images(folder / "images", list(labels))
    with refuse_damage(masks.path):
        mask_names = _merge_masks(masks.path, parts, folder)
    sizes = image_sizes(folder / "images", list(labels))
    classes = {label: PurePosixPath(name).parent.name for name, label in labels.items()}
    table = pd.DataFrame(
        {
            "image_id": [name.removesuffix(".jpg") for name in labels],
            "path": [f"images/{name}" for name in labels],
            "label": list(labels.values()),
            "split": [name.split("/")[0] for name in labels],
            "width": [width for width, _ in sizes],
            "height": [height for _, height in sizes],
            "boxes": [[] for _ in labels],
            "mask": [mask_names.get(name) for name in labels],
        }
    )
    return write_manifest(
        folder / "manifest.parquet",
        table,
        name="openimages",
        class_names=[f"/m/{classes[label]}" for label in sorted(classes)],
        parameters=parameters | {"archives": [masks.record()]},
    )


def _download_images(folder: Path, names: Sequence[str]) -> None:
    jobs = []
    for name in names:
        split, wnid, file = name.split("/")
        (folder / split / wnid).mkdir(parents=True, exist_ok=True)
        jobs.append((f"{BUCKET}/{BUCKET_FOLDERS[split]}/{file}", folder / name))
    missing = sum(not path.exists() for _, path in jobs)
    if missing:
        Console().print(f"{missing:,} images: about {missing * BYTES_PER_IMAGE / 1e9:.1f} GB from {BUCKET}")
    download_all(jobs, "downloading images", f"try again, or put the image into its place below {folder}")


def _merge_masks(path: Path, parts: Sequence[Sequence[str]], folder: Path) -> dict[str, str]:
    """Write one mask per image; existing masks are kept. Returns the masks' paths by image name.

    A mask that only ignores, since no instance is large enough to be seen in it, could not be distinguished from one
    that stores objects as 255, which readers refuse; it is not written, and its image has none.
    """
    instances: dict[str, list[str]] = defaultdict(list)
    ignores: dict[str, str] = {}
    for image, mask, ignore in parts:
        instances[image].append(mask)
        if ignore:
            ignores[image] = ignore
    written = {image: f"masks/{Path(image).with_suffix('.png')}" for image in instances}
    with zipfile.ZipFile(path) as archive:
        # The text files name split/class/file; the archive may hold them below further folders.
        members = {"/".join(PurePosixPath(name).parts[-3:]): name for name in archive.namelist()}
        for image, name in track(written.items(), "merging masks"):
            target = folder / name
            if not target.exists():
                masks = [_read(archive, members, part) for part in instances[image]]
                ignored = _read(archive, members, ignores[image]) if image in ignores else None
                merged = merge_masks(masks, ignored)
                if (merged == OBJECT).any() or not (merged == IGNORE).any():
                    write_atomically(target, partial(write_png, pixels=merged))
    return {image: name for image, name in written.items() if (folder / name).exists()}


def _read(archive: zipfile.ZipFile, members: dict[str, str], name: str) -> Mask:
    if name not in members:
        fail(f"{archive.filename} lacks {name}: {MASKS.by_hand}.")
    pixels = cv2.imdecode(np.frombuffer(archive.read(members[name]), np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        fail(f"{name} in {archive.filename} is not an image: {MASKS.by_hand}.")
    return pixels.astype(np.uint8)


def merge_masks(masks: Sequence[Mask], ignore: Mask | None) -> Mask:
    """Merge the instances of a class as wsolevaluation's ``get_mask`` does.

    Args:
        masks: uint8 arrays (H, W), above 0 on the object.
        ignore: uint8 array (H, W), above 0 on the ignore region.

    Returns:
        uint8: 1 on any instance, 255 on the rest of the ignore region, 0 elsewhere; of the masks' size where that is
        one and the same, otherwise 224 x 224, to which the reference resizes each mask (nearest neighbour).

    >>> merge_masks([np.array([[9, 0, 0]], np.uint8)], np.array([[9, 9, 0]], np.uint8)).tolist()
    [[1, 255, 0]]
    """
    layers = [*masks, *([] if ignore is None else [ignore])]
    if len({layer.shape for layer in layers}) > 1:
        side = (REFERENCE_SIZE, REFERENCE_SIZE)
        layers = [cv2.resize(layer, side, interpolation=cv2.INTER_NEAREST).astype(np.uint8) for layer in layers]
    is_object = np.any([layer > 0 for layer in layers[: len(masks)]], axis=0)
    merged: Mask = is_object.astype(np.uint8)
    if ignore is not None:
        merged[(layers[-1] > 0) & ~is_object] = IGNORE
    return merged
