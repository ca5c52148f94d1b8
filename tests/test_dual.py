"""The classifier is frozen to the last bit, only the sigmoid head learns, and the split recomposes the network."""

import copy
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision.models as tv
from small_networks import make_dual, random_images, slim_vgg11
from torch import Tensor, nn

from sigcam_core import DualBranch, SigcamError, class_balanced_bce
from sigcam_core.dual import linear_head_weight, split_classifier
from sigcam_core.small_cnn import small_cnn

CLASSIFIERS: dict[str, Callable[[], nn.Module]] = {
    "torchvision resnet18": lambda: tv.resnet18(num_classes=5),
    "torchvision vgg11": slim_vgg11,
    "torchvision densenet121": lambda: tv.densenet121(num_classes=5),
    "torchvision mobilenet_v2": lambda: tv.mobilenet_v2(num_classes=5),
    "torchvision efficientnet_b0": lambda: tv.efficientnet_b0(num_classes=5),
    "torchvision inception_v3": lambda: tv.inception_v3(num_classes=5, init_weights=False),
    "timm resnet18": lambda: timm.create_model("resnet18", num_classes=5),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_softmax_branch_is_the_classifier(name: str) -> None:
    model = CLASSIFIERS[name]().eval()
    images = random_images(2, 96, torch.float32)
    with torch.no_grad():
        expected = model(images)
    dual = DualBranch.from_classifier(model, num_classes=5)
    out = dual(images)
    torch.testing.assert_close(out.softmax_logits, expected, rtol=1e-4, atol=1e-5)
    assert out.features.ndim == 4
    assert out.sigmoid_logits.shape == (2, 5)
    assert not out.features.requires_grad
    assert out.sigmoid_logits.requires_grad


class NoisyNetwork(nn.Module):
    """Features with BatchNorm and Dropout, and a head with Dropout: everything that training mode could move."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5))
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 4))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).mean((2, 3)))


def test_training_moves_the_sigmoid_head_and_nothing_else() -> None:
    dual = DualBranch.from_classifier(NoisyNetwork()).train()
    before = copy.deepcopy(dual.state_dict())
    # All parameters are given to the optimiser, with weight decay: only their missing gradients protect them.
    optimizer = torch.optim.AdamW(dual.parameters(), lr=0.1, weight_decay=0.1)
    for step in range(3):
        out = dual(random_images(8, 12, torch.float32) + step)
        loss = class_balanced_bce(out.sigmoid_logits, torch.randint(4, (8,))) + out.softmax_logits.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = {name for name, value in dual.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name, _ in dual.named_parameters() if name.startswith("sigmoid_head")}
    with_gradient = {name for name, parameter in dual.named_parameters() if parameter.grad is not None}
    assert with_gradient == moved


def test_frozen_parts_are_deterministic_in_training_mode() -> None:
    dual = DualBranch.from_classifier(NoisyNetwork(), init="copy").train()
    images = random_images(4, 12, torch.float32).requires_grad_()
    first, second = dual(images), dual(images)
    assert not first.features.requires_grad  # no graph of the backbone is kept, whatever the images
    assert torch.equal(first.features, second.features)
    assert torch.equal(first.softmax_logits, second.softmax_logits)
    assert not torch.equal(first.sigmoid_logits, second.sigmoid_logits)  # its dropout is on, as it trains
    assert torch.equal(dual.eval()(images).sigmoid_logits, dual(images).softmax_logits)


def test_fresh_head_is_drawn_from_the_published_distribution() -> None:
    model = small_cnn(5, "mlp")
    dual = DualBranch.from_classifier(model, init="fresh")
    for fresh, old in zip(dual.sigmoid_head.modules(), dual.softmax_head.modules(), strict=True):
        if isinstance(fresh, nn.Linear):
            assert fresh.weight.std().item() == pytest.approx(0.01, rel=0.1)
            assert abs(fresh.weight.mean().item()) < 0.001
            assert torch.count_nonzero(fresh.bias) == 0
            assert not torch.equal(fresh.weight, old.weight)


def test_copied_head_starts_equal_and_apart() -> None:
    dual = DualBranch.from_classifier(small_cnn(5), init="copy")
    for copied, original in zip(dual.sigmoid_head.parameters(), dual.softmax_head.parameters(), strict=True):
        assert torch.equal(copied, original)
        assert copied.data_ptr() != original.data_ptr()


def test_the_classifiers_own_modules_are_used_and_its_modes_kept_while_splitting() -> None:
    model = NoisyNetwork().train()
    model.features[3].eval()
    modes = [module.training for module in model.modules()]
    features, head = split_classifier(model)
    assert [module.training for module in model.modules()] == modes
    assert features is model.features
    assert model.classifier in list(head.children())


class ScaledNetwork(NoisyNetwork):
    def forward(self, images: Tensor) -> Tensor:
        return 3 * super().forward(images)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (ScaledNetwork, "ScaledNetwork"),  # parts that are there but do not make up the network
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2)), "Sequential"),
        (lambda: timm.create_model("resnet18", num_classes=5, global_pool="max"), "ResNet"),
    ],
)
def test_a_network_that_cannot_be_split_is_refused(make: Callable[[], nn.Module], name: str) -> None:
    with pytest.raises(SigcamError, match=f"cannot split {name} into features and head: pass `features`"):
        DualBranch.from_classifier(make())


def test_parts_may_be_given_and_are_verified() -> None:
    model = ScaledNetwork().eval()
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), copy.deepcopy(model.classifier))
    head[2][1].weight.data *= 3
    head[2][1].bias.data *= 3
    images = random_images(2, 12, torch.float32)
    out = DualBranch.from_classifier(model, features=model.features, head=head)(images)
    torch.testing.assert_close(out.softmax_logits, model(images))
    with pytest.raises(SigcamError, match=r"head\(features\(images\)\) differs from model\(images\)"):
        DualBranch.from_classifier(NoisyNetwork(), features=model.features, head=head)
    with pytest.raises(SigcamError, match="pass both `features` and `head`, or neither"):
        DualBranch.from_classifier(model, features=model.features)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"init": "zeros"}, "unknown init 'zeros': choose one of fresh, copy"),
        ({"num_classes": 7}, "the classifier has 5 classes, but num_classes is 7"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        DualBranch.from_classifier(small_cnn(5), **arguments)


def test_heads_are_asked_for_by_name() -> None:
    dual = make_dual()
    assert dual.head("softmax") is dual.softmax_head
    assert dual.head("sigmoid") is dual.sigmoid_head
    with pytest.raises(SigcamError, match="unknown head 'relu'"):
        dual.head("relu")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_images_are_refused_by_number(value: float) -> None:
    images = random_images(3)
    images[2, 1, 5, 5] = value
    with pytest.raises(SigcamError, match="image 2 of the batch holds NaN or infinity"):
        make_dual()(images)


LINEAR = nn.Linear(4, 3)


@pytest.mark.parametrize(
    ("head", "is_linear"),
    [
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), LINEAR), True),
        (nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(1), nn.Sequential(nn.Dropout(), LINEAR)), True),
        (nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(1), LINEAR), False),
        (nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(1), LINEAR), False),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.ReLU(), LINEAR), False),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), LINEAR, nn.Linear(3, 3)), False),
        (nn.Sequential(nn.Flatten(1), LINEAR), False),
    ],
)
def test_weights_are_those_of_global_average_pooling_and_one_linear_layer(head: nn.Module, is_linear: bool) -> None:
    weight = linear_head_weight(head)
    assert weight is (LINEAR.weight if is_linear else None)
