"""Stanford Cars from miniatures of its three sources, and from the real images where they lie on this machine."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_archives import jpeg, pin_metadata, serve, text, write_tar, write_zip

from data_scripts import stanford_cars
from data_scripts.__main__ import prepare
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json, sha256_of_file
from sigcam_core.prepare.images import load_images, scaled_boxes

REAL_DATA = os.environ.get("SIGCAM_DATA")
COUNT = 24
NAMES = [f"{number:05d}.jpg" for number in range(1, COUNT + 1)]
LABELS = [13, 2, 90] * (COUNT // 3)
IMAGES = [jpeg(60 + index, 40, seed=index) for index in range(COUNT)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of archives with the published lists, and none of this machine's."""
    monkeypatch.delenv("SIGCAM_DATA", raising=False)
    lists = {
        "class_labels": [f"{name},{label}" for name, label in zip(NAMES, LABELS, strict=True)],
        "image_sizes": [f"{name},{60 + index},40" for index, name in enumerate(NAMES)],
        "localization": [f"{name},6,4,30,40" for name in NAMES],
    }
    own = tmp_path / "own"
    pin_metadata(monkeypatch, own, {f"metadata/CARS/train/{kind}.txt": text(*lines) for kind, lines in lists.items()})
    return own


def write_parquet(folder: Path, labels: list[int] = LABELS, images: list[bytes] = IMAGES) -> None:
    """Two shards as the hub serves them, with the listing that a download would leave."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = [{"path": "data/test-00000-of-00001.parquet", "size": 1, "lfs": {"oid": "0"}}]
    for shard, rows in enumerate((slice(0, 10), slice(10, COUNT))):
        name = f"train-{shard:05d}-of-00002.parquet"
        columns = {
            "image": [{"bytes": image, "path": None} for image in images[rows]],
            "label": labels[rows],
        }
        pq.write_table(pa.table(columns), folder / name)
        size = (folder / name).stat().st_size
        entries.append({"path": f"data/{name}", "size": size, "lfs": {"oid": sha256_of_file(folder / name)}})
    (folder / f"stanford_cars-{stanford_cars.REVISION[:12]}.json").write_text(json.dumps(entries))


@pytest.fixture(params=["zip", "tgz", "parquet"])
def source(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[str]:
    files = {f"cars_train/{name}": image for name, image in zip(NAMES, IMAGES, strict=True)}
    if request.param == "zip":
        # Smaller, squashed copies below one more folder.
        squashed = {f"stanford_cars/cars_train/{name}": jpeg(16, 16) for name in NAMES}
        write_zip(folder / "stanford-cars-256.zip", squashed)
    elif request.param == "tgz":
        write_tar(folder / "cars_train.tgz", files, "w:gz")
    else:
        write_parquet(tmp_path / "stanford_cars/archives")
    return request.param


def test_every_source_gives_the_same_rows(source: str, folder: Path, tmp_path: Path) -> None:
    manifest = prepare("stanford_cars", tmp_path, archives=[folder])
    table = manifest.table
    assert table["image_id"].tolist() == [name.removesuffix(".jpg") for name in NAMES]
    assert table["label"].tolist() == LABELS
    # Sizes and boxes are the original image's, whatever the size of the file.
    assert table["width"].tolist() == list(range(60, 60 + COUNT))
    assert scaled_boxes(manifest, 224)[0].tolist() == [[22, 22, 112, 224]]
    assert load_images(manifest, 8).shape == (COUNT, 3, 8, 8)
    # A quarter of every class of eight is test, a tenth of the other six val.
    assert pd.crosstab(table["label"], table["split"])[["test", "train", "val"]].to_numpy().tolist() == [[2, 5, 1]] * 3
    records = read_json(manifest.root / "manifest.json")["parameters"]["archives"]
    assert [record["published"] for record in records] == ([True, True] if source == "parquet" else [False])


def test_class_names_fit_the_published_labels(source: str, folder: Path, tmp_path: Path) -> None:
    names = prepare("stanford_cars", tmp_path, archives=[folder]).class_names
    assert len(set(names)) == 196
    # The first three training images of the data set.
    assert [names[label] for label in LABELS[:3]] == [
        "Audi TTS Coupe 2012",
        "Acura TL Sedan 2012",
        "Dodge Dakota Club Cab 2007",
    ]


def test_parquet_is_downloaded_from_the_hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "hub"
    shards = hub / stanford_cars.REPOSITORY / "resolve" / stanford_cars.REVISION / "data"
    write_parquet(shards)
    listing = hub / "api" / stanford_cars.REPOSITORY / "tree" / stanford_cars.REVISION / "data"
    listing.parent.mkdir(parents=True)
    next(shards.glob("*.json")).rename(listing)
    with serve(hub) as url:
        monkeypatch.setattr(stanford_cars, "HUB", url)
        manifest = prepare("stanford_cars", tmp_path, archives=[folder])
    assert len(manifest) == COUNT
    downloaded = sorted(path.name for path in (tmp_path / "stanford_cars/archives").glob("*.parquet"))
    assert downloaded == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]


@pytest.mark.parametrize(
    ("labels", "images", "position"),
    # The second has the right labels and the right number of images, but two of one class have changed places.
    [(LABELS[::-1], IMAGES, 0), (LABELS, [*IMAGES[:3], IMAGES[6], *IMAGES[4:6], IMAGES[3], *IMAGES[7:]], 3)],
)
def test_parquet_in_another_order_is_refused(
    folder: Path, tmp_path: Path, labels: list[int], images: list[bytes], position: int
) -> None:
    write_parquet(tmp_path / "stanford_cars/archives", labels, images)
    with pytest.raises(SigcamError, match=rf"image {position} of train-00000.* is not the one that the published"):
        prepare("stanford_cars", tmp_path, archives=[folder])
    assert not (tmp_path / "stanford_cars/manifest.parquet").exists()


def test_parquet_that_is_damaged_is_refused(folder: Path, tmp_path: Path) -> None:
    downloads = tmp_path / "stanford_cars/archives"
    write_parquet(downloads)
    shard = downloads / "train-00001-of-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(SigcamError, match=r"train-00001.*parquet is truncated, damaged or of another layout"):
        prepare("stanford_cars", tmp_path, archives=[folder])


def test_an_incomplete_archive_is_refused(folder: Path, tmp_path: Path) -> None:
    write_zip(folder / "stanford-cars-256.zip", {f"cars_train/{name}": jpeg() for name in NAMES[1:]})
    with pytest.raises(SigcamError, match=r"1 of 24 images are missing .* the first is 00001\.jpg"):
        prepare("stanford_cars", tmp_path, archives=[folder])


# The miniatures cover the same code. Where SIGCAM_DATA names a folder with the images, the real ones are read too;
# elsewhere this test does not exist, rather than be skipped.
if REAL_DATA:

    def test_the_real_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        manifest = prepare("stanford_cars", tmp_path, archives=[Path(path) for path in REAL_DATA.split(os.pathsep)])
        table = manifest.table
        assert (len(manifest), manifest.num_classes) == (8144, 196)
        counts = pd.crosstab(table["label"], table["split"])
        assert (counts["test"] - counts.sum(axis=1) / 4).abs().max() <= 0.5
        assert (counts > 0).all().all()
        assert load_images(manifest.take(range(0, 8144, 400)), 64).float().std() > 40
        names = table.set_index("image_id")["label"].map(lambda label: manifest.class_names[label])
        assert names[["02448", "02449", "02450"]].tolist() == [
            "Dodge Dakota Club Cab 2007",
            "Honda Odyssey Minivan 2012",
            "Buick Verano Sedan 2012",
        ]
