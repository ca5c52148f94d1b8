"""Manifests name files in their own folder, and nothing else is opened."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_scripts.parts import load_parts, without_part
from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.images import load_images, load_masks
from sigcam_core.prepare.manifest import Manifest

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
MASK = np.eye(8, dtype=np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a picture and a mask, beside others of the same names that lie outside."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    for folder in (root / "images", tmp_path):
        Image.fromarray(PICTURE).save(folder / "x.png")
        Image.fromarray(MASK).save(folder / "m.png")
    return root


def of(root: Path, **columns: object) -> Manifest:
    row = {"image_id": "x", "path": "images/x.png", "mask": "images/m.png", "parts": "images/m.png", **columns}
    return Manifest("own", pd.DataFrame([row]), ("a",), root, "")


def test_files_in_the_folder_are_found_and_links_are_followed(root: Path) -> None:
    (root / "link.png").symlink_to("../x.png")
    (root / "elsewhere").symlink_to(root.parent)
    (root / "..x.png").symlink_to("images/x.png")
    for name in ("images/x.png", "./images//x.png", "link.png", "elsewhere/x.png", "..x.png"):
        picture = load_images(of(root, path=name), 8)[0]
        np.testing.assert_array_equal(picture.permute(1, 2, 0).numpy(), PICTURE)
    assert load_masks(of(root), 8)[0].tolist() == load_parts(of(root), 8)[0].tolist() == MASK.tolist()


@pytest.mark.parametrize("column", ["path", "mask", "parts", "removed_cue"])
@pytest.mark.parametrize("name", ["../{}.png", "images/../../{}.png", "{{}}/{}.png", "images/.."])
def test_a_path_out_of_the_folder_is_refused(root: Path, column: str, name: str) -> None:
    file = "m" if column in ("mask", "parts") else "x"
    name = name.format(file).replace("{}", str(root.parent))
    read = {
        "path": lambda manifest: load_images(manifest, 8),
        "mask": lambda manifest: load_masks(manifest, 8),
        "parts": lambda manifest: load_parts(manifest, 8),
        "removed_cue": lambda manifest: load_images(without_part(manifest, "cue"), 8),
    }[column]
    with pytest.raises(SigcamError, match=r"the manifest of own names '.*', which is no file in its folder .*: name f"):
        read(of(root, **{column: name}))


def test_a_row_without_a_path_is_refused(root: Path) -> None:
    for name in (None, float("nan"), 3, ""):
        with pytest.raises(
            SigcamError, match=r"the path of image x of own is (None|nan|3)|is a folder, a pipe or a dev"
        ):
            load_images(of(root, path=name), 8)
