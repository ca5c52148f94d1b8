"""The embedded default's network: small enough to train on one CPU core in about a minute.

Two heads, as in the paper's Table 1: global average pooling with one linear layer, on which most CAM methods
coincide, and a VGG-style multi-layer head, on which they differ.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from ..common.errors import check_choice, fail
from .formats import BACKBONES

HEADS = ("gap", "mlp")


class SmallCNN(nn.Module):
    """``forward(x) == classifier(flatten(avgpool(features(x))))``, built by :func:`small_cnn`.

    Attributes:
        features: (N, 3, H, W) to the non-negative feature maps A of shape (N, K, H/8, W/8).
        avgpool: pooling of the maps, to 1 x 1 (``gap``) or 3 x 3 (``mlp``).
        classifier: pooled and flattened maps to logits (N, C).
        input_format: how images are made ready.
    """

    input_format = BACKBONES["small_cnn"].input_format

    def __init__(self, features: nn.Sequential, avgpool: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.avgpool = avgpool
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C) of normalised images (N, 3, H, W)."""
        logits: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return logits


def small_cnn(num_classes: int, head: Literal["gap", "mlp"] = "gap", width: int = 24) -> SmallCNN:
    """Build the small network, with random weights. Inputs of 96 x 96 pixels give feature maps of 12 x 12.

    Args:
        num_classes: number of classes C.
        head: ``gap`` for average pooling and one linear layer; ``mlp`` for a head as VGG-16's, pooling to 3 x 3
            and three linear layers with ReLU and dropout.
        width: channels of the second block; the maps have K = 2 * width.

    Raises:
        SigcamError: on an unknown head, or numbers below 1.

    >>> import torch
    >>> model = small_cnn(8, head="gap").eval()
    >>> model.features(torch.zeros(2, 3, 96, 96)).shape
    torch.Size([2, 48, 12, 12])
    """
    check_choice("head", head, HEADS)
    if num_classes < 1 or width < 2:
        fail(f"cannot build a network with {num_classes} classes and width {width}: give at least 1 class and width 2.")
    # Three halvings: a stride of 8, as that of the large feature maps in weakly supervised localisation.
    # Two blocks more at that stride let a unit see 47 pixels: a shape is known by how its corners lie together.
    # The default widths are multiples of 8, without which CPU convolutions take half as long again.
    channels = (3, 2 * width // 3, width, 2 * width, 2 * width, 2 * width)
    strides = (2, 2, 2, 1, 1)
    blocks = [
        _block(before, after, stride) for (before, after), stride in zip(pairwise(channels), strides, strict=True)
    ]
    maps = channels[-1]
    if head == "gap":
        return SmallCNN(nn.Sequential(*blocks), nn.AdaptiveAvgPool2d(1), nn.Linear(maps, num_classes))
    hidden = 4 * maps
    classifier = nn.Sequential(
        nn.Linear(9 * maps, hidden),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(hidden, num_classes),
    )
    return SmallCNN(nn.Sequential(*blocks), nn.AdaptiveAvgPool2d(3), classifier)


def small_cnn_gap(name: str, num_classes: int, pretrained: bool = False) -> SmallCNN:
    """:func:`small_cnn` with global average pooling and one linear layer."""
    return small_cnn(num_classes, "gap")


def small_cnn_mlp(name: str, num_classes: int, pretrained: bool = False) -> SmallCNN:
    """:func:`small_cnn` with a head of three layers."""
    return small_cnn(num_classes, "mlp")


def _block(channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
