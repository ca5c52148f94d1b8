"""The small network has the parts that the dual-branch model takes apart."""

import pytest
import torch

from sigcam_core.backbones.small_cnn import HEADS, small_cnn
from sigcam_core.common.errors import SigcamError


@pytest.mark.parametrize("head", HEADS)
def test_the_parts_make_up_the_whole(head: str) -> None:
    model = small_cnn(8, head=head).eval()
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    features = model.features(images)
    assert features.shape == (2, 48, 12, 12)
    assert features.min() >= 0
    assert features.max() > 0
    torch.testing.assert_close(model(images), model.classifier(model.avgpool(features).flatten(1)))
    assert model(images).shape == (2, 8)


def test_gap_head_is_the_mean_map_times_one_matrix() -> None:
    model = small_cnn(5, head="gap").eval()
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    pooled = model.features(images).mean((2, 3))
    torch.testing.assert_close(model(images), pooled @ model.classifier.weight.T + model.classifier.bias)


def test_mlp_head_has_the_three_layers_of_vgg() -> None:
    kinds = [type(layer).__name__ for layer in small_cnn(8, head="mlp").classifier]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]


@pytest.mark.parametrize("arguments", [{"head": "transformer"}, {"num_classes": 0}, {"width": 0}])
def test_wrong_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(SigcamError, match=r"unknown head|cannot build"):
        small_cnn(**{"num_classes": 8, **arguments})
