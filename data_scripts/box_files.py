"""Files of boxes that annotation tools write: COCO JSON, Pascal VOC XML, YOLO text and CSV, read as they are.

What the numbers of a box mean is not looked at here; :mod:`data_scripts.own_boxes` knows.
"""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from sigcam_core.common.errors import fail

Numbers = tuple[float, float, float, float]
IMAGE_COLUMNS = ("image", "filename", "file_name", "file", "path")
CLASS_COLUMNS = ("class", "class_name", "label", "category")
"""Names of columns of a CSV file."""


class GivenBox(NamedTuple):
    """A box as its file has it.

    Attributes:
        numbers: four, finite.
        category: of the object; empty where the file tells none.
        where: file and place in it, for sentences.
        image_size: width and height in pixels of the image that was annotated, where the file tells them.
        is_crowd: whether it surrounds many objects.
    """

    numbers: Numbers
    category: str
    where: str
    image_size: tuple[int, int] | None = None
    is_crowd: bool = False


Annotated = tuple[str, Iterator[GivenBox]]
"""The name of an image, and its boxes, which are read when they are asked for."""
Reader = Callable[[Path, str, Sequence[str]], Iterator[Annotated]]
"""Called with a file, its path without its ending below the folder of all, and names of numbered classes."""


def read_coco(path: Path, name: str, class_names: Sequence[str]) -> Iterator[Annotated]:
    """Read a COCO file of annotations.

    Raises:
        SigcamError: if it is no such file, or an annotation lacks its image, class or box.
    """
    boxes: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    try:
        data = json.loads(read_text(path))
        categories = {str(one["id"]): str(one["name"]) for one in data["categories"]}
        images = {one["id"]: one for one in data["images"]}
        names = {key: str(image["file_name"]) for key, image in images.items()}
        for one in data["annotations"]:
            boxes[one["image_id"]].append(one)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        fail(
            f"{path} is no COCO file of annotations ({type(error).__name__}: {error}): give a JSON file with the lists "
            "images, annotations and categories."
        )
    if unknown := boxes.keys() - images.keys():
        fail(f"{path} has boxes of image {min(map(str, unknown))}, which its list of images lacks: correct the file.")
    for key, image_name in names.items():
        yield image_name, _coco_boxes(path, boxes[key], categories, images[key])


def _coco_boxes(
    path: Path, annotations: list[dict[str, Any]], categories: dict[str, str], image: dict[str, Any]
) -> Iterator[GivenBox]:
    size = _size(image.get("width"), image.get("height"))
    for one in annotations:
        where = f"{path}, annotation {one.get('id')}"
        numbers, category = one.get("bbox"), categories.get(str(one.get("category_id")))
        if category is None or not isinstance(numbers, list):
            fail(f"{where} has no bbox, or a category_id that the file does not name: correct the file.")
        yield GivenBox(_four(numbers, where), category, where, size, bool(one.get("iscrowd")))


def read_voc(path: Path, name: str, class_names: Sequence[str]) -> Iterator[Annotated]:
    """Read a Pascal VOC file, which is of the image of its own name; what it says of the image's name is not read.

    Raises:
        SigcamError: if it is no XML, declares a document type or entities, or an object lacks its name or box.
    """
    yield name, _voc_boxes(path)


def _voc_boxes(path: Path) -> Iterator[GivenBox]:
    root = read_xml(path)
    size = _size(root.findtext("size/width"), root.findtext("size/height"))
    for number, one in enumerate(root.iter("object"), start=1):
        where = f"{path}, object {number}"
        numbers = [one.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
        yield GivenBox(_four(numbers, where), (one.findtext("name") or "").strip(), where, size)


def read_xml(path: Path) -> Element:
    """Read the root of an XML file; document types and entities are refused, so that a small file stays small.

    Raises:
        SigcamError: if it is no XML, or declares them.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def refuse(*_: object) -> None:
        fail(f"{path} declares a document type, which files of boxes do not need: delete its line <!DOCTYPE ...>.")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        fail(f"{path} is no XML ({error}): correct it, or take it out of the folder.")
    return builder.close()


def read_yolo(path: Path, name: str, class_names: Sequence[str]) -> Iterator[Annotated]:
    """Read a YOLO file, which is of the image of its own name: class number and four numbers per line.

    Raises:
        SigcamError: if a line is none such, or its number has no class.
    """
    yield name, _yolo_boxes(path, class_names)


def _yolo_boxes(path: Path, class_names: Sequence[str]) -> Iterator[GivenBox]:
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        cells = text.split()
        where = f"{path}, line {line}"
        if not cells:
            continue
        if len(cells) != 5 or not cells[0].isdecimal():
            fail(f"{where} has {len(cells)} cells: give class number, centre x, centre y, width and height.")
        if class_names and int(cells[0]) >= len(class_names):
            fail(f"{where} has class {cells[0]}, and --box-classes names {len(class_names)}, from 0: add its name.")
        yield GivenBox(_four(cells[1:], where), class_names[int(cells[0])] if class_names else "", where)


def read_csv(choices: Sequence[tuple[str, str, str, str]]) -> Reader:
    """Make a reader of CSV files with a header, for whichever four columns of numbers ``choices`` names."""

    def read(path: Path, name: str, class_names: Sequence[str]) -> Iterator[Annotated]:
        rows = csv.DictReader(read_text(path).splitlines())
        header = [column.strip().casefold() for column in rows.fieldnames or []]
        image = next((column for column in IMAGE_COLUMNS if column in header), "")
        category = next((column for column in CLASS_COLUMNS if column in header), "")
        numbers = next((columns for columns in choices if set(columns) <= set(header)), None)
        if numbers is None or not image:
            known = " or ".join(",".join(columns) for columns in choices)
            fail(
                f"the first line of {path} does not name the columns of this --box-format: it must have image, and "
                f"{known}, separated by commas (and class, if you like)."
            )
        rows.fieldnames = header
        try:
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                cells = [row[column] for column in numbers]
                box = GivenBox(_four(cells, where), (row[category] or "").strip() if category else "", where)
                yield row[image] or "", iter((box,))
        except csv.Error as error:
            fail(f"{path}, line {rows.line_num} is no line of a CSV file ({error}): correct it.")

    return read


def read_text(path: Path) -> str:
    """Read the text of a file, with or without the mark that some programs put first.

    Raises:
        SigcamError: if it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        fail(f"{path} cannot be read ({error.strerror}): give a file that you may read.")
    except UnicodeDecodeError:
        fail(f"{path} is no text in UTF-8: save it as UTF-8.")


def _four(values: Sequence[Any], where: str) -> Numbers:
    try:
        a, b, c, d = (float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        fail(f"{where}: {list(values)} is not four numbers: correct them.")
    if not all(map(math.isfinite, (a, b, c, d))):
        fail(f"{where}: {list(values)} is not finite: correct it.")
    return a, b, c, d


def _size(width: Any, height: Any) -> tuple[int, int] | None:
    """Read the size of the annotated image; None where the file has none, or 0 as some tools write."""
    try:
        size = int(width), int(height)
    except (TypeError, ValueError):
        return None
    return size if min(size) > 0 else None
