"""The paper's networks: sizes of parameters and maps as published, and torchvision's weights in their places."""

import pytest
import torch
from small_networks import sampled
from torch import Tensor, nn
from torchvision import models

from companion.paper.tables import paper_table
from sigcam_core import DualBranch, SigcamError
from sigcam_core.backbones.networks import build
from sigcam_core.backbones.paper_networks import load_torchvision_weights
from sigcam_core.evaluate.overhead import count_parameters

ORIGINALS = {
    "vgg16": lambda: models.vgg16(),
    "resnet50": lambda: models.resnet50(),
    "inception_v3": lambda: models.inception_v3(init_weights=False),
}
SAMPLE = ("resnet50",)


@pytest.mark.parametrize("name", sampled(ORIGINALS, SAMPLE))
def test_parameters_are_as_many_as_published(name: str) -> None:
    table = paper_table("table3_overhead")
    row = table[(table["backbone"] == name) & (table["quantity"] == "parameters")].iloc[0]
    dual = DualBranch.from_classifier(build(name, 1000))
    frozen = count_parameters(dual.backbone, dual.softmax_head)
    assert frozen / 1e6 == pytest.approx(row["baseline"], abs=0.006)
    assert (frozen + count_parameters(dual.sigmoid_head)) / 1e6 == pytest.approx(row["dual_branch"], abs=0.011)


@pytest.mark.parametrize("name", sampled(ORIGINALS, SAMPLE))
@pytest.mark.parametrize(("large", "side"), [(False, 14), (True, 28)])
def test_maps_are_as_large_as_published(name: str, large: bool, side: int) -> None:
    dual = DualBranch.from_classifier(build(name, 3, large_feature_map=large))
    features = dual(torch.zeros(1, 3, 224, 224)).features
    assert features.shape == (1, 2048 if name == "resnet50" else 1024, side, side)


@pytest.mark.parametrize("name", sampled(ORIGINALS, SAMPLE))
def test_torchvisions_weights_find_their_places(name: str) -> None:
    original, network = ORIGINALS[name](), build(name, 7)
    weights = original.state_dict()
    random = load_torchvision_weights(network, weights)
    new = {"vgg16": ("features.30", "classifier"), "resnet50": ("fc",), "inception_v3": ("features.conv", "classifier")}
    assert {key for key in random if not key.startswith(new[name])} == set()
    assert len(random) == {"vgg16": 4, "resnet50": 2, "inception_v3": 6}[name]
    own = network.state_dict()
    for key in set(own) - set(random):
        theirs = weights[key] if key in weights else weights[key.removeprefix("features.")]
        assert torch.equal(own[key], theirs), key


def first_layers(network: nn.Module, images: Tensor, until: str) -> Tensor:
    """Output of the layer called ``until``, and nothing behind it."""
    kept = []
    handle = network.get_submodule(until).register_forward_hook(lambda _, __, output: kept.append(output))
    network(images)
    handle.remove()
    return kept[0]


@torch.no_grad()
def test_layers_before_the_first_change_compute_what_torchvisions_do() -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for name, ours, theirs in (("vgg16", "features.29", "features.29"), ("resnet50", "layer3", "layer3")):
        original, network = ORIGINALS[name]().eval(), build(name, 7)
        load_torchvision_weights(network, original.state_dict())
        expected, found = first_layers(original, images, theirs), first_layers(network, images, ours)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "name", sampled(["vgg16", "vgg16_mlp", "resnet50", "inception_v3", "inception_v3_mixed_7c"], SAMPLE)
)
def test_pretrained_loads_what_the_download_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = ORIGINALS[name.removesuffix("_mixed_7c").removesuffix("_mlp")]()
    asked: dict[str, object] = {}

    def download(url: str, **options: object) -> dict[str, Tensor]:
        asked.update(options, url=url)
        return original.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    network = build(name, 1000, pretrained=True)
    assert asked["weights_only"] is asked["check_hash"] is True  # no pickle, and no other file
    theirs = original.state_dict()
    own = {
        key.removeprefix("features." if name == "inception_v3" else ""): v for key, v in network.state_dict().items()
    }
    shared = own.keys() & theirs.keys()
    assert len(shared) > 0.8 * len(own)
    assert all(torch.equal(own[key], theirs[key]) for key in shared)


def test_a_failed_download_gets_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, **options: object) -> None:
        raise OSError("<urlopen error [Errno -2] Name or service not known>")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(SigcamError, match=r"ImageNet weights of resnet50 cannot be fetched \(.*not known>\): restore"):
        build("resnet50", 10, pretrained=True)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(SigcamError, match=r"do not fit ResNet: conv1\.weight is missing or has another shape"):
        load_torchvision_weights(build("resnet50", 3), models.vgg11().state_dict())


def test_timm_names_are_built_too() -> None:
    network = build("resnet10t", 4)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 4)
    assert type(build("timm/resnet50", 4)).__module__.startswith("timm")
