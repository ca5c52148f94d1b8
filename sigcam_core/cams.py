"""Class activation maps: one backbone pass, gradients only through the head, one function a method.

Every method is a function of the feature maps A (N, K, h, w) and the gradient dy/dA of one class logit y with
respect to them. So the backbone runs once without gradients, the small head is differentiated at the features,
and no hook is needed. All maps stay on the device of the images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from .dual import HEADS, DualBranch, evaluation_mode, linear_head_weight
from .errors import check_choice, fail
from .losses import check_class_idx


def cam(features: Tensor, weights: Tensor) -> Tensor:
    """Class activation map sum_i w_i A_i, with its sign (Zhou et al. 2016, Eq. 2).

    Args:
        features: (N, K, h, w).
        weights: (N, K) weights of the class in a linear head behind global average pooling.
    """
    return torch.einsum("nkhw,nk->nhw", features, weights)


def gradcam(features: Tensor, gradients: Tensor, evidence_only: bool) -> Tensor:
    """Grad-CAM: ReLU of the features weighted by their mean gradients (Selvaraju et al. 2017, Eq. 1 and 2)."""
    return _weighted(features, gradients.mean(dim=(2, 3)), evidence_only)


def gradcam_plus_plus(features: Tensor, gradients: Tensor, evidence_only: bool, eps: float = 0.0) -> Tensor:
    """Grad-CAM++: weights sum_ab alpha ReLU(g) (Chattopadhay et al. 2018, Eq. 19).

    alpha = g^2 / (2 g^2 + g^3 sum_ab A + eps), and 0 where g = 0. The paper has no eps. Libraries add 1e-6, which
    swamps g^2 where gradients are as small as behind global average pooling and drives the weights towards
    ReLU(g)^3; ``eps=1e-6`` gives the numbers made with them.

    Weights are never negative here, so ``evidence_only`` changes nothing.
    """
    square = gradients.square()
    total = features.sum(dim=(2, 3), keepdim=True)
    denominator = 2 * square + total * square * gradients + eps
    alpha = torch.where((gradients != 0) & (denominator != 0), square / denominator, 0.0)
    return _weighted(features, (alpha * gradients.relu()).sum(dim=(2, 3)), evidence_only)


def xgradcam(features: Tensor, gradients: Tensor, evidence_only: bool) -> Tensor:
    """XGrad-CAM: weights sum_ab g A / sum_ab A (Fu et al. 2020, Eq. 8); 0 for a channel that is silent."""
    total = features.sum(dim=(2, 3))
    weights = torch.where(total != 0, (gradients * features).sum(dim=(2, 3)) / total, 0.0)
    return _weighted(features, weights, evidence_only)


def layercam(features: Tensor, gradients: Tensor, evidence_only: bool) -> Tensor:
    """Layer-CAM: ReLU(g) A at every place, summed over channels (Jiang et al. 2021, Eq. 6 and 7).

    Negative evidence is cut here by definition, so ``evidence_only`` changes nothing.
    """
    return (gradients.relu() * features).sum(dim=1).relu()


def _weighted(features: Tensor, weights: Tensor, evidence_only: bool) -> Tensor:
    return cam(features, weights.clamp(min=0) if evidence_only else weights).relu()


GRADIENT_METHODS: dict[str, Callable[[Tensor, Tensor, bool], Tensor]] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "layercam": layercam,
}
METHODS: tuple[str, ...] = ("cam", *GRADIENT_METHODS)
"""Names of all methods. ``"cam"`` needs a head of global average pooling and one linear layer."""


def methods_of(head: nn.Module) -> tuple[str, ...]:
    """The methods that a head allows: all of them, or all but ``"cam"`` where the head is not GAP + linear."""
    return METHODS if linear_head_weight(head) is not None else tuple(GRADIENT_METHODS)


def cam_maps(
    dual: DualBranch,
    images: Tensor,
    class_idx: Tensor | int,
    methods: Sequence[str] = METHODS,
    heads: Sequence[str] = HEADS,
    evidence_only: bool | str = "paper",
    gradcam_plus_plus_eps: float = 0.0,
) -> dict[tuple[str, str], Tensor]:
    """Maps of every head and method from one forward pass of the backbone.

    Args:
        dual: the network.
        images: (N, 3, H, W) normalised images.
        class_idx: (N,) classes to explain, or one class for all.
        methods: names from :data:`METHODS`.
        heads: ``"softmax"``, ``"sigmoid"`` or both.
        evidence_only: cut negative channel weights to zero: ``"paper"`` for the sigmoid head only, as Oh and
            Noh do; ``True`` for both; ``False`` for neither.
        gradcam_plus_plus_eps: see :func:`gradcam_plus_plus`; 0 is the published equation.

    Returns:
        ``{(head, method): (N, h, w)}`` on the device of the images, not normalised.

    Raises:
        SigcamError: for an unknown name, a class out of range, bad images, or ``"cam"`` on a head that is not
            global average pooling and one linear layer.
    """
    features = dual.extract(images)
    return maps_from_features(dual, features, class_idx, methods, heads, evidence_only, gradcam_plus_plus_eps)


def maps_from_features(
    dual: DualBranch,
    features: Tensor,
    class_idx: Tensor | int,
    methods: Sequence[str] = METHODS,
    heads: Sequence[str] = HEADS,
    evidence_only: bool | str = "paper",
    gradcam_plus_plus_eps: float = 0.0,
) -> dict[tuple[str, str], Tensor]:
    """The maps of :func:`cam_maps` from features (N, K, h, w) that are there already."""
    if evidence_only not in ("paper", True, False):
        fail(f"unknown evidence_only {evidence_only!r}: choose 'paper', True or False.")
    for method in methods:
        check_choice("method", method, METHODS)
    for head in heads:
        check_choice("head", head, HEADS)
    class_idx = torch.as_tensor(class_idx, device=features.device)
    if class_idx.ndim == 0:
        class_idx = class_idx.expand(len(features))
    if class_idx.shape != features.shape[:1]:
        fail(f"class_idx must have shape ({len(features)},), one class an image, got {tuple(class_idx.shape)}.")
    maps: dict[tuple[str, str], Tensor] = {}
    for head in heads:
        cut = head == "sigmoid" if evidence_only == "paper" else bool(evidence_only)
        head_maps = _maps_of_head(dual.head(head), features, class_idx, methods, cut, gradcam_plus_plus_eps)
        maps.update({(head, method): values for method, values in head_maps.items()})
    return maps


def _maps_of_head(
    head: nn.Module, features: Tensor, class_idx: Tensor, methods: Sequence[str], cut: bool, eps: float
) -> dict[str, Tensor]:
    maps: dict[str, Tensor] = {}
    if "cam" in methods:
        weight = linear_head_weight(head)
        if weight is None:
            fail(
                "method 'cam' needs a head of global average pooling and one linear layer; "
                f"for this head choose among {', '.join(GRADIENT_METHODS)}."
            )
        check_class_idx(class_idx, len(weight))
        weights = weight.detach()[class_idx]
        maps["cam"] = cam(features, weights.clamp(min=0) if cut else weights)
    if set(methods) - {"cam"}:
        gradients = logit_gradients(head, features, class_idx)
        functions = GRADIENT_METHODS | {"gradcam++": partial(gradcam_plus_plus, eps=eps)}
        maps |= {method: functions[method](features, gradients, cut) for method in methods if method != "cam"}
    return {method: maps[method] for method in methods}


def logit_gradients(head: nn.Module, features: Tensor, class_idx: Tensor) -> Tensor:
    """Gradient (N, K, h, w) of each image's class logit with respect to its feature maps.

    Dropout in the head is off, whatever mode it is in, so that a map is a function of the image.
    """
    with evaluation_mode(head), torch.enable_grad():
        leaf = features.detach().requires_grad_()
        logits = head(leaf)
        check_class_idx(class_idx, logits.shape[1])
        selected = logits.gather(1, class_idx[:, None]).sum()  # images do not interact in evaluation mode
        (gradients,) = torch.autograd.grad(selected, leaf)
    return gradients.detach()


def normalize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps bicubically and stretch each to [0, 1] by its minimum and maximum, in float64.

    The order (resize, then stretch) and the interpolation are those of Choe et al. 2020.

    Args:
        maps: (N, h, w).
        size: (height, width) of the result.

    Returns:
        (N, height, width) float64 score maps; a map that is constant or holds NaN becomes zeros.

    Raises:
        SigcamError: if ``maps`` is not three-dimensional.
    """
    if maps.ndim != 3:
        fail(f"maps must have shape (N, height, width), got {tuple(maps.shape)}.")
    flat = maps.flatten(1)
    # Constant maps are found before resizing, whose rounding would otherwise be stretched to noise in [0, 1].
    valid = flat.isfinite().all(dim=1) & (flat.amax(dim=1) > flat.amin(dim=1))
    resized = interpolate(maps.double()[:, None], size=size, mode="bicubic", align_corners=False)[:, 0]
    low = resized.amin(dim=(1, 2), keepdim=True)
    span = resized.amax(dim=(1, 2), keepdim=True) - low
    return torch.where(valid[:, None, None] & (span > 0), (resized - low) / span, 0.0)
