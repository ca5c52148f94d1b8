"""Random weights: torchvision takes them for published ones without a network, and signals pass through them."""

from pathlib import Path

import pytest
import torch

from random_weights import write_random_weights
from sigcam_core.backbones import build
from sigcam_core.common.files import read_json


@pytest.fixture
def one_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is enough, and it is not the one of half a gigabyte."""
    monkeypatch.setattr("random_weights.RELEASES", {"resnet50": "ResNet50_Weights.IMAGENET1K_V1"})


@pytest.mark.usefixtures("one_network")
def test_torchvision_finds_the_weights_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_random_weights(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_, **__: pytest.fail("it was to be there"))
    network = build("resnet50", 1000, pretrained=True)
    state = torch.load(tmp_path / "hub/checkpoints/resnet50-0676ba61.pth", weights_only=True)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    logits = network(torch.randn(2, 3, 64, 64))
    assert logits.isfinite().all()
    assert 0.01 < logits.std() < 100
    assert "random" in read_json(tmp_path / "weights.json")["weights"]
