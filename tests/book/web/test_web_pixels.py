"""How a page makes a photo ready for the network, run by Node, against Pillow and the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from web_node import run_node

from sigcam_core.backbones.formats import input_format
from sigcam_core.prepare.images import normalize


@pytest.mark.parametrize(("width", "height"), [(451, 300), (100, 640), (17, 9), (32, 32), (1, 5)])
def test_resizing_is_pillows(width: int, height: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    opaque = np.dstack([pixels, np.full((height, width), 255, np.uint8)])
    program = f"print([...pixels.resizePixels(Uint8Array.from(given.rgba), {width}, {height}, 32)]);"
    got = run_node(program, tmp_path, rgba=opaque.flatten().tolist())
    image, bilinear = Image.fromarray(pixels), Image.Resampling.BILINEAR
    # To the last bit where rows are resized first, as by every Pillow unless the image is tall.
    assert got == np.array(image.resize((32, height), bilinear).resize((32, 32), bilinear)).flatten().tolist()
    assert np.abs(np.array(got) - np.array(image.resize((32, 32), bilinear), int).flatten()).max() <= 1
    if width >= height:
        assert got == np.array(image.resize((32, 32), bilinear)).flatten().tolist()


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    rgba = [10, 20, 30, 0, 200, 100, 0, 51]  # invisible, and a fifth visible
    got = run_node("print([...pixels.resizePixels(Uint8Array.from(given.rgba), 2, 1, 2)]);", tmp_path, rgba=rgba)
    assert got[:6] == [255, 255, 255, 244, 224, 204]


def test_normalised_pixels(tmp_path: Path) -> None:
    form = input_format("efficientnet_lite0")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    program = "print([...pixels.normalizePixels(Uint8Array.from(given.pixels), given.mean, given.std)]);"
    got = run_node(program, tmp_path, pixels=pixels.flatten().tolist(), mean=form.mean, std=form.std)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    np.testing.assert_allclose(got, normalize(images, form.mean, form.std).flatten(), atol=1e-6)
