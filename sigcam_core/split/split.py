"""Cut a classifier into backbone and head, so that ``head(backbone(images))`` is the classifier.

No table of architectures: a few ways to cut are proposed from the network's own parts, each is tried on a probe
image, and the first is taken that gives the classifier's logits and leaves no second stage of layers in the head. A
head may hold pooling, activations, norms, dropout, linear layers, convolutions of one place, and one block of a
transformer. What comes out:

- ResNet, Inception, GoogLeNet, RegNet, DenseNet, MobileNetV2, EfficientNet, ShuffleNet: before global average pooling;
  the head is pooling and one linear layer. Inception's and GoogLeNet's own change of the input belongs to the
  backbone; their auxiliary heads belong to nothing.
- VGG, ConvNeXt, MobileNetV3, SqueezeNet: after the last feature maps; the head has other layers besides.
- Swin and vision transformers that average normalised patch tokens: after the final norm, as maps (N, K, h, w); the
  head is pooling and one linear layer.
- Vision transformers with a class token (ViT, DeiT, BEiT), or with a norm behind their pooling: before the last block.
  Behind it the class token is all that the logits see, so that no gradient would reach a patch. Features are tokens
  (N, L, K), and ``to_maps`` makes maps of them.
- What none of this fits (Hugging Face's classifiers, EVA-02, XCiT, CaiT, Hiera, LeViT, EfficientFormer, a ``forward``
  of one's own): at the last module that gives maps or tokens on which alone the logits depend; see
  :mod:`~sigcam_core.split.observed`. Tokens must lie where they do in the picture. Two streams that meet in the last
  block (CrossViT, TNT) have no such place.
- Wrappers whose forward calls one network, alone or behind modules that keep the form of a picture, such as one that
  normalises: where that network is cut, and what comes before it belongs to the backbone.

A softmax or a sigmoid at the end of a classifier is left out of the head: logits are what comes before it.

The parts hold the classifier's own modules and parameters, not copies. Where a part needs a method of the network,
it holds a shallow copy of it with fewer children.
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from itertools import chain, islice

import torch
from torch import Tensor, nn

from ..common.errors import fail
from .observed import observed_splits
from .probe import agree, drawn_classifier, evaluation_mode, logits_of, probe_image, probe_logits
from .proposals import MISFITS, Split, proposals
from .refusals import refuse

MOST_PROPOSALS = 1000
"""Places that are tried by the children of a network, each a pass; deeply nested ones have many thousands."""
NOISE = 1e-3
"""Logits of one image differ by more than so much of the greatest where something draws numbers in evaluation mode."""


class CopyFeatures(nn.Module):
    """A copy of the features, for a head that would change them in place and leave the other head with the change."""

    def forward(self, features: Tensor) -> Tensor:
        """Copy the features, so that they have memory of their own."""
        return features.clone()


def split_classifier(model: nn.Module, probe: Tensor | None = None) -> Split:
    """Split a classifier of images into parts with ``head(features(x)) == model(x)``, verified on a probe image.

    Args:
        model: images (N, 3, H, W) to logits (N, C).
        probe: (1, 3, H, W) an image that it takes; by default noise.

    Raises:
        SigcamError: if no proposal recomposes the network, or it cannot be probed, or says the same of any image.
    """
    probe = probe_image(model) if probe is None else probe
    logits = probe_logits(model, probe)
    with torch.no_grad(), evaluation_mode(model), drawn_classifier(model, logits.shape[1]):
        expected = _expected_logits(model, probe)
        if torch.equal(expected, logits_of(model(-probe))):  # then any parts would seem to make it up
            refuse("same logits", model)
        for split in chain(islice(proposals(model, probe), MOST_PROPOSALS), observed_splits(model, probe)):
            if list(split.head.parameters()) and _gives(split, probe, expected) and not _holds_a_stage(split, probe):
                return split
    refuse("no cut", model)


def _expected_logits(model: nn.Module, probe: Tensor) -> Tensor:
    """Logits (1, C) of a probe image, with which those of the parts are compared.

    Raises:
        SigcamError: if another pass gives others.
    """
    first: Tensor = logits_of(model(probe))
    second: Tensor = logits_of(model(probe))
    if (first - second).abs().max() > NOISE * first.abs().max():
        refuse("restless", model)
    return first


@torch.no_grad()
def recomposes(model: nn.Module, split: Split, probe: Tensor | None = None) -> bool:
    """Say whether ``head(features(x)) == model(x)`` on a probe image."""
    probe = probe_image(model) if probe is None else probe
    own = {id(parameter) for parameter in model.parameters()}
    is_shared = any(id(parameter) in own for parameter in split.head.parameters())
    classes = probe_logits(model, probe).shape[1]
    with evaluation_mode(model), drawn_classifier(model, classes) if is_shared else nullcontext():
        return _gives(split, probe, _expected_logits(model, probe))


def _gives(split: Split, probe: Tensor, expected: Tensor) -> bool:
    """Say whether the parts give maps, and the expected logits up to rounding."""
    with evaluation_mode(*split):
        try:
            features = split.features(probe)
            maps, logits = split.to_maps(features), split.head(features.clone())
        except MISFITS:
            return False  # the proposal does not fit this network: the caller tries the next one
    are_maps = isinstance(maps, Tensor) and maps.ndim == 4 and maps.shape[2:].numel() > 1
    return are_maps and agree(logits, expected)


def _holds_a_stage(split: Split, probe: Tensor) -> bool:
    """Say whether the head looks at neighbouring places: maps before it are not the last ones.

    It does where a convolution wider than one place gives more than one place, or where there is more than one layer
    of attention. So it does where the maps are still the picture.
    """
    wide: list[nn.Module] = []

    def note(layer: nn.Module, _: object, outputs: Tensor) -> None:
        if outputs.shape[2:].numel() > 1:
            wide.append(layer)

    convolutions = [m for m in split.head.modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1]
    attention = [m for m in split.head.modules() if _is_attention(m)]
    features = split.features(probe)
    with ExitStack() as stack:
        for layer in convolutions:
            stack.callback(layer.register_forward_hook(note).remove)
        split.head(features.clone())
    return bool(wide) or len(attention) > 1 or split.to_maps(features).shape == probe.shape


def _is_attention(module: nn.Module) -> bool:
    inner = (type(child).__name__ for child in module.modules() if child is not module)
    return "attention" in type(module).__name__.lower() and not any("attention" in name.lower() for name in inner)


@torch.no_grad()
def leaving_features_alone(split: Split, probe: Tensor) -> Split:
    """Split a classifier so that its head leaves the features that it is given unchanged.

    The other head is to see them as well. Activations that work in place are set not to, which changes no number; a
    head that still does gets a copy.
    """
    head = split.head
    set_out_of_place(head)
    with evaluation_mode(split.features, head):
        features = split.features(probe)
        before = features.clone()
        head(features)
    return split if torch.equal(features, before) else split._replace(head=nn.Sequential(CopyFeatures(), head))


def set_out_of_place(head: nn.Module) -> None:
    """Let all activations of a head give new tensors."""
    for module in head.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010  # torch types all attributes as modules


def split_pooling(head: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Split a head into the pooling that needs no training and the layers that do.

    Args:
        head: features (N, K, h, w) to logits (N, C), an :class:`~torch.nn.Sequential`.

    Returns:
        Features to what the first layer with weights takes, (N, D), and that to logits.

    Raises:
        SigcamError: if the head is not a sequence of layers.
    """
    if not isinstance(head, nn.Sequential):
        fail(f"the head must be an nn.Sequential to cache its inputs, got {type(head).__name__}.")
    layers = list(head)
    passive = (nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity)
    count = next((i for i, layer in enumerate(layers) if not isinstance(layer, passive)), len(layers))
    return nn.Sequential(*layers[:count]), nn.Sequential(*layers[count:])
