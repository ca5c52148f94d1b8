r"""Which scalar of the logits a map explains: each is one function and one entry of a table.

A map needs a scalar's gradient with respect to the C logits, its coefficients a: behind global average pooling and one
linear layer the map is :math:`\sum_m a_m \mathrm{CAM}_m`. The softmax predictions fix it exactly when the coefficients
sum to zero. They sum to 1 for the logit, to 1 - gamma for Finer-CAM's contrasts, and to 0 for the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..common.errors import check_choice, fail


@dataclass(frozen=True)
class Contrast:
    """How Finer-CAM compares a class with others. The defaults are those of its authors' code.

    Attributes:
        gamma: strength of the comparison; 0 leaves the logit, and 1 a map that the softmax predictions fix.
        num_classes: how many of the nearest classes are compared; all others where there are fewer.

    Raises:
        SigcamError: if gamma is not a finite number, or no class is compared.
    """

    gamma: float = 0.6
    num_classes: int = 3

    def __post_init__(self) -> None:
        if not math.isfinite(self.gamma):
            fail(f"gamma must be a finite number, got {self.gamma}.")
        if self.num_classes < 1:
            fail(f"at least 1 class must be compared, got {self.num_classes}.")


DEFAULT_CONTRAST = Contrast()


def logit(logits: Tensor, class_idx: Tensor) -> Tensor:
    r"""Select the class's logit :math:`l_k`, which CAM and its family explain: a is one-hot.

    Args:
        logits: (N, C).
        class_idx: (N,) classes k.

    Returns:
        (N,).

    >>> logit(torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([1]))
    tensor([2.])
    """
    return logits.gather(1, class_idx[:, None])[:, 0]


def centred(logits: Tensor, class_idx: Tensor) -> Tensor:
    r"""Subtract the mean of all logits from the class's, as centred weights do: a is one-hot less 1/C.

    Args:
        logits: (N, C).
        class_idx: (N,) classes k.

    Returns:
        (N,).

    >>> centred(torch.tensor([[1.0, 2.0, 6.0]]), torch.tensor([2]))
    tensor([3.])
    """
    return logit(logits, class_idx) - logits.mean(dim=1)


def log_odds(logits: Tensor, class_idx: Tensor) -> Tensor:
    r"""Log-odds of the softmax probability, :math:`\log \frac{p_k}{1 - p_k} = l_k - \log \sum_{m \ne k} e^{l_m}`.

    :math:`a_k = 1` and :math:`a_m = -p_m / (1 - p_k)`, a softmax over the other classes, which stays accurate where
    :math:`p_k` is 1 up to rounding. The gradient of :math:`p_k` itself is :math:`p_k (1 - p_k)` times this one: the
    weighted contrast of Wang and Wang 2022.

    Args:
        logits: (N, C).
        class_idx: (N,) classes k.

    Returns:
        (N,).

    >>> log_odds(torch.tensor([[3.0, 1.0]]), torch.tensor([0]))  # of two classes, the difference of the logits
    tensor([2.])
    """
    others = logits.scatter(1, class_idx[:, None], -torch.inf)  # (N, C)
    return logit(logits, class_idx) - others.logsumexp(dim=1)


def finer(logits: Tensor, class_idx: Tensor, compared: Tensor, gamma: float) -> Tensor:
    r"""Finer-CAM's contrast with M classes (Zhang et al. 2025): the mean of :math:`l_k - \gamma l_m`.

    :math:`a_k = 1` and :math:`a_m = -\gamma / M` for each class m that is compared. So the mean is taken in the
    authors' code.

    Args:
        logits: (N, C).
        class_idx: (N,) classes k.
        compared: (N, M) classes m, see :func:`nearest_classes`.
        gamma: strength of the comparison.

    Returns:
        (N,).

    >>> finer(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]), torch.tensor([[1, 2]]), gamma=1.0)
    tensor([1.5000])
    """
    return logit(logits, class_idx) - gamma * logits.gather(1, compared).mean(dim=1)


def finer_weighted(logits: Tensor, class_idx: Tensor, compared: Tensor, gamma: float) -> Tensor:
    r"""Finer-CAM's contrast as the library grad-cam has it: the mean is weighted by the classes' probabilities.

    With :math:`q` the softmax over the M compared classes alone, it is :math:`l_k - \gamma \sum_m q_m l_m`. The weights
    are differentiated too: :math:`a_k = 1` and :math:`a_m = -\gamma q_m (1 + l_m - \sum_n q_n l_n)`.

    Args:
        logits: (N, C).
        class_idx: (N,) classes k.
        compared: (N, M) classes m, see :func:`nearest_classes`.
        gamma: strength of the comparison, there called alpha.

    Returns:
        (N,).

    >>> finer_weighted(torch.tensor([[3.0, 1.0, 1.0]]), torch.tensor([0]), torch.tensor([[1, 2]]), gamma=1.0)
    tensor([2.])
    """
    others = logits.gather(1, compared)  # (N, M)
    return logit(logits, class_idx) - gamma * (others.softmax(dim=1) * others).sum(dim=1)


@dataclass(frozen=True)
class Scalar:
    """One entry of the table of scalars.

    Attributes:
        function: of logits (N, C) and classes (N,), and for a contrast of the compared classes (N, M) and gamma, to
            what is explained (N,).
        title: as people write it.
        needs: ``"class"``, or ``"contrast"`` for a scalar of some classes that are compared.
        link_of: the head whose own link function it is, if any; there it is the logit itself.
    """

    function: Callable[..., Tensor]
    title: str
    needs: Literal["class", "contrast"] = "class"
    link_of: str = ""


SCALARS: dict[str, Scalar] = {
    "logit": Scalar(logit, "logit"),
    "centred": Scalar(centred, "centred logit"),
    "log_odds": Scalar(log_odds, "log-odds", link_of="sigmoid"),
    "finer": Scalar(finer, "Finer-CAM", "contrast"),
    "finer_weighted": Scalar(finer_weighted, "Finer-CAM, weighted", "contrast"),
}
"""Every scalar by name. To add one, write its function and its line here."""


def scalar_of_head(name: str, head: str) -> str:
    """Name of the scalar that a head explains when it is asked for ``name``.

    The probability of the sigmoid head is the sigmoid of its logit, so that its log-odds is its logit. Everything else
    is the same function of either head's logits.

    >>> scalar_of_head("log_odds", "sigmoid"), scalar_of_head("log_odds", "softmax")
    ('logit', 'log_odds')
    """
    return "logit" if SCALARS[name].link_of == head else name


def nearest_classes(logits: Tensor, class_idx: Tensor, num_classes: int) -> Tensor:
    """Find the classes whose logits are nearest to the class's own (Zhang et al. 2025), nearest first.

    Args:
        logits: (N, C).
        class_idx: (N,) classes, which are not among those returned.
        num_classes: how many are wanted.

    Returns:
        (N, M) classes, M = min(num_classes, C - 1).

    >>> nearest_classes(torch.tensor([[5.0, 1.0, 4.5, 6.0]]), torch.tensor([0]), 2)
    tensor([[2, 3]])
    """
    logits = logits.detach()
    distance = (logits - logits.gather(1, class_idx[:, None])).abs().scatter(1, class_idx[:, None], torch.inf)
    return distance.topk(min(num_classes, logits.shape[1] - 1), largest=False).indices


def scalar_values(
    name: str,
    logits: Tensor,
    class_idx: Tensor,
    contrast: Contrast = DEFAULT_CONTRAST,
    compared: Tensor | None = None,
) -> Tensor:
    """Compute a scalar of N images.

    Args:
        name: of the scalar.
        logits: (N, C).
        class_idx: (N,) int64 classes, taken as checked.
        contrast: see :class:`Contrast`.
        compared: (N, M) classes to compare with; by default the nearest by these logits.

    Returns:
        (N,).

    Raises:
        SigcamError: for an unknown name, or a head of one class and a scalar that compares it with others.
    """
    check_choice("scalar", name, SCALARS)
    scalar = SCALARS[name]
    if name != "logit" and logits.shape[1] < 2:
        fail(f"scalar {name!r} compares a class with others, but the head has only one: choose 'logit'.")
    if scalar.needs == "class":
        return scalar.function(logits, class_idx)
    if compared is None:
        compared = nearest_classes(logits, class_idx, contrast.num_classes)
    return scalar.function(logits, class_idx, compared, contrast.gamma)


def coefficients(name: str, logits: Tensor, class_idx: Tensor, contrast: Contrast = DEFAULT_CONTRAST) -> Tensor:
    """Coefficients a (N, C) of a scalar: its gradient with respect to the logits.

    Args:
        name: of the scalar.
        logits: (N, C).
        class_idx: (N,) int64 classes, taken as checked.
        contrast: see :class:`Contrast`.

    Raises:
        SigcamError: as :func:`scalar_values`.

    >>> coefficients("centred", torch.tensor([[1.0, 2.0, 6.0, 0.0]]), torch.tensor([2]))
    tensor([[-0.2500, -0.2500,  0.7500, -0.2500]])
    """
    return gradients_at(logits, class_idx, lambda leaf, classes: scalar_values(name, leaf, classes, contrast))


def gradients_at(point: Tensor, class_idx: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Gradients, in any mode of autograd, of what a function of N points and their classes gives, (N,).

    Args:
        point: N points, which do not interact in the function.
        class_idx: (N,) classes.
        function: to differentiate.

    Returns:
        In the shape of the points.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaf = point.detach().clone().requires_grad_()
        (gradients,) = torch.autograd.grad(function(leaf, class_idx.clone()).sum(), leaf)
    return gradients.detach()
