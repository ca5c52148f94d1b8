"""Boxes of one's own for the images of a folder: what their numbers mean, and which image each belongs to.

A manifest has the first and last pixel of a box, from 0. Edges that lie between pixels, such as 0 and the width for the
whole image, are rounded to the nearest edge of a pixel first.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_scripts.box_files import GivenBox, Numbers, Reader, read_coco, read_csv, read_text, read_voc, read_yolo
from data_scripts.folder_files import PassedOver, as_text, printable
from data_scripts.folder_layout import Placed
from sigcam_core.common.errors import check_choice, fail
from sigcam_core.common.paths import user_path

SHAPES: dict[str, Callable[[float, float, float, float], Numbers]] = {
    "xyxy": lambda x0, y0, x1, y1: (x0, y0, x1, y1),
    "xywh": lambda x, y, width, height: (x, y, x + width, y + height),
    "cxcywh": lambda x, y, width, height: (x - width / 2, y - height / 2, x + width / 2, y + height / 2),
    "inclusive": lambda x0, y0, x1, y1: (x0, y0, x1 + 1, y1 + 1),
    "one-based": lambda x0, y0, x1, y1: (x0 - 1, y0 - 1, x1, y1),
}
"""From the four numbers of a box to its edges: left, top, right, bottom."""
CSV_COLUMNS = {
    "xyxy": (("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax")),
    "xywh": (("x", "y", "w", "h"), ("x", "y", "width", "height")),
    "cxcywh": (("cx", "cy", "w", "h"), ("x_center", "y_center", "width", "height")),
}


class BoxFormat(NamedTuple):
    """Attributes: ending of its files, their reader, shape of a box, and whether numbers are shares of the image."""

    ending: str
    read: Reader
    shape: str
    is_normalised: bool = False


BOX_FORMATS: dict[str, BoxFormat] = {
    "coco": BoxFormat(".json", read_coco, "xywh"),
    "voc": BoxFormat(".xml", read_voc, "one-based"),
    "voc-zero-based": BoxFormat(".xml", read_voc, "xyxy"),
    "yolo": BoxFormat(".txt", read_yolo, "cxcywh", is_normalised=True),
    **{shape: BoxFormat(".csv", read_csv(columns), shape) for shape, columns in CSV_COLUMNS.items()},
    **{
        f"{shape}-normalised": BoxFormat(".csv", read_csv(columns), shape, is_normalised=True)
        for shape, columns in CSV_COLUMNS.items()
    },
    "xyxy-inclusive": BoxFormat(".csv", read_csv(CSV_COLUMNS["xyxy"]), "inclusive"),
}
BOXES_OF = ("own", "any")
UNMATCHED = "files or names of boxes that fit no image"
OTHER_CLASS = "boxes of other classes than their image's"
CROWD = "boxes of crowds"
NO_AREA = "boxes without width or height"
Box = list[int]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that :func:`check_parameters` reads."""
    parser.add_argument("--boxes", default="", help="file of boxes, or folder of such files (default: no boxes)")
    parser.add_argument("--box-format", default="", help=f"what they are, needed with boxes: {', '.join(BOX_FORMATS)}")
    parser.add_argument("--box-classes", default="", help="file with the names of YOLO's classes, one per line")
    parser.add_argument(
        "--boxes-of", default="own", help="own: boxes of the image's class; any: all boxes (default: %(default)s)"
    )


def check_parameters(*, boxes: str, box_format: str, box_classes: str, boxes_of: str) -> dict[str, Any]:
    """Return the parameters as the manifest records them, with a digest of the files; nothing where there are no boxes.

    Raises:
        SigcamError: if a file is missing, or the convention is not named.
    """
    if not boxes:
        if box_format or box_classes:
            fail("--box-format and --box-classes are for --boxes: give the file or folder of the boxes too.")
        return {}
    check_choice("--boxes-of", boxes_of, BOXES_OF)
    if not box_format:
        fail(f"--box-format is not given, and is never guessed: give one of {', '.join(BOX_FORMATS)}.")
    kind = BOX_FORMATS[check_choice("--box-format", box_format, tuple(BOX_FORMATS))]
    path = user_path(boxes).resolve()
    names = user_path(box_classes).resolve() if box_classes else None
    if names and not names.is_file():
        fail(f"--box-classes {box_classes!r} is no file: give one with the name of a class on each line.")
    if kind.read is read_yolo and names is None and boxes_of == "own":
        fail("YOLO files number their classes: give their names by --box-classes FILE, or take all by --boxes-of any.")
    files = [file for file, _ in _files(path, kind)]
    if not files:
        fail(f"--boxes {boxes!r} is no {kind.ending} file and no folder of such: give what {box_format} boxes lie in.")
    digest = hashlib.sha256()
    for file in [*files, *([names] if names else [])]:
        digest.update(f"{file.name}\n".encode("utf-8", "backslashreplace") + file.read_bytes())
    return {
        "boxes": str(path),
        "box_format": box_format,
        "box_classes": str(names or ""),
        "boxes_of": boxes_of,
        "box_files": digest.hexdigest(),
    }


def _files(path: Path, kind: BoxFormat) -> Iterator[tuple[Path, str]]:
    """Yield the files of boxes, each with its path below the folder, without its ending."""
    root = path if path.is_dir() else path.parent
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.suffix.lower() == kind.ending and file.is_file() and not file.name.startswith("."):
            yield file, as_text(file.relative_to(root).with_suffix("").as_posix())


def boxes_of_images(
    parameters: dict[str, Any], placed: Sequence[Placed], sizes: Sequence[tuple[int, int]], passed: PassedOver
) -> list[list[Box]]:
    """Read the boxes of N images.

    Args:
        parameters: from :func:`check_parameters`, and ``source``, the folder of the images.
        placed: the images.
        sizes: their widths and heights, pixels.
        passed: by reason, names of what is not taken; added to.

    Returns:
        For each image its boxes: first and last pixel x0, y0, x1, y1, from 0.

    Raises:
        SigcamError: if a file cannot be read, no box fits an image, or boxes contradict the size of their image.
    """
    kind = BOX_FORMATS[parameters["box_format"]]
    path = Path(parameters["boxes"])
    names = read_text(Path(parameters["box_classes"])).splitlines() if parameters["box_classes"] else []
    find = _finder(placed, parameters["source"])
    given: list[tuple[int, GivenBox]] = []
    others: list[tuple[int, GivenBox]] = []
    for file, name in _files(path, kind):
        for image, found in kind.read(file, name, [name.strip() for name in names]):
            row = find(image)
            if row is None:
                passed[UNMATCHED].append(image)
                continue
            own = {"", placed[row].class_name}
            for box in found:
                is_taken = parameters["boxes_of"] == "any" or unicodedata.normalize("NFC", box.category) in own
                (given if is_taken else others).append((row, box))
    passed[UNMATCHED] = list(dict.fromkeys(passed[UNMATCHED]))
    if not given:
        _refuse_all(parameters, passed[UNMATCHED], others, placed)
    passed[OTHER_CLASS].extend(f"{box.category} in {box.where}" for _, box in others)
    passed[CROWD].extend(box.where for _, box in given if box.is_crowd)
    single = [(row, box) for row, box in given if not box.is_crowd]
    edges = _checked_edges(parameters["box_format"], single, placed, sizes)
    boxes: list[list[Box]] = [[] for _ in placed]
    for (row, box), (x0, y0, x1, y1) in zip(single, edges, strict=True):
        if x0 == x1 or y0 == y1:
            passed[NO_AREA].append(box.where)
        else:
            boxes[row].append(_pixels(x0, x1, y0, y1, sizes[row]))
    return boxes


def _pixels(x0: float, x1: float, y0: float, y1: float, size: tuple[int, int]) -> Box:
    first_x, first_y = (min(_nearest(edge), side - 1) for edge, side in zip((x0, y0), size, strict=True))
    return [first_x, first_y, max(_nearest(x1) - 1, first_x), max(_nearest(y1) - 1, first_y)]


def _nearest(edge: float) -> int:
    return math.floor(edge + 0.5)


def _finder(placed: Sequence[Placed], source: str) -> Callable[[str], int | None]:
    """Make a function that finds the row of the image a file of boxes names, with or without folders or ending.

    Every folder that the name has must be one of the image's, in their order: so ``train/1`` is ``train/cat/1.jpg``
    and never ``val/cat/1.jpg``.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    paths = [tuple(one.file.name.split("/")) for one in placed]
    for row, parts in enumerate(paths):
        for key in {parts[-1], parts[-1].rpartition(".")[0]}:
            rows[key].append(row)

    def find(name: str) -> int | None:
        name = name.replace("\\", "/").removeprefix(f"{as_text(source)}/")
        *folders, last = [part for part in name.split("/") if part not in ("", ".")] or [""]
        found = [row for row in rows.get(last, []) if _in_order(folders, paths[row][:-1])]
        found = [row for row in found if paths[row] == (*folders, last)] or found
        if len(found) > 1:
            first, second = (placed[row].file.name for row in found[:2])
            fail(f"boxes of {name!r} fit {first!r} and {second!r}: name images with their folders, such as {first!r}.")
        return found[0] if found else None

    return find


def _in_order(names: Sequence[str], among: Sequence[str]) -> bool:
    left = iter(among)
    return all(name in left for name in names)


def _refuse_all(
    parameters: dict[str, Any],
    unmatched: Sequence[str],
    others: Sequence[tuple[int, GivenBox]],
    placed: Sequence[Placed],
) -> None:
    if others:
        categories, classes = {box.category for _, box in others}, {one.class_name for one in placed}
        theirs, ours = (printable(", ".join(sorted(names)[:3])) for names in (categories, classes))
        fail(
            f"the boxes are of classes ({theirs}) other than the folders ({ours}): give both the same names, or "
            "take all boxes by --boxes-of any."
        )
    if not unmatched:
        fail(f"{parameters['boxes']} holds no box: give files with boxes, or leave out --boxes.")
    fail(
        f"no box of {parameters['boxes']} fits an image: {len(unmatched):,} names such as {unmatched[0]!r} are no path "
        f"or file name in {parameters['source']}, whose first image is {placed[0].file.name!r}: make them agree."
    )


def _checked_edges(
    name: str, given: Sequence[tuple[int, GivenBox]], placed: Sequence[Placed], sizes: Sequence[tuple[int, int]]
) -> list[Numbers]:
    """Convert boxes to edges in pixels of their images.

    Raises:
        SigcamError: with how many there are and the first, if boxes are of an image of another size, end before they
            begin, leave their image by half a pixel or more, or are all within its first pixel.
    """
    kind = BOX_FORMATS[name]
    edges: list[Numbers] = []
    wrong: dict[str, list[str]] = defaultdict(list)
    for row, box in given:
        width, height = sizes[row]
        across, down = (width, height) if kind.is_normalised else (1, 1)
        x0, y0, x1, y1 = SHAPES[kind.shape](*box.numbers)
        x0, y0, x1, y1 = x0 * across, y0 * down, x1 * across, y1 * down
        edges.append((x0, y0, x1, y1))
        shown = f"{box.where}: {', '.join(f'{number:g}' for number in box.numbers)} in {placed[row].file.name!r} of "
        shown += f"{width} x {height} pixels"
        if box.image_size not in (None, (width, height)):
            wrong["size"].append(f"{shown}, annotated at {box.image_size[0]} x {box.image_size[1]}")
        elif x1 < x0 or y1 < y0:
            wrong["order"].append(shown)
        elif min(_nearest(x0), _nearest(y0), width - _nearest(x1), height - _nearest(y1)) < 0:
            wrong["inside"].append(shown)
    others = f"give the --box-format that their numbers are in (not {name}), or correct them"
    for key, what, remedy in (
        ("size", "were drawn on images of other sizes", "give the images that were annotated, not turned or resized"),
        ("order", "end before they begin", others),
        ("inside", "leave their image", others),
    ):
        if found := wrong[key]:
            fail(f"{len(found):,} of {len(given):,} boxes {what}, first {found[0]}: {remedy}.")
    if given and not kind.is_normalised and max(max(one) for one in edges) <= 1:
        fail(f"all boxes lie within the first pixel of their image: their numbers are shares of it, not {name}.")
    return edges
