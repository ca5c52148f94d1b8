"""The dual-branch network: a frozen softmax classifier and a second, sigmoid head on the same features."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .errors import check_choice, fail

INITS = ("fresh", "copy")
FRESH_STD = 0.01  # the official code draws the sigmoid head from N(0, 0.01)


class DualOutput(NamedTuple):
    """What one forward pass gives."""

    features: Tensor  #: (N, K, h, w)
    softmax_logits: Tensor  #: (N, C)
    sigmoid_logits: Tensor  #: (N, C)


class DualBranch(nn.Module):
    """A frozen classifier with a sigmoid head of identical architecture (Oh and Noh 2025, Section 4).

    The backbone and the softmax head never change: no gradients, BatchNorm in evaluation mode, dropout off,
    also after ``train()``. Only the sigmoid head trains.

    Args:
        backbone: images (N, 3, H, W) to feature maps (N, K, h, w).
        softmax_head: feature maps to logits (N, C).
        sigmoid_head: feature maps to logits (N, C).
    """

    def __init__(self, backbone: nn.Module, softmax_head: nn.Module, sigmoid_head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.softmax_head = softmax_head.requires_grad_(False)
        self.sigmoid_head = sigmoid_head.requires_grad_(True)
        self.eval()

    @classmethod
    def from_classifier(
        cls,
        model: nn.Module,
        num_classes: int | None = None,
        init: str = "fresh",
        *,
        features: nn.Module | None = None,
        head: nn.Module | None = None,
    ) -> DualBranch:
        """Split a classifier into backbone and softmax head, and add a sigmoid head like the softmax head.

        The classifier's own modules are used, not copies, and are frozen.

        Args:
            model: a classifier, images (N, 3, H, W) to logits (N, C).
            num_classes: C, checked against the classifier.
            init: ``"fresh"`` draws the sigmoid head's weights from N(0, 0.01) with zero biases, as the official
                code does; ``"copy"`` starts from the softmax head.
            features: the backbone, for a network that cannot be split by itself.
            head: the head, for a network that cannot be split by itself.

        Raises:
            SigcamError: if the network cannot be split, or the number of classes differs.
        """
        check_choice("init", init, INITS)
        if (features is None) != (head is None):
            fail("pass both `features` and `head`, or neither.")
        if features is None or head is None:
            features, head = split_classifier(model)
        elif not _recomposes(model, features, head):
            fail("head(features(images)) differs from model(images): pass the parts that make up the classifier.")
        out_features = [module.out_features for module in head.modules() if isinstance(module, nn.Linear)]
        if num_classes is not None and out_features and out_features[-1] != num_classes:
            fail(f"the classifier has {out_features[-1]} classes, but num_classes is {num_classes}.")
        sigmoid_head = copy.deepcopy(head)
        if init == "fresh":
            sigmoid_head.apply(_draw_fresh)
        return cls(features, head, sigmoid_head)

    def train(self, mode: bool = True) -> DualBranch:
        """Set the sigmoid head's mode; the frozen parts stay in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        self.softmax_head.eval()
        return self

    def head(self, name: str) -> nn.Module:
        """The head called ``"softmax"`` or ``"sigmoid"``."""
        check_choice("head", name, HEADS)
        return self.softmax_head if name == "softmax" else self.sigmoid_head

    @torch.no_grad()
    def extract(self, images: Tensor) -> Tensor:
        """Feature maps (N, K, h, w) of normalised images (N, 3, H, W), without gradients.

        Raises:
            SigcamError: if the images have the wrong shape or type, or hold NaN or infinity.
        """
        check_images(images)
        features: Tensor = self.backbone(images)
        return features

    def forward(self, images: Tensor) -> DualOutput:
        """Features and the logits of both heads. Gradients reach the sigmoid head only."""
        features = self.extract(images)
        with torch.no_grad():
            softmax_logits = self.softmax_head(features)
        return DualOutput(features, softmax_logits, self.sigmoid_head(features))


HEADS = ("softmax", "sigmoid")


def check_images(images: Tensor) -> None:
    """Refuse anything but a finite float tensor (N, 3, H, W).

    Raises:
        SigcamError: saying which image is wrong.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        fail(f"images must have shape (N, 3, height, width), got {tuple(images.shape)}.")
    if not images.is_floating_point():
        fail(f"images must be normalised floats, got {images.dtype}: scale and normalise them first.")
    finite = images.isfinite().flatten(1).all(dim=1)
    if not bool(finite.all()):
        fail(f"image {int((~finite).nonzero()[0, 0])} of the batch holds NaN or infinity.")


def linear_head_weight(head: nn.Module) -> Tensor | None:
    """Weights (C, K) of a head that is global average pooling and one linear layer, else ``None``.

    Only such a head has a class activation map in the sense of Zhou et al. 2016.
    """
    leaves = [module for module in head.modules() if not list(module.children())]
    passive = (nn.Flatten, nn.Dropout, nn.Identity)
    active = [module for module in leaves if not isinstance(module, passive)]
    if len(active) != 2 or not isinstance(active[1], nn.Linear):
        return None
    pool = active[0]
    is_global = isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size in (1, (1, 1))
    return active[1].weight if is_global else None


def split_classifier(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Split a convolutional classifier into (backbone, head) with ``head(backbone(x)) == model(x)``.

    Every proposal is verified on a probe image; the first that recomposes the network is taken.

    Raises:
        SigcamError: if none does.
    """
    for features, head in _proposed_splits(model):
        if _recomposes(model, features, head):
            return features, head
    fail(
        f"cannot split {type(model).__name__} into features and head: pass `features` (images to feature maps) "
        "and `head` (feature maps to logits) to DualBranch.from_classifier."
    )


def _proposed_splits(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    children = dict(model.named_children())
    classifier = children.get("classifier") or children.get("fc")
    pool = children.get("avgpool") or children.get("global_pool") or nn.AdaptiveAvgPool2d(1)
    if isinstance(pool, nn.Module) and type(pool).__name__ == "SelectAdaptivePool2d":  # timm's, average by default
        pool = nn.AdaptiveAvgPool2d(1)
    if classifier is None:
        return
    heads = (
        nn.Sequential(pool, nn.Flatten(1), classifier),
        nn.Sequential(pool, classifier),  # ConvNeXt flattens inside its classifier
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), classifier),
    )
    trunk = [
        module
        for name, module in children.items()
        if name not in ("classifier", "fc", "avgpool", "global_pool", "dropout", "AuxLogits")
    ]
    bodies: list[nn.Module] = [
        nn.Sequential(*trunk),
        nn.Sequential(*trunk, nn.ReLU()),
    ]  # DenseNet applies ReLU in its forward
    if "features" in children and len(trunk) == 1:
        bodies[0] = children["features"]
    for body in bodies:
        for head in heads:
            yield body, head


@torch.no_grad()
def _recomposes(model: nn.Module, features: nn.Module, head: nn.Module) -> bool:
    parameter = next(model.parameters())
    probe = torch.linspace(-1, 1, 3 * 224 * 224, device=parameter.device, dtype=parameter.dtype)
    probe = probe.view(1, 3, 224, 224)
    with evaluation_mode(model, features, head):
        try:
            maps = features(probe)
            return maps.ndim == 4 and torch.allclose(head(maps), model(probe), rtol=1e-4, atol=1e-5)
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            return False  # the proposal does not fit this network: the caller tries the next one


@contextmanager
def evaluation_mode(*networks: nn.Module) -> Iterator[None]:
    """Dropout and BatchNorm in evaluation mode inside the block; afterwards every module has its own mode again."""
    was_training = {module: module.training for network in networks for module in network.modules()}
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, mode in was_training.items():
            module.training = mode


def _draw_fresh(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.normal_(module.weight, std=FRESH_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif callable(reset := getattr(module, "reset_parameters", None)):
        reset()
