"""Linear heads at their optimum: cross-entropy and class-balanced BCE on frozen features are convex.

The objective is the mean loss plus l2/2 ||W||_F^2; **the bias is not penalised**. It is solved until the relative
duality gap of :mod:`companion.optimum.certificate` is small, so that "at the optimum" is a proven statement and two
heads are compared without either one's optimiser in between.

The method is limited-memory BFGS (Nocedal and Wright, Numerical Optimization, 2006, Section 7.2) on all rows at once,
in the basis of the features' principal components. That basis leaves ||W||_F as it is, and in it the Hessian is nearly
diagonal, which is where the recursion starts from. Each iteration costs two products with the features; the line search
works on the logits alone. The C problems of the sigmoid head are independent: each has its own steps and its own
curvature pairs, as if it were solved alone. Nothing is random.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sigcam_core.common.errors import fail
from sigcam_core.common.progress import Report, print_to_stderr
from sigcam_core.invariance import center_weights

from .certificate import ROWS, certify, check_problem, mean_loss, mean_of_rows, residual

Product = Callable[[Tensor, Tensor], Tensor]
Point = tuple[Tensor, Tensor]
"""The weight (C, D) and bias (C,) of a head."""
MEMORY = 30  # pairs of the recursion; 10 take half as many iterations again on weak penalties
LINE_TOLERANCE = 0.2  # of the slope that a step may leave
LINE_STEPS = 12
REPORT_EVERY = 20  # iterations


@dataclass(frozen=True)
class Settings:
    """How far to go.

    Attributes:
        tolerance: greatest relative duality gap of a solution.
        max_iterations: a head that is not solved by then is refused.
        report: gets a line now and then.
        folder: where :func:`companion.optimum.penalties.penalty_path` keeps solutions; ``None`` keeps none.
    """

    tolerance: float = 1e-3
    max_iterations: int = 1000
    report: Report = field(default_factory=lambda: print_to_stderr)  # a function would pass for a method
    folder: Path | None = None


USUAL = Settings()
"""A gap of 1e-3."""


@dataclass(frozen=True)
class Optimum:
    """A head whose objective is within ``certificate`` of the least there is.

    Attributes:
        weight: (C, D), float32, or float64 for float64 features; those of softmax sum to zero over the classes.
        bias: (C,) of the same type.
        loss: mean loss, in float64.
        objective: the loss plus l2/2 ||weight||_F^2.
        certificate: relative duality gap, (objective - dual) / objective: no head has an objective below
            ``(1 - certificate) * objective``.
        iterations: passes over the features, both ways.
        seconds: of wall-clock time.
    """

    weight: Tensor
    bias: Tensor
    loss: float
    objective: float
    certificate: float
    iterations: int
    seconds: float


class Basis(NamedTuple):
    """Features in the basis of their principal components, where a head is solved."""

    features: Tensor  # (N, D) as they came
    rotated: Tensor  # (N, D) float32 or float64, of mean zero
    mean: Tensor  # (D,) float64, of the features
    rotation: Tensor  # (D, D) float64, orthogonal
    variances: Tensor  # (D,) of the columns of ``rotated``


def principal_basis(features: Tensor) -> Basis:
    """Centre features (N, D) and turn them to their principal components; costs as much as a few iterations.

    Args:
        features: float16 and float32 are worked on in float32, float64 in float64.
    """
    kind = torch.float64 if features.dtype == torch.float64 else torch.float32
    mean = mean_of_rows(features)
    rotated = torch.empty(features.shape, dtype=kind, device=features.device)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=features.device)
    for rows, target in zip(torch.split(features, ROWS), torch.split(rotated, ROWS), strict=True):
        target.copy_(rows.double() - mean)
        covariance += target.T @ target
    variances, rotation = torch.linalg.eigh(covariance / len(features))
    for target in torch.split(rotated, ROWS):
        target.copy_(target @ rotation.to(kind))
    return Basis(features, rotated, mean, rotation, variances.clamp(min=0).to(kind))


def solve_head(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    head: str,
    l2: float,
    start: Point | None = None,
    settings: Settings = USUAL,
) -> Optimum:
    """Find the linear head of least mean loss + l2/2 ||W||_F^2 on fixed features; the bias is not penalised.

    Args:
        features: (N, D) inputs of the head, in float16, float32 or float64.
        labels: (N,) int64 classes; each class has at least one row.
        num_classes: C.
        head: ``"softmax"`` for cross-entropy, the mean over N; ``"sigmoid"`` for class-balanced BCE, the mean over
            N x C with the positive terms weighted by C - 1.
        l2: the penalty, positive.
        start: weight (C, D) and bias (C,) to start from, such as the solution for a stronger penalty; ``None`` for 0.
        settings: tolerance, limit and reports.

    Raises:
        SigcamError: for bad input, or if the gap is not closed within the iterations.

    >>> features, labels = torch.tensor([[-1.0], [1.0], [0.5]]), torch.tensor([0, 1, 1])
    >>> optimum = solve_head(features, labels, 2, "softmax", l2=0.1)
    >>> bool(optimum.certificate <= 1e-3 and torch.allclose(optimum.weight.sum(0), torch.zeros(1), atol=1e-5))
    True
    """
    check_problem(features, labels, num_classes, head, l2)
    return solve_in_basis(principal_basis(features), labels, num_classes, head, l2, start, settings)


def solve_in_basis(
    basis: Basis,
    labels: Tensor,
    num_classes: int,
    head: str,
    l2: float,
    start: Point | None = None,
    settings: Settings = USUAL,
) -> Optimum:
    """:func:`solve_head` for features whose basis is known, as for the next penalty or the other head."""
    begin = time.perf_counter()
    check_problem(basis.features, labels, num_classes, head, l2)
    penalty = torch.full((basis.rotated.shape[1] + 1,), l2, dtype=basis.rotated.dtype, device=labels.device)
    penalty[-1] = 0  # the bias
    needed = settings.tolerance
    states = _iterations(basis, labels, head, penalty, _into(basis, start, num_classes))
    for state, iteration in zip(states, range(settings.max_iterations + 1), strict=False):
        objective, gap = _judge(state, labels, head, penalty)
        if iteration and iteration % REPORT_EVERY == 0:
            settings.report(
                f"{head} head, l2 {l2:.1e}: iteration {iteration}, objective {objective:.5f}, gap about {gap:.1e}"
            )
        if gap <= needed:
            weight, bias = _out_of(basis, state.values)
            if head == "softmax":
                weight = center_weights(weight)  # the optimum is: the loss stays as it is, and the penalty falls
            known = certify(basis.features, labels, head, l2, weight, bias)
            if known.gap <= settings.tolerance:
                seconds = time.perf_counter() - begin
                return Optimum(weight, known.bias, known.loss, known.objective, known.gap, iteration, seconds)
            needed = gap / 2  # the estimate was too low, and a proof costs as much as some iterations
    fail(
        f"the {head} head is not at its optimum after {settings.max_iterations} iterations (l2 {l2:g}, gap about "
        f"{gap:.1e}): allow more of them, or a greater penalty or tolerance."
    )


class _State(NamedTuple):
    """Where the search is; weights and biases are one tensor (C, D + 1) in the basis of the principal components."""

    values: Tensor  # (C, D + 1), the bias last
    logits: Tensor  # (N, C)
    residual: Tensor  # (N, C), gradient of the loss with respect to the logits
    gradient: Tensor  # (C, D + 1), of the objective


def _iterations(basis: Basis, labels: Tensor, head: str, penalty: Tensor, values: Tensor) -> Iterator[_State]:
    """Yield the states of the search without end, from the one at ``values``."""
    rotated, inner = basis.rotated, _inner(head)
    variances = torch.cat([basis.variances, torch.ones_like(basis.variances[:1])])  # of the bias's input, 1
    pairs: deque[_Pair] = deque(maxlen=MEMORY)
    state = _state_at(values, _logits(rotated, values), basis, labels, head, penalty)
    while True:
        yield state
        scale = _curvature(state.residual, labels, head)[:, None] * variances + penalty
        direction = -_inverse_hessian(pairs, state.gradient, scale, inner)
        along = _logits(rotated, direction)
        size = _step_size(state, direction, along, labels, penalty, inner, head)
        step = size * direction
        logits = state.logits.addcmul_(along, size.view(1, -1))
        following = _state_at(state.values + step, logits, basis, labels, head, penalty)
        pairs.append(_Pair.of(step, following.gradient - state.gradient, inner))
        state = following


def _state_at(values: Tensor, logits: Tensor, basis: Basis, labels: Tensor, head: str, penalty: Tensor) -> _State:
    slope = residual(logits, labels, head)
    gradient = torch.cat([slope.T @ basis.rotated, slope.sum(0)[:, None]], dim=1) + penalty * values
    return _State(values, logits, slope, gradient)


def _judge(state: _State, labels: Tensor, head: str, penalty: Tensor) -> tuple[float, float]:
    """Compute the objective, and estimate the relative duality gap as if the bias were optimal.

    With A the gradient at the logits, Fenchel's equality turns the gap to ||gradient||^2 / (2 l2), over the weights.
    What the bias's gradient adds is only estimated; the proof is :func:`companion.optimum.certificate.certify`'s.
    """
    squares = (penalty * state.values.square()).sum().item() / 2
    objective = mean_loss(state.logits, labels, head) + squares
    weights_part = state.gradient[:, :-1].square().sum().item() / (2 * penalty[0].item())
    bias_part = (state.gradient[:, -1] * state.values[:, -1]).sum().abs().item()
    return objective, (weights_part + bias_part) / objective


def _inner(head: str) -> Product:
    """Return the inner product of the search: (1, 1) for the whole head, or (C, 1) where classes are separate."""
    if head == "softmax":
        return lambda a, b: (a * b).sum().view(1, 1)
    return lambda a, b: (a * b).sum(1, keepdim=True)


class _Pair(NamedTuple):
    """A step and how the gradient changed along it."""

    step: Tensor  # (C, D + 1)
    change: Tensor  # (C, D + 1)
    inverse: Tensor  # one over their inner product, or 0 for a pair that tells nothing

    @classmethod
    def of(cls, step: Tensor, change: Tensor, inner: Product) -> _Pair:
        product = inner(step, change)
        sure = product > 1e-7 * (inner(step, step) * inner(change, change)).sqrt()  # above rounding
        return cls(step, change, torch.where(sure, 1 / product, 0.0))


def _inverse_hessian(pairs: deque[_Pair], gradient: Tensor, scale: Tensor, inner: Product) -> Tensor:
    """Multiply the gradient by the recursion's inverse Hessian, starting from a diagonal Hessian ``scale``."""
    result, shares = gradient, []
    for pair in reversed(pairs):
        share = pair.inverse * inner(pair.step, result)
        result = result - share * pair.change
        shares.append(share)
    result = result / scale
    if pairs:  # the length that the last pair asks for
        last = pairs[-1]
        length = 1 / (last.inverse * inner(last.change, last.change / scale))
        result = torch.where(last.inverse > 0, length, 1.0) * result
    for pair, share in zip(pairs, reversed(shares), strict=True):
        result = result + (share - pair.inverse * inner(pair.change, result)) * pair.step
    return result


def _step_size(
    state: _State, direction: Tensor, along: Tensor, labels: Tensor, penalty: Tensor, inner: Product, head: str
) -> Tensor:
    """Find the step, (1, 1) or (C, 1): where the slope, which only rises since the objective is convex, nearly ends.

    A bracket is narrowed by the secant with halved ends (the Illinois method), on the logits alone.
    """
    flat, bend = inner(penalty * state.values, direction), inner(penalty * direction, direction)

    def slope_at(size: Tensor) -> Tensor:
        change = residual(torch.addcmul(state.logits, along, size.view(1, -1)), labels, head).mul_(along)
        return (change.sum(0)[:, None] if size.numel() > 1 else change.sum().view(1, 1)) + flat + size * bend

    first = inner(state.gradient, direction)
    low, low_slope = torch.zeros_like(first), first
    high, high_slope = torch.full_like(first, math.inf), torch.full_like(first, math.inf)
    size = torch.ones_like(first)
    for _ in range(LINE_STEPS):
        slope = slope_at(size)
        done = slope.abs() <= LINE_TOLERANCE * first.abs()
        if bool(done.all()):
            break
        rising, bounded = slope > 0, high.isfinite()
        high_slope = torch.where(rising, slope, torch.where(bounded & (low > 0), high_slope / 2, high_slope))
        low_slope = torch.where(rising, torch.where(bounded, low_slope / 2, low_slope), slope)
        high, low = torch.where(rising, size, high), torch.where(rising, low, size)
        within = low - low_slope * (high - low) / (high_slope - low_slope)
        beyond = low * torch.clamp(first / (first - low_slope), 2, 8)  # the secant with the start, where it is sane
        size = torch.where(done, size, torch.where(high.isfinite(), within, beyond))
    return size


def _curvature(slope: Tensor, labels: Tensor, head: str) -> Tensor:
    """Compute the mean second derivative (C,) of the loss in each class's logit, from its residual (N, C)."""
    num_items, num_classes = slope.shape
    count, weight = (num_items, 1.0) if head == "softmax" else (num_items * num_classes, num_classes - 1.0)
    sums = slope.abs().sum(0) - count * slope.square().sum(0)  # p (1 - p) of each; positives are weighted
    own = slope.gather(1, labels[:, None])[:, 0].square() * (count * (1 - 1 / weight))
    return sums.index_add_(0, labels, own).clamp(min=1e-12)


def _logits(rotated: Tensor, values: Tensor) -> Tensor:
    return torch.addmm(values[:, -1], rotated, values[:, :-1].T)


def _into(basis: Basis, start: Point | None, num_classes: int) -> Tensor:
    """Express a head in the basis, as (C, D + 1)."""
    if start is None:
        return basis.rotated.new_zeros(num_classes, basis.rotated.shape[1] + 1)
    weight, bias = (values.detach().double() for values in start)
    expected = (num_classes, len(basis.mean))
    if weight.shape != expected or bias.shape != expected[:1]:
        fail(
            f"the head to start from must have weights {expected} and a bias ({num_classes},), got "
            f"{tuple(weight.shape)} and {tuple(bias.shape)}."
        )
    turned = torch.cat([weight @ basis.rotation, (bias + weight @ basis.mean)[:, None]], dim=1)
    return turned.to(basis.rotated.dtype)


def _out_of(basis: Basis, values: Tensor) -> Point:
    weight = values[:, :-1].double() @ basis.rotation.T
    bias = values[:, -1].double() - weight @ basis.mean
    return weight.to(values.dtype), bias.to(values.dtype)
