"""Miniatures of the paper's data sets, to run its whole matrix in minutes; their values mean nothing.

``python -m data_scripts.miniature --root DIR`` writes small archives in the exact layouts of the originals to
``DIR/archives`` and prepares them, as anybody would prepare the originals, below ``DIR/data``. Images are drawn by
:mod:`data_scripts.shapes`; weights to go with them come from ``workflow/random_weights.py``.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data_scripts.__main__ import prepare
from data_scripts.imagenet_classes import imagenet_wnids
from data_scripts.metadata import pinned_by
from data_scripts.shapes import draw_scene
from data_scripts.small_archives import Files, encoded, tar_bytes, text, write_tar, write_zip
from sigcam_core.common.errors import CommandLine, run_command_line

SIZE = 160  # pixels, each side of an image
CLASSES = 2
SPLITS = {"train": 2, "val": 1, "test": 1}
"""Images a class."""
HELD_OUT = 1 / 3
"""Share of the published training images that becomes the split ``val`` where there is none."""
PINS = "pins.csv"


class Picture(NamedTuple):
    """One image of a miniature: its class, split and number, JPEG, mask (H, W), and box x0, y0, x1, y1."""

    label: int
    split: str
    number: int
    jpeg: bytes
    mask: npt.NDArray[np.bool_]
    box: list[int]


def pictures(seed: int) -> Iterator[Picture]:
    """All images of a data set, class by class.

    Args:
        seed: another for each data set.
    """
    for label in range(CLASSES):
        for split, count in SPLITS.items():
            for number in range(count):
                scene = draw_scene(seed, split, label + 8 * number, SIZE, 0.0)
                yield Picture(
                    label, split, number, encoded(scene.pixels, "JPEG"), scene.mask.astype(bool), list(scene.box)
                )


def write_cub(archives: Path, data: Path) -> Files:
    """``CUB_200_2011.tgz``, which holds its own lists."""
    root, lists = "CUB_200_2011/", dict[str, list[str]]()
    classes = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    files: Files = {}
    for number, one in enumerate(pictures(1), 1):
        name = f"{classes[one.label]}/{classes[one.label][4:]}_{number:04d}_{100_000 + number}.jpg"
        x0, y0, x1, y1 = one.box
        for file, line in {
            "images.txt": name,
            "image_class_labels.txt": one.label + 1,
            "train_test_split.txt": int(one.split != "test"),
            "bounding_boxes.txt": f"{x0}.0 {y0}.0 {x1 - x0}.0 {y1 - y0}.0",
        }.items():
            lists.setdefault(file, []).append(f"{number} {line}")
        files[f"{root}images/{name}"] = one.jpeg
    lists["classes.txt"] = [f"{number} {name}" for number, name in enumerate(classes, 1)]
    files |= {f"{root}{name}": text(*rows) for name, rows in lists.items()}
    write_tar(archives / "CUB_200_2011.tgz", files, "w:gz")
    return {}


def write_stanford_cars(archives: Path, data: Path) -> Files:
    """``cars_train.tgz``, and the published lists."""
    ours = {f"{number:05d}.jpg": one for number, one in enumerate(pictures(2), 1)}
    write_tar(archives / "cars_train.tgz", {f"cars_train/{name}": one.jpeg for name, one in ours.items()}, "w:gz")
    lines = {
        "class_labels": [f"{name},{one.label}" for name, one in ours.items()],
        "image_sizes": [f"{name},{SIZE},{SIZE}" for name in ours],
        "localization": [f"{name},{','.join(map(str, one.box))}" for name, one in ours.items()],
    }
    return {f"metadata/CARS/train/{kind}.txt": text(*rows) for kind, rows in lines.items()}


def write_imagenet(archives: Path, data: Path) -> Files:
    """Write a tar with one tar per class, the first with images; a flat tar of test images; the published lists."""
    classes: dict[str, Files] = {wnid: {} for wnid in imagenet_wnids()}
    wnids = list(classes)
    test, lines = Files(), dict[str, list[str]]()
    for one in pictures(3):
        if one.split != "test":
            wnid = wnids[one.label]
            classes[wnid][f"{wnid}_{len(classes[wnid])}.JPEG"] = one.jpeg
            continue
        name = f"ILSVRC2012_val_{len(test) + 1:08d}.JPEG"
        test[name] = one.jpeg
        for kind, line in (("class_labels", one.label), ("image_sizes", f"{SIZE},{SIZE}"), ("localization", one.box)):
            written = ",".join(map(str, line)) if isinstance(line, list) else str(line)
            lines.setdefault(kind, []).append(f"val/{name},{written}")
    tars = {f"{wnid}.tar": tar_bytes(files) for wnid, files in classes.items()}
    write_tar(archives / "ILSVRC2012_img_train.tar", tars)
    write_tar(archives / "ILSVRC2012_img_val.tar", test)
    return {f"metadata/ILSVRC/test/{kind}.txt": text(*rows) for kind, rows in lines.items()}


def write_openimages(archives: Path, data: Path) -> Files:
    """Write the archive of masks, the published lists, and the images where they would be downloaded to."""
    wnids = ("01226z", "0138tl")
    masks: Files = {}
    lists: Files = {}
    rows: dict[str, list[str]] = {}
    for one in pictures(4):
        stem = f"{one.split}/{wnids[one.label]}/{one.label}{one.number}"
        image = data / "openimages" / "images" / f"{stem}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(one.jpeg)
        rows.setdefault(f"{one.split}/class_labels", []).append(f"{stem}.jpg,{one.label}")
        if one.split != "train":
            mask, ignored = f"{stem}_m{wnids[one.label]}_7d.png", f"{stem}_ignore.png"
            border = np.zeros_like(one.mask)
            border[0] = True
            masks |= {mask: encoded(one.mask, "PNG"), ignored: encoded(border, "PNG")}
            rows.setdefault(f"{one.split}/localization", []).append(f"{stem}.jpg,{mask},{ignored}")
    write_zip(archives / "OpenImages_annotations.zip", masks)
    lists |= {f"metadata/OpenImages/{name}.txt": text(*lines) for name, lines in rows.items()}
    return lists


WRITERS: dict[str, Callable[[Path, Path], Files]] = {
    "imagenet": write_imagenet,
    "openimages": write_openimages,
    "cub": write_cub,
    "stanford_cars": write_stanford_cars,
}
"""By data set, what writes its archives and returns its published text files."""
PUBLISHED_SPLITS = ("openimages",)
"""Data sets that say themselves which images are held out."""


def write_data(root: Path) -> None:
    """Write the archives of all data sets and prepare them.

    Args:
        root: folder; archives go to ``archives`` in it, and data sets to ``data``.
    """
    archives, data = root / "archives", root / "data"
    lists: Files = {}
    for write in WRITERS.values():
        lists |= write(archives, data)
    for name, content in lists.items():
        (archives / name).parent.mkdir(parents=True, exist_ok=True)
        (archives / name).write_bytes(content)
    _write_pins(archives / PINS, lists)
    with pinned_by(archives / PINS):
        for name in WRITERS:
            options: dict[str, Any] = {} if name in PUBLISHED_SPLITS else {"val_fraction": HELD_OUT}
            prepare(name, data, folder="", archives=[archives], **options)


def _write_pins(path: Path, lists: Files) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "repository", "commit", "bytes", "sha256"])
        for name, content in lists.items():
            table.writerow([name, "none", "none", len(content), hashlib.sha256(content).hexdigest()])


def main() -> None:
    """Command line of the module."""
    parser = CommandLine(prog="python -m data_scripts.miniature", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of what is made")
    write_data(parser.parse_args().root)


if __name__ == "__main__":
    run_command_line(main)
