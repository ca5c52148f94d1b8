"""Known parts are read as they were drawn, and where they are not known, that is said."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_scripts.__main__ import prepare
from data_scripts.parts import REMOVABLE, load_parts, without_part
from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.images import load_images
from sigcam_core.prepare.manifest import Manifest


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return prepare("shapes", tmp_path_factory.mktemp("data"), train=1, val=1, test=4, parts=True)


def pixels(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def test_parts_are_read_as_they_were_drawn(manifest: Manifest) -> None:
    test = manifest.split("test")
    parts = load_parts(test, 96)
    assert parts.dtype == torch.uint8
    for row, mask in zip(test.table["parts"], parts, strict=True):
        assert (mask.numpy() == pixels(manifest.root / row)).all()
    assert sorted(load_parts(test, 48).unique().tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("part", REMOVABLE)
def test_images_without_a_part_are_those_that_were_drawn_without_it(manifest: Manifest, part: str) -> None:
    test = manifest.split("test")
    images = load_images(without_part(test, part), 96).permute(0, 2, 3, 1).numpy()
    for index, image in enumerate(images):
        assert (image == pixels(manifest.root / f"removed/{part}/test/{index:06d}.png")).all()
    assert without_part(test, part).labels.tolist() == test.labels.tolist()


def test_unknown_parts_get_one_sentence(manifest: Manifest) -> None:
    with pytest.raises(SigcamError, match="unknown part 'clutter': choose one of object, cue, distractors"):
        without_part(manifest.split("test"), "clutter")
    with pytest.raises(SigcamError, match="not every image of shapes has parts: prepare it with"):
        load_parts(manifest, 96)  # training images have none
    plain = Manifest("x", manifest.table.drop(columns=["removed_cue"]), (), manifest.root, "")
    with pytest.raises(SigcamError, match="not every image of x has removed_cue"):
        without_part(plain, "cue")
