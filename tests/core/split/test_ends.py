"""Logits, probabilities and features are told apart by what they are, not by the values that they happen to have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision.models as tv
from small_networks import random_images, slim_swin, slim_vgg11, slim_vit
from torch import Tensor, nn

from sigcam_core import DualBranch, SigcamError, cam_maps
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.dual.linear import linear_head_weight


class Ends(nn.Module):
    """A small network whose logits go through a function, or through one that replaces the last layer too."""

    def __init__(
        self,
        function: Callable[[Tensor], Tensor] = lambda logits: logits,
        classes: int = 5,
        end: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        self.linear = nn.Linear(8, classes)
        self.function = function
        self.end = end or nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.function(self.linear(self.features(images).mean((2, 3)))))


def within_zero_and_one(classes: int) -> nn.Module:
    """A network whose logits for noise, and for most images, lie in [0, 1]."""
    model = Ends(classes=classes)
    nn.init.normal_(model.linear.weight, std=1e-3)
    nn.init.constant_(model.linear.bias, 0.5)
    return model


class Distances(Ends):
    """Negative distances from prototypes, which no logit lies above zero with."""

    def __init__(self) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.rand(5, 8))

    def forward(self, images: Tensor) -> Tensor:
        return -(self.features(images).mean((2, 3))[:, None] - self.prototypes).square().sum(dim=2)


class Cosines(Ends):
    """Cosines of the features and positive weights, all of them in [0, 1] behind a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(5, 8))

    def forward(self, images: Tensor) -> Tensor:
        features = nn.functional.normalize(self.features(images).mean((2, 3)))
        return features @ nn.functional.normalize(self.weight).T


class GreatestOfPlaces(Ends):
    """The greatest score over all places, of which a large one of either sign is found in any noise."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.features(images).flatten(2).mT
        return self.linear(tokens.mean(dim=1)) + 0.5 * self.function(self.linear(tokens).amax(dim=1))


class GreatestOfMaps(Ends):
    """The same of maps, by a convolution that looks at neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.scores = nn.Linear(8, 5), nn.Conv2d(8, 5, 3)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        return self.linear(features.mean((2, 3))) + self.scores(features).amax((2, 3))


def under_weight_norm() -> nn.Module:
    model = within_zero_and_one(2)
    nn.utils.parametrizations.weight_norm(model.linear)
    return model


def squeezenet_of_small_weights() -> nn.Module:
    model = tv.squeezenet1_1(num_classes=5)  # its ReLU and its pooling come behind the last convolution
    nn.init.constant_(model.classifier[1].bias, 0.5)
    model.classifier[1].weight.data *= 1e-3
    return model


def of_zeros() -> nn.Module:
    model = Ends()
    nn.init.zeros_(model.linear.weight)
    nn.init.constant_(model.linear.bias, 0.5)
    return model


LOGITS: dict[str, Callable[[], nn.Module]] = {
    "small, two classes": lambda: within_zero_and_one(2),
    "small, many classes": lambda: within_zero_and_one(50),
    "a new classifier of zeros": of_zeros,
    "small, under weight normalisation": under_weight_norm,
    "squeezenet": squeezenet_of_small_weights,
    "softly capped": lambda: Ends(lambda logits: 30 * torch.tanh(logits / 30)),
    "tanh": lambda: Ends(torch.tanh),
    "normalised": lambda: Ends(lambda logits: nn.functional.normalize(logits)),
    "batch norm behind": lambda: Ends(end=nn.BatchNorm1d(5)),
    "temperature": lambda: Ends(lambda logits: logits / 100),
    "greatest of places": GreatestOfPlaces,
    "distances": Distances,
    "cosines": Cosines,
}


@pytest.mark.parametrize("name", LOGITS)
@pytest.mark.parametrize("is_frozen", [False, True])
def test_logits_are_taken_whatever_their_values_are(name: str, is_frozen: bool) -> None:
    model = LOGITS[name]().eval().requires_grad_(not is_frozen)
    images = random_images(2, 64, torch.float32)
    dual = DualBranch.from_classifier(model, init="copy")
    out = dual(images)
    torch.testing.assert_close(out.softmax_logits, model(images).detach())
    torch.testing.assert_close(out.sigmoid_logits, out.softmax_logits)
    assert not dual.is_multi_label


def test_the_greatest_of_maps_is_no_activation_but_leaves_a_stage_behind_the_cut() -> None:
    with pytest.raises(SigcamError, match="cannot split GreatestOfMaps into features and head"):
        DualBranch.from_classifier(GreatestOfMaps())


def hand_made_sigmoid(logits: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-logits))


def hand_made_softmax(logits: Tensor) -> Tensor:
    exponentials = logits.exp()
    return exponentials / exponentials.sum(dim=1, keepdim=True)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (torch.sigmoid, r"numbers in \[0, 1\]"),
        (hand_made_sigmoid, r"numbers in \[0, 1\]"),
        (nn.functional.hardsigmoid, r"numbers in \[0, 1\]"),
        (lambda logits: (logits.tanh() + 1) / 2, r"numbers in \[0, 1\]"),
        (lambda logits: logits.clamp(0, 1), r"numbers in \[0, 1\]"),
        (hand_made_softmax, "probabilities, which add up to 1"),
        (lambda logits: logits.softmax(dim=1), "probabilities, which add up to 1"),
        (lambda logits: logits.log_softmax(dim=1), "logarithms of probabilities"),
        (nn.functional.logsigmoid, "logarithms of probabilities"),
    ],
)
@pytest.mark.parametrize("classes", [2, 5])
def test_probabilities_that_forward_makes_are_refused(
    function: Callable[[Tensor], Tensor], sentence: str, classes: int
) -> None:
    with pytest.raises(SigcamError, match=sentence):
        DualBranch.from_classifier(Ends(function, classes))


def densenet_for_radiographs() -> nn.Module:
    """CheXNet's form: the classifier of torchvision's DenseNet is a linear layer and a sigmoid."""
    model = tv.densenet121()
    model.classifier = nn.Sequential(nn.Linear(1024, 14), nn.Sigmoid())
    return model


MULTI_LABEL: dict[str, Callable[[], nn.Module]] = {
    "chexnet": densenet_for_radiographs,
    "in a row": lambda: nn.Sequential(small_cnn(5), nn.Sigmoid()),
    "in a forward": lambda: Ends(end=nn.Sigmoid()),
    "logarithm": lambda: Ends(end=nn.LogSigmoid()),
    "in pieces": lambda: Ends(end=nn.Hardsigmoid()),
    "a vision transformer": lambda: nn.Sequential(slim_vit(), nn.Sigmoid()),
}


@pytest.mark.parametrize("name", MULTI_LABEL)
def test_a_network_for_several_labels_has_maps_of_its_sigmoids_and_no_softmax(name: str) -> None:
    torch.manual_seed(0)
    model = MULTI_LABEL[name]().eval()
    (end,) = (module for module in model.modules() if isinstance(module, nn.Sigmoid | nn.LogSigmoid | nn.Hardsigmoid))
    images = random_images(2, 64, torch.float32)
    with torch.no_grad():
        expected = model(images)
        dual = DualBranch.from_classifier(model, init="copy")
        assert torch.equal(model(images), expected)  # it still ends in its sigmoid
    assert dual.is_multi_label
    torch.testing.assert_close(end(dual(images).sigmoid_logits), expected)
    maps = cam_maps(dual, images, 1, heads=["sigmoid"], evidence_only=False)
    assert all(bool(values.abs().amax((1, 2)).min() > 0) for values in maps.values())
    for heads in (["softmax"], ["softmax", "sigmoid"]):
        with pytest.raises(SigcamError, match=r"several labels at once, .* ask for heads=\['sigmoid'\]"):
            cam_maps(dual, images, 1, heads=heads)
    own = {id(parameter) for parameter in model.parameters()}
    assert {id(parameter) for part in (dual.backbone, dual.softmax_head) for parameter in part.parameters()} <= own


def test_the_map_of_a_sigmoid_is_that_of_the_layer_before_it() -> None:
    model = Ends(end=nn.Sigmoid()).eval()
    images = random_images(2, 64, torch.float32)
    dual = DualBranch.from_classifier(
        nn.Sequential(model.features, nn.AdaptiveAvgPool2d(1), nn.Flatten(1), model.linear, model.end), init="copy"
    )
    assert linear_head_weight(dual.sigmoid_head) is not None
    maps = cam_maps(dual, images, 3, ["cam"], ["sigmoid"], evidence_only=False)
    expected = torch.einsum("k,nkhw->nhw", model.linear.weight[3], model.features(images))
    torch.testing.assert_close(maps["sigmoid", "cam"], expected.detach())


def test_parts_of_a_network_for_several_labels_may_be_given() -> None:
    model = Ends(end=nn.Sigmoid()).eval()
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), model.linear, model.end)
    dual = DualBranch.from_classifier(model, features=model.features, head=head, init="copy")
    assert dual.is_multi_label
    images = random_images(2, 64, torch.float32)
    torch.testing.assert_close(dual(images).sigmoid_logits.sigmoid(), model(images))


class Gated(Ends):
    """The same sigmoid gates channels and ends the network: it cannot be left out at the end alone."""

    def __init__(self) -> None:
        super().__init__(end=nn.Sigmoid())

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        return self.end(self.linear((features * self.end(features)).mean((2, 3))))


class GatedInside(Gated):
    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        return self.linear((features * self.end(features)).mean((2, 3)))


def test_a_sigmoid_inside_a_network_stays() -> None:
    model = GatedInside().eval()
    images = random_images(2, 64, torch.float32)
    dual = DualBranch.from_classifier(model)
    assert not dual.is_multi_label
    torch.testing.assert_close(dual(images).softmax_logits, model(images).detach())
    with pytest.raises(SigcamError, match=r"numbers in \[0, 1\]"):
        DualBranch.from_classifier(Gated())


def without(model: nn.Module, path: str) -> nn.Module:
    parent, _, last = path.rpartition(".")
    model.get_submodule(parent)._modules[last] = nn.Identity()
    return model


FEATURES: dict[str, Callable[[], nn.Module]] = {
    "timm resnet18": lambda: timm.create_model("resnet18", num_classes=0),
    "timm vit": lambda: timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2),
    "timm convnext": lambda: timm.create_model("convnext_atto", num_classes=0),
    "resnet18": lambda: without(tv.resnet18(), "fc"),
    "resnet18, its children": lambda: nn.Sequential(*list(tv.resnet18().children())[:-1], nn.Flatten(1)),
    "densenet121": lambda: without(tv.densenet121(), "classifier"),
    "mobilenet_v2": lambda: without(tv.mobilenet_v2(), "classifier"),
    "mobilenet_v3": lambda: without(tv.mobilenet_v3_small(), "classifier"),
    "mobilenet_v3, its last layer": lambda: without(tv.mobilenet_v3_small(), "classifier.3"),
    "vgg11": lambda: without(slim_vgg11(), "classifier"),
    "vgg11, its last layer": lambda: without(slim_vgg11(), "classifier.5"),
    "squeezenet": lambda: without(tv.squeezenet1_1(), "classifier"),
    "squeezenet, its last layer": lambda: without(tv.squeezenet1_1(), "classifier.1"),
    "vit": lambda: without(slim_vit(), "heads"),
    "swin": lambda: without(slim_swin(), "head"),
    "small_cnn": lambda: without(small_cnn(5), "classifier"),
    "normalised pixels": lambda: nn.Sequential(nn.Identity(), without(tv.resnet18(), "fc")),
}


@pytest.mark.parametrize("name", FEATURES)
def test_a_network_without_a_classifier_is_refused(name: str) -> None:
    with pytest.raises(SigcamError, match=r"has no classifier: .* put one behind it|seems to have no classifier"):
        DualBranch.from_classifier(FEATURES[name]())
