"""Boxes without images: image sizes and boxes of ImageNet, ImageNetV2, CUB-200-2011, CUBV2 and Stanford Cars.

They come from the pinned text files, a few megabytes, and suffice for what does not look at an image, such as the score
of a centred box. The column ``collection`` tells them apart. ImageNet's published validation set and CUB's published
test set are the split ``test``; ImageNetV2 and CUBV2, on which wsolevaluation chooses hyper-parameters, are ``val``. Of
Stanford Cars there is this project's own split ``test``, that of :mod:`data_scripts.stanford_cars`. ``path`` is the
published name of an image that is not there, and the one class is *object*.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_scripts import stanford_cars
from data_scripts.metadata import metadata_record, read_metadata
from sigcam_core.common.errors import fail
from sigcam_core.prepare.manifest import Manifest, write_manifest

PUBLISHED = {
    "imagenet": ("ILSVRC/test", "test"),
    "imagenetv2": ("ILSVRC/val", "val"),
    "cub": ("CUB/test", "test"),
    "cubv2": ("CUB/val", "val"),
}
"""By collection, the folder of its text files in the repository, and the split that it is here."""
CARS = "stanford_cars"
HAS_IMAGES = False
"""The files that its manifest names are not there."""
KINDS = ("image_sizes", "localization")

# The options of the one split that is not published.
add_options = stanford_cars.add_options
check_parameters = stanford_cars.check_parameters


def prepare(folder: Path, parameters: dict[str, Any], archives: Sequence[Path]) -> Manifest:
    """Write a manifest of boxes alone.

    Args:
        folder: where ``manifest.parquet`` goes.
        parameters: from :func:`check_parameters`.
        archives: folders where the text files may lie.
    """
    tables = [_published_rows(place, archives).assign(split=split) for place, split in PUBLISHED.values()]
    cars = stanford_cars.published_rows(parameters, archives)
    tables.append(cars[cars["split"] == "test"].assign(label=0))
    for name, table in zip((*PUBLISHED, CARS), tables, strict=True):
        table["collection"] = name
        for column in ("image_id", "path"):
            table[column] = f"{name}/" + table[column]
    files = [(place, kind) for place, _ in PUBLISHED.values() for kind in KINDS]
    files += [(stanford_cars.METADATA, kind) for kind in stanford_cars.METADATA_KINDS]
    return write_manifest(
        folder / "manifest.parquet",
        pd.concat(tables, ignore_index=True),
        name="boxes",
        class_names=["object"],
        parameters=parameters | {"archives": [metadata_record(*file) for file in files]},
    )


def _published_rows(place: str, archives: Sequence[Path]) -> pd.DataFrame:
    """One row per image, in the order of the list of sizes."""
    sizes, lines = (read_metadata(place, kind, archives, (f"wsol_metadata/{place}/{kind}.txt",)) for kind in KINDS)
    boxes: dict[str, list[list[int]]] = {name: [] for name, *_ in sizes}
    for name, *edges in lines:
        boxes[name].append([int(edge) for edge in edges])
    if empty := [name for name, found in boxes.items() if not found]:
        fail(f"metadata/{place}/localization.txt has no box of {empty[0]}: boxes are needed of every image.")
    return pd.DataFrame(
        {
            "image_id": list(boxes),
            "path": list(boxes),
            "label": 0,
            "width": [int(width) for _, width, _ in sizes],
            "height": [int(height) for _, _, height in sizes],
            "boxes": list(boxes.values()),
            "mask": None,
        }
    )
