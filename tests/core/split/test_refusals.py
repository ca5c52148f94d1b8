"""Every cause for which a network is refused is told with its own remedy, and the remedy works when it is followed."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import torchvision.models as tv
from small_networks import random_images
from torch import Tensor, nn

from sigcam_core import DualBranch, SigcamError, cam_maps
from sigcam_core.split.refusals import REFUSALS


class Small(nn.Module):
    """Features, their mean, one layer, and what a class below makes of its outputs."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        self.linear = nn.Linear(8, num_classes)
        self.end = nn.Identity()

    def forward(self, images: Tensor) -> Any:
        return self.end(self.linear(self.features(images).mean((2, 3))))


class Ends(Small):
    """Ends in a function written in its forward, or in the module that takes its place."""

    def __init__(self, function: Callable[[Tensor], Tensor], end: nn.Module | None = None) -> None:
        super().__init__()
        self.function = function if end is None else nn.Identity()
        self.end = end or nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.function(super().forward(images))


class Wrapped(nn.Module):
    """Makes of images what a network takes, and of what it gives logits."""

    def __init__(
        self, network: Any, before: Callable[[Tensor], Any], after: Callable[[Any], Any] = lambda x: x
    ) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, images: Tensor) -> Any:
        return self.after(self.network(self.before(images)))


class TwoInputs(Small):
    def forward(self, images: Tensor, scale: Tensor) -> Tensor:  # type: ignore[override]
        return scale * super().forward(images)


class TakesObject(Small):
    def forward(self, images: Any) -> Any:
        return super().forward(images.pixel_values)


class Restless(Small):
    def __init__(self, sleeps: bool) -> None:
        super().__init__()
        self.sleeps = sleeps

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images).mean((2, 3))
        return self.linear(F.dropout(features, 0.5, self.training if self.sleeps else True))


class Video(nn.Module):
    """A network of clips (N, 3, T, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(3, 8, (1, 3, 3), stride=(1, 4, 4)), nn.ReLU())
        self.pool, self.linear = nn.AdaptiveAvgPool3d(1), nn.Linear(8, 5)

    def forward(self, clips: Tensor) -> Tensor:
        return self.linear(self.pool(self.stem(clips)).flatten(1))


def taken_video() -> DualBranch:
    video = Video()
    features = Wrapped(video.stem, lambda images: images[:, :, None], lambda maps: maps[:, :, 0])
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), video.linear)
    return take(Wrapped(video, lambda images: images[:, :, None]), features=features, head=head)


class Lazy(Small):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.LazyLinear(5)


class Raw(nn.Module):
    """A last layer whose weights belong to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU())
        self.weight = nn.Parameter(torch.randn(5, 8))

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images).mean((2, 3)) @ self.weight.T


class Matrix(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(5, 8))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        return features @ self.weight.T


def take(model: Any, num_classes: int | None = None, **arguments: Any) -> DualBranch:
    return DualBranch.from_classifier(model, num_classes, **arguments)


def with_state(network: nn.Module) -> nn.Module:
    network.load_state_dict(Small().state_dict())
    return network


def meta() -> nn.Module:
    with torch.device("meta"):
        return Small()


def shown_one_image() -> nn.Module:
    model = Lazy()
    model(random_images(2, 64, torch.float32))
    return model


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return Small()


def onnx_model() -> Any:
    from onnx import ModelProto

    return ModelProto()


def filled(value: float) -> nn.Module:
    model = Small()
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


def with_image_size() -> nn.Module:
    model = one_size()
    model.image_size = 32  # type: ignore[assignment]
    return model


def one_size() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(1), nn.Linear(4 * 30 * 30, 2))


def as_two_classes() -> nn.Module:
    model, one = Small(2), Small(1)
    for parameter, own in zip(model.linear.parameters(), one.linear.parameters(), strict=True):
        parameter.data = torch.cat([torch.zeros_like(own), own.detach()])
    return model


def class_maps() -> nn.Sequential:
    """Class scores of wide convolutions, averaged: there is no layer behind the last maps."""
    layers = [nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Conv2d(8, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(1)]
    return nn.Sequential(*layers)


def taken_class_maps() -> DualBranch:
    model = class_maps()
    return take(model, features=model[:2], head=model[2:])


def headless() -> nn.Module:
    model = tv.resnet18()
    model.fc = nn.Identity()
    return model


def spectral(norm: Callable[..., Any]) -> nn.Module:
    model = Small()
    norm(model.linear)
    return model


def with_linear(layer: nn.Module) -> nn.Module:
    model = Small()
    model.linear = layer  # type: ignore[assignment]
    return model


def taken_from(model: nn.Module, **parts: Callable[[Any], nn.Module]) -> DualBranch:
    return take(model, **{name: part(model) for name, part in parts.items()})


def pooled(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), *layers)


class OneInput(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images, torch.ones(()))


def without_parametrisation(model: nn.Module) -> nn.Module:
    nn.utils.parametrize.remove_parametrizations(model.linear, "weight")  # type: ignore[arg-type]
    return model


class Case(NamedTuple):
    """A network that is refused, and what becomes of it by each of the remedies that the sentence names."""

    refused: Callable[[], Any]
    mended: tuple[Callable[[], DualBranch], ...]


NEW_SPECTRAL = nn.utils.parametrizations.spectral_norm
CASES = {
    "onnx": Case(lambda: take(onnx_model()), (lambda: take(Small()),)),
    "exported": Case(
        lambda: take(torch.export.export(Small().eval(), (torch.zeros(1, 3, 64, 64),))), (lambda: take(Small()),)
    ),
    "no module": Case(lambda: take("resnet18"), (lambda: take(tv.resnet18(num_classes=5)),)),
    "script": Case(lambda: take(torch.jit.trace(Small().eval(), torch.zeros(1, 3, 64, 64))), (lambda: take(Small()),)),
    "traced": Case(lambda: take(torch.fx.symbolic_trace(Small())), (lambda: take(Small()),)),
    "no parameters": Case(lambda: take(nn.Sequential(nn.Flatten())), (lambda: take(Small()),)),
    "inference mode": Case(lambda: take(in_inference_mode()), (lambda: take(Small()),)),
    "no values": Case(
        lambda: take(meta()),
        (lambda: take(with_state(meta().to_empty(device="cpu"))), lambda: take(shown_one_image())),
    ),
    "volumes": Case(lambda: take(Video()), (taken_video,)),
    "more inputs": Case(
        lambda: take(TwoInputs()),
        (lambda: take(OneInput(TwoInputs())),),
    ),
    "size": Case(lambda: take(one_size()), (lambda: take(with_image_size()),)),
    "fails": Case(
        lambda: take(TakesObject()),
        (lambda: take(Wrapped(TakesObject(), lambda images: SimpleNamespace(pixel_values=images))),),
    ),
    "no logits": Case(lambda: take(Small().features), (lambda: take(Small()),)),
    "one logit": Case(lambda: take(Small(1)), (lambda: take(as_two_classes()),)),
    "softmax": Case(
        lambda: take(Ends(lambda logits: logits.softmax(1))),
        (lambda: take(Small()), lambda: take(Ends(nn.Identity(), nn.Softmax(dim=1)))),
    ),
    "sigmoid": Case(
        lambda: take(Ends(torch.sigmoid)), (lambda: take(Small()), lambda: take(Ends(nn.Identity(), nn.Sigmoid())))
    ),
    "logarithms": Case(
        lambda: take(Ends(lambda logits: logits.log_softmax(1))),
        (
            lambda: take(Small()),
            lambda: take(Ends(nn.Identity(), nn.LogSoftmax(dim=1))),
            lambda: take(Ends(nn.Identity(), nn.LogSigmoid())),
        ),
    ),
    "no classifier": Case(
        lambda: take(headless()),
        (lambda: take(tv.resnet18(num_classes=5)), lambda: take(nn.Sequential(headless(), nn.Linear(512, 5)))),
    ),
    "activation": Case(
        lambda: take(Ends(torch.relu)),
        (lambda: take(nn.Sequential(Ends(torch.relu), nn.Linear(5, 4))), lambda: take(Ends(torch.relu), 5)),
    ),
    "broken": Case(lambda: take(filled(float("nan"))), (lambda: take(with_state(filled(float("nan")))),)),
    "restless": Case(lambda: take(Restless(sleeps=False)), (lambda: take(Restless(sleeps=True)),)),
    "same logits": Case(lambda: take(filled(0.0)), (lambda: take(with_state(filled(0.0))),)),
    "no cut": Case(lambda: take(class_maps()), (taken_class_maps,)),
    "other parts": Case(
        lambda: taken_from(Small(), features=lambda net: net.features, head=lambda net: pooled(nn.Linear(8, 5))),
        (lambda: taken_from(Small(), features=lambda net: net.features, head=lambda net: pooled(net.linear)),),
    ),
    "no weights": Case(
        lambda: taken_from(class_maps(), features=lambda net: net[:3], head=lambda net: net[3:]), (taken_class_maps,)
    ),
    "made weights": Case(
        lambda: take(spectral(NEW_SPECTRAL)),
        (
            lambda: take(spectral(NEW_SPECTRAL), init="copy"),
            lambda: take(without_parametrisation(spectral(NEW_SPECTRAL))),
        ),
    ),
    "kept weights": Case(lambda: take(Raw()), (lambda: take(Raw(), init="copy"), lambda: take(with_linear(Matrix())))),
}


def test_every_cause_is_tried() -> None:
    assert set(CASES) == set(REFUSALS)


@pytest.mark.parametrize("cause", CASES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Lazy modules:UserWarning")
def test_a_cause_is_told_with_its_own_remedy(cause: str) -> None:
    with pytest.raises(SigcamError) as caught:
        CASES[cause].refused()
    message = str(caught.value)
    told = [name for name, refusal in REFUSALS.items() if all(literal(part) in message for part in refusal)]
    assert told == [cause]
    assert "\n" not in message
    assert "{" not in message


def literal(template: str) -> str:
    """The longest part of a template that has no fields."""
    parts = "".join("\0" if char in "{}" else char for char in template).split("\0")[::2]
    return max(parts, key=len)


@pytest.mark.parametrize(
    ("cause", "number"), [(cause, number) for cause, case in CASES.items() for number in range(len(case.mended))]
)
@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_a_remedy_works_when_it_is_followed(cause: str, number: int) -> None:
    dual = CASES[cause].mended[number]()
    side = 32 if cause == "size" else 64
    images = random_images(2, side, torch.float32)
    out = dual(images)
    assert out.features.ndim == 4
    assert out.features.shape[2:].numel() > 1
    assert out.sigmoid_logits.shape == out.softmax_logits.shape
    maps = cam_maps(dual, images, 1, ["gradcam"], ["sigmoid"], evidence_only=False)
    assert maps["sigmoid", "gradcam"].shape == (2, *out.features.shape[2:])
