"""Where classifiers come from: the right weights kept, the right layers new, and each parameter in one group."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from small_networks import NETWORKS
from torch import nn

from sigcam_core.backbones.networks import build
from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.train import origins
from sigcam_core.train.origins import (
    ORIGINS,
    UNTRAINED,
    imagenet_classes,
    parameter_groups,
    restrict_classes,
    starting_point,
)

CLASSES = [281, 7, 999]


def data_set(labels: list[int], classes: list[int] | None = None, num_classes: int = 3) -> Manifest:
    columns = {"label": labels} | ({} if classes is None else {"imagenet_class": classes})
    names = tuple(f"c{index}" for index in range(num_classes))
    return Manifest("tiny", pd.DataFrame(columns), names, Path(), "")


@pytest.fixture(scope="module")
def published() -> nn.Module:
    return build("efficientnet_lite0", 1000, pretrained=True)


@torch.no_grad()
def test_restricted_classifier_has_exactly_the_logits_of_its_classes(published: nn.Module) -> None:
    model = build("efficientnet_lite0", 1000, pretrained=True)
    restrict_classes(model, CLASSES)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(images), published(images)[:, CLASSES])
    assert model.classifier[-1].out_features == 3
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert sum(p.numel() for p in model.classifier.parameters()) == 3 * 1281  # no view of the thousand


def test_a_last_layer_without_bias_can_be_restricted() -> None:
    layer = nn.Linear(4, 6, bias=False)
    expected = layer.weight[[5, 0]]
    restrict_classes(nn.Sequential(layer), [5, 0], num_classes=6)
    assert torch.equal(layer.weight, expected)
    assert layer.bias is None


@pytest.mark.parametrize(
    ("model", "classes", "sentence"),
    [
        (nn.Sequential(nn.Linear(4, 5)), [0], "Sequential has 0 linear layers of 6 classes: it must have one"),
        (nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)), [0], "Sequential has 2 linear layers of 6 classes"),
        (nn.Linear(4, 6), [0, 6], "cannot keep classes 0 to 6 of 6"),
        (nn.Linear(4, 6), [-1, 2], "cannot keep classes -1 to 2 of 6"),
        (nn.Linear(4, 6), [], "cannot keep classes None to None of 6"),
    ],
)
def test_classes_that_do_not_exist_are_refused(model: nn.Module, classes: list[int], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        restrict_classes(model, classes, num_classes=6)


def test_imagenet_classes_come_in_the_order_of_labels() -> None:
    assert imagenet_classes(data_set([2, 0, 1, 0, 2], [999, 281, 7, 281, 999])) == CLASSES


@pytest.mark.parametrize(
    ("labels", "classes", "sentence"),
    [
        ([0, 1, 2], None, "the classes of tiny are not ImageNet's: train a classifier, for example a 'probe'"),
        ([0, 2], [281, 999], "not every class of tiny has an image and one ImageNet class"),
        ([0, 1, 2, 1], [281, 7, 999, 8], "not every class of tiny has an image and one ImageNet class"),
    ],
)
def test_data_sets_of_other_classes_are_refused(labels: list[int], classes: list[int] | None, sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        imagenet_classes(data_set(labels, classes))
    with pytest.raises(SigcamError, match=sentence):
        starting_point("restricted", "efficientnet_lite0", data_set(labels, classes))


@pytest.mark.parametrize("backbone", ["small_cnn", "small_cnn_mlp"])
def test_from_scratch_all_weights_are_random(backbone: str) -> None:
    one, other = (starting_point("scratch", backbone, data_set([0])) for _ in range(2))
    assert [module.out_features for module in one.modules() if isinstance(module, nn.Linear)][-1] == 3
    assert not torch.equal(one.features[0][0].weight, other.features[0][0].weight)


@pytest.mark.parametrize("origin", ["finetune", "probe"])
def test_a_new_last_layer_on_published_features(published: nn.Module, origin: str) -> None:
    model = starting_point(origin, "efficientnet_lite0", data_set([0]))
    assert model.classifier[-1].weight.shape == (3, 1280)
    expected = published.features.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.features.state_dict().items())


@pytest.mark.parametrize(("origin", "num_classes", "rows"), [("restricted", 3, CLASSES), ("pretrained", 1000, None)])
def test_untrained_classifiers_are_the_published_one(
    published: nn.Module, origin: str, num_classes: int, rows: list[int] | None
) -> None:
    manifest = data_set([1, 0, 2], [7, 281, 999], num_classes)
    model = starting_point(origin, "efficientnet_lite0", manifest)
    expected = published.state_dict()
    for name in ("classifier.1.weight", "classifier.1.bias"):
        expected[name] = expected[name] if rows is None else expected[name][rows]
    actual = model.state_dict()
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())
    assert not model.training


def test_what_no_origin_can_give_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = data_set([0, 1, 2], CLASSES)
    with pytest.raises(SigcamError, match="unknown origin 'web': choose one of scratch, finetune, probe, restricted, "):
        starting_point("web", "small_cnn", manifest)
    with pytest.raises(SigcamError, match="tiny has 3 classes, not ImageNet's 1,000: use origin 'restricted'"):
        starting_point("pretrained", "efficientnet_lite0", manifest)
    of_imagenet = data_set([0], num_classes=1000)
    for origin in set(ORIGINS) - {"scratch"}:
        with pytest.raises(SigcamError, match="small_cnn has no ImageNet weights"):
            starting_point(origin, "small_cnn", of_imagenet if origin == "pretrained" else manifest)
    monkeypatch.setattr(origins, "build", lambda *_, **__: pytest.fail("this would have been downloaded"))
    for origin in UNTRAINED:
        for backbone in ("vgg16", "inception_v3"):
            with pytest.raises(SigcamError, match=f"{backbone} has layers that no published weights have: use origin "):
                starting_point(origin, backbone, manifest)


def test_the_published_vgg16_has_an_mlp_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "build", lambda *arguments, **options: (arguments, options))
    built = starting_point("pretrained", "vgg16_mlp", data_set([0], num_classes=1000))
    assert built == (("vgg16_mlp", 1000), {"pretrained": True})


@pytest.mark.parametrize(
    ("name", "head", "fast"),
    [
        ("resnet50", "gap", ("layer4.", "fc.")),
        ("vgg16", "gap", ("features.30.", "classifier.")),
        ("vgg16", "mlp", ("classifier.",)),
        ("inception_v3", "gap", ("features.conv7.", "features.conv8.", "classifier.")),
        ("inception_v3_mixed_7c", "gap", ("fc.",)),
        ("efficientnet_lite0", "gap", ("classifier.",)),
        ("small_cnn", "mlp", ("classifier.",)),
    ],
)
def test_last_layers_learn_faster_and_no_parameter_is_lost(name: str, head: str, fast: tuple[str, ...]) -> None:
    with torch.device("meta"):
        model = build(name, 5, head)
    slow_group, fast_group = parameter_groups(model, 10)
    assert (slow_group["ratio"], fast_group["ratio"]) == (1, 10)
    named = dict(model.named_parameters())
    names = {id(parameter): name for name, parameter in named.items()}
    found = [[names[id(parameter)] for parameter in group["params"]] for group in (slow_group, fast_group)]
    assert sorted(found[0] + found[1]) == sorted(named)  # each exactly once
    assert set(found[1]) == {name for name in named if name.startswith(fast)}
    assert all(any(name.startswith(prefix) for name in found[1]) for prefix in fast)


@pytest.mark.parametrize("name", NETWORKS)
def test_with_a_ratio_of_one_all_parameters_are_one_group(name: str) -> None:
    model = NETWORKS[name]()
    (group,) = parameter_groups(model, 1)
    assert group["ratio"] == 1
    assert list(map(id, group["params"])) == list(map(id, model.parameters()))
