"""Where a softmax classifier comes from, before or without training."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..backbones.networks import IMAGENET_CLASSES, build
from ..common.errors import check_choice, fail
from ..prepare.manifest import Manifest

ORIGINS = ("scratch", "finetune", "probe", "restricted", "pretrained")
"""``scratch``: random weights, all trained. ``finetune``: ImageNet weights, all trained. ``probe``: ImageNet weights,
frozen, with a new last layer that is trained. ``restricted``: ImageNet weights, of whose 1,000 classes those of the
data set are kept; nothing is trained. ``pretrained``: ImageNet weights as they are."""
UNTRAINED = ("restricted", "pretrained")
WITHOUT_PUBLISHED_CLASSIFIER = ("vgg16", "inception_v3")
LAST_LAYERS = ("classifier.", "fc.", "head.", "heads.", "last_linear.")


def starting_point(origin: str, backbone: str, head: str, manifest: Manifest) -> nn.Module:
    """The network that training starts from, or that needs none.

    Args:
        origin: one of :data:`ORIGINS`.
        backbone: name known to :func:`sigcam_core.backbones.networks.build`.
        head: ``"gap"`` or ``"mlp"``.
        manifest: data set, for its classes.

    Raises:
        SigcamError: for an unknown name, or a data set whose classes are not ImageNet's where they must be.
    """
    check_choice("origin", origin, ORIGINS)
    if origin not in UNTRAINED:
        return build(backbone, manifest.num_classes, head, pretrained=origin != "scratch")
    if backbone in WITHOUT_PUBLISHED_CLASSIFIER and head == "gap":
        fail(f"{backbone} has layers that no published weights have: use origin 'finetune' and train them.")
    if origin == "pretrained":
        if manifest.num_classes != IMAGENET_CLASSES:
            fail(f"{manifest.name} has {manifest.num_classes} classes, not ImageNet's 1,000: use origin 'restricted'.")
        return build(backbone, IMAGENET_CLASSES, head, pretrained=True)
    classes = imagenet_classes(manifest)
    model = build(backbone, IMAGENET_CLASSES, head, pretrained=True)
    restrict_classes(model, classes)
    return model


def imagenet_classes(manifest: Manifest) -> list[int]:
    """ImageNet's index of each of the data set's C classes, from the manifest's column ``imagenet_class``.

    Raises:
        SigcamError: if there is no such column.
    """
    if "imagenet_class" not in manifest.table:
        fail(f"the classes of {manifest.name} are not ImageNet's: train a classifier, for example a 'probe'.")
    pairs = manifest.table[["label", "imagenet_class"]].drop_duplicates().sort_values("label")
    if pairs["label"].tolist() != list(range(manifest.num_classes)):
        fail(f"not every class of {manifest.name} has an image and one ImageNet class: prepare the data set again.")
    return [int(index) for index in pairs["imagenet_class"]]


def restrict_classes(model: nn.Module, classes: list[int], num_classes: int = IMAGENET_CLASSES) -> None:
    """Keep some classes of a classifier's last layer, in place; the logits of the others are no longer computed.

    Args:
        model: a classifier whose last layer is linear.
        classes: indices of the classes to keep, in the order wanted.
        num_classes: of the classifier as it is.

    Raises:
        SigcamError: if there is not just one linear layer of so many classes, or a class does not exist.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> restrict_classes(model, [2, 0], num_classes=3)
    >>> model[1]
    Linear(in_features=4, out_features=2, bias=True)
    """
    last = [module for module in model.modules() if type(module) is nn.Linear and module.out_features == num_classes]
    if len(last) != 1:
        fail(f"{type(model).__name__} has {len(last)} linear layers of {num_classes} classes: it must have one.")
    if not classes or not 0 <= min(classes) <= max(classes) < num_classes:
        fail(f"cannot keep classes {min(classes, default=None)} to {max(classes, default=None)} of {num_classes}.")
    with torch.no_grad():
        last[0].weight = nn.Parameter(last[0].weight[classes].clone())
        if last[0].bias is not None:
            last[0].bias = nn.Parameter(last[0].bias[classes].clone())
    last[0].out_features = len(classes)


def parameter_groups(model: nn.Module, ratio: float) -> list[dict[str, Any]]:
    """Groups for an optimizer in which the last layers learn ``ratio`` times faster than the rest.

    These are the classifier, layers that the paper's networks add to torchvision's, and layer4 of ResNet-50, as in the
    code of Choe et al. 2020.

    Args:
        model: the network.
        ratio: of learning rates; with 1 there is one group.
    """
    if ratio == 1:
        return [{"params": list(model.parameters()), "ratio": 1.0}]
    new = (*LAST_LAYERS, "layer4.", "features.conv7.", "features.conv8.", "features.30.")
    named = dict(model.named_parameters())
    last = [name for name in named if name.startswith(new)]
    rest = [parameter for name, parameter in named.items() if name not in last]
    return [{"params": rest, "ratio": 1.0}, {"params": [named[name] for name in last], "ratio": ratio}]
