"""How far a linear head can be from the optimum of its loss: a bound from Fenchel duality, in float64.

Of logits Z = X W^T + b, the objective is P(W, b) = L(Z) + l2/2 ||W||_F^2, whose bias is not penalised. Its dual is
D(A) = -L*(A) - ||A^T X||_F^2 / (2 l2) over the A (N, C) whose columns sum to zero, which is what the free bias asks for
(Rockafellar, Convex Analysis, 1970, Section 31). D(A) <= min P <= P(W, b) for every such A; the gradient of L at the
head, with its columns made to sum to zero, gives one that closes the gap as the head nears the optimum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from sigcam_core.common.checks import check_class_idx
from sigcam_core.common.errors import check_choice, fail
from sigcam_core.dual.branch import HEADS
from sigcam_core.dual.loss import class_balanced_bce

ROWS = 4096  # of the features that are in float64 at a time
NEWTON_STEPS = 200
LONGEST_STEP = 2.0
HALVINGS = 40


@dataclass(frozen=True)
class Certificate:
    """What is known of a head, all in float64.

    Attributes:
        loss: the mean loss of the head.
        objective: the loss with its penalty.
        dual: no head has a lower objective.
        bias: (C,) the best bias for the head's weights, with which ``loss`` and ``objective`` are taken, in the type of
            the bias that was given.
    """

    loss: float
    objective: float
    dual: float
    bias: Tensor

    @property
    def gap(self) -> float:
        """The relative duality gap, (objective - dual) / objective."""
        return (self.objective - self.dual) / self.objective


def certify(features: Tensor, labels: Tensor, head: str, l2: float, weight: Tensor, bias: Tensor) -> Certificate:
    """Bound how far a head is from the optimum of its penalised loss.

    The bias is moved to the best one for the weights, which costs no pass over the features.

    Args:
        features: (N, D) inputs of the head.
        labels: (N,) classes; each of the C has at least one row.
        head: ``"softmax"`` for cross-entropy, ``"sigmoid"`` for class-balanced BCE.
        l2: penalty, of ``l2 / 2 * ||weight||_F^2``; positive.
        weight: (C, D).
        bias: (C,).

    Raises:
        SigcamError: for bad input.

    >>> features, labels = torch.tensor([[-1.0], [1.0], [0.5]]), torch.tensor([0, 1, 1])
    >>> far = certify(features, labels, "softmax", 0.1, torch.tensor([[9.0], [-9.0]]), torch.zeros(2))
    >>> far.gap > 0.5
    True
    """
    check_problem(features, labels, len(weight), head, l2)
    weights = weight.detach().double()
    mean = mean_of_rows(features)
    centred = torch.cat([(rows.double() - mean) @ weights.T for rows in torch.split(features, ROWS)])  # (N, C)
    shift = weights @ mean
    exact = best_bias(centred, labels, head, bias.detach().double() + shift)
    rounded = (exact - shift).to(bias.dtype)
    loss = mean_loss(centred + (rounded.double() + shift), labels, head)
    entropy, dual_point = _feasible_point(centred.add_(exact), labels, head)
    product = torch.zeros_like(weights)
    for rows, part in zip(torch.split(features, ROWS), torch.split(dual_point, ROWS), strict=True):
        product += part.T @ (rows.double() - mean)
    dual = entropy - product.square().sum().item() / (2 * l2)
    return Certificate(loss, loss + l2 / 2 * weights.square().sum().item(), dual, rounded)


def check_problem(features: Tensor, labels: Tensor, num_classes: int, head: str, l2: float) -> None:
    """Refuse a problem that has no optimum, or whose parts do not fit.

    Raises:
        SigcamError: if shapes do not fit, the penalty is not positive, a class has no row, or there is but one class.
    """
    check_choice("head", head, HEADS)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        fail(f"a head needs features (N, D) and labels (N,), got {tuple(features.shape)} and {tuple(labels.shape)}.")
    if not 0 < l2 < math.inf:
        fail(f"the penalty l2 must be a positive number, got {l2}: without one there may be no optimum.")
    check_class_idx(labels, num_classes)
    empty = torch.nonzero(labels.bincount(minlength=num_classes) == 0).flatten()
    if len(empty) or num_classes < 2:
        which = f"class {int(empty[0])} has no training row" if len(empty) else "there is only one class"
        fail(f"{which}, so that the best bias is infinite: leave that class out, or add to it.")


def mean_of_rows(features: Tensor) -> Tensor:
    """Compute the mean (D,) of features (N, D), in float64 whatever their type."""
    return torch.stack([rows.double().sum(0) for rows in torch.split(features, ROWS)]).sum(0) / len(features)


def mean_loss(logits: Tensor, labels: Tensor, head: str) -> float:
    """Compute the loss that the head is trained with, cross-entropy or class-balanced BCE, from logits (N, C)."""
    loss = cross_entropy(logits, labels) if head == "softmax" else class_balanced_bce(logits, labels)
    return loss.item()


def residual(logits: Tensor, labels: Tensor, head: str) -> Tensor:
    """Compute the gradient (N, C) of :func:`mean_loss` with respect to the logits (N, C)."""
    num_items, num_classes = logits.shape
    labels = labels[:, None]
    if head == "softmax":
        result = logits.softmax(1)
        return result.scatter_add_(1, labels, torch.full_like(result[:, :1], -1.0)).div_(num_items)
    result = logits.sigmoid()
    own = (num_classes - 1) * (result.gather(1, labels) - 1)
    return result.scatter_(1, labels, own).div_(num_items * num_classes)


def best_bias(logits: Tensor, labels: Tensor, head: str, start: Tensor) -> Tensor:
    """Find the bias (C,) that minimises the loss of ``logits + bias``, by damped Newton steps.

    Args:
        logits: (N, C) float64, without a bias.
        labels: (N,).
        head: ``"softmax"`` or ``"sigmoid"``.
        start: (C,) float64.
    """
    bias, loss = start, mean_loss(logits + start, labels, head)
    for _ in range(NEWTON_STEPS):
        gradient, step = _newton_step(logits + bias, labels, head)
        expected = (gradient @ step).item()
        if expected <= 1e-9 * loss:
            return bias - step  # Newton's method converges quadratically here, and the loss is too coarse to tell
        for halving in range(HALVINGS):
            scale = 0.5**halving
            tried = mean_loss(logits + (bias - scale * step), labels, head)
            if tried <= loss - 1e-4 * scale * expected:
                break
        else:
            break  # within rounding of the best
        bias, loss = bias - scale * step, tried
    return bias


def _newton_step(logits: Tensor, labels: Tensor, head: str) -> tuple[Tensor, Tensor]:
    """Compute the gradient (C,), and the step (C,) to subtract, no longer than :data:`LONGEST_STEP`."""
    num_items, num_classes = logits.shape
    gradient = residual(logits, labels, head).sum(0)
    # Where all logits are far out there is hardly any curvature; near the best bias this adds nothing.
    floor = 1e-3 * gradient.abs().max() + 1e-30
    if head == "sigmoid":
        chances = logits.sigmoid()
        curvature = chances * (1 - chances)
        own = labels[:, None]
        curvature.scatter_(1, own, (num_classes - 1) * curvature.gather(1, own))
        step = gradient / (curvature.sum(0) / (num_items * num_classes) + floor)
        return gradient, step.clamp(-LONGEST_STEP, LONGEST_STEP)
    chances = logits.softmax(1)
    hessian = (torch.diag(chances.sum(0)) - chances.T @ chances) / num_items
    # A bias that all classes share changes nothing: the term for it makes the matrix invertible, and takes no part.
    step = torch.linalg.solve(
        hessian + hessian.diagonal().mean() / num_classes + torch.diag(floor.expand(num_classes)), gradient
    )
    return gradient, step * (LONGEST_STEP / step.abs().max().clamp(min=LONGEST_STEP))


def _feasible_point(logits: Tensor, labels: Tensor, head: str) -> tuple[float, Tensor]:
    """-L*(A) and an A (N, C) whose columns sum to zero, near the gradient of the loss at the logits."""
    num_items, num_classes = logits.shape
    targets = one_hot(labels, num_classes).to(logits.dtype)
    if head == "softmax":
        chances = logits.softmax(1)
        counts, sums = targets.sum(0), chances.sum(0)
        # Mixed with one distribution for all rows, just enough of it for the columns to sum to the counts.
        share = ((sums - counts) / sums).max().clamp(min=0).item()
        if share > 0:
            rest = (counts - (1 - share) * sums).clamp(min=0) / (share * num_items)
            chances = (1 - share) * chances + share * rest
        entropy = -torch.xlogy(chances, chances).sum().item() / num_items
        return entropy, (chances - targets) / num_items
    chances = logits.sigmoid()
    negative, positive = chances * (1 - targets), (num_classes - 1) * (1 - chances) * targets
    # The heavier side of each class is scaled down to the other.
    lighter = torch.minimum(negative.sum(0), positive.sum(0))
    negative, positive = negative * (lighter / negative.sum(0)), positive * (lighter / positive.sum(0))
    both = _binary_entropy(negative) + (num_classes - 1) * _binary_entropy(positive / (num_classes - 1))
    return both.sum().item() / logits.numel(), (negative - positive) / logits.numel()


def _binary_entropy(chances: Tensor) -> Tensor:
    return -torch.xlogy(chances, chances) - torch.xlogy(1 - chances, 1 - chances)
