"""Boxes of one's own: every convention gives the same pixels, and numbers of another are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_convert

from data_scripts.__main__ import main
from data_scripts.own_boxes import BOX_FORMATS, CSV_COLUMNS, SHAPES
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json
from sigcam_core.prepare.manifest import Manifest, read_manifest

SIZE = (40, 30)
COVERED = {
    "train/cat/0.png": (0, 0, 39, 29),
    "train/cat/1.png": (3, 4, 9, 20),
    "train/dog/0.png": (39, 29, 39, 29),
    "test/cat/0.png": (0, 7, 22, 7),
    "test/dog/2.png": (1, 1, 38, 28),
}
"""First and last pixel that the object of an image covers; the other images have no box."""
CLASSES = "dog\ncat\n"
Shape = Callable[[int, int, int, int], tuple[float, ...]]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Images of two classes, the same names in each folder, split into train and test."""
    for split, count in (("train", 6), ("test", 3)):
        for name in ("cat", "dog"):
            for number in range(count):
                path = tmp_path / "own" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.full((SIZE[1], SIZE[0], 3), len(list(tmp_path.rglob("*.png"))), np.uint8)
                Image.fromarray(pixels).save(path)
    return tmp_path / "own"


def command(own: Path, *options: str | Path) -> Manifest:
    root = own.parent / "data"
    main(["image_folder", "--root", str(root), "--source", str(own), *map(str, options)])
    return read_manifest(root / "image_folder" / "manifest.parquet")


def boxes(manifest: Manifest) -> dict[str, list[list[int]]]:
    """Those images that have boxes."""
    named = zip(manifest.table["image_id"], manifest.table["boxes"], strict=True)
    return {name: [list(map(int, box)) for box in found] for name, found in named if len(found)}


def edges(name: str) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = COVERED[name]
    return x0, y0, x1 + 1, y1 + 1


def in_shape(name: str, shape: str, is_normalised: bool) -> list[float]:
    """The numbers of a box, by torchvision."""
    box = torch.tensor(edges(name), dtype=torch.float64)
    if is_normalised:
        box /= torch.tensor(SIZE * 2)
    return [float(number) for number in box_convert(box, "xyxy", shape)]


def coco(place: Path) -> Path:
    images = [{"id": i, "file_name": name, "width": SIZE[0], "height": SIZE[1]} for i, name in enumerate(COVERED)]
    rows = [
        {"id": i, "image_id": i, "category_id": 5 if "cat" in name else 9, "bbox": in_shape(name, "xywh", False)}
        for i, name in enumerate(COVERED)
    ]
    kinds = [{"id": 5, "name": "cat"}, {"id": 9, "name": "dog"}]
    place.with_suffix(".json").write_text(json.dumps({"images": images, "annotations": rows, "categories": kinds}))
    return place.with_suffix(".json")


def voc(place: Path, numbers: Shape) -> Path:
    for name, covered in COVERED.items():
        root = ElementTree.Element("annotation")
        one = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(one, "name").text = name.split("/")[1]
        box = ElementTree.SubElement(one, "bndbox")
        for edge, number in zip(("xmin", "ymin", "xmax", "ymax"), numbers(*covered), strict=True):
            ElementTree.SubElement(box, edge).text = f"{number}"
        path = (place / name).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        ElementTree.ElementTree(root).write(path)
    return place


def yolo(place: Path) -> Path:
    for name in COVERED:
        path = (place / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        numbers = " ".join(f"{number:.6f}" for number in in_shape(name, "cxcywh", True))
        path.write_text(f"{1 if 'cat' in name else 0} {numbers}\n")
    return place


def table(place: Path, columns: str, numbers: Callable[[str], list[float]], with_class: bool = False) -> Path:
    rows = [",".join(["image", columns, *["class"] * with_class])]
    rows += [
        ",".join([name, *(f"{number:.6g}" for number in numbers(name)), *[name.split("/")[1]] * with_class])
        for name in COVERED
    ]
    place.with_suffix(".csv").write_text("\n".join(rows))
    return place.with_suffix(".csv")


@pytest.mark.parametrize("name", BOX_FORMATS)
def test_every_convention_gives_the_same_pixels(own: Path, name: str) -> None:
    place = own.parent / "boxes"
    options: list[str | Path] = []
    if name == "coco":
        given = coco(place)
    elif name == "voc":
        given = voc(place, lambda x0, y0, x1, y1: (x0 + 1, y0 + 1, x1 + 1, y1 + 1))
    elif name == "voc-zero-based":
        given = voc(place, lambda x0, y0, x1, y1: (x0, y0, x1 + 1, y1 + 1))
    elif name == "yolo":
        given = yolo(place)
        (own.parent / "names.txt").write_text(CLASSES)
        options = ["--box-classes", own.parent / "names.txt"]
    elif name == "xyxy-inclusive":
        given = table(place, "x0,y0,x1,y1", lambda image: list(COVERED[image]))
    else:
        shape, _, normalised = name.partition("-")
        columns = ",".join(CSV_COLUMNS[shape][-1])
        given = table(place, columns, lambda image: in_shape(image, shape, bool(normalised)), with_class=True)
    manifest = command(own, "--boxes", given, "--box-format", name, *options)
    assert boxes(manifest) == {image: [list(box)] for image, box in COVERED.items()}


@pytest.mark.parametrize("shape", ["xyxy", "xywh", "cxcywh"])
def test_shapes_are_torchvisions(shape: str) -> None:
    for numbers in ((1.0, 2.0, 5.0, 9.0), (0.5, 0.25, 17.0, 3.5)):
        expected = box_convert(torch.tensor(numbers, dtype=torch.float64), shape, "xyxy")
        assert SHAPES[shape](*numbers) == tuple(expected.tolist())


def csv_file(own: Path, *rows: str, header: str = "image,x0,y0,x1,y1") -> Path:
    (own.parent / "boxes.csv").write_text("\n".join([header, *rows]))
    return own.parent / "boxes.csv"


def test_edges_between_pixels_become_the_nearest(own: Path) -> None:
    rows = (
        "train/cat/0.png,2.4,3.6,9.5,10.49",
        "train/cat/1.png,39.7,-0.4,40.4,29.6",
        "test/dog/0.png,5.1,5.1,5.2,5.2",
    )
    manifest = command(own, "--boxes", csv_file(own, *rows), "--box-format", "xyxy")
    assert boxes(manifest) == {
        "train/cat/0.png": [[2, 4, 9, 9]],
        "train/cat/1.png": [[39, 0, 39, 29]],
        "test/dog/0.png": [[5, 5, 5, 5]],
    }


def test_several_boxes_stay_in_order_and_boxes_of_other_classes_are_counted(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["train/cat/0.png,1,1,5,5,cat", "train/cat/0.png,2,2,6,6,dog", "train/cat/0.png,0,0,3,3,cat"]
    given = csv_file(own, *rows, "train/dog/0.png,1,1,5,5,person", header="image,x0,y0,x1,y1,class")
    manifest = command(own, "--boxes", given, "--box-format", "xyxy")
    assert boxes(manifest) == {"train/cat/0.png": [[1, 1, 4, 4], [0, 0, 2, 2]]}
    told = capsys.readouterr().out
    assert "passed over: 2 boxes of other classes than their image's (dog in" in told
    assert "no box: 17 of 18 images" in told
    manifest = command(own, "--boxes", given, "--box-format", "xyxy", "--boxes-of", "any")
    assert boxes(manifest) == {
        "train/cat/0.png": [[1, 1, 4, 4], [1 + 1, 1 + 1, 5, 5], [0, 0, 2, 2]],
        "train/dog/0.png": [[1, 1, 4, 4]],
    }


def test_names_may_lack_folders_and_endings_where_that_is_plain(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "train" / "cat" / "0.png").rename(own / "train" / "cat" / "lone.v2.png")
    rows = ["lone.v2.png", "lone.v2", "train\\cat\\1", "./train/cat/1.png", f"{own}/train/cat/2.png", "val/3.png"]
    given = csv_file(own, *(f"{name},0,0,{number},9" for number, name in enumerate(rows, start=5)))
    assert boxes(command(own, "--boxes", given, "--box-format", "xyxy")) == {
        "train/cat/lone.v2.png": [[0, 0, 4, 8], [0, 0, 5, 8]],
        "train/cat/1.png": [[0, 0, 6, 8], [0, 0, 7, 8]],
        "train/cat/2.png": [[0, 0, 8, 8]],
    }
    assert "passed over: 1 files or names of boxes that fit no image (val/3.png)" in capsys.readouterr().out


def test_a_whole_path_is_the_image_of_that_path(own: Path) -> None:
    (own / "train" / "cat" / "more").mkdir()
    (own / "train" / "cat" / "2.png").rename(own / "train" / "cat" / "more" / "1.png")
    given = csv_file(own, "train/cat/1.png,0,0,5,9", "train/cat/more/1.png,0,0,6,9")
    assert boxes(command(own, "--boxes", given, "--box-format", "xyxy")) == {
        "train/cat/1.png": [[0, 0, 4, 8]],
        "train/cat/more/1.png": [[0, 0, 5, 8]],
    }


def test_boxes_without_area_and_of_crowds_are_counted(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = coco(own.parent / "boxes")
    data = json.loads(given.read_text())
    data["annotations"][0]["iscrowd"] = 1
    data["annotations"][1]["bbox"][2] = 0
    given.write_text(json.dumps(data))
    manifest = command(own, "--boxes", given, "--box-format", "coco")
    assert boxes(manifest).keys() == set(list(COVERED)[2:])
    passed = read_json(manifest.root / "passed_over.json")
    assert passed["boxes of crowds"] == [f"{given}, annotation 0"]
    assert passed["boxes without width or height"] == [f"{given}, annotation 1"]


ONE = "train/cat/0.png"


@pytest.mark.parametrize(
    ("box_format", "row", "sentence"),
    [
        ("xyxy", f"{ONE},10,10,41,20", "1 of 2 boxes leave their image, first"),
        ("xyxy", f"{ONE},-1,10,30,20", "1 of 2 boxes leave their image, first"),
        ("xyxy", f"{ONE},20,10,10,20", "1 of 2 boxes end before they begin, first"),
        ("xyxy-inclusive", f"{ONE},0,0,40,29", "1 of 2 boxes leave their image, first"),
        ("xyxy-normalised", f"{ONE},0,0,20,20", "1 of 2 boxes leave their image, first"),
        ("xyxy", "train/0.png,1,1,9,9", "boxes of 'train/0.png' fit 'train/cat/0.png' and 'train/dog/0.png'"),
    ],
)
def test_numbers_that_contradict_the_image_are_refused(own: Path, box_format: str, row: str, sentence: str) -> None:
    given = csv_file(own, row, "test/dog/0.png,0,0,1,1")
    with pytest.raises(SigcamError, match=re.escape(sentence)) as caught:
        command(own, "--boxes", given, "--box-format", box_format)
    assert "fit" in sentence or f"{given}, line 2: " in str(caught.value)
    assert not (own.parent / "data" / "image_folder").exists()


def test_the_wrong_convention_is_noticed(own: Path) -> None:
    place = own.parent / "boxes"
    shares = table(place, "x0,y0,x1,y1", lambda image: in_shape(image, "xyxy", True))
    with pytest.raises(
        SigcamError, match="all boxes lie within the first pixel of their image: their numbers are shares"
    ):
        command(own, "--boxes", shares, "--box-format", "xyxy")
    zero_based = voc(place, lambda x0, y0, x1, y1: (x0, y0, x1 + 1, y1 + 1))
    with pytest.raises(SigcamError, match=r"2 of 5 boxes leave their image, .*give the --box-format .*\(not voc\)"):
        command(own, "--boxes", zero_based, "--box-format", "voc")


def test_boxes_of_resized_images_are_refused(own: Path) -> None:
    given = coco(own.parent / "boxes")
    given.write_text(given.read_text().replace('"width": 40', '"width": 80'))
    sentence = (
        "5 of 5 boxes were drawn on images of other sizes, first .* of 40 x 30 pixels, annotated at 80 x 30: give"
    )
    with pytest.raises(SigcamError, match=sentence):
        command(own, "--boxes", given, "--box-format", "coco")


def test_what_is_named_wrongly_is_said(own: Path) -> None:
    given = csv_file(own, "train/cat/0.png,0,0,9,9,Katze", header="image,x0,y0,x1,y1,class")
    (own.parent / "none.csv").write_text("image,x0,y0,x1,y1\n")
    (own.parent / "other.csv").write_text("image,x0,y0,x1,y1\nelsewhere.png,1,2,3,4\n")
    labels = yolo(own.parent / "labels")
    for options, sentence in (
        (["--boxes", given], "--box-format is not given, and is never guessed: give one of coco, voc"),
        (["--boxes", given, "--box-format", "xy"], "unknown --box-format 'xy': choose one of coco"),
        (["--boxes", given, "--box-format", "voc"], "is no .xml file and no folder of such"),
        (["--box-format", "voc"], "give the file or folder of the boxes too"),
        (["--boxes", given, "--box-format", "xyxy"], "classes (Katze) other than the folders (cat, dog)"),
        (["--boxes", given, "--box-format", "xyxy", "--boxes-of", "all"], "unknown --boxes-of 'all'"),
        (["--boxes", own.parent / "none.csv", "--box-format", "xyxy"], "holds no box"),
        (["--boxes", own.parent / "other.csv", "--box-format", "xyxy"], "1 names such as 'elsewhere.png' are no path"),
        (["--boxes", labels, "--box-format", "yolo"], "YOLO files number their classes: give their names"),
        (["--boxes", labels, "--box-format", "yolo", "--box-classes", "nowhere"], "'nowhere' is no file"),
    ):
        with pytest.raises(SigcamError, match=re.escape(sentence)):
            command(own, *options)
    (own.parent / "latin.txt").write_bytes("Kn\u00e4uel\ncat\n".encode("latin-1"))
    with pytest.raises(SigcamError, match=r"latin.txt is no text in UTF-8: save it as UTF-8"):
        command(own, "--boxes", labels, "--box-format", "yolo", "--box-classes", own.parent / "latin.txt")
    assert len(boxes(command(own, "--boxes", labels, "--box-format", "yolo", "--boxes-of", "any"))) == 5


def test_other_boxes_make_another_data_set(own: Path) -> None:
    given = csv_file(own, "train/cat/0.png,0,0,9,9")
    assert boxes(command(own, "--boxes", given, "--box-format", "xyxy")) == {"train/cat/0.png": [[0, 0, 8, 8]]}
    csv_file(own, "train/cat/0.png,0,0,8,8")
    assert boxes(command(own, "--boxes", given, "--box-format", "xyxy")) == {"train/cat/0.png": [[0, 0, 7, 7]]}
    assert boxes(command(own)) == {}
