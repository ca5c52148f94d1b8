"""Every kind of network is cut where its maps are, its parts make it up again, and it is left as it was."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import pytest
import timm
import torch
import torchvision.models as tv
from small_networks import NETWORKS, random_images, sampled, slim_vgg11
from torch import Tensor, nn

from sigcam_core import DualBranch, SigcamError, cam_maps
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.split.modules import TokensToMaps
from sigcam_core.split.proposals import Split
from sigcam_core.split.split import recomposes, split_classifier


class Case(NamedTuple):
    make: Callable[[], nn.Module]
    maps: tuple[int, int, int]  # K, h, w
    is_linear: bool  # global average pooling and one linear layer
    side: int = 224


def from_timm(name: str, **arguments: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=5, **arguments)


def slim_timm_vgg11() -> nn.Module:
    widths = [width if width == "M" else width // 8 for width in timm.models.vgg.cfgs["vgg11"]]
    return timm.models.vgg.VGG(widths, num_classes=5, mlp_ratio=0.1)


class Pooled(nn.Module):
    """A network for small images, as one finds it for CIFAR, whose size it tells."""

    image_size = 32

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, stride=4, padding=1)
        self.avgpool = pool
        self.fc = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.conv1(images)).flatten(1))


CASES = {
    "pool of a fixed size": Case(lambda: Pooled(nn.AvgPool2d(8)), (6, 8, 8), True, 32),
    "pool of greatest values": Case(lambda: Pooled(nn.AdaptiveMaxPool2d(1)), (6, 8, 8), False, 32),
    "timm beit": Case(from_timm("beit_base_patch16_224", depth=2, embed_dim=96, num_heads=3), (96, 14, 14), False),
    "torchvision resnet18": Case(lambda: tv.resnet18(num_classes=5), (512, 7, 7), True),
    "torchvision vgg11": Case(slim_vgg11, (128, 7, 7), False),
    "torchvision alexnet": Case(lambda: tv.alexnet(num_classes=5), (256, 6, 6), False),
    "torchvision inception_v3": Case(
        lambda: tv.inception_v3(num_classes=5, transform_input=True, init_weights=False), (2048, 5, 5), True
    ),
    "torchvision googlenet": Case(
        lambda: tv.googlenet(num_classes=5, transform_input=True, init_weights=False), (1024, 7, 7), True
    ),
    "torchvision densenet121": Case(lambda: tv.densenet121(num_classes=5), (1024, 7, 7), True),
    "torchvision mobilenet_v2": Case(lambda: tv.mobilenet_v2(num_classes=5), (1280, 7, 7), True),
    "torchvision mobilenet_v3": Case(lambda: tv.mobilenet_v3_small(num_classes=5), (576, 7, 7), False),
    "torchvision efficientnet": Case(lambda: tv.efficientnet_b0(num_classes=5), (1280, 7, 7), True),
    "torchvision convnext": Case(lambda: tv.convnext_tiny(num_classes=5), (768, 7, 7), False),
    "torchvision squeezenet": Case(lambda: tv.squeezenet1_1(num_classes=5), (512, 13, 13), False),
    "torchvision regnet": Case(lambda: tv.regnet_x_400mf(num_classes=5), (400, 7, 7), True),
    "torchvision shufflenet": Case(lambda: tv.shufflenet_v2_x0_5(num_classes=5), (1024, 7, 7), True),
    "torchvision swin": Case(lambda: tv.swin_t(num_classes=5), (768, 7, 7), True),
    "torchvision vit": Case(NETWORKS["vit"], (16, 4, 4), False, 64),
    "timm resnet18": Case(from_timm("resnet18"), (512, 7, 7), True),
    "timm vgg11": Case(slim_timm_vgg11, (64, 7, 7), False),
    "timm inception_v3": Case(from_timm("inception_v3"), (2048, 8, 8), True, 299),
    "timm densenet121": Case(from_timm("densenet121"), (1024, 7, 7), True),
    "timm mobilenet_v2": Case(from_timm("mobilenetv2_050"), (1280, 7, 7), True),
    "timm mobilenet_v3": Case(from_timm("mobilenetv3_small_050"), (288, 7, 7), False),
    "timm efficientnet": Case(from_timm("efficientnet_lite0"), (1280, 7, 7), True),
    "timm convnext": Case(from_timm("convnext_atto"), (320, 7, 7), False),
    "timm regnet": Case(from_timm("regnetx_002"), (368, 7, 7), True),
    "timm swin": Case(from_timm("swin_tiny_patch4_window7_224"), (768, 7, 7), True),
    "timm swin, greatest value": Case(from_timm("swin_tiny_patch4_window7_224", global_pool="max"), (768, 7, 7), False),
    "timm vit": Case(from_timm("vit_tiny_patch16_224"), (192, 14, 14), False),
    "timm vit of another size": Case(from_timm("vit_tiny_patch16_224", img_size=64), (192, 4, 4), False, 64),
    "timm vit, mean of patches": Case(
        from_timm("vit_tiny_patch16_224", global_pool="avg", fc_norm=False), (192, 14, 14), True
    ),
    "timm vit, norm behind the mean": Case(
        from_timm("vit_tiny_patch16_224", global_pool="avg", class_token=False), (192, 14, 14), False
    ),
    "timm deit, distilled": Case(from_timm("deit_tiny_distilled_patch16_224"), (192, 14, 14), False),
    "timm mixer": Case(from_timm("mixer_s32_224"), (512, 7, 7), True),
    "timm eva02": Case(from_timm("eva02_tiny_patch14_224", depth=2, global_pool="token"), (192, 16, 16), False),
    "timm eva02, mean of patches": Case(from_timm("eva02_tiny_patch14_224", depth=2), (192, 16, 16), False),
    "timm xcit": Case(from_timm("xcit_nano_12_p16_224", depth=1), (128, 14, 14), False),
    "timm hiera": Case(from_timm("hiera_tiny_224", stages=(1, 1, 1, 1), embed_dim=24), (192, 7, 7), False),
    "timm levit": Case(from_timm("levit_128s"), (384, 4, 4), False),
    "timm cait": Case(from_timm("cait_xxs24_224", depth=1), (192, 14, 14), False),
    "timm twins": Case(from_timm("twins_svt_small", depths=[1, 1, 1, 1]), (512, 7, 7), True),
    "timm efficientformer": Case(from_timm("efficientformer_l1"), (448, 7, 7), False),
    "timm resnet18, greatest value": Case(from_timm("resnet18", global_pool="max"), (512, 7, 7), False),
}


SAMPLE = (
    "pool of a fixed size",
    "pool of greatest values",
    "torchvision resnet18",
    "torchvision vgg11",
    "torchvision mobilenet_v3",
    "torchvision vit",
    "timm convnext",
    "timm vit of another size",
)
"""A kind of head each, small."""


def num_parameters(*networks: nn.Module) -> int:
    return sum(parameter.numel() for network in networks for parameter in network.parameters())


@pytest.mark.parametrize("name", sampled(CASES, SAMPLE))
def test_parts_make_up_the_classifier(name: str) -> None:
    case = CASES[name]
    model = case.make().eval()
    images = random_images(1, case.side, torch.float32)
    with torch.no_grad():
        before, state = model(images), copy.deepcopy(model.state_dict())
        dual = DualBranch.from_classifier(model, num_classes=5)
        torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0, equal_nan=True)
        # Outputs to rounding: on some processors the place of a tensor in memory decides the last bit.
        torch.testing.assert_close(model(images), before, rtol=1e-6, atol=1e-6 * before.abs().max().item())
    out = dual(images)
    torch.testing.assert_close(out.softmax_logits, before, rtol=1e-5, atol=1e-6 * before.abs().max().item())
    assert out.features.shape == (1, *case.maps)
    assert out.sigmoid_logits.shape == (1, 5)
    assert not out.features.requires_grad
    assert out.sigmoid_logits.requires_grad
    assert (linear_head_weight(dual.softmax_head) is not None) == case.is_linear
    auxiliary = [child for name, child in model.named_children() if name.lower().startswith("aux")]
    assert num_parameters(dual.backbone, dual.softmax_head) == num_parameters(model) - num_parameters(*auxiliary)
    assert num_parameters(dual.sigmoid_head) == num_parameters(dual.softmax_head)
    own = {id(parameter) for parameter in model.parameters()}
    assert {id(parameter) for part in (dual.backbone, dual.softmax_head) for parameter in part.parameters()} <= own


@pytest.mark.parametrize("name", ["torchvision vit", "timm vit of another size"])
def test_gradients_reach_the_patches_of_a_vision_transformer(name: str) -> None:
    case = CASES[name]
    dual = DualBranch.from_classifier(case.make(), init="copy")
    for parameter in dual.sigmoid_head.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    maps = cam_maps(dual, random_images(2, case.side, torch.float32), 3, ["layercam"], ["sigmoid"])
    assert all(bool(values.abs().amax((1, 2)).min() > 0) for values in maps.values())


def test_a_new_classifier_of_zeros_is_cut_where_a_trained_one_is() -> None:
    model = NETWORKS["vit"]()
    nn.init.zeros_(model.heads[-1].weight)
    assert isinstance(split_classifier(model).to_maps, TokensToMaps)
    # Zeros behind any pooling give the same logits: here the greatest value is pooled.
    other = GreatestValue()
    nn.init.zeros_(other.classifier.weight)
    split = split_classifier(other)
    nn.init.normal_(other.classifier.weight)
    assert recomposes(other, split)


def test_a_bias_that_hides_the_features_does_not_hide_a_wrong_cut() -> None:
    model = GreatestValue()
    model.classifier.weight.data *= 1e-9
    split = split_classifier(model)
    model.classifier.weight.data *= 1e9
    assert recomposes(model, split)


def test_given_parts_are_verified_also_where_the_last_layer_is_zero() -> None:
    model = small_cnn(5)
    nn.init.zeros_(model.classifier.weight)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), model.classifier)
    assert recomposes(model, Split(model.features, head, nn.Identity()))
    foreign = nn.Sequential(nn.Conv2d(3, 48, 3), nn.ReLU())
    assert not recomposes(model, Split(foreign, head, nn.Identity()))


class GreatestValue(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3)
        self.classifier = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).amax((2, 3)))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2)), "Sequential"),
        # Two streams of tokens meet in the last block, whatever is cut.
        (from_timm("crossvit_9_240", depth=((1, 1, 0),)), "CrossVit"),
        (from_timm("tnt_s_legacy_patch16_224", depth=2, embed_dim=96, num_heads_outer=4), "TNT"),
        # Its class scores are averaged over the map, and no layer is left for a head.
        (lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "Sequential"),
    ],
)
def test_a_network_that_cannot_be_split_is_refused(make: Callable[[], nn.Module], name: str) -> None:
    with pytest.raises(SigcamError, match=f"cannot split {name} into features and head: pass `features`") as caught:
        DualBranch.from_classifier(make())
    assert "`to_maps`" in str(caught.value)
    assert "\n" not in str(caught.value)


class OneOutput(nn.Module):
    """A classifier whose output is made of its features by the given function."""

    def __init__(self, output: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 3)
        self.output = output

    def forward(self, images: Tensor) -> object:
        return self.output(self.features(images))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: OneOutput(lambda maps: maps), r"OneOutput must give logits of shape \(N, C\), got \(1, 6, 222, 222\)"),
        (lambda: OneOutput(lambda maps: [maps]), r"OneOutput must give logits of shape \(N, C\), got list"),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 2)),
            r"Sequential fails on a probe of 224 x 224 pixels \(.*\): set its `image_size` to the side it expects",
        ),
    ],
)
def test_what_is_no_classifier_of_images_is_refused(make: Callable[[], nn.Module], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        DualBranch.from_classifier(make())


def test_a_network_may_tell_the_size_of_its_images() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(1), nn.Linear(4 * 30 * 30, 2))
    model.image_size = 32
    dual = DualBranch.from_classifier(model)
    assert dual.extract(random_images(1, 32, torch.float32)).shape == (1, 4, 30, 30)


def test_the_classifiers_own_modules_are_used_and_its_modes_and_weights_kept() -> None:
    model = small_cnn(5).train()
    model.features[3].eval()
    modes = [module.training for module in model.modules()]
    weights = {name: (value.data_ptr(), value.clone()) for name, value in model.state_dict().items()}
    split = split_classifier(model)
    assert [module.training for module in model.modules()] == modes
    for name, value in model.state_dict().items():
        assert value.data_ptr() == weights[name][0]
        assert torch.equal(value, weights[name][1])
    assert split.features is model.features
    assert model.classifier in list(split.head.children())
    assert recomposes(model, split)
    model.classifier = nn.Linear(48, 5)
    assert not recomposes(model, split)


def test_parts_in_a_row_are_split_again() -> None:
    given = split_classifier(small_cnn(5))
    split = split_classifier(nn.Sequential(given.features, given.head))
    assert split.features is given.features
    assert linear_head_weight(split.head) is linear_head_weight(given.head)


def test_dropout_before_a_classifier_of_timm_is_kept_in_the_head() -> None:
    head = split_classifier(timm.create_model("resnet18", num_classes=5, drop_rate=0.2)).head
    assert [module.p for module in head.modules() if isinstance(module, nn.Dropout)] == [0.2]


def test_a_shallow_copy_leaves_the_network_whole() -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=32, depth=3)
    names = [name for name, _ in model.named_modules()]
    dual = DualBranch.from_classifier(model)
    assert [name for name, _ in model.named_modules()] == names
    assert not any("head" in name or "blocks.2" in name for name, _ in dual.backbone.named_modules())
    assert not any("pos_embed" in name or "cls_token" in name for name, _ in dual.softmax_head.named_parameters())
    dual.double()
    images = random_images(1, 32)
    torch.testing.assert_close(dual(images).softmax_logits, model.eval()(images))


def test_tokens_lie_in_rows() -> None:
    tokens = torch.arange(2 * 8 * 3).view(2, 8, 3)
    maps = TokensToMaps(2, (2, 3))(tokens)
    assert maps.shape == (2, 3, 2, 3)
    for row in range(2):
        for column in range(3):
            assert torch.equal(maps[:, :, row, column], tokens[:, 2 + 3 * row + column])


@pytest.mark.parametrize("shape", [(2, 7, 3), (2, 8), (2, 8, 3, 1)])
def test_tokens_of_another_grid_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SigcamError, match=r"features must be tokens \(N, 2 \+ 2 \* 3, K\), got"):
        TokensToMaps(2, (2, 3))(torch.zeros(shape))
