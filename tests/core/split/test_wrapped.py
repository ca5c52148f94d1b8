"""Networks as people hand them over: wrapped, normalised, of other channels, with odd outputs or odd last layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torchvision.models as tv
from small_networks import NETWORKS, random_images
from torch import Tensor, nn
from torch.nn.utils import prune

from sigcam_core import DualBranch, SigcamError, cam_maps
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.dual.linear import effective_weight, linear_head_weight


class Normalize(nn.Module):
    """Pixels in [0, 1] made ready, as people put it before a network."""

    def forward(self, images: Tensor) -> Tensor:
        return (images - 0.5) / 0.25


class Calls(nn.Module):
    """A wrapper whose forward makes something of what one child gives, as Lightning modules do."""

    def __init__(self, network: nn.Module, output: Callable[[Any], Any] = lambda logits: logits) -> None:
        super().__init__()
        self.loss = nn.CrossEntropyLoss()
        self.network = network
        self.output = output

    def forward(self, images: Tensor) -> Any:
        return self.output(self.network(images))


WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "compiled": partial(torch.compile, backend="eager"),
    "one child": Calls,
    "twice": lambda net: nn.DataParallel(Calls(Calls(net))),
    "dict": lambda net: Calls(net, lambda logits: {"loss": None, "logits": logits}),
    "tuple": lambda net: Calls(net, lambda logits: (logits, None)),
    "object": lambda net: Calls(net, Output),
    "normalised": lambda net: nn.Sequential(Normalize(), net),
    "normalised and wrapped": lambda net: Calls(nn.Sequential(Normalize(), net)),
    "softmax behind": lambda net: nn.Sequential(net, nn.Softmax(dim=1)),
    "logarithm of softmax behind": lambda net: nn.Sequential(net, nn.LogSoftmax(dim=1)),
}


class Output:
    """As Hugging Face's classifiers give it."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("network", [lambda: small_cnn(5), NETWORKS["vit"]], ids=["convolutions", "transformer"])
def test_a_wrapped_network_is_cut_where_the_network_is(name: str, network: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    net = network().eval()
    images = random_images(2, 64, torch.float32)
    with torch.no_grad():
        shown = Normalize()(images) if "normalised" in name else images
        expected, whole = net(shown), DualBranch.from_classifier(net).extract(shown)
        dual = DualBranch.from_classifier(WRAPPED[name](net), init="copy")
    torch.testing.assert_close(dual.extract(images), whole)
    out = dual(images)
    torch.testing.assert_close(out.softmax_logits, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out.sigmoid_logits, expected, rtol=1e-5, atol=1e-5)


def test_the_head_never_begins_at_the_picture() -> None:
    dual = DualBranch.from_classifier(nn.Sequential(Normalize(), tv.resnet18(num_classes=5)))
    assert dual.extract(random_images(1, 64, torch.float32)).shape == (1, 512, 2, 2)
    assert linear_head_weight(dual.softmax_head) is not None


class SecondStage(nn.Module):
    """A stage of convolutions and a classifier, which no sequence tells apart."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 8, 3)
        self.linear = nn.Linear(8, 5)

    def forward(self, maps: Tensor) -> Tensor:
        return self.linear(self.conv(maps).tanh().mean((2, 3)))


def test_a_head_holds_no_second_stage_of_convolutions() -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 6, 3, stride=4)
    second = nn.Sequential(nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    dual = DualBranch.from_classifier(nn.Sequential(first, second))
    assert dual.extract(random_images(1, 64, torch.float32)).shape == (1, 8, 14, 14)
    # Cut before the second stage this one recomposes too, and its maps would be those of the wrong layer.
    dual = DualBranch.from_classifier(nn.Sequential(first, SecondStage()))
    assert dual.extract(random_images(1, 64, torch.float32)).shape == (1, 8, 14, 14)


class GeM(nn.Module):
    """Generalised mean pooling, which no library here knows."""

    def __init__(self) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(3.0))

    def forward(self, maps: Tensor) -> Tensor:
        return maps.clamp(min=1e-6).pow(self.exponent).mean((2, 3), keepdim=True).pow(1 / self.exponent)


class AverageAndGreatest(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)


@pytest.mark.parametrize(("pool", "width"), [(GeM, 6), (AverageAndGreatest, 12)])
def test_a_pooling_layer_of_ones_own_belongs_to_the_head(pool: Callable[[], nn.Module], width: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=4), nn.ReLU(), pool(), nn.Flatten(1), nn.Dropout(0.2), nn.Linear(width, 5)
    )
    dual = DualBranch.from_classifier(model, init="copy")
    images = random_images(2, 64, torch.float32)
    assert dual.extract(images).shape == (2, 6, 16, 16)
    torch.testing.assert_close(dual(images).sigmoid_logits, model.eval()(images))
    assert set(cam_maps(dual, images, 3)) == {
        (head, method) for head in ("softmax", "sigmoid") for method in ("gradcam", "gradcam++", "xgradcam", "layercam")
    }


def test_images_that_are_rearranged_before_the_first_convolution_have_three_channels() -> None:
    layers = [nn.PixelUnshuffle(4), nn.Conv2d(48, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(6, 5)]
    dual = DualBranch.from_classifier(nn.Sequential(*layers))
    assert dual.channels == 3
    assert dual.extract(torch.randn(2, 3, 32, 32)).shape == (2, 6, 8, 8)
    spectral = nn.Sequential(nn.Conv2d(12, 6, 3, stride=4), *layers[2:])
    assert DualBranch.from_classifier(spectral).channels == 12


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels(channels: int) -> None:
    model = nn.Sequential(nn.Conv2d(channels, 6, 3, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(6, 5))
    dual = DualBranch.from_classifier(model)
    assert dual.extract(torch.randn(2, channels, 32, 32)).shape == (2, 6, 8, 8)
    with pytest.raises(SigcamError, match=rf"images must have shape \(N, {channels}, height, width\)"):
        dual(random_images(2, 32, torch.float32))


class FirstIsCalledLast(nn.Module):
    """Its first layer in the order in which they are made is called behind all others."""

    def __init__(self, channels: int, repeats: int = 1) -> None:
        super().__init__()
        self.last = nn.Conv2d(4, 6, 1)
        self.stem = nn.Conv2d(channels * repeats, 4, 3, stride=4)
        self.classifier = nn.Linear(6, 5)
        self.repeats = repeats

    def forward(self, images: Tensor) -> Tensor:
        maps = self.last(self.stem(images.repeat(1, self.repeats, 1, 1)).relu())
        return self.classifier(maps.mean((2, 3)))


@pytest.mark.parametrize(("channels", "repeats"), [(3, 1), (1, 1), (1, 3), (4, 1), (2, 1)])
def test_channels_are_those_of_the_convolution_that_is_called_first(channels: int, repeats: int) -> None:
    dual = DualBranch.from_classifier(FirstIsCalledLast(channels, repeats))
    assert dual.channels == channels
    assert dual.extract(torch.randn(2, channels, 32, 32)).shape == (2, 6, 8, 8)
    assert DualBranch(dual.backbone, dual.softmax_head, dual.sigmoid_head).channels == channels


class OfNoLayer(FirstIsCalledLast):
    """Convolves by a function."""

    def forward(self, images: Tensor) -> Tensor:
        maps = nn.functional.conv2d(images, self.stem.weight, self.stem.bias, stride=4)
        return self.classifier(self.last(maps.relu()).mean((2, 3)))


def test_a_convolution_that_is_no_module_tells_of_channels_too() -> None:
    assert DualBranch.from_classifier(OfNoLayer(2)).channels == 2


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_the_map_under_weight_normalisation_is_that_of_the_weights_at_work(norm: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    model = small_cnn(5).eval()
    norm(model.classifier)
    dual = DualBranch.from_classifier(model, init="fresh")
    weights = effective_weight(list(dual.sigmoid_head.modules())[-1] if norm is nn.utils.weight_norm else layer(dual))
    assert 0.008 < float(weights.std()) < 0.012
    with torch.no_grad():  # as a step of training does, after which nothing tells the attribute `weight`
        for head in (dual.softmax_head, dual.sigmoid_head):
            for name, parameter in head.named_parameters():
                parameter += torch.randn_like(parameter) * (0.3 if "bias" not in name else 1.0)
    images = random_images(2, 64, torch.float32)
    maps = cam_maps(dual, images, 3, ["cam"], evidence_only=False)
    out = dual(images)
    for head, logits in (("softmax", out.softmax_logits), ("sigmoid", out.sigmoid_logits)):
        bias = next(value for name, value in dual.head(head).named_parameters() if name.endswith("bias"))
        torch.testing.assert_close(maps[head, "cam"].mean((1, 2)), (logits[:, 3] - bias[3]).detach())


def pruned(model: nn.Module) -> nn.Module:
    prune.random_unstructured(model.classifier, "weight", 0.5)
    prune.random_unstructured(model.classifier, "bias", 0.4)
    return model


def test_a_fresh_head_of_a_pruned_network_is_drawn_and_stays_pruned() -> None:
    model = pruned(small_cnn(5).eval())
    dual = DualBranch.from_classifier(model, init="fresh")
    own, fresh = effective_weight(model.classifier), effective_weight(list(dual.sigmoid_head.modules())[-1])
    assert torch.equal(own == 0, fresh == 0)
    assert 0.008 < float(fresh[fresh != 0].std()) < 0.012
    assert torch.equal(linear_head_weight(dual.sigmoid_head), fresh)
    pooled = torch.zeros(1, 48, 2, 2)
    assert not dual.sigmoid_head(pooled).any()  # no biases
    torch.testing.assert_close(dual.softmax_head(pooled)[0], model.classifier.bias)


class Halved(nn.Module):
    """A parametrisation that cannot take a weight back."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def hook_of_ones_own(layer: nn.Module) -> None:
    layer.kept = nn.Parameter(layer.weight.detach().clone())
    del layer.weight
    layer.weight = layer.kept.detach()
    layer.register_forward_pre_hook(lambda module, _: setattr(module, "weight", module.kept.detach() * 2))


@pytest.mark.parametrize(
    "change",
    [
        nn.utils.spectral_norm,
        nn.utils.parametrizations.spectral_norm,
        lambda layer: nn.utils.parametrize.register_parametrization(layer, "weight", Halved()),
        nn.utils.parametrizations.orthogonal,
        hook_of_ones_own,
    ],
    ids=["spectral, by a hook", "spectral", "halved", "orthogonal", "one's own"],
)
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*is deprecated:FutureWarning")
def test_a_head_that_cannot_be_drawn_is_refused_and_copied(change: Callable[[nn.Module], Any]) -> None:
    model = small_cnn(5).eval()
    change(model.classifier)
    with pytest.raises(SigcamError, match=r"the weights of a .*Linear are made of others, .*: pass init='copy'"):
        DualBranch.from_classifier(model, init="fresh")
    images = random_images(2, 64, torch.float32)
    out = DualBranch.from_classifier(model, init="copy")(images)
    torch.testing.assert_close(out.sigmoid_logits, model(images))


def layer(dual: DualBranch) -> nn.Linear:
    return next(module for module in dual.sigmoid_head.modules() if isinstance(module, nn.Linear))


class Probabilities(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = small_cnn(5)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).softmax(dim=1)


def test_probabilities_that_no_layer_makes_are_refused() -> None:
    model = Probabilities()
    with pytest.raises(SigcamError, match="Probabilities gives probabilities, which add up to 1: pass a network"):
        DualBranch.from_classifier(model)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), model.network.classifier, Softmax())
    with pytest.raises(SigcamError, match="gives probabilities, which add up to 1: pass a network that gives logits"):
        DualBranch.from_classifier(model, features=model.network.features, head=head)


class Softmax(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=1)


def test_one_logit_is_refused() -> None:
    with pytest.raises(SigcamError, match="gives one logit an image, and a softmax over one class is always 1"):
        DualBranch.from_classifier(small_cnn(1))


def test_one_logit_as_two_classes_is_the_same_classifier() -> None:
    binary, two = small_cnn(1).eval(), small_cnn(2).eval()
    two.load_state_dict({k: v for k, v in binary.state_dict().items() if "classifier" not in k}, strict=False)
    with torch.no_grad():
        for parameter, own in zip(two.classifier.parameters(), binary.classifier.parameters(), strict=True):
            parameter.zero_()
            parameter[1:] = own
    images = random_images(2, 64, torch.float32)
    probability = DualBranch.from_classifier(two)(images).softmax_logits.softmax(dim=1)[:, 1]
    torch.testing.assert_close(probability, binary(images)[:, 0].sigmoid())


def test_hirescam_is_refused_where_products_cancel() -> None:
    dual = DualBranch.from_classifier(NETWORKS["vit"]())
    images = random_images(2, 64, torch.float32)
    with pytest.raises(SigcamError, match="HiResCAM is nothing but rounding for this network"):
        cam_maps(dual, images, 3, ["hirescam"])
    truncated = cam_maps(dual, images, 3, ["hirescam"], evidence_only=True)  # positive gradients do not cancel
    exact = cam_maps(dual.double(), images.double(), 3, ["hirescam"], evidence_only=True)
    for row, values in exact.items():
        torch.testing.assert_close(truncated[row].double(), values, rtol=1e-3, atol=1e-3 * float(values.max()))


class InPlace(nn.Module):
    """A head that begins with an activation in place, as a layer or as a function."""

    def __init__(self, as_layer: bool) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3, stride=4)
        first = nn.ReLU(inplace=True) if as_layer else ReluInPlace()
        self.classifier = nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))


class ReluInPlace(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu_(maps)


@pytest.mark.parametrize("as_layer", [True, False])
def test_a_head_that_begins_in_place_leaves_the_features_to_the_other(as_layer: bool) -> None:
    torch.manual_seed(0)
    model = InPlace(as_layer)
    dual = DualBranch.from_classifier(model, init="copy")
    images = random_images(2, 64, torch.float32)
    with torch.no_grad():
        expected = model.features(images)
    out = dual(images)
    assert (expected < 0).any()
    torch.testing.assert_close(out.features, expected)
    torch.testing.assert_close(out.softmax_logits, out.sigmoid_logits)
    maps = cam_maps(dual, images, 3, ["gradcam"], evidence_only=False)
    torch.testing.assert_close(maps["softmax", "gradcam"], maps["sigmoid", "gradcam"])


class Raises(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        raise KeyError("pixel_values")


class TwoInputs(Raises):
    def forward(self, images: Tensor, other: Tensor) -> Tensor:  # type: ignore[override]
        return images


def made_under_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return small_cnn(5)


def with_weights_of_zero() -> nn.Module:
    model = small_cnn(5)
    for layer in (layer for layer in model.modules() if isinstance(layer, nn.Conv2d)):
        nn.init.zeros_(layer.weight)
    return model


def with_broken_weights() -> nn.Module:
    model = small_cnn(5)
    nn.init.constant_(model.classifier.weight, float("nan"))
    return model


def onnx_model() -> Any:
    from onnx import ModelProto

    return ModelProto()


def exported() -> Any:
    return torch.export.export(small_cnn(5).eval(), (torch.zeros(1, 3, 64, 64),))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (made_under_inference_mode, "SmallCNN was made under torch.inference_mode, where nothing can be trained later"),
        (Raises, r"Raises fails on a probe of 224 x 224 pixels \('pixel_values'\)"),
        (TwoInputs, r"TwoInputs does not take one batch of images \(.*'other'\): wrap it in a module that does"),
        (lambda: torch.jit.trace(small_cnn(5).eval(), torch.zeros(1, 3, 64, 64)), "is TorchScript, whose parts cannot"),
        (lambda: torch.fx.symbolic_trace(small_cnn(5)), "is a traced or quantised network"),
        (
            onnx_model,
            "ModelProto is an ONNX model, whose parts cannot be taken out: pass the nn.Module it was exported",
        ),
        (exported, "ExportedProgram is an exported program, which is not trained: pass the nn.Module"),
        (lambda: "resnet50", "str is no network: pass a torch.nn.Module"),
        (lambda: nn.Sequential(nn.Flatten()), "Sequential has no parameters"),
        (with_weights_of_zero, "SmallCNN gives the same logits for two images of noise, so that no cut can be checked"),
        (with_broken_weights, "SmallCNN gives NaN or infinity for an image of noise: its weights are broken"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_cannot_be_taken_apart_is_refused_with_its_reason(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        DualBranch.from_classifier(make())
