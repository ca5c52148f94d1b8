"""The methods: each is one function and one entry of a table.

Most are functions of the feature maps A (N, K, h, w) and the gradient dy/dA of a scalar y with respect to them. As
published, y is the logit of one class; :mod:`sigcam_core.cams.scalars` has others.
So the backbone runs once without gradients, the small head is differentiated at the features, and no hook is needed.
Behind global average pooling and one linear layer the gradient is w / (h w) everywhere, with w the weights of the
class, or those of all classes combined as the scalar combines their logits. It is then not computed but given as
(N, K, 1, 1), which every function here takes.

Where a method weighs channels, ``truncated`` cuts negative weights to zero first, as Oh and Noh 2025 do with the
weights of the sigmoid head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .score_cam import scorecam


def cam(features: Tensor, weights: Tensor, truncated: bool = False) -> Tensor:
    r"""Class activation map, with its sign (Zhou et al. 2016, Eq. 2): :math:`\sum_i w_i A_i`.

    Args:
        features: (N, K, h, w) feature maps A.
        weights: (N, K) weights of the class in a linear head behind global average pooling.
        truncated: cut negative weights.

    Returns:
        (N, h, w).

    >>> features = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # two channels of 1 x 2 places
    >>> cam(features, torch.tensor([[1.0, -1.0]]))
    tensor([[[-2.,  2.]]])
    >>> cam(features, torch.tensor([[1.0, -1.0]]), truncated=True)
    tensor([[[1., 2.]]])
    """
    weights = weights.clamp(min=0) if truncated else weights  # (N, K)
    maps = weights[:, None] @ features.flatten(2)  # (N, 1, K) @ (N, K, h w); many times faster than einsum
    return maps.view(len(features), *features.shape[2:])


def gradcam(features: Tensor, gradients: Tensor, truncated: bool = False) -> Tensor:
    r"""Grad-CAM (Selvaraju et al. 2017, Eq. 1 and 2).

    .. math:: \mathrm{ReLU}\Bigl(\sum_k w_k A_k\Bigr), \quad w_k = \frac{1}{hw} \sum_{ab} \frac{\partial y}{\partial
        A_k^{ab}}

    Args:
        features: (N, K, h, w) feature maps A.
        gradients: of the class logit y with respect to them, (N, K, h, w), or (N, K, 1, 1) where they are constant.
        truncated: cut negative weights.

    Returns:
        (N, h, w), not negative.

    >>> features, gradients = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[0.0, 4.0]]]])
    >>> gradcam(features, gradients)
    tensor([[[2., 4.]]])
    """
    return _weighted(features, gradients.mean(dim=(2, 3)), truncated)


def gradcam_plus_plus(features: Tensor, gradients: Tensor, truncated: bool = False, eps: float = 0.0) -> Tensor:
    r"""Grad-CAM++ (Chattopadhay et al. 2018, Eq. 19).

    .. math:: \mathrm{ReLU}\Bigl(\sum_k w_k A_k\Bigr), \quad w_k = \sum_{ab} \alpha_k^{ab} \, \mathrm{ReLU}(g_k^{ab}),
        \quad \alpha = \frac{g^2}{2 g^2 + g^3 \sum_{ab} A + \varepsilon}

    :math:`\alpha` is 0 where g = 0. The paper has no :math:`\varepsilon`. Libraries add 1e-6, which swamps
    :math:`g^2` where gradients are as small as behind global average pooling and drives the weights towards
    :math:`\mathrm{ReLU}(g)^3`; ``eps=1e-6`` gives the numbers made with them.

    Args:
        features: (N, K, h, w) feature maps A.
        gradients: g, (N, K, h, w), or (N, K, 1, 1) where they are constant.
        truncated: cut negative weights. There are none where features are not negative.
        eps: of the denominator.

    Returns:
        (N, h, w), not negative.

    >>> features, gradients = torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[0.5, -0.25]]]])
    >>> gradcam_plus_plus(features, gradients)  # alpha of the first place is 1 / (2 + 4 / 2)
    tensor([[[0.1250, 0.3750]]])
    """
    square = gradients.square()
    total = features.sum(dim=(2, 3), keepdim=True)  # (N, K, 1, 1)
    denominator = 2 * square + total * square * gradients + eps
    alpha = torch.where((gradients != 0) & (denominator != 0), square / denominator, 0.0)
    places = features.shape[2] * features.shape[3]  # a mean times the places: gradients may be (N, K, 1, 1)
    return _weighted(features, places * (alpha * gradients.relu()).mean(dim=(2, 3)), truncated)


def xgradcam(features: Tensor, gradients: Tensor, truncated: bool = False) -> Tensor:
    r"""XGrad-CAM (Fu et al. 2020, Eq. 8); a channel that is silent weighs nothing.

    .. math:: \mathrm{ReLU}\Bigl(\sum_k w_k A_k\Bigr), \quad w_k = \frac{\sum_{ab} g_k^{ab} A_k^{ab}}{\sum_{ab}
        A_k^{ab}}

    Args:
        features: (N, K, h, w) feature maps A.
        gradients: g, (N, K, h, w), or (N, K, 1, 1) where they are constant.
        truncated: cut negative weights.

    Returns:
        (N, h, w), not negative.

    >>> features, gradients = torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[2.0, 6.0]]]])
    >>> xgradcam(features, gradients)  # (2 + 18) / 4 = 5
    tensor([[[ 5., 15.]]])
    """
    total = features.sum(dim=(2, 3))  # (N, K)
    weights = torch.where(total != 0, (gradients * features).sum(dim=(2, 3)) / total, 0.0)
    return _weighted(features, weights, truncated)


def layercam(features: Tensor, gradients: Tensor, truncated: bool = False) -> Tensor:
    r"""Layer-CAM (Jiang et al. 2021, Eq. 6 and 7): :math:`\mathrm{ReLU}(\sum_k \mathrm{ReLU}(g_k) \odot A_k)`.

    Args:
        features: (N, K, h, w) feature maps A.
        gradients: g, (N, K, h, w), or (N, K, 1, 1) where they are constant.
        truncated: changes nothing, since negative gradients are cut by definition.

    Returns:
        (N, h, w), not negative.

    >>> features, gradients = torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[-2.0, 6.0]]]])
    >>> layercam(features, gradients)
    tensor([[[ 0., 18.]]])
    """
    return _summed(features, gradients.relu()).relu()


def hirescam(features: Tensor, gradients: Tensor, truncated: bool = False) -> Tensor:
    r"""HiResCAM (Draelos and Carin 2020, Eq. 3): :math:`\mathrm{ReLU}(\sum_k g_k \odot A_k)`.

    Args:
        features: (N, K, h, w) feature maps A.
        gradients: g, (N, K, h, w), or (N, K, 1, 1) where they are constant.
        truncated: cut negative gradients, which makes it Layer-CAM.

    Returns:
        (N, h, w), not negative.

    >>> features = torch.tensor([[[[1.0, 3.0]], [[1.0, 1.0]]]])
    >>> gradients = torch.tensor([[[[-2.0, 6.0]], [[1.0, -8.0]]]])
    >>> hirescam(features, gradients)
    tensor([[[ 0., 10.]]])
    """
    return _summed(features, gradients.clamp(min=0) if truncated else gradients).relu()


def _summed(features: Tensor, gradients: Tensor) -> Tensor:
    if gradients.shape[2:] == (1, 1):
        return cam(features, gradients[:, :, 0, 0])
    return (gradients * features).sum(dim=1)


def _weighted(features: Tensor, weights: Tensor, truncated: bool) -> Tensor:
    return cam(features, weights, truncated).relu()


@dataclass(frozen=True)
class Method:
    """One entry of the table of methods.

    Attributes:
        function: of feature maps (N, K, h, w), of what it needs, and of ``truncated``, to maps (N, h, w); where it
            needs passes, a function with the arguments of :func:`sigcam_core.cams.score_cam.scorecam`.
        needs: ``"weights"``, the scalar's weights (N, K) in a head of global average pooling and one linear layer, for
            a logit the class's row; ``"gradients"``, those of the scalar, (N, K, h, w) or (N, K, 1, 1); or
            ``"passes"``, more passes of the network over the images.
        is_of_paper: whether Oh and Noh 2025 report it; others run where they are asked for.
    """

    function: Callable[..., Any]
    needs: Literal["weights", "gradients", "passes"]
    is_of_paper: bool = False


CAM_METHODS: dict[str, Method] = {
    "cam": Method(cam, "weights", is_of_paper=True),
    "gradcam": Method(gradcam, "gradients", is_of_paper=True),
    "gradcam++": Method(gradcam_plus_plus, "gradients", is_of_paper=True),
    "xgradcam": Method(xgradcam, "gradients", is_of_paper=True),
    "layercam": Method(layercam, "gradients", is_of_paper=True),
    "hirescam": Method(hirescam, "gradients"),
    "scorecam": Method(scorecam, "passes"),
}
"""Every method by name. To add one, write its function, its line here, and its title in
:data:`sigcam_core.common.titles.METHOD_TITLES`; everything else reads these tables."""
METHODS: tuple[str, ...] = tuple(name for name, method in CAM_METHODS.items() if method.is_of_paper)
"""Names of the methods of the paper. ``"cam"`` needs a head of global average pooling and one linear layer."""
EXTRA_METHODS: tuple[str, ...] = tuple(name for name in CAM_METHODS if name not in METHODS)
"""Names of the other methods, run where they are asked for."""
