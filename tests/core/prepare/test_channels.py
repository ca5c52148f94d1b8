"""Images for networks of one channel, three and four: the same files, the pixels that the channels ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from companion.chapters.explorer import explorer_figure
from companion.chapters.panels import explanation_panels
from sigcam_core import DualBranch
from sigcam_core.ask.photo import photo_manifest
from sigcam_core.backbones import InputFormat
from sigcam_core.common.errors import SigcamError
from sigcam_core.evaluate.evaluate import EvaluationOptions, evaluate
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.prepare.decode import decode_image
from sigcam_core.prepare.images import image_batches, load_images, normalize
from sigcam_core.summarise.drawing import to_pictures

NAMES = ["a", "b", "c"]
COLOURS = np.random.default_rng(0).integers(0, 256, (24, 24, 4), dtype=np.uint8)


def saved(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def network(channels: int) -> DualBranch:
    torch.manual_seed(0)
    layers = (nn.Conv2d(channels, 6, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(6, 3))
    form = InputFormat(24, (0.5,) * channels, (0.25,) * channels)
    return DualBranch.from_classifier(nn.Sequential(*layers), input_format=form)


def test_gray_is_the_luminance_of_the_colours(tmp_path: Path) -> None:
    pixels = decode_image(saved(tmp_path / "rgb.png", COLOURS[..., :3]), 24, channels=1)
    expected = COLOURS[..., :3] @ np.array([0.299, 0.587, 0.114])
    assert pixels.shape == (24, 24, 1)
    assert np.abs(pixels[..., 0] - expected).max() <= 1


def test_what_is_gray_stays_as_it_is_stored(tmp_path: Path) -> None:
    path = saved(tmp_path / "gray.png", COLOURS[..., 0])
    np.testing.assert_array_equal(decode_image(path, 24, channels=1)[..., 0], COLOURS[..., 0])
    deep = saved(tmp_path / "deep.png", COLOURS[..., 0].astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode_image(deep, 24, channels=1)[..., 0], COLOURS[..., 0])


def test_four_channels_are_colours_and_opacity(tmp_path: Path) -> None:
    hidden = saved(tmp_path / "rgba.png", COLOURS)
    np.testing.assert_array_equal(decode_image(hidden, 24, channels=4), COLOURS)
    opaque = decode_image(saved(tmp_path / "rgb.png", COLOURS[..., :3]), 24, channels=4)
    np.testing.assert_array_equal(opaque[..., :3], COLOURS[..., :3])
    assert (opaque[..., 3] == 255).all()


def test_a_transparent_gray_of_sixteen_bits_is_transparent(tmp_path: Path) -> None:
    deep = COLOURS[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png", transparency=int(deep[0, 0]))
    np.testing.assert_array_equal(decode_image(tmp_path / "deep.png", 24, channels=4)[..., 3] == 0, deep == deep[0, 0])
    assert (decode_image(tmp_path / "deep.png", 24)[deep == deep[0, 0]] == 255).all()


def test_other_channels_have_no_files(tmp_path: Path) -> None:
    path = saved(tmp_path / "rgb.png", COLOURS[..., :3])
    photo = photo_manifest(path, NAMES)
    sentence = "files of images give 1, 3 or 4 channels, not 2: pass the network tensors that are normalised"
    for read in (
        lambda: load_images(photo, 24, 2),
        lambda: next(image_batches(photo, 1, InputFormat(24, (0, 0), (1, 1)))),
    ):
        with pytest.raises(SigcamError, match=sentence):
            read()


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_each_channel_is_normalised_by_its_own_numbers(channels: int) -> None:
    images = torch.full((1, channels, 1, 1), 51, dtype=torch.uint8)
    means, deviations = [0.1 * place for place in range(channels)], [1.0 + place for place in range(channels)]
    got = normalize(images, means, deviations).flatten()
    expected = [(0.2 - mean) / deviation for mean, deviation in zip(means, deviations, strict=True)]
    torch.testing.assert_close(got, torch.tensor(expected))
    with pytest.raises(SigcamError, match=f"of {channels} channels: give {channels} finite numbers each"):
        normalize(images, [0.5] * 3, [0.5] * 3)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("memory_budget", [0, 2**20])
def test_evaluation_explorer_and_panels_take_such_networks(tmp_path: Path, channels: int, memory_budget: int) -> None:
    photo = photo_manifest(saved(tmp_path / "photo.png", COLOURS), NAMES)
    dual = network(channels)
    ((_, batch, _),) = image_batches(photo, 1, dual.input_format, memory_budget=memory_budget)
    images = load_images(photo, 24, channels)
    torch.testing.assert_close(batch, (images / 255 - 0.5) / 0.25)
    rows = read_evidence(evaluate(dual, photo, "net", tmp_path / "evidence.parquet", EvaluationOptions(["cam"])))
    expected = dual(batch).softmax_logits.softmax(dim=1).max()
    assert rows["image_score_softmax"].tolist() == pytest.approx([float(expected)] * 2, rel=1e-5)
    figure = explorer_figure(dual, images, NAMES, 0, "cam", "softmax", 0.5)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    colours = COLOURS[..., :3] if channels == 4 else np.repeat(images[0].permute(1, 2, 0).numpy(), 3, axis=2)
    np.testing.assert_array_equal(shown, colours)
    (row, _) = explanation_panels(dual, photo, ["cam"])
    assert [panel.image.shape for panel in row] == [(24, 24, 3)] * 2
    assert to_pictures(images).shape == (1, 24, 24, 3)


def test_a_format_of_other_channels_is_refused_and_never_taken_for_granted() -> None:
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(6, 3))
    with pytest.raises(SigcamError, match="takes images of 1 channels, but input_format has 3 means"):
        DualBranch.from_classifier(model, input_format=InputFormat(24, (0.5,) * 3, (0.25,) * 3))
    model.pretrained_cfg = {"input_size": (3, 24, 24), "mean": (0.5,) * 3, "std": (0.25,) * 3}  # timm's, of in_chans=1
    with pytest.raises(SigcamError, match="does not say how images are made ready"):
        _ = DualBranch.from_classifier(model).input_format
