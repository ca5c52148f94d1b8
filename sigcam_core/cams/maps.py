"""Class activation maps: one backbone pass, gradients only through the head, one function a method.

Every method is a function of the feature maps A (N, K, h, w) and the gradient dy/dA of one class logit y with
respect to them. So the backbone runs once without gradients, the small head is differentiated at the features,
and no hook is needed. All maps stay on the device of the images.

Behind global average pooling and one linear layer the gradient is w / (h w) everywhere. It is then not computed but
given as (N, K, 1, 1), which every function here takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ..common.errors import check_choice, fail
from ..dual.branch import AUTOCAST_TYPES, HEADS, DualBranch, linear_head_weight
from ..dual.loss import check_class_idx
from ..dual.split import evaluation_mode
from .score_cam import scorecam


def cam(features: Tensor, weights: Tensor) -> Tensor:
    """Class activation map sum_i w_i A_i, with its sign (Zhou et al. 2016, Eq. 2).

    Args:
        features: (N, K, h, w).
        weights: (N, K) weights of the class in a linear head behind global average pooling.
    """
    maps = weights[:, None] @ features.flatten(2)  # many times faster than einsum
    return maps.view(len(features), *features.shape[2:])


def gradcam(features: Tensor, gradients: Tensor, evidence_only: bool) -> Tensor:
    """Grad-CAM: ReLU of the features weighted by their mean gradients (Selvaraju et al. 2017, Eq. 1 and 2)."""
    return _weighted(features, gradients.mean(dim=(2, 3)), evidence_only)


def gradcam_plus_plus(features: Tensor, gradients: Tensor, evidence_only: bool, eps: float = 0.0) -> Tensor:
    """Grad-CAM++: weights sum_ab alpha ReLU(g) (Chattopadhay et al. 2018, Eq. 19).

    alpha = g^2 / (2 g^2 + g^3 sum_ab A + eps), and 0 where g = 0. The paper has no eps. Libraries add 1e-6, which
    swamps g^2 where gradients are as small as behind global average pooling and drives the weights towards
    ReLU(g)^3; ``eps=1e-6`` gives the numbers made with them.

    Weights are not negative where features are not; elsewhere ``evidence_only`` cuts those that are.
    """
    square = gradients.square()
    total = features.sum(dim=(2, 3), keepdim=True)
    denominator = 2 * square + total * square * gradients + eps
    alpha = torch.where((gradients != 0) & (denominator != 0), square / denominator, 0.0)
    places = features.shape[2] * features.shape[3]
    return _weighted(features, places * (alpha * gradients.relu()).mean(dim=(2, 3)), evidence_only)


def xgradcam(features: Tensor, gradients: Tensor, evidence_only: bool) -> Tensor:
    """XGrad-CAM: weights sum_ab g A / sum_ab A (Fu et al. 2020, Eq. 8); 0 for a channel that is silent."""
    total = features.sum(dim=(2, 3))
    weights = torch.where(total != 0, (gradients * features).sum(dim=(2, 3)) / total, 0.0)
    return _weighted(features, weights, evidence_only)


def layercam(features: Tensor, gradients: Tensor, evidence_only: bool) -> Tensor:
    """Layer-CAM: ReLU(g) A at every place, summed over channels (Jiang et al. 2021, Eq. 6 and 7).

    Negative evidence is cut here by definition, so ``evidence_only`` changes nothing.
    """
    return _summed(features, gradients.relu()).relu()


def hirescam(features: Tensor, gradients: Tensor, evidence_only: bool) -> Tensor:
    """HiResCAM: ReLU of the sum over channels of g A at every place (Draelos and Carin 2020, Eq. 3).

    ``evidence_only`` cuts negative gradients, which makes it Layer-CAM.
    """
    return _summed(features, gradients.clamp(min=0) if evidence_only else gradients).relu()


def _summed(features: Tensor, gradients: Tensor) -> Tensor:
    if gradients.shape[2:] == (1, 1):
        return cam(features, gradients[:, :, 0, 0])
    return (gradients * features).sum(dim=1)


def _weighted(features: Tensor, weights: Tensor, evidence_only: bool) -> Tensor:
    return cam(features, weights.clamp(min=0) if evidence_only else weights).relu()


GRADIENT_METHODS: dict[str, Callable[[Tensor, Tensor, bool], Tensor]] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "layercam": layercam,
}
METHODS: tuple[str, ...] = ("cam", *GRADIENT_METHODS)
"""Names of the methods of the paper. ``"cam"`` needs a head of global average pooling and one linear layer."""
EXTRA_METHODS = ("hirescam", "scorecam")
"""Names of two methods more, run where they are asked for."""


def methods_of(head: nn.Module) -> tuple[str, ...]:
    """The paper's methods that a head allows: all, or all but ``"cam"`` where the head is not GAP + linear."""
    return METHODS if linear_head_weight(head) is not None else tuple(GRADIENT_METHODS)


def cam_maps(
    dual: DualBranch,
    images: Tensor,
    class_idx: Tensor | int,
    methods: Sequence[str] = METHODS,
    heads: Sequence[str] = HEADS,
    evidence_only: bool | str = "paper",
    gradcam_plus_plus_eps: float = 0.0,
    *,
    autocast: torch.dtype | None = None,
    batch_size: int = 32,
) -> dict[tuple[str, str], Tensor]:
    """Maps of every head and method from one forward pass of the backbone.

    Args:
        dual: the network.
        images: (N, 3, H, W) normalised images.
        class_idx: (N,) classes to explain, or one class for all.
        methods: names from :data:`METHODS` and :data:`EXTRA_METHODS`. ``"scorecam"`` alone takes more passes, one
            for every channel.
        heads: ``"softmax"``, ``"sigmoid"`` or both.
        evidence_only: cut negative channel weights to zero: ``"paper"`` for the sigmoid head only, as Oh and
            Noh do; ``True`` for both; ``False`` for neither.
        gradcam_plus_plus_eps: see :func:`gradcam_plus_plus`; 0 is the published equation.
        autocast: run the backbone under :class:`torch.autocast` with this type, float16 or bfloat16. Heads and maps
            keep the heads' precision, here and inside a caller's autocast: gradients behind global average pooling
            are too small for float16.
        batch_size: masked images a pass of Score-CAM.

    Returns:
        ``{(head, method): (N, h, w)}`` on the device of the images, not normalised.

    Raises:
        SigcamError: for an unknown name, a class out of range, bad images, or ``"cam"`` on a head that is not
            global average pooling and one linear layer.
    """
    features = dual.extract(images, autocast)
    return maps_from_features(
        dual,
        features,
        class_idx,
        methods,
        heads,
        evidence_only,
        gradcam_plus_plus_eps,
        images=images,
        autocast=autocast,
        batch_size=batch_size,
    )


def maps_from_features(
    dual: DualBranch,
    features: Tensor,
    class_idx: Tensor | int,
    methods: Sequence[str] = METHODS,
    heads: Sequence[str] = HEADS,
    evidence_only: bool | str = "paper",
    gradcam_plus_plus_eps: float = 0.0,
    *,
    images: Tensor | None = None,
    autocast: torch.dtype | None = None,
    batch_size: int = 32,
) -> dict[tuple[str, str], Tensor]:
    """The maps of :func:`cam_maps` from what ``dual.extract`` gave. Score-CAM alone needs the images too.

    Raises:
        SigcamError: as :func:`cam_maps`.
    """
    if evidence_only not in ("paper", True, False):
        fail(f"unknown evidence_only {evidence_only!r}: choose 'paper', True or False.")
    for method in methods:
        check_choice("method", method, METHODS + EXTRA_METHODS)
    for head in heads:
        check_choice("head", head, HEADS)
    try:
        class_idx = torch.as_tensor(class_idx, device=features.device)
    except (RuntimeError, TypeError, ValueError):
        fail(f"class_idx must be one class, or one class an image, got {class_idx!r}.")
    if class_idx.ndim == 0:
        class_idx = class_idx.expand(len(features))
    if class_idx.shape != features.shape[:1]:
        fail(f"class_idx must have shape ({len(features)},), one class an image, got {tuple(class_idx.shape)}.")
    device_type = features.device.type
    if autocast is None and torch.is_autocast_enabled(device_type):  # Score-CAM's passes are like the caller's
        autocast = torch.get_autocast_dtype(device_type)
    by_gradient = [method for method in methods if method != "scorecam"]
    maps: dict[tuple[str, str], Tensor] = {}
    with torch.autocast(device_type, enabled=False):
        features = features.to(dual.dtype)
        feature_maps = dual.feature_maps(features)
        for head in heads if by_gradient else ():
            cut = head == "sigmoid" if evidence_only == "paper" else bool(evidence_only)
            head_maps = _maps_of_head(
                dual, head, features, feature_maps, class_idx, by_gradient, cut, gradcam_plus_plus_eps
            )
            maps.update({(head, method): values for method, values in head_maps.items()})
        if "scorecam" in methods:
            if images is None:
                fail("method 'scorecam' needs the images: call cam_maps, or pass `images`.")
            masked = scorecam(dual, images, feature_maps, class_idx, heads, batch_size, autocast)
            maps.update({(head, "scorecam"): values for head, values in masked.items()})
    return {(head, method): maps[head, method] for head in heads for method in methods}


def _maps_of_head(
    dual: DualBranch,
    head_name: str,
    features: Tensor,
    feature_maps: Tensor,
    class_idx: Tensor,
    methods: Sequence[str],
    cut: bool,
    eps: float,
) -> dict[str, Tensor]:
    head = dual.head(head_name)
    functions = GRADIENT_METHODS | {"gradcam++": partial(gradcam_plus_plus, eps=eps), "hirescam": hirescam}
    if feature_maps.dtype in AUTOCAST_TYPES:
        feature_maps = feature_maps.float()
    weight = linear_head_weight(head)
    if weight is not None:
        check_class_idx(class_idx, len(weight))
        weights = weight.detach()[class_idx].to(feature_maps.dtype)
        gradients = weights[:, :, None, None] / (feature_maps.shape[2] * feature_maps.shape[3])
        functions["cam"] = lambda maps, _, cut: cam(maps, weights.clamp(min=0) if cut else weights)
    elif "cam" in methods:
        fail(
            "method 'cam' needs a head of global average pooling and one linear layer; "
            f"for this head choose among {', '.join(GRADIENT_METHODS)}."
        )
    else:
        gradients = dual.feature_maps(logit_gradients(head, features, class_idx)).to(feature_maps.dtype)
    return {method: functions[method](feature_maps, gradients, cut) for method in methods}


def logit_gradients(head: nn.Module, features: Tensor, class_idx: Tensor) -> Tensor:
    """Gradient of each image's class logit with respect to its features, in their shape.

    Dropout in the head is off, whatever mode it is in, so that a map is a function of the image.
    """
    with torch.inference_mode(False), evaluation_mode(head), torch.enable_grad():
        leaf = features.detach().clone().requires_grad_()
        logits = head(leaf)
        check_class_idx(class_idx, logits.shape[1])
        selected = logits.gather(1, class_idx[:, None].clone()).sum()  # images do not interact in evaluation mode
        (gradients,) = torch.autograd.grad(selected, leaf)
    return gradients.detach()
