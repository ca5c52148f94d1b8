"""Networks on machines of other kinds: a default device that is not theirs, an accelerator without float64."""

from __future__ import annotations

import pytest
import torch
from small_devices import without_float64
from small_networks import NETWORKS, random_images
from torch import Tensor, nn

from sigcam_core import DualBranch, cam_maps, normalize_maps
from sigcam_core.cams.score_maps import correlation_of_resized, resize_maps
from sigcam_core.split.proposals import Split
from sigcam_core.split.split import recomposes


class Observed(nn.Module):
    """Of a form that is cut by what a pass shows."""

    image_size = 32

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.layer, self.linear = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images).flatten(2).mT
        return 2 * self.linear((tokens + self.layer(tokens)).mean(dim=1))


KINDS = {"small_cnn": NETWORKS["small_cnn-mlp"], "vit": NETWORKS["vit"], "observed": Observed}


@pytest.mark.parametrize("name", KINDS)
def test_a_default_device_that_is_not_the_networks_changes_nothing(name: str) -> None:
    model = KINDS[name]().eval().double()
    images = random_images(2, 32 if name == "observed" else 64)
    expected = cam_maps(DualBranch.from_classifier(model, init="copy"), images, 1)
    torch.set_default_device("meta")  # whatever is made without a device has no values
    try:
        dual = DualBranch.from_classifier(model, init="copy")
        assert recomposes(model, Split(dual.backbone, dual.softmax_head, dual.to_maps))
        maps = cam_maps(dual, images, 1)
        score_maps = {row: normalize_maps(values, (8, 8)) for row, values in maps.items()}
    finally:
        torch.set_default_device(None)
    for row, values in expected.items():
        torch.testing.assert_close(maps[row], values)
        torch.testing.assert_close(score_maps[row], normalize_maps(values, (8, 8)))


@pytest.mark.parametrize("name", KINDS)
def test_maps_are_made_and_stretched_on_a_device_without_float64(name: str) -> None:
    model = KINDS[name]().eval()
    images = random_images(2, 32 if name == "observed" else 64).float()
    with without_float64():
        dual = DualBranch.from_classifier(model, init="copy")
        maps = cam_maps(dual, images, 1, ["gradcam"])["softmax", "gradcam"]
        score_maps, resized = normalize_maps(maps, (20, 30)), resize_maps(maps, (20, 30))
        correlation = correlation_of_resized(maps, -maps, (20, 30))
    assert score_maps.dtype == resized.dtype == torch.float32
    torch.testing.assert_close(score_maps.double(), normalize_maps(maps, (20, 30)), atol=1e-5, rtol=0)
    torch.testing.assert_close(resized.double(), resize_maps(maps, (20, 30)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(correlation, -torch.ones(2))
