"""ImageNet-1K from your own ILSVRC2012 archives: 1.28 million training images; 50,000 test images with boxes.

The published validation set is the split ``test``; ``val`` is a stratified share of the training images (the rule is
in :mod:`data_scripts.stratified`). Labels and boxes of the test images are wsolevaluation's, downloaded as text files,
or with ``--boxes xml`` those of your own archive of bounding boxes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from data_scripts.archive import (
    Archive,
    Found,
    extract,
    members,
    obtain,
    open_with_bar,
    refuse_damage,
    refuse_missing,
    unpack,
    write_member,
)
from data_scripts.image_sizes import image_sizes
from data_scripts.imagenet_classes import imagenet_names, imagenet_wnids
from data_scripts.metadata import read_metadata
from data_scripts.stratified import add_split_options, check_split_parameters, split_names
from sigcam_core.common.errors import check_choice, fail
from sigcam_core.prepare.manifest import Manifest, write_manifest

BY_HAND = "register at https://image-net.org, accept its terms, download the file from its page of ILSVRC2012"
TRAIN = Archive("ILSVRC2012_img_train.tar", checksum="md5:1d675b47d978889d74fa0da5fadfb00e", by_hand=BY_HAND)
VAL = Archive("ILSVRC2012_img_val.tar", checksum="md5:29b22e2961454d5413ddabcf34fc5622", by_hand=BY_HAND)
BOXES = Archive("ILSVRC2012_bbox_val_v3.tgz", by_hand=BY_HAND)
BOX_SOURCES = ("metadata", "xml")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of :func:`check_parameters` to a command line."""
    add_split_options(parser, val_fraction=0.01)
    parser.add_argument(
        "--boxes",
        default="metadata",
        help="labels and boxes of the test images: metadata (wsolevaluation's text files) or "
        f"xml ({BOXES.name}) (default: %(default)s)",
    )


def check_parameters(*, seed: int, val_fraction: float, boxes: str) -> dict[str, Any]:
    """Return the parameters as the manifest records them.

    Raises:
        SigcamError: if one is out of range or unknown; the sentence names it.
    """
    return check_split_parameters(seed=seed, val_fraction=val_fraction) | {
        "boxes": check_choice("source of --boxes", boxes, BOX_SOURCES)
    }


def prepare(folder: Path, parameters: dict[str, Any], archives: Sequence[Path]) -> Manifest:
    """Unpack the archives and write the manifest.

    Args:
        folder: where ``train/``, ``test/`` and ``manifest.parquet`` go.
        parameters: from :func:`check_parameters`.
        archives: folders where the archives lie.
    """
    # All archives are asked for before the first is unpacked, which takes a while.
    wanted = [TRAIN, VAL, *([BOXES] if parameters["boxes"] == "xml" else [])]
    train, val, *boxes = (obtain(archive, archives) for archive in wanted)
    test = _xml_rows(folder, boxes[0]) if boxes else _metadata_rows(archives)
    extract(val, folder / "test", lambda name: PurePosixPath(name).name)
    refuse_missing(folder, test["path"].tolist())
    unpack(folder / "train", train.checksum, partial(_write_classes, train.path))
    table = pd.concat([_train_rows(folder), test], ignore_index=True).assign(mask=None)
    is_test = table["path"].str.startswith("test/").tolist()
    table["split"] = split_names(table["image_id"].tolist(), table["label"].tolist(), is_test, parameters)
    return write_manifest(
        folder / "manifest.parquet",
        table,
        name="imagenet",
        class_names=imagenet_names(),
        parameters=parameters | {"archives": [found.record() for found in (train, val, *boxes)]},
    )


def _write_classes(path: Path, target: Path) -> None:
    """Unpack a tar of one tar per class; a class whose folder is there is whole."""
    with refuse_damage(path), open_with_bar(path, "unpacking") as file:
        for inner in members(file, str(path)):
            wnid = PurePosixPath(inner.name).stem
            if wnid not in imagenet_wnids() or (target / wnid).exists():
                continue
            stream = inner.open()
            assert stream is not None
            started = target / f"{wnid}.partial"
            started.mkdir(parents=True, exist_ok=True)  # a class may have no image in somebody's own archive
            for member in members(stream, f"{inner.name} in {path}"):
                write_member(member, started / PurePosixPath(member.name).name)
            started.rename(target / wnid)
    missing = [wnid for wnid in imagenet_wnids() if not (target / wnid).is_dir()]
    if missing:
        fail(f"{path} lacks {len(missing)} of 1,000 classes, the first is {missing[0]}: {BY_HAND} again.")


def _train_rows(folder: Path) -> pd.DataFrame:
    names = [
        (label, f"train/{wnid}/{path.name}")
        for label, wnid in enumerate(imagenet_wnids())
        for path in sorted((folder / "train" / wnid).iterdir())
    ]
    paths = [name for _, name in names]
    sizes = image_sizes(folder, paths)
    return pd.DataFrame(
        {
            "image_id": [PurePosixPath(path).stem for path in paths],
            "path": paths,
            "label": [label for label, _ in names],
            "width": [width for width, _ in sizes],
            "height": [height for _, height in sizes],
            "boxes": [[] for _ in names],
        }
    )


def _metadata_rows(archives: Sequence[Path]) -> pd.DataFrame:
    read = partial(read_metadata, "ILSVRC/test", folders=archives)
    boxes: dict[str, list[list[int]]] = {}
    for name, *edges in read("localization"):
        boxes.setdefault(name, []).append([int(edge) for edge in edges])
    sizes = {name: (int(width), int(height)) for name, width, height in read("image_sizes")}
    return pd.DataFrame(
        [
            _test_row(PurePosixPath(name).stem, int(label), sizes[name], boxes.get(name, []))
            for name, label in read("class_labels")
        ]
    )


def _xml_rows(folder: Path, found: Found) -> pd.DataFrame:
    extract(found, folder / "boxes", lambda name: PurePosixPath(name).name if name.endswith(".xml") else None)
    return pd.DataFrame([_xml_row(path) for path in sorted((folder / "boxes").glob("*.xml"))])


def _xml_row(path: Path) -> dict[str, Any]:
    try:
        root = ElementTree.parse(path).getroot()
        width, height = (int(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
        objects = root.findall("object")
        label = imagenet_wnids().index(objects[0].findtext("name", ""))
        corners = ("xmin", "ymin", "xmax", "ymax")
        boxes = [[int(entry.findtext(f"bndbox/{corner}", "")) for corner in corners] for entry in objects]
    except (ElementTree.ParseError, ValueError, IndexError) as error:
        fail(f"{path} is not an annotation of ILSVRC2012 ({error}): {BY_HAND} again.")
    return _test_row(path.stem, label, (width, height), boxes)


def _test_row(image_id: str, label: int, size: tuple[int, int], boxes: list[list[int]]) -> dict[str, Any]:
    clipped = [[min(max(edge, 0), side) for edge, side in zip(box, size * 2, strict=True)] for box in boxes]
    path = f"test/{image_id}.JPEG"
    return {"image_id": image_id, "path": path, "label": label, "width": size[0], "height": size[1], "boxes": clipped}
