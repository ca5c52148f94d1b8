"""The sample photos and their ImageNet labels."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from data_scripts.__main__ import main
from sigcam_core.prepare.images import load_images
from sigcam_core.prepare.manifest import Manifest, read_manifest


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("data")
    main(["photos", "--root", str(root)])
    return read_manifest(root / "photos" / "manifest.parquet")


def test_seven_photos_with_imagenet_classes(photos: Manifest) -> None:
    assert photos.num_classes == 1000
    names = {row.image_id: photos.class_names[row.label] for row in photos.table.itertuples()}
    assert names["chelsea"] == "Egyptian cat"
    assert names["coffee"] == "espresso"
    assert len(names) == 7


def test_pixels_and_sizes_are_those_of_the_package(photos: Manifest) -> None:
    row = photos.table.set_index("image_id").loc["chelsea"]
    pixels = np.array(Image.open(photos.root / row["path"]))
    np.testing.assert_array_equal(pixels, skimage.data.chelsea())
    assert (row["height"], row["width"]) == pixels.shape[:2]


def test_photos_of_all_sizes_load_as_one_tensor(photos: Manifest) -> None:
    images = load_images(photos.split("test"), 64)
    assert images.shape == (7, 3, 64, 64)
    assert images.float().std() > 30
