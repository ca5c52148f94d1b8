"""Stanford Cars: the 8,144 training images, 196 makes and models, with one box per image.

The split follows the paper's protocol: 75 / 25 of the images of every class, the 25 as ``test``, both drawn by
:func:`data_scripts.stratified.stratified_share` from the image names and the seed. ``val`` is a share of the 75.

Boxes, labels and sizes are those of the pinned text files: in pixels of the original image, one-based as published.
``width`` and ``height`` are the original image's too, so that boxes are scaled rightly even where the image files are
smaller copies. The images come from ``cars_train.tgz`` (the original archive, gone from its site) or
``stanford-cars-256.zip`` (the same names, squashed to 256 x 256) where one of them lies in a folder of archives,
and otherwise from a Parquet copy on Hugging Face at a pinned revision.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

from data_scripts.archive import Archive, Found, extract, find, obtain, refuse_missing, unpack
from data_scripts.download import download
from data_scripts.metadata import read_metadata
from data_scripts.stratified import add_split_options, check_split_parameters, split_names, stratified_share
from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json
from sigcam_core.prepare.decode import image_size
from sigcam_core.prepare.manifest import Manifest, write_manifest

LOCAL = Archive(name="cars_train.tgz", checksum="md5:065e5b463ae28d29e77c1b4b166cfe61")
LOCAL_SMALL = Archive(name="stanford-cars-256.zip")
HUB = "https://huggingface.co"
REPOSITORY = "datasets/tanganke/stanford_cars"
REVISION = "9abf6cf7d6dfa7b95152a0d6e791ea9435b47a40"
BY_HAND = (
    f"or put cars_train.tgz or the Parquet files of {HUB}/{REPOSITORY}/tree/{REVISION}/data into a folder of archives"
)
TEST_FRACTION = 0.25
METADATA = "CARS/train"
METADATA_KINDS = ("class_labels", "image_sizes", "localization")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of :func:`check_parameters` to a command line."""
    add_split_options(parser, val_fraction=0.1)


def check_parameters(*, seed: int, val_fraction: float) -> dict[str, Any]:
    """Return the parameters, with the share of the test split, as the manifest records them.

    Raises:
        SigcamError: if one is out of range; the sentence names it.
    """
    return check_split_parameters(seed=seed, val_fraction=val_fraction) | {"test_fraction": TEST_FRACTION}


def prepare(folder: Path, parameters: dict[str, Any], archives: Sequence[Path]) -> Manifest:
    """Unpack the images and write the manifest.

    Args:
        folder: where ``images/`` and ``manifest.parquet`` go.
        parameters: from :func:`check_parameters`.
        archives: folders where the images and the text files may lie.
    """
    table = published_rows(parameters, archives)
    names = [PurePosixPath(path).name for path in table["path"]]
    labels = dict(zip(names, table["label"].tolist(), strict=True))
    sizes = dict(zip(names, zip(table["width"].tolist(), table["height"].tolist(), strict=True), strict=True))
    found = _unpack_images(folder, labels, sizes, archives)
    refuse_missing(folder / "images", names)
    return write_manifest(
        folder / "manifest.parquet",
        table,
        name="stanford_cars",
        class_names=(files("data_scripts") / "stanford_cars_classes.txt").read_text(encoding="utf-8").splitlines(),
        parameters=parameters | {"archives": [archive.record() for archive in found]},
    )


def published_rows(parameters: dict[str, Any], archives: Sequence[Path]) -> pd.DataFrame:
    """Build the rows of the manifest, which need the text files and no image.

    Args:
        parameters: from :func:`check_parameters`.
        archives: folders where the text files may lie.
    """
    label_lines, size_lines, box_lines = (_metadata(kind, archives) for kind in METADATA_KINDS)
    labels = {name: int(label) for name, label in label_lines}
    sizes = {name: (int(width), int(height)) for name, width, height in size_lines}
    boxes = {name: [int(edge) for edge in box] for name, *box in box_lines}
    names = list(labels)
    image_ids = [name.removesuffix(".jpg") for name in names]
    is_test = stratified_share(image_ids, list(labels.values()), parameters["test_fraction"], parameters["seed"])
    return pd.DataFrame(
        {
            "image_id": image_ids,
            "path": [f"images/{name}" for name in names],
            "label": list(labels.values()),
            "split": split_names(image_ids, list(labels.values()), is_test.tolist(), parameters),
            "width": [sizes[name][0] for name in names],
            "height": [sizes[name][1] for name in names],
            "boxes": [[boxes[name]] for name in names],
            "mask": None,
        }
    )


def _metadata(kind: str, archives: Sequence[Path]) -> list[list[str]]:
    return read_metadata(METADATA, kind, archives, other_names=(f"stanford_cars/metadata/{kind}.txt",))


def _unpack_images(
    folder: Path, labels: dict[str, int], sizes: dict[str, tuple[int, int]], archives: Sequence[Path]
) -> list[Found]:
    for local in (LOCAL, LOCAL_SMALL):
        if find(local, archives):
            found = obtain(local, archives)
            extract(found, folder / "images", _keep)
            return [found]
    shards = [obtain(shard, archives) for shard in _shards(archives[-1])]
    checksum = "+".join(shard.checksum for shard in shards)
    unpack(folder / "images", checksum, partial(_write_images, shards, labels, sizes))
    return shards


def _keep(name: str) -> str | None:
    path = PurePosixPath(name)
    return path.name if path.parent.name == "cars_train" and path.suffix == ".jpg" else None


def _shards(downloads: Path) -> list[Archive]:
    """List the Parquet files of the training images, as the hub gives them with sizes and checksums."""
    listing = downloads / f"stanford_cars-{REVISION[:12]}.json"
    if not listing.is_file():
        download(f"{HUB}/api/{REPOSITORY}/tree/{REVISION}/data", listing, advice=f"try again, {BY_HAND}")
    shards = [
        Archive(
            name=PurePosixPath(entry["path"]).name,
            url=f"{HUB}/{REPOSITORY}/resolve/{REVISION}/{entry['path']}",
            size=entry["size"],
            checksum=f"sha256:{entry['lfs']['oid']}" if "lfs" in entry else None,
        )
        for entry in read_json(listing)
        if PurePosixPath(entry["path"]).name.startswith("train-")
    ]
    if not shards:
        fail(f"{listing} lists no training images: delete it and try again, {BY_HAND}.")
    return sorted(shards, key=lambda shard: shard.name)


def _write_images(
    shards: Sequence[Found], labels: dict[str, int], sizes: dict[str, tuple[int, int]], target: Path
) -> None:
    """Write the images of the Parquet files under the names of the text files, whose order they share."""
    names = list(labels)
    count = 0
    for encoded, label in track(_images(shards), "unpacking images", total=len(names)):
        name = f"image {count} of {shards[0].path.name} and its fellows"
        size = image_size(encoded, name, f"delete these files to download them again, {BY_HAND}")
        if count == len(names) or label != labels[names[count]] or size != sizes[names[count]]:
            fail(
                f"{name} is not the one that the published lists name (class {label}, {size[0]} x {size[1]} pixels): "
                f"delete these files to download them again, {BY_HAND}."
            )
        (target / names[count]).write_bytes(encoded)
        count += 1
    if count < len(names):
        fail(f"{shards[0].path.name} and its fellows hold {count} of {len(names)} images: delete them and try again.")


def _images(shards: Sequence[Found]) -> Iterator[tuple[bytes, int]]:
    for shard in shards:
        try:
            for batch in pq.ParquetFile(shard.path).iter_batches(64, columns=["image", "label"]):
                for row in batch.to_pylist():
                    yield row["image"]["bytes"], row["label"]
        except (pa.ArrowException, KeyError) as error:
            fail(f"{shard.path} is truncated, damaged or of another layout ({error}): delete it and try again.")
