"""Shipped heads: the weights of the file on the network of the card, and a card that says all that one must know."""

import sys
from pathlib import Path
from types import FrameType

import pytest
import torch
from safetensors.torch import load_file, save_file

from sigcam_core import DualBranch, SigcamError
from sigcam_core.backbones import IMAGENET_CLASSES, build, input_format
from sigcam_core.common.files import sha256_of_file, write_json
from sigcam_core.dual.shipped import SHIPPED_HEADS, WEIGHTS, shipped_card, shipped_dual
from sigcam_core.train.recipes import Recipe

PACKAGE = WEIGHTS.parents[1]
IMAGES = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.fixture(scope="module")
def published() -> torch.nn.Module:
    return build("efficientnet_lite0", IMAGENET_CLASSES, pretrained=True)


def test_an_unknown_head_is_refused() -> None:
    for load in (shipped_card, shipped_dual):
        with pytest.raises(SigcamError, match="unknown shipped head 'resnet50': choose one of efficientnet_lite0-tiny"):
            load("resnet50")


@torch.no_grad()
def test_the_head_that_lies_there_is_loaded_on_the_classes_of_its_card(
    published: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = DualBranch.from_classifier(build("efficientnet_lite0", 3)).sigmoid_head
    for parameter in head.parameters():
        parameter.data = torch.randn_like(parameter)
    (tmp_path / "weights").mkdir()
    save_file(head.state_dict(), tmp_path / "weights" / "mine.safetensors")
    classes = [7, 3, 999]
    card = {"backbone": "efficientnet_lite0", "imagenet_classes": classes, "class_names": ["a", "b", "c"]}
    write_json(tmp_path / "weights" / "mine.json", card)
    monkeypatch.setattr("sigcam_core.dual.shipped.files", lambda _: tmp_path)
    monkeypatch.setattr("sigcam_core.dual.shipped.SHIPPED_HEADS", ("mine",))
    dual, found = shipped_dual("mine")
    assert found == card
    assert all(torch.equal(value, head.state_dict()[name]) for name, value in dual.sigmoid_head.state_dict().items())
    assert not any(module.training for module in dual.modules())
    output = dual(IMAGES)
    torch.testing.assert_close(output.softmax_logits, published(IMAGES)[:, classes])
    torch.testing.assert_close(output.sigmoid_logits, head(dual.extract(IMAGES)))
    write_json(tmp_path / "weights" / "mine.json", card | {"class_names": ["a", "b"]})
    with pytest.raises(SigcamError, match="the classifier has 3 classes, but num_classes is 2"):
        shipped_dual("mine")


def test_a_shipped_head_is_loaded_without_looking_for_the_cut() -> None:
    entered: dict[str, None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            entered[path.relative_to(PACKAGE).as_posix()] = None

    shipped_dual(SHIPPED_HEADS[0])  # imports what it needs
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        shipped_dual(SHIPPED_HEADS[0])
    finally:
        sys.setprofile(before)
    assert set(entered) <= {
        "dual/shipped.py",
        "dual/branch.py",
        "split/split.py",  # activations of the heads are told not to work in place
        "backbones/formats.py",
        "backbones/networks.py",
        "backbones/efficientnet_lite.py",
        "backbones/restrict.py",
        "common/errors.py",
        "common/files.py",
        "common/paths.py",
    }


@pytest.mark.parametrize("name", SHIPPED_HEADS)
def test_a_shipped_card_says_what_the_head_is(name: str) -> None:
    card = shipped_card(name)
    assert card["name"] == name == f"{card['backbone']}-{card['dataset']}"
    assert len(set(card["class_names"])) == len(set(card["imagenet_classes"])) == 200
    assert set(card["test_top1"]) == {"softmax", "sigmoid"}
    assert all(50 < accuracy < 100 for accuracy in card["test_top1"].values())
    training = card["training"]
    assert Recipe(**training["recipe"]).epochs == len(training["history"])
    assert "+" not in training["commit"]  # of a clean tree
    assert {"seed", "sha256", "classifier_sha256", "manifest_checksum", "device", "versions", "date"} <= training.keys()
    assert "64 x 64" in card["limits"]


@pytest.mark.parametrize("name", SHIPPED_HEADS)
@torch.no_grad()
def test_a_shipped_head_stands_beside_the_published_classifier(name: str, published: torch.nn.Module) -> None:
    path = WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size < 1.2e6
    dual, card = shipped_dual(name)
    assert card["backbone"] == "efficientnet_lite0"
    assert sum(value.numel() for value in load_file(path).values()) == 1281 * 200
    size = input_format(card["backbone"]).size
    images = torch.randn(1, 3, size, size)
    output = dual(images)
    torch.testing.assert_close(output.softmax_logits, published(images)[:, card["imagenet_classes"]])
    assert output.sigmoid_logits.shape == (1, 200)
    assert sha256_of_file(path) == card["training"]["sha256"]
