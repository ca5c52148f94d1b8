"""Each reader with a small corpus: how its files are made, and how one is read."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from PIL import Image
from safetensors.numpy import save
from torch import nn

from companion.controls.shards import in_shards
from data_scripts import cub
from data_scripts.archive import Found, extract
from data_scripts.folder_files import ImageFile
from data_scripts.folder_layout import Placed
from data_scripts.own_boxes import BOX_FORMATS, boxes_of_images, check_parameters
from data_scripts.small_archives import encoded, tar_bytes, text, write_zip
from sigcam_core.common.files import read_json, write_json
from sigcam_core.evaluate.schema import SCHEMA, read_evidence
from sigcam_core.evaluate.shards import is_whole, write_shard
from sigcam_core.prepare.contents import recorded_files
from sigcam_core.prepare.decode import decode_image, decode_values, image_size
from sigcam_core.prepare.images import scaled_boxes
from sigcam_core.prepare.manifest import manifest_checksum, read_manifest, write_manifest
from sigcam_core.stations.heads import _load
from sigcam_core.train.checkpoints import Checkpoint, Position

from .mutate import GARBAGE, mutate_bytes, mutate_json

ROWS = pd.DataFrame(
    {
        "image_id": ["a", "b", "c"],
        "path": ["a.png", "b.png", "c.png"],
        "label": [0, 1, 1],
        "split": ["train", "val", "test"],
        "width": [8, 8, 8],
        "height": [8, 8, 8],
        "boxes": [[[0, 0, 7, 7]], [], [[1, 2, 3, 4], [2, 2, 2, 2]]],
        "mask": ["m.png", None, None],
    }
)


@dataclass(frozen=True)
class Reader:
    """Attributes: how to make the corpus in a folder, how to mutate a seed, and how to read what came of it."""

    seeds: Callable[[Path], list[bytes]]
    read: Callable[[Path, bytes], object]
    mutate: Callable[[bytes, list[bytes], random.Random], bytes] = mutate_bytes


def _manifest(folder: Path) -> list[bytes]:
    pixels = np.zeros((8, 8, 3), np.uint8)
    for name in "abcm":
        (folder / f"{name}.png").write_bytes(encoded(pixels if name != "m" else pixels[..., 0], "PNG"))
    write_manifest(folder / "manifest.parquet", ROWS, name="tiny", class_names=["x", "y"])
    return [(folder / "manifest.parquet").read_bytes()]


def _read_whole(path: Path) -> object:
    manifest = read_manifest(path)
    return [manifest.labels, scaled_boxes(manifest, 16), [manifest.locate(name) for name in manifest.table["path"]]]


def _read_manifest(folder: Path, content: bytes) -> object:
    (folder / "manifest.parquet").write_bytes(content)
    return _read_whole(folder / "manifest.parquet")


def _description(folder: Path) -> list[bytes]:
    _manifest(folder)
    return [(folder / "manifest.json").read_bytes()]


def _read_description(folder: Path, content: bytes) -> object:
    (folder / "manifest.json").write_bytes(content)
    return _read_whole(folder / "manifest.parquet")


def _mutate_json_or_bytes(seed: bytes, others: list[bytes], rng: random.Random) -> bytes:
    import json

    try:
        value = json.loads(seed)
    except ValueError:
        return mutate_bytes(seed, others, rng)
    if rng.random() < 0.5:
        return mutate_bytes(seed, others, rng)
    return json.dumps(mutate_json(value, rng)).encode("utf-8", "replace")


def _read_rows(folder: Path, content: bytes) -> object:
    """A table with garbage in some cells and the checksum that belongs to it; the content is its seed."""
    rng = random.Random(content)
    table = ROWS.copy()
    for _ in range(rng.choice((1, 1, 2))):
        column = rng.choice(list(table.columns))
        values: list[Any] = list(table[column])
        values[rng.randrange(len(values))] = rng.choice(GARBAGE)
        table[column] = pd.Series(values, dtype=object)
    path = folder / "manifest.parquet"
    try:
        table.to_parquet(path, index=False)
        checksum = manifest_checksum(pd.read_parquet(path))
    except (pa.ArrowException, TypeError, ValueError, UnicodeError, OverflowError):
        return None  # Parquet has no such table
    write_json(path.with_suffix(".json"), {"name": "t", "class_names": ["x", "y"], "checksum": checksum})
    return _read_whole(path)


def _images(_: Path) -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    found = [encoded(pixels, kind) for kind in ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF")]
    for mode, kind in (("RGBA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("L", "TIFF"), ("CMYK", "JPEG"), ("LA", "PNG")):
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(buffer, kind)
        found.append(buffer.getvalue())
    return [*found, encoded(pixels[..., 0].astype(np.uint16) * 257, "PNG"), encoded(pixels[..., 0] % 2, "PNG")]


def _read_image(folder: Path, content: bytes) -> object:
    path = folder / "image"
    path.write_bytes(content)
    size = image_size(path, "image", "save it again")
    return size, decode_image(path, 8), decode_image(path, 8, upright=True)


def _read_mask(folder: Path, content: bytes) -> object:
    (folder / "mask").write_bytes(content)
    return decode_values(folder / "mask")


FILES = {"a/one.txt": b"1 2\n" * 20, "a/two.png": b"\x89PNG" * 9, "b/three.txt": b""}


def _archives(folder: Path) -> list[bytes]:
    return [write_zip(folder / "a.zip", FILES).read_bytes(), tar_bytes(FILES), tar_bytes(FILES, "w:gz")]


def _read_archive(folder: Path, content: bytes) -> object:
    archive, target = folder / "archive", folder / "unpacked"
    archive.write_bytes(content)
    for left in folder.glob("*unpacked*"):
        shutil.rmtree(left)
    extract(Found(archive, "sha256:0123456789abcdef", published=False), target, lambda name: name)
    return sorted(target.rglob("*"))


LISTS = text("1 x/a.jpg", "2 x/b.jpg"), text("1 1", "2 2"), text("1 1", "2 0"), text("1 0 0 4 4", "2 1.0 1 3 3")


def _lists(_: Path) -> list[bytes]:
    return [b"\x1e".join([*LISTS, text("1 001.x", "2 002.y")])]


def _read_lists(folder: Path, content: bytes) -> object:
    """The text files of CUB, in an archive of the right layout."""
    shutil.rmtree(folder / "cub", ignore_errors=True)
    files = dict(zip((f"{cub.ROOT}{name}" for name in cub.LISTS), content.split(b"\x1e"), strict=False))
    files |= {f"{cub.ROOT}images/x/{name}.jpg": encoded(np.zeros((8, 8, 3), np.uint8), "JPEG") for name in "ab"}
    (folder / cub.ARCHIVE.name).write_bytes(tar_bytes(files))
    (folder / "cub").mkdir()
    return cub.prepare(folder / "cub", {"seed": 0, "val_fraction": 0.5}, [folder])


def _evidence_table() -> pa.Table:
    columns: dict[str, Any] = {name: [None] * 3 for name in SCHEMA.names}
    columns |= {"network": ["n"] * 3, "image_id": ["a", "b", "c"], "label": [0, 1, 2], "head": ["softmax"] * 3}
    return pa.table(columns, schema=SCHEMA)


def _evidence(folder: Path) -> list[bytes]:
    write_shard(folder / "e.parquet", _evidence_table(), "digest", 1.0, "plain")
    return [(folder / "e.parquet").read_bytes()]


def _read_evidence(folder: Path, content: bytes) -> object:
    (folder / "e.parquet").write_bytes(content)
    return read_evidence(folder / "e.parquet")


def _record(folder: Path) -> list[bytes]:
    _evidence(folder)
    return [(folder / "e.json").read_bytes()]


def _read_record(folder: Path, content: bytes) -> object:
    (folder / "e.json").write_bytes(content)
    read_json(folder / "e.json")
    return is_whole(folder / "e.parquet", "digest")


def _numbers(folder: Path) -> list[bytes]:
    in_shards(folder / "n.safetensors", 4, lambda items: {"x": np.arange(4.0)[items]}, "facts", shard_size=2)
    return [(folder / "n.safetensors").read_bytes()]


def _read_numbers(folder: Path, content: bytes) -> object:
    path = folder / "n.safetensors"
    path.write_bytes(content)
    values = in_shards(path, 4, lambda items: {"x": np.arange(4.0)[items]}, "facts", shard_size=2)
    assert values["x"].tolist() == [0, 1, 2, 3], "altered numbers were taken for measured ones"
    return values


def _trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return module, optimizer


def _unfinished(folder: Path) -> list[bytes]:
    module, optimizer = _trained()
    Checkpoint(folder / "run", "key").save({"module": module}, optimizer, Position(1, 2), {})
    return [(folder / "run").read_bytes()]


def _read_unfinished(folder: Path, content: bytes) -> object:
    module, optimizer = _trained()
    wanted = {name: value.clone() for name, value in module.state_dict().items()}
    (folder / "run").write_bytes(content)
    position, _ = Checkpoint(folder / "run", "key").load({"module": module}, optimizer)
    for name, value in module.state_dict().items():  # either the saved run or a fresh one, and here both are the same
        assert torch.equal(value, wanted[name]), "altered weights were taken for those of the run"
    assert position in (Position(), Position(1, 2)), "an altered position was taken for that of the run"
    return position


def _weights(_: Path) -> list[bytes]:
    return [save({"weight": np.ones((2, 3), np.float32), "bias": np.zeros(2, np.float32)})]


def _read_weights(folder: Path, content: bytes) -> object:
    (folder / "w.safetensors").write_bytes(content)
    return _load(nn.Linear(3, 2), folder / "w.safetensors")


def _files_record(folder: Path) -> list[bytes]:
    _manifest(folder)
    return [(folder / "files.parquet").read_bytes()]


def _read_files_record(folder: Path, content: bytes) -> object:
    (folder / "files.parquet").write_bytes(content)
    return recorded_files(folder)


PLACED = [Placed(ImageFile((name, "a.png"), 1), name, "train") for name in ("x", "y")]


def _own_boxes(text_of_boxes: str, box_format: str) -> Reader:
    """A file of boxes of a format, read for two images of 8 x 8 pixels."""
    ending = BOX_FORMATS[box_format].ending

    def read(folder: Path, content: bytes) -> object:
        for name in ("x", "y"):  # of VOC and YOLO the file belongs to the image of its name
            (folder / "boxes" / name).mkdir(parents=True, exist_ok=True)
        per_image = ending in (".xml", ".txt")
        path = folder / "boxes" / ("x" if per_image else "") / f"a{ending}"
        path.write_bytes(content)
        names = folder / "names.txt"
        names.write_text("x\ny\n", encoding="utf-8")
        given = {"boxes": str(folder / "boxes"), "box_format": box_format, "boxes_of": "any"}
        parameters = check_parameters(**given, box_classes=str(names))
        taken = boxes_of_images(parameters | {"source": "s"}, PLACED, [(8, 8)] * 2, defaultdict(list))
        for x0, y0, x1, y1 in (box for boxes in taken for box in boxes):
            assert 0 <= x0 <= x1 < 8, "a box leaves its image"
            assert 0 <= y0 <= y1 < 8, "a box leaves its image"
        return taken

    mutate = _mutate_json_or_bytes if ending == ".json" else mutate_bytes
    return Reader(lambda _: [text_of_boxes.encode()], read, mutate)


# With much that the reader passes over, as tools write it: so some mutants stay valid.
COCO = json.dumps(
    {
        "info": {"description": "made up", "year": 2026, "contributor": "", "url": "", "version": "1.0"},
        "licenses": [{"id": 1, "name": "none", "url": ""}],
        "images": [{"id": n, "file_name": f"{name}/a.png", "width": 8, "height": 8} for n, name in enumerate("xy")],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3.5, 4], "area": 14.0, "segmentation": []},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 8, 8], "iscrowd": 1},
        ],
    }
)
VOC = (
    "<annotation><folder>pictures of mine</folder><filename>other.png</filename><size><width>8</width>"
    "<height>8</height></size><object><name>x</name><pose>Unspecified</pose><bndbox><xmin>1</xmin>"
    "<ymin>2</ymin><xmax>8</xmax><ymax>5</ymax></bndbox></object></annotation>"
)
TABLE = "image,class,x0,y0,x1,y1,remark\nx/a.png,x,1,2,8,8,drawn by hand\ny/a.png,y,0,0,4.5,4,and this one too\n"
READERS: dict[str, Reader] = {
    "manifest, as Parquet": Reader(_manifest, _read_manifest),
    "manifest, its JSON": Reader(_description, _read_description, _mutate_json_or_bytes),
    "rows and boxes of a manifest": Reader(lambda _: [b"0"], _read_rows, lambda _, __, rng: rng.randbytes(8)),
    "record of a data set's files": Reader(_files_record, _read_files_record),
    "images": Reader(_images, _read_image),
    "masks": Reader(_images, _read_mask),
    "archives": Reader(_archives, _read_archive),
    "lists and boxes in an archive": Reader(_lists, _read_lists),
    "evidence": Reader(_evidence, _read_evidence),
    "record of a shard of evidence": Reader(_record, _read_record, _mutate_json_or_bytes),
    "measurements in shards": Reader(_numbers, _read_numbers),
    "a training in progress": Reader(_unfinished, _read_unfinished),
    "trained weights": Reader(_weights, _read_weights),
    "boxes of one's own, COCO": _own_boxes(COCO, "coco"),
    "boxes of one's own, Pascal VOC": _own_boxes(VOC, "voc"),
    "boxes of one's own, YOLO": _own_boxes("0 0.5 0.5 1 1\n1 .25 .25 .5 .5\n", "yolo"),
    "boxes of one's own, CSV": _own_boxes(TABLE, "xyxy"),
}
"""By what the pages call what is read."""
MODULES = (
    "sigcam_core.prepare.manifest", "sigcam_core.prepare.contents", "sigcam_core.prepare.decode",
    "sigcam_core.evaluate.schema", "sigcam_core.evaluate.shards", "companion.controls.shards",
    "sigcam_core.train.checkpoints", "data_scripts.archive", "data_scripts.cub",
    "data_scripts.box_files", "data_scripts.own_boxes",
)  # fmt: skip
"""Whose lines are counted."""
