"""The paper's networks: torchvision's, changed so that their last feature maps are larger, as wsolevaluation does.

The CAM rows take other networks than the gradient-based rows. Of the CAM rows:

- VGG-16 without its last pool and its MLP, with a 3x3 convolution from 512 to 1,024 channels, GAP and a linear layer.
- ResNet-50 with stride 1 in layer4.
- InceptionV3 with padding and with stride 1 in Mixed_6a, up to Mixed_6e, then two 3x3 convolutions, GAP and a linear
  layer.

Their maps are 14 x 14 at 224 pixels; a large feature map leaves out one more stride, for 28 x 28. The gradient-based
rows take VGG-16 with its own three-layer head, the same ResNet-50, and InceptionV3 up to Mixed_7c, both torchvision's.
Sources: Choe et al. 2020 and their code; Oh and Noh 2025, Section 5.1.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d
from torchvision import models
from torchvision.models import inception, resnet, vgg

from ..common.errors import fail
from .formats import NEW_LAYERS
from .networks import refusing_a_failed_download

# The releases that the paper's code starts from.
RELEASES = {
    "vgg16": "VGG16_Weights.IMAGENET1K_V1",
    "resnet50": "ResNet50_Weights.IMAGENET1K_V1",
    "inception_v3": "Inception_V3_Weights.IMAGENET1K_V1",
}

VGG16_LAYERS: list[int | str] = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512]


class GapClassifier(nn.Module):
    """Feature maps, global average pooling, one linear layer.

    Args:
        features: images (N, 3, H, W) to feature maps (N, K, h, w).
        classifier: features (N, K) to logits (N, C); dropout may precede its linear layer.
    """

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C) of normalised images (N, 3, H, W)."""
        logits: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return logits


def vgg16_gap(name: str, num_classes: int, pretrained: bool = False, large_feature_map: bool = False) -> nn.Module:
    """VGG-16 without its last pool (and without the one before, for the large map), conv6, GAP and a linear layer.

    20.46 million parameters for 1,000 classes.
    """
    layers = list(vgg.make_layers(VGG16_LAYERS))
    if large_feature_map:
        layers[23] = nn.Identity()  # the fourth pool; layers keep their numbers, for torchvision's weights
    conv6 = nn.Conv2d(512, 1024, kernel_size=3, padding=1)
    nn.init.xavier_uniform_(conv6.weight)
    network = GapClassifier(nn.Sequential(*layers, conv6, nn.ReLU(inplace=True)), nn.Linear(1024, num_classes))
    return _with_release(network, name, "vgg16") if pretrained else network


def vgg16_mlp(name: str, num_classes: int, pretrained: bool = False) -> nn.Module:
    """Torchvision's VGG-16, with its head of three linear layers on maps pooled to 7 x 7."""
    network: nn.Module = models.vgg16(num_classes=num_classes)
    return _with_release(network, name, "vgg16") if pretrained else network


def resnet50_stride1(
    name: str, num_classes: int, pretrained: bool = False, large_feature_map: bool = False
) -> nn.Module:
    """ResNet-50 with stride 1 in layer4 (and in layer3, for the large map). 25.56 million parameters."""
    network: nn.Module = resnet.resnet50(num_classes=num_classes)
    for layer in ("layer3", "layer4") if large_feature_map else ("layer4",):
        for part in ("0.conv2", "0.downsample.0"):
            conv: Any = network.get_submodule(f"{layer}.{part}")
            conv.stride = (1, 1)
    return _with_release(network, name, "resnet50") if pretrained else network


def inception_v3_gap(
    name: str, num_classes: int, pretrained: bool = False, large_feature_map: bool = False
) -> nn.Module:
    """InceptionV3 up to Mixed_6e with padding, two 3x3 convolutions, GAP and a linear layer.

    26.51 million parameters for 1,000 classes. The official last layer is a 1x1 convolution averaged over the map,
    which is GAP and a linear layer. Dropout of 0.5 precedes each new layer.
    """
    conv = inception.BasicConv2d
    layers: list[tuple[str, nn.Module]] = [
        ("Conv2d_1a_3x3", conv(3, 32, kernel_size=3, stride=2, padding=1)),
        ("Conv2d_2a_3x3", conv(32, 32, kernel_size=3)),
        ("Conv2d_2b_3x3", conv(32, 64, kernel_size=3, padding=1)),
        ("maxpool1", nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)),
        ("Conv2d_3b_1x1", conv(64, 80, kernel_size=1)),
        ("Conv2d_4a_3x3", conv(80, 192, kernel_size=3)),
        ("maxpool2", nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)),
        ("Mixed_5b", inception.InceptionA(192, pool_features=32)),
        ("Mixed_5c", inception.InceptionA(256, pool_features=64)),
        ("Mixed_5d", inception.InceptionA(288, pool_features=64)),
        ("maxpool3", nn.Identity() if large_feature_map else nn.MaxPool2d(3, stride=2, ceil_mode=True)),
        ("Mixed_6a", InceptionBStride1(288)),
        ("Mixed_6b", inception.InceptionC(768, channels_7x7=128)),
        ("Mixed_6c", inception.InceptionC(768, channels_7x7=160)),
        ("Mixed_6d", inception.InceptionC(768, channels_7x7=160)),
        ("Mixed_6e", inception.InceptionC(768, channels_7x7=192)),
        ("dropout1", nn.Dropout(0.5)),
        ("conv7", nn.Conv2d(768, 1024, kernel_size=3, padding=1)),
        ("relu1", nn.ReLU(inplace=True)),
        ("dropout2", nn.Dropout(0.5)),
        ("conv8", nn.Conv2d(1024, 1024, kernel_size=3, padding=1)),
        ("relu2", nn.ReLU(inplace=True)),
    ]
    for part, layer in layers:
        if part in ("conv7", "conv8") and isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
    network = GapClassifier(
        nn.Sequential(OrderedDict(layers)), nn.Sequential(nn.Dropout(0.5), nn.Linear(1024, num_classes))
    )
    return _with_release(network, name, "inception_v3") if pretrained else network


def inception_v3_mixed_7c(name: str, num_classes: int, pretrained: bool = False) -> nn.Module:
    """Torchvision's InceptionV3 without its auxiliary head, whose last maps are those of Mixed_7c."""
    # Its published weights expect images normalised in another way, which it sees to itself.
    network: nn.Module = models.Inception3(
        num_classes, aux_logits=False, transform_input=pretrained, init_weights=False
    )
    return _with_release(network, name, "inception_v3") if pretrained else network


class InceptionBStride1(inception.InceptionB):  # type: ignore[misc]  # torchvision has no types
    """torchvision's InceptionB with stride 1 and padding 1, so that it keeps the size of the maps."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        for branch in (self.branch3x3, self.branch3x3dbl_3):
            branch.conv.stride, branch.conv.padding = (1, 1), (1, 1)

    def _forward(self, x: Tensor) -> list[Tensor]:
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return [self.branch3x3(x), branch3x3dbl, max_pool2d(x, kernel_size=3, stride=1, padding=1)]


def _with_release(network: nn.Module, name: str, release: str) -> nn.Module:
    with refusing_a_failed_download(name):
        weights = models.get_weight(RELEASES[release]).get_state_dict(progress=True, check_hash=True, weights_only=True)
    load_torchvision_weights(network, weights)
    return network


@torch.no_grad()
def load_torchvision_weights(network: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Load what torchvision's network of the same name has in common with ``network``.

    Args:
        network: from this module.
        weights: state dict of torchvision's network.

    Returns:
        Names of the parameters that torchvision's network lacks, such as those of conv6, or has in another shape,
        such as those of a classifier with other classes. They stay random.

    Raises:
        SigcamError: if a layer that both have does not fit: the weights are of another network.
    """
    own = network.state_dict()
    found = {}
    for name, value in own.items():
        theirs = weights.get(name, weights.get(name.removeprefix("features.")))
        if theirs is not None and theirs.shape == value.shape:
            found[name] = theirs
    missing = [name for name in own if name not in found]
    if misfits := [name for name in missing if not name.startswith((*NEW_LAYERS, "classifier.", "fc."))]:
        fail(f"the weights do not fit {type(network).__name__}: {misfits[0]} is missing or has another shape.")
    network.load_state_dict(found, strict=False)
    return missing
