"""The classifier is frozen to the last bit, and only the sigmoid head learns."""

import copy
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision.models as tv
from small_networks import make_dual, random_images, slim_vit
from torch import Tensor, nn

from sigcam_core import DualBranch, SigcamError, class_balanced_bce
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.dual.branch import check_images
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.split.modules import TokensToMaps


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


def test_fresh_attention_is_drawn_too() -> None:
    dual = DualBranch.from_classifier(slim_vit(), init="fresh")
    attention = dual.sigmoid_head[0].self_attention
    for weight in (attention.in_proj_weight, attention.out_proj.weight, dual.sigmoid_head[-1][-1].weight):
        assert weight.std().item() == pytest.approx(0.01, rel=0.25)
    for bias in (attention.in_proj_bias, attention.out_proj.bias, dual.sigmoid_head[1].bias):
        assert torch.count_nonzero(bias) == 0
    assert torch.equal(dual.sigmoid_head[1].weight, torch.ones(16))


def test_copied_head_starts_equal_and_apart() -> None:
    dual = DualBranch.from_classifier(small_cnn(5), init="copy")
    for copied, original in zip(dual.sigmoid_head.parameters(), dual.softmax_head.parameters(), strict=True):
        assert torch.equal(copied, original)
        assert copied.data_ptr() != original.data_ptr()


class ScaledNetwork(NoisyNetwork):
    def forward(self, images: Tensor) -> Tensor:
        return 3 * super().forward(images)


def test_parts_may_be_given_and_are_verified() -> None:
    model = ScaledNetwork().eval()
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), copy.deepcopy(model.classifier))
    head[2][1].weight.data *= 3
    head[2][1].bias.data *= 3
    images = random_images(2, 12, torch.float32)
    out = DualBranch.from_classifier(model, features=model.features, head=head)(images)
    torch.testing.assert_close(out.softmax_logits, model(images))
    with pytest.raises(
        SigcamError, match=r"head\(features\(images\)\) differs from model\(images\), or .*`to_maps` is missing"
    ):
        DualBranch.from_classifier(NoisyNetwork(), features=model.features, head=head)
    with pytest.raises(SigcamError, match="pass both `features` and `head`, or neither"):
        DualBranch.from_classifier(model, features=model.features)
    with pytest.raises(SigcamError, match="`to_maps` goes with them"):
        DualBranch.from_classifier(model, to_maps=nn.Identity())


class Tokens(nn.Module):
    """Patches of 4 x 4 pixels as tokens (N, L, K)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 6, 4, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(images).flatten(2).mT


class MeanOfTokens(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens.mean(dim=1)


def test_parts_of_a_transformer_may_be_given() -> None:
    features, head = Tokens(), nn.Sequential(MeanOfTokens(), nn.Linear(6, 4))
    model = nn.Sequential(features, head)
    dual = DualBranch.from_classifier(model, features=features, head=head, to_maps=TokensToMaps(0, (56, 56)))
    images = random_images(2, 224, torch.float32)
    assert dual.extract(images).shape == (2, 56 * 56, 6)
    torch.testing.assert_close(dual(images).features, features.embed(images))
    with pytest.raises(SigcamError, match=r"features must be tokens \(N, 0 \+ 56 \* 56, K\), got \(2, 16, 6\)"):
        dual(random_images(2, 16, torch.float32))


def test_features_that_are_no_maps_are_refused() -> None:
    dual = DualBranch(Tokens(), *(nn.Sequential(MeanOfTokens(), nn.Linear(6, 4)) for _ in range(2)))
    with pytest.raises(SigcamError, match=r"must be maps \(N, K, h, w\), got \(2, 16, 6\): for tokens, pass `to_maps`"):
        dual(random_images(2, 16, torch.float32))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (slim_vit, "does not take images of 64 x 48 pixels: Wrong image width! Expected 64 but got 48!"),
        (
            lambda: timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=64),
            r"does not take images of 64 x 48 pixels: Input width \(48\) doesn't match model \(64\)",
        ),
        (
            lambda: timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=64, dynamic_img_size=True),
            r"features must be tokens \(N, 1 \+ 4 \* 4, K\), got \(3, 13, 192\)",
        ),
    ],
)
def test_images_of_another_size_are_refused_where_the_network_is_of_one_size(
    make: Callable[[], nn.Module], sentence: str
) -> None:
    images = random_images(dtype=torch.float32)[..., :48]
    with pytest.raises(SigcamError, match=sentence):
        DualBranch.from_classifier(make())(images)


def test_errors_of_a_backbone_are_its_own() -> None:
    dual = DualBranch.from_classifier(small_cnn(5))
    dual.backbone.register_forward_pre_hook(refuse)
    with pytest.raises(AssertionError, match=r"^the moon is full$"):
        dual(random_images(dtype=torch.float32))


def test_images_of_another_device_or_of_more_bits_are_refused_in_one_sentence() -> None:
    dual = DualBranch.from_classifier(small_cnn(5))
    images = random_images(dtype=torch.float32)
    with pytest.raises(SigcamError, match=r"images are torch.float32, the network is torch.bfloat16"):
        dual.bfloat16()(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # which converts by itself
        assert dual.float().extract(images.bfloat16()).isfinite().all()

    with pytest.raises(SigcamError, match="images are on meta, the network is on cpu: move one"):
        dual._converted(images.to("meta"), None)  # numbers on the meta device cannot be checked


@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
@pytest.mark.parametrize("images", [torch.float16, torch.float32, torch.float64])
def test_images_are_converted_to_the_type_of_the_weights(weights: torch.dtype, images: torch.dtype) -> None:
    dual = DualBranch.from_classifier(small_cnn(5)).to(weights)
    given = random_images(dtype=images)
    output, expected = dual(given), dual(given.to(weights))
    for one, other in zip(output, expected, strict=True):
        assert one.dtype == weights
        assert torch.equal(one, other)


def test_images_that_are_no_tensor_get_one_sentence() -> None:
    with pytest.raises(SigcamError, match=r"images must be a tensor \(N, 3, height, width\), got ndarray"):
        DualBranch.from_classifier(small_cnn(5)).extract(random_images().numpy())


def refuse(*_: object) -> None:
    raise AssertionError("the moon is full")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"init": "zeros"}, "unknown init 'zeros': choose one of fresh, copy"),
        ({"num_classes": 7}, "the classifier has 5 classes, but num_classes is 7"),
    ],
)
@pytest.mark.parametrize("make", [small_cnn, tv.squeezenet1_1])  # the last layer of the second is a convolution
def test_wrong_arguments_are_refused(
    make: Callable[..., nn.Module], arguments: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SigcamError, match=sentence):
        DualBranch.from_classifier(make(num_classes=5), **arguments)


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


def test_great_images_are_no_infinite_images() -> None:
    check_images(torch.full((2, 3, 64, 64), 60000, dtype=torch.float16))  # their sum is infinite


class RectifiedHead(nn.Sequential):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.relu())


class Cosine(nn.Linear):
    """A linear layer that computes something else."""

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.linear(nn.functional.normalize(features), nn.functional.normalize(self.weight))


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
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), Cosine(4, 3)), False),
        (RectifiedHead(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), LINEAR), False),  # its layers do not tell all
    ],
)
def test_weights_are_those_of_global_average_pooling_and_one_linear_layer(head: nn.Module, is_linear: bool) -> None:
    weight = linear_head_weight(head)
    assert weight is (LINEAR.weight if is_linear else None)
