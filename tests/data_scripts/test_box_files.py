"""Files of boxes as annotation tools write them, and files that only look so."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest
from fuzz.mutate import mutate_bytes, mutate_json

from data_scripts.box_files import GivenBox, read_coco, read_csv, read_voc, read_xml, read_yolo
from sigcam_core.common.errors import SigcamError

COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "cat/a.jpg", "width": 40, "height": 30}, {"id": 8, "file_name": "b.jpg"}],
    "categories": [{"id": 3, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 8, "category_id": 3, "bbox": [1, 2.5, 3, 4]},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 40, 30], "iscrowd": 1},
    ],
}
VOC = """<annotation><filename>other.jpg</filename><size><width>40</width><height>30</height></size>
<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object>
<object><name>dog</name><part><name>head</name></part>
<bndbox><ymax>30</ymax><xmin>5</xmin><xmax>40</xmax><ymin>6</ymin></bndbox></object></annotation>"""
XYXY = read_csv((("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax")))


def write(folder: Path, content: str) -> Path:
    path = folder / "file"
    path.write_text(content, encoding="utf-8")
    return path


def test_coco(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps(COCO))
    found = {image: list(boxes) for image, boxes in read_coco(path, "file", ())}
    assert found == {
        "cat/a.jpg": [GivenBox((0, 0, 40, 30), "cat", f"{path}, annotation 2", (40, 30), True)],
        "b.jpg": [GivenBox((1, 2.5, 3, 4), "cat", f"{path}, annotation 1")],
    }


def test_voc(tmp_path: Path) -> None:
    path = write(tmp_path, VOC)
    ((image, boxes),) = read_voc(path, "folder/a", ())
    assert image == "folder/a"  # what the file says of its image is often out of date
    assert list(boxes) == [
        GivenBox((1, 2, 3, 4), "cat", f"{path}, object 1", (40, 30)),
        GivenBox((5, 6, 40, 30), "dog", f"{path}, object 2", (40, 30)),
    ]


def test_a_size_of_nought_is_none(tmp_path: Path) -> None:
    ((_, boxes),) = read_voc(write(tmp_path, VOC.replace(">40</width>", ">0</width>")), "a", ())
    assert next(boxes).image_size is None


def test_yolo(tmp_path: Path) -> None:
    path = write(tmp_path, "1 .5 .5 .25 1\n\n0 0.1 0.2 0.2 0.4\n")
    ((image, boxes),) = read_yolo(path, "train/a", ("cat", "dog"))
    assert image == "train/a"
    assert [(box.category, box.numbers) for box in boxes] == [
        ("dog", (0.5, 0.5, 0.25, 1.0)),
        ("cat", (0.1, 0.2, 0.2, 0.4)),
    ]
    ((_, boxes),) = read_yolo(path, "a", ())
    assert [box.category for box in boxes] == ["", ""]


@pytest.mark.parametrize(
    "content",
    [
        "image,x0,y0,x1,y1,class\na.jpg,1,2,3,4,cat\nb.jpg,5,6,7,8,dog\n",
        "\ufeffclass,filename,width,height,XMIN,ymin,xmax,ymax\r\ncat,a.jpg,40,30,1,2,3,4\r\ndog,b.jpg,40,30,5,6,7,8\r\n",
    ],
)
def test_csv(tmp_path: Path, content: str) -> None:
    found = [(image, next(boxes)) for image, boxes in XYXY(write(tmp_path, content), "file", ())]
    assert [(image, box.category, box.numbers) for image, box in found] == [
        ("a.jpg", "cat", (1, 2, 3, 4)),
        ("b.jpg", "dog", (5, 6, 7, 8)),
    ]


def test_csv_without_classes_and_with_commas_in_names(tmp_path: Path) -> None:
    ((image, boxes),) = XYXY(write(tmp_path, 'image,x0,y0,x1,y1\n"a, b.jpg",1,2,3,4\n'), "file", ())
    assert (image, next(boxes).category) == ("a, b.jpg", "")


@pytest.mark.parametrize(
    ("read", "content", "sentence"),
    [
        (read_coco, "[]", "is no COCO file of annotations"),
        (read_coco, "{", "is no COCO file of annotations"),
        (read_coco, "[" * 100_000, "is no COCO file of annotations"),
        (read_coco, json.dumps(COCO | {"images": []}), "has boxes of image 7, which its list of images lacks"),
        (read_coco, json.dumps(COCO | {"categories": []}), "annotation 2 has no bbox, or a category_id that"),
        (read_coco, json.dumps(COCO).replace("[1, 2.5, 3, 4]", "[1, 2, 3]"), "[1, 2, 3] is not four numbers"),
        (read_coco, json.dumps(COCO).replace("2.5", "NaN"), "is not finite"),
        (read_coco, json.dumps(COCO).replace("2.5", "1" + "0" * 400), "is not four numbers"),
        (read_coco, json.dumps(COCO).replace('"category_id": 3', '"category_id": [3]'), "or a category_id that"),
        (read_voc, VOC.replace("<xmin>1</xmin>", ""), "object 1: [None, '2', '3', '4'] is not four numbers"),
        (read_voc, "<annotation>", "is no XML"),
        (read_yolo, "0 .5 .5 .2 .2 .9", "line 1 has 6 cells: give class number, centre x"),
        (read_yolo, "cat .5 .5 .2 .2", "line 1 has 5 cells: give class number"),
        (read_yolo, "2 .5 .5 .2 .2", "line 1 has class 2, and --box-classes names 2, from 0"),
        (read_yolo, "0 .5 .5 .2 nan", "is not finite"),
        (XYXY, "a.jpg,1,2,3,4\n", "it must have image, and x0,y0,x1,y1 or xmin,ymin,xmax,ymax"),
        (XYXY, "image;x0;y0;x1;y1\na.jpg;1;2;3;4\n", "separated by commas"),
        (XYXY, "", "it must have image"),
        (XYXY, "image,x0,y0,x1,y1\n" + "a" * 200_000, "line 1 is no line of a CSV file (field larger than"),
        (XYXY, "image,x0,y0,x1,y1\na.jpg,1,2,3\n", "line 2: ['1', '2', '3', None] is not four numbers"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, read: Any, content: str, sentence: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(SigcamError, match=re.escape(sentence)) as caught:
        [list(boxes) for _, boxes in read(path, "a", ("cat", "dog"))]
    assert str(path) in str(caught.value)


def test_text_of_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("image,x0,y0,x1,y1\ncaf\u00e9.jpg,1,2,3,4".encode("latin-1"))
    with pytest.raises(SigcamError, match="save it as UTF-8"):
        list(XYXY(tmp_path / "file", "file", ()))


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (read_coco, json.dumps(COCO)),
        (read_voc, VOC),
        (read_yolo, "1 .5 .5 .25 1\n0 .1 .2 .3 .4\n"),
        (XYXY, "image,x0,y0,x1,y1,class\na.jpg,1,2,3,4,cat\n"),
    ],
)
def test_mutated_files_are_read_or_refused_in_one_sentence(tmp_path: Path, read: Any, content: str) -> None:
    rng, path = random.Random(0), tmp_path / "file"
    refused = 0
    for case in range(400):
        mutated = mutate_bytes(content.encode(), [VOC.encode()], rng)
        if read is read_coco and case % 2:
            mutated = json.dumps(mutate_json(json.loads(content), rng)).encode("utf-8", "replace")
        path.write_bytes(mutated)
        try:
            found = [box for _, boxes in read(path, "a", ("cat", "dog")) for box in boxes]
        except SigcamError:
            refused += 1
        else:
            assert all(math.isfinite(number) for box in found for number in box.numbers)
    assert 20 < refused < 400


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE annotation [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE annotation SYSTEM "http://example.invalid/voc.dtd">',
        "<!DOCTYPE annotation>",
    ],
)
def test_no_document_type_and_no_entity_is_taken(tmp_path: Path, declared: str) -> None:
    path = write(tmp_path, declared + VOC.replace("cat", "&a;" if "ENTITY" in declared else "cat"))
    with pytest.raises(SigcamError, match="declares a document type"):
        read_xml(path)
    assert read_xml(write(tmp_path, '<?xml version="1.0"?>' + VOC)).findtext("object/name") == "cat"
