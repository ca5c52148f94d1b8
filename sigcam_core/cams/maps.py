"""Maps of every head and method from one pass of the backbone, with gradients through the head alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..common.checks import check_class_idx
from ..common.errors import check_choice, checked_names, fail
from ..dual.branch import AUTOCAST_TYPES, HEADS, DualBranch, dual_branch_of
from ..dual.linear import linear_head_weight
from ..split.probe import evaluation_mode
from .methods import CAM_METHODS, METHODS, gradcam_plus_plus
from .scalars import (
    DEFAULT_CONTRAST,
    SCALARS,
    Contrast,
    coefficients,
    gradients_at,
    nearest_classes,
    scalar_of_head,
    scalar_values,
)
from .score_cam import Score

ROUNDINGS = 1e4
"""Products of feature and gradient cancel where what is left of them is fewer roundings than this."""


@dataclass(frozen=True)
class MapOptions:
    """Which maps are made, and how. Names are checked here, once, and trusted afterwards.

    Attributes:
        methods: names from :data:`sigcam_core.cams.methods.CAM_METHODS`, or one name.
        heads: ``"softmax"``, ``"sigmoid"`` or both.
        evidence_only: truncation, cutting negative channel weights to zero: ``"paper"`` for the sigmoid head only, as
            Oh and Noh 2025 do; ``True`` for both heads; ``False`` for neither.
        gradcam_plus_plus_eps: see :func:`sigcam_core.cams.methods.gradcam_plus_plus`; 0 is the published equation.
        autocast: type of the backbone's passes under :class:`torch.autocast`; ``None`` leaves them as they are.
        batch_size: masked images per pass, for methods that take more passes.
        scalar: what is explained, a name from :data:`sigcam_core.cams.scalars.SCALARS`.
        contrast: how the scalars of Finer-CAM compare classes.

    Raises:
        SigcamError: for an unknown name, or none at all.

    >>> MapOptions("cam", "sigmoid").rows
    (('sigmoid', 'cam'),)
    >>> MapOptions(("cam", "gradcam")).rows
    (('softmax', 'cam'), ('softmax', 'gradcam'), ('sigmoid', 'cam'), ('sigmoid', 'gradcam'))
    """

    methods: str | Sequence[str] = METHODS
    heads: str | Sequence[str] = HEADS
    evidence_only: bool | str = "paper"
    gradcam_plus_plus_eps: float = 0.0
    autocast: torch.dtype | None = None
    batch_size: int = 32
    scalar: str = "logit"
    contrast: Contrast = DEFAULT_CONTRAST

    def __post_init__(self) -> None:
        if self.evidence_only not in ("paper", True, False):
            fail(f"unknown evidence_only {self.evidence_only!r}: choose 'paper', True or False.")
        # Frozen for whoever uses it: here alone, one name becomes a sequence of one.
        object.__setattr__(self, "methods", checked_names("method", self.methods, tuple(CAM_METHODS)))
        object.__setattr__(self, "heads", checked_names("head", self.heads, HEADS))
        check_choice("scalar", self.scalar, SCALARS)

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """Head and method of each map, in the order in which they are made."""
        return tuple((head, method) for head in self.heads for method in self.methods)

    def truncates(self, head: str) -> bool:
        """Say whether negative weights of a head are cut."""
        return head == "sigmoid" if self.evidence_only == "paper" else bool(self.evidence_only)


def methods_of(head: nn.Module) -> tuple[str, ...]:
    """List the paper's methods that a head allows: all, or all but ``"cam"`` where the head is not GAP + linear."""
    return _methods_allowed(linear_head_weight(head))


def _methods_allowed(weight: Tensor | None) -> tuple[str, ...]:
    return tuple(name for name in METHODS if weight is not None or CAM_METHODS[name].needs != "weights")


def cam_maps(
    dual: nn.Module,
    images: Tensor,
    class_idx: Tensor | int,
    methods: str | Sequence[str] | None = None,
    heads: str | Sequence[str] = HEADS,
    evidence_only: bool | str = "paper",
    gradcam_plus_plus_eps: float = 0.0,
    *,
    autocast: torch.dtype | None = None,
    batch_size: int = 32,
    scalar: str = "logit",
    contrast: Contrast = DEFAULT_CONTRAST,
) -> dict[tuple[str, str], Tensor]:
    """Compute the maps of every head and method from one forward pass of the backbone.

    Args:
        dual: the network, a :class:`~sigcam_core.dual.branch.DualBranch`, or what PyTorch wraps around one.
        images: (N, 3, H, W) normalised images.
        class_idx: (N,) classes to explain, or one class for all.
        methods: names from :data:`sigcam_core.cams.methods.CAM_METHODS`, or one name; ``None`` takes those of the
            paper that the head allows. ``"scorecam"`` alone takes more passes, one for every channel.
        heads: ``"softmax"``, ``"sigmoid"`` or both.
        evidence_only: cut negative channel weights to zero: ``"paper"`` for the sigmoid head only, as Oh and
            Noh do; ``True`` for both; ``False`` for neither.
        gradcam_plus_plus_eps: see :func:`sigcam_core.cams.methods.gradcam_plus_plus`; 0 is the published equation.
        autocast: run the backbone under :class:`torch.autocast` with this type, float16 or bfloat16. Heads and maps
            keep the heads' precision, here and inside a caller's autocast: gradients behind global average pooling
            are too small for float16.
        batch_size: masked images per pass of Score-CAM.
        scalar: what is explained, a name from :data:`sigcam_core.cams.scalars.SCALARS`: by default the class's logit,
            as the methods were published. The sigmoid head's ``"log_odds"`` is its logit.
        contrast: strength and number of classes of ``"finer"`` and ``"finer_weighted"``.

    Returns:
        ``{(head, method): (N, h, w)}`` on the device of the images, not normalised.

    Raises:
        SigcamError: for another network, an unknown name, a class out of range, bad images, or ``"cam"`` on a head
            that is not global average pooling and one linear layer; or a scalar that compares classes where there is
            only one.

    >>> from sigcam_core.backbones.small_cnn import small_cnn
    >>> dual = DualBranch.from_classifier(small_cnn(num_classes=8))
    >>> maps = cam_maps(dual, torch.randn(2, 3, 96, 96), torch.tensor([0, 5]), methods=("cam", "layercam"))
    >>> list(maps)
    [('softmax', 'cam'), ('softmax', 'layercam'), ('sigmoid', 'cam'), ('sigmoid', 'layercam')]
    >>> maps["sigmoid", "cam"].shape
    torch.Size([2, 12, 12])
    >>> contrasts = cam_maps(dual, torch.randn(2, 3, 96, 96), 5, ["cam"], scalar="finer", contrast=Contrast(gamma=1.0))
    >>> contrasts["softmax", "cam"].shape
    torch.Size([2, 12, 12])
    """
    dual = dual_branch_of(dual)
    weights = dual.linear_weights()
    options = MapOptions(
        _methods_allowed(weights["softmax"]) if methods is None else methods,
        heads,
        evidence_only,
        gradcam_plus_plus_eps,
        autocast,
        batch_size,
        scalar=scalar,
        contrast=contrast,
    )
    for head in options.heads:
        dual.head(head)  # refused before the pass
    features = dual.extract(images, autocast)
    classes = _checked_classes(dual, features, class_idx, weights["softmax"])
    return maps_from_features(dual, features, classes, options, images, weights)


def _checked_classes(dual: DualBranch, features: Tensor, class_idx: Tensor | int, weight: Tensor | None) -> Tensor:
    """Classes (N,) on the device of the features."""
    try:
        class_idx = torch.as_tensor(class_idx, device=features.device)
    except (RuntimeError, TypeError, ValueError):
        fail(f"class_idx must be one class, or one class per image, got {class_idx!r}.")
    if class_idx.ndim == 0:
        class_idx = class_idx.expand(len(features))
    if class_idx.shape != features.shape[:1]:
        fail(f"class_idx must have shape ({len(features)},), one class per image, got {tuple(class_idx.shape)}.")
    check_class_idx(class_idx, _num_classes(dual, features) if weight is None else len(weight))
    return class_idx


@torch.no_grad()
def _num_classes(dual: DualBranch, features: Tensor) -> int:
    with torch.autocast(features.device.type, enabled=False):
        return int(dual.softmax_head(features[:1].to(dual.dtype)).shape[1])


def maps_from_features(
    dual: DualBranch,
    features: Tensor,
    class_idx: Tensor,
    options: MapOptions,
    images: Tensor | None = None,
    weights: Mapping[str, Tensor | None] | None = None,
) -> dict[tuple[str, str], Tensor]:
    """Compute the maps of :func:`cam_maps` from the features that ``dual.extract`` gave.

    Args:
        dual: the network.
        features: of N images.
        class_idx: (N,) int64 classes on the features' device, taken as checked: asking a GPU each time makes it wait.
        options: which maps.
        images: (N, 3, H, W), for methods that take more passes.
        weights: what ``dual.linear_weights`` gave, for whoever has asked already.

    Returns:
        ``{(head, method): (N, h, w)}``.

    Raises:
        SigcamError: for ``"cam"`` on a head that is not global average pooling and one linear layer, or Score-CAM
            without images.
    """
    device_type, autocast = features.device.type, options.autocast
    if autocast is None and torch.is_autocast_enabled(device_type):  # further passes are like the caller's
        autocast = torch.get_autocast_dtype(device_type)
    by_passes = [method for method in options.methods if CAM_METHODS[method].needs == "passes"]
    if by_passes and images is None:
        fail(f"method {by_passes[0]!r} needs the images: call cam_maps, or pass `images`.")
    maps: dict[tuple[str, str], Tensor] = {}
    with torch.autocast(device_type, enabled=False):
        features = features.to(dual.dtype)
        feature_maps = dual.feature_maps(features)  # (N, K, h, w)
        if len(by_passes) < len(options.methods):
            weights = dual.linear_weights() if weights is None else weights
            for head in options.heads:
                maps |= _maps_of_head(dual, head, weights[head], features, feature_maps, class_idx, options)
        for method in by_passes:
            scores = {head: _score(dual.head(head), head, features, class_idx, options) for head in options.heads}
            masked = CAM_METHODS[method].function(dual, images, feature_maps, scores, options.batch_size, autocast)
            maps |= {(head, method): values for head, values in masked.items()}
    return {row: maps[row] for row in options.rows}


def _maps_of_head(
    dual: DualBranch,
    head_name: str,
    weight: Tensor | None,
    features: Tensor,
    feature_maps: Tensor,
    class_idx: Tensor,
    options: MapOptions,
) -> dict[tuple[str, str], Tensor]:
    """Compute maps of one head by all methods without further passes; ``weight`` (C, K) is given where it is linear."""
    head = dual.head(head_name)
    methods = {name: CAM_METHODS[name] for name in options.methods if CAM_METHODS[name].needs != "passes"}
    if feature_maps.dtype in AUTOCAST_TYPES:
        feature_maps = feature_maps.float()
    inputs: dict[str, Tensor] = {}
    scalar = scalar_of_head(options.scalar, head_name)
    if weight is not None:
        weights = _combined_weights(head, weight.detach(), features, class_idx, scalar, options.contrast)  # (N, K)
        inputs["weights"] = weights.to(feature_maps.dtype)
        places = feature_maps.shape[2] * feature_maps.shape[3]
        inputs["gradients"] = inputs["weights"][:, :, None, None] / places  # (N, K, 1, 1)
    elif by_weights := [name for name, method in methods.items() if method.needs == "weights"]:
        others = [name for name in METHODS if CAM_METHODS[name].needs == "gradients"]
        fail(
            f"method {by_weights[0]!r} needs a head of global average pooling and one linear layer; "
            f"for this head choose among {', '.join(others)}."
        )
    else:
        gradients = scalar_gradients(head, features, class_idx, scalar, options.contrast)  # as the features
        inputs["gradients"] = dual.feature_maps(gradients).to(feature_maps.dtype)  # (N, K, h, w)
        if "hirescam" in methods and not options.truncates(head_name):
            _check_products_add_up(feature_maps, inputs["gradients"])
    functions = {name: method.function for name, method in methods.items()}
    if "gradcam++" in functions:
        functions["gradcam++"] = partial(gradcam_plus_plus, eps=options.gradcam_plus_plus_eps)
    truncated = options.truncates(head_name)
    return {
        (head_name, name): functions[name](feature_maps, inputs[method.needs], truncated)
        for name, method in methods.items()
    }


def _check_products_add_up(feature_maps: Tensor, gradients: Tensor) -> None:
    """Refuse HiResCAM where products of feature and gradient cancel at every place, so that rounding is what is left.

    A layer that takes no notice of its input's scale, such as the norm at the start of a transformer's block, has a
    gradient at right angles to its input.
    """
    products = feature_maps * gradients
    size = products.abs().sum(dim=1)
    least = ROUNDINGS * torch.finfo(products.dtype).eps * size
    if bool((size > 0).any()) and bool((products.sum(dim=1).abs() <= least).all()):
        fail(
            "HiResCAM is nothing but rounding for this network, whose features go into a norm: the products of feature "
            "and gradient cancel at every place; choose another method, or float64."
        )


def _combined_weights(
    head: nn.Module, weight: Tensor, features: Tensor, class_idx: Tensor, scalar: str, contrast: Contrast
) -> Tensor:
    """Weights (N, K) whose map explains a scalar of a linear head: a W, which for a logit is one row of W (C, K)."""
    if scalar == "logit":  # the logits are not needed
        return weight[class_idx]
    return coefficients(scalar, _logits(head, features), class_idx, contrast) @ weight


def _score(head: nn.Module, head_name: str, features: Tensor, class_idx: Tensor, options: MapOptions) -> Score:
    """Score masked images by a head's scalar; they are compared with the classes nearest in the whole image."""
    scalar, contrast = scalar_of_head(options.scalar, head_name), options.contrast
    compared: Tensor | None = None
    if SCALARS[scalar].needs == "contrast":
        compared = nearest_classes(_logits(head, features), class_idx, contrast.num_classes)  # (N, M)

    def score(logits: Tensor, source: Tensor) -> Tensor:
        return scalar_values(
            scalar, logits, class_idx[source], contrast, None if compared is None else compared[source]
        )

    return score


@torch.no_grad()
def _logits(head: nn.Module, features: Tensor) -> Tensor:
    with evaluation_mode(head):
        logits: Tensor = head(features)
    return logits


def scalar_gradients(
    head: nn.Module, features: Tensor, class_idx: Tensor, scalar: str = "logit", contrast: Contrast = DEFAULT_CONTRAST
) -> Tensor:
    """Gradient of each image's scalar, by default its class's logit, with respect to its features, in their shape.

    Dropout in the head is off, whatever mode it is in, so that a map is a function of the image.

    Args:
        head: features to logits (N, C).
        features: of N images, as ``dual.extract`` gives them.
        class_idx: (N,) int64 classes, taken as checked.
        scalar: name of the scalar.
        contrast: how the scalars of Finer-CAM compare classes.
    """
    with evaluation_mode(head):  # in which images do not interact
        return gradients_at(
            features, class_idx, lambda leaf, classes: scalar_values(scalar, head(leaf), classes, contrast)
        )
