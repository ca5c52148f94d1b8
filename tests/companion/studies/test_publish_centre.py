"""The centre on boxes without images: its table is of each collection's own images, by the metrics for maps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from companion.experiments import CENTRE
from companion.measure import publish
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json
from sigcam_core.localization.centre import centre_map
from sigcam_core.localization.metrics import LocalizationAccuracy, MaxBoxAcc
from sigcam_core.prepare.manifest import Manifest, write_manifest

TINY = [
    {"image_id": "0", "split": "train", "boxes": [[1, 1, 2, 2]]},
    {"image_id": "1", "split": "test", "boxes": [[0, 0, 63, 63]]},  # truncated to 0, 0, 220, 220
    {"image_id": "2", "split": "test", "boxes": [[10, 4, 10, 40]]},  # flat
    {"image_id": "3", "split": "test", "boxes": [[5, 5, 64, 30]]},  # one past the edge
]
METRICS = ["gt_loc", "maxboxacc@30", "maxboxacc@50", "maxboxacc@70", "maxboxacc_v2"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Two collections, their rows in turns, with images of several sizes and one or two boxes each."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(30):
        width, height = (int(side) for side in generator.integers(50, 500, 2))
        corners = generator.uniform([0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], (1 + number % 2, 4))
        boxes = (corners * [width, height, width, height]).astype(int).tolist()
        row = {"image_id": str(number), "path": "", "label": 0, "width": width, "height": height, "boxes": boxes}
        rows.append(row | {"mask": None, "split": "test", "collection": ("first", "second")[number % 3 // 2]})
    path = tmp_path_factory.mktemp("work") / "data" / "boxes" / "manifest.parquet"
    records = {"archives": [{"name": "list.txt", "checksum": "sha256:0"}]}
    tiny = pd.DataFrame(TINY).assign(path="", label=0, width=64, height=64, mask=None)
    other = path.parents[1] / "tiny_imagenet" / "manifest.parquet"
    write_manifest(other, tiny, name="tiny_imagenet", class_names=["object"], parameters=records)
    return write_manifest(path, pd.DataFrame(rows), name="boxes", class_names=["object"], parameters=records)


@pytest.fixture(scope="module")
def folder(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(CENTRE, manifest.root.parents[1], tmp_path_factory.mktemp("results"))


def scaled(row: pd.Series) -> np.ndarray:
    sides = np.array([row["width"], row["height"]] * 2)
    return np.array([[int(edge * 224 / side) for edge, side in zip(box, sides, strict=True)] for box in row["boxes"]])


@pytest.mark.parametrize(("collection", "images"), [("first", 20), ("second", 10)])
def test_every_figure_is_that_of_the_metrics_for_maps(
    manifest: Manifest, folder: Path, collection: str, images: int
) -> None:
    rows = manifest.table[manifest.table["collection"] == collection]
    boxes = [scaled(row) for _, row in rows.iterrows()]
    maps = torch.from_numpy(np.stack([centre_map()] * images))
    accuracy, localisation = MaxBoxAcc(), LocalizationAccuracy()
    accuracy.update(maps, boxes)
    localisation.update(maps, boxes, torch.ones(images, dtype=torch.bool))
    expected = {name: float(value) for name, value in (accuracy.compute() | localisation.compute()).items()}
    table = pd.read_csv(folder / "centre.csv").set_index(["dataset", "metric"]).loc[collection]
    assert table.index.tolist() == METRICS
    assert table["value"].to_dict() == pytest.approx({name: expected[name] for name in METRICS}, abs=1e-12)
    assert (table["images"] == images).all()
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    assert (table["low"] < table["high"]).any()


def test_what_the_boxes_are_is_counted(manifest: Manifest, folder: Path) -> None:
    table = pd.read_csv(folder / "boxes.csv").set_index("dataset")
    counts = manifest.table["boxes"].map(len).groupby(manifest.table["collection"]).sum()
    assert table["boxes"].to_dict() == {**counts, "tiny_imagenet": 3}
    tiny = table.loc["tiny_imagenet"]
    assert [tiny[name] for name in ("images", "flat", "whole_image", "past_the_edge")] == [3, 1, 1, 1]
    # 221 x 221 of 224 x 224; 1 x 127 of 5 x 131; of 17 to 223, 17 to 109 and 17 to 224, 17 to 105 all but a column.
    third = 207 * 89 / (207 * 93 + 208 * 89 - 207 * 89)
    assert tiny["median_iou"] == pytest.approx(sorted([221**2 / 224**2, 127 / (5 * 131), third])[1])
    assert tiny["maxboxacc@30"] == tiny["maxboxacc@70"] == pytest.approx(tiny["maxboxacc_v2"]) == pytest.approx(200 / 3)


def test_the_record_says_where_the_boxes_come_from(manifest: Manifest, folder: Path) -> None:
    record = read_json(folder / "record.json")
    assert record["manifest_checksum"] == manifest.checksum
    assert record["manifest"]["archives"] == [{"name": "list.txt", "checksum": "sha256:0"}]
    assert {"commit", "versions", "date", "resamples", "map"} <= record.keys()


def test_boxes_that_were_not_prepared_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match="run `python -m data_scripts boxes"):
        publish(CENTRE, tmp_path / "work", tmp_path / "results")
    assert not list(tmp_path.iterdir())
