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

A softmax at the end of a classifier is left out of the head: logits are what comes before it.

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
from .probe import agree, are_probabilities, drawn_classifier, evaluation_mode, logits_of, probe_image, probe_logits
from .proposals import MISFITS, Split, proposals

MOST_PROPOSALS = 1000
"""Places that are tried by the children of a network, each a pass; deeply nested ones have many thousands."""
PROBABILITIES = (nn.Softmax, nn.LogSoftmax)
"""Layers that make probabilities of logits, or their logarithms, which a second softmax would not know from logits."""


class CopyFeatures(nn.Module):
    """A copy of the features, for a head that would change them in place and leave the other head with the change."""

    def forward(self, features: Tensor) -> Tensor:
        """The same numbers, in memory of their own."""
        return features.clone()


def split_classifier(model: nn.Module) -> Split:
    """Split a classifier of images into parts with ``head(features(x)) == model(x)``, verified on a probe image.

    Raises:
        SigcamError: if no proposal recomposes the network, or it cannot be probed, or says the same of any image.
    """
    logits = probe_logits(model)
    if not bool(logits.isfinite().all()):
        fail(f"{type(model).__name__} gives NaN or infinity for an image of noise: its weights are broken.")
    classes = logits.shape[1]
    with torch.no_grad(), evaluation_mode(model), drawn_classifier(model, classes):
        probe = probe_image(model)
        expected = logits_of(model(probe))
        if torch.equal(expected, logits_of(model(-probe))):  # then any parts would seem to make it up
            fail(
                f"{type(model).__name__} gives the same logits for two images of noise, so that no cut can be checked: "
                "load its trained weights first."
            )
        for split in chain(islice(proposals(model, probe), MOST_PROPOSALS), observed_splits(model, probe)):
            if list(split.head.parameters()) and _gives(split, probe, expected) and not _holds_a_stage(split, probe):
                return split
    fail(
        f"cannot split {type(model).__name__} into features and head: pass `features` (images to feature maps), "
        "`head` (feature maps to logits) and, where the features are tokens, `to_maps` (tokens to feature maps) "
        "to DualBranch.from_classifier."
    )


@torch.no_grad()
def recomposes(model: nn.Module, split: Split) -> bool:
    """Whether ``head(features(x)) == model(x)`` on a probe image."""
    own = {id(parameter) for parameter in model.parameters()}
    is_shared = any(id(parameter) in own for parameter in split.head.parameters())
    classes = probe_logits(model).shape[1]
    with evaluation_mode(model), drawn_classifier(model, classes) if is_shared else nullcontext():
        probe = probe_image(model)
        return _gives(split, probe, logits_of(model(probe)))


def _gives(split: Split, probe: Tensor, expected: Tensor) -> bool:
    """Whether the parts give maps, and the expected logits up to rounding."""
    with evaluation_mode(*split):
        try:
            features = split.features(probe)
            maps, logits = split.to_maps(features), split.head(features.clone())
        except MISFITS:
            return False  # the proposal does not fit this network: the caller tries the next one
    are_maps = isinstance(maps, Tensor) and maps.ndim == 4 and maps.shape[2:].numel() > 1
    return are_maps and agree(logits, expected)


def _holds_a_stage(split: Split, probe: Tensor) -> bool:
    """Whether the head looks at neighbouring places: maps before it are not the last ones.

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


def without_softmax(head: nn.Module) -> nn.Module:
    """A head without the softmax layers at its end, as far as sequences tell what its end is.

    >>> without_softmax(nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Softmax(dim=1)))
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=4, out_features=2, bias=True)
    )
    """
    if not isinstance(head, nn.Sequential) or not len(head):
        return head
    *before, last = head
    if isinstance(last, PROBABILITIES):
        return without_softmax(nn.Sequential(*before))
    inner = without_softmax(last)
    return head if inner is last else nn.Sequential(*before, inner)


@torch.no_grad()
def finished(model: nn.Module, split: Split) -> Split:
    """The parts of a classifier with a head that gives logits and changes nothing else.

    A softmax at the end of the head is left out, and the head leaves the features that it is given as they are.

    Raises:
        SigcamError: if the head gives probabilities all the same.
    """
    head = without_softmax(split.head)
    with evaluation_mode(split.features, head):
        features = split.features(probe_image(model))
        if are_probabilities(head(features.clone())):
            name = type(model).__name__
            fail(f"{name} gives probabilities, which add up to 1: pass a network that gives logits.")
        return split._replace(head=_leaving_features_alone(head, features))


def _leaving_features_alone(head: nn.Module, features: Tensor) -> nn.Module:
    """A head that does not change the features, which the other head is to see as well.

    Activations that work in place are told not to, which changes no number; a head that still does gets a copy.
    """
    set_out_of_place(head)
    before = features.clone()
    head(features)
    return head if torch.equal(features, before) else nn.Sequential(CopyFeatures(), head)


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
