"""The loss of the sigmoid branch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from ..common.checks import check_class_idx
from ..common.errors import fail


def class_balanced_bce(logits: Tensor, labels: Tensor, pos_weight: float | None = None) -> Tensor:
    """Class-balanced binary cross-entropy: one-vs-rest with the positive term weighted by C - 1.

    With one positive and C - 1 negatives per row, the weight makes both sides count the same (Oh and Noh 2025).

    Args:
        logits: (N, C) scores before the sigmoid.
        labels: (N,) integer classes.
        pos_weight: weight of the positive term; ``None`` means C - 1.

    Returns:
        The mean over all N x C terms, a scalar tensor.

    Raises:
        SigcamError: if the shapes do not fit, there is one class only, or a label is outside [0, C).

    >>> class_balanced_bce(torch.zeros(2, 4), torch.tensor([0, 3])).item()  # (3 log 2 + 3 log 2) / 4
    1.0397...
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        fail(
            f"class_balanced_bce needs logits (N, C) and labels (N,), got {tuple(logits.shape)} and "
            f"{tuple(labels.shape)}."
        )
    num_classes = logits.shape[1]
    if num_classes < 2:
        fail("class_balanced_bce compares one class with the others: give logits of at least two classes.")
    check_class_idx(labels, num_classes)
    weight = torch.tensor(num_classes - 1.0 if pos_weight is None else pos_weight, device=logits.device)
    return _weighted_bce(logits, labels, weight)


def unchecked_balanced_bce(num_classes: int, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """:func:`class_balanced_bce` for training: labels are taken as checked, since a GPU is waited for at each check.

    Args:
        num_classes: C, for the weight of the positive term.
        device: of the logits (N, C) and labels (N,).
    """
    weight = torch.tensor(num_classes - 1.0, device=device)
    return lambda logits, labels: _weighted_bce(logits, labels, weight)


def _weighted_bce(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    targets = one_hot(labels, logits.shape[1]).to(logits.dtype)
    return binary_cross_entropy_with_logits(logits, targets, pos_weight=weight.to(logits.dtype))
