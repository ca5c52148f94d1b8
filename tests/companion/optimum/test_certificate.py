"""The duality gap: a bound that holds for every head, and is tight at the optimum."""

from __future__ import annotations

import pytest
import torch
from test_optimum import HEADS, L2, NUM_CLASSES, images, loss_of, reference
from torch import Tensor

from companion.optimum import certificate
from companion.optimum.certificate import best_bias, certify, residual


def some_head(scale: float, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = scale * torch.randn(NUM_CLASSES, 12, generator=generator, dtype=torch.float64)
    return weight, scale * torch.randn(NUM_CLASSES, generator=generator, dtype=torch.float64)


def least_objective(head: str, features: Tensor, labels: Tensor) -> float:
    weight, bias = reference(head, features, labels)
    return loss_of(head, features, labels, (weight, bias)) + L2 / 2 * float(weight.square().sum())


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("polished", [True, False])
@pytest.mark.parametrize("scale", [0.0, 0.01, 0.3, 3.0])
def test_the_bound_holds_for_any_head(head: str, polished: bool, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = images()
    if not polished:  # then columns that sum to zero are made by the repair alone
        monkeypatch.setattr(certificate, "NEWTON_STEPS", 0)
    best = least_objective(head, features, labels)
    for seed in range(5):
        known = certify(features, labels, head, L2, *some_head(scale, seed))
        assert known.dual <= best * (1 + 1e-9)
        assert known.objective >= best
        assert known.gap == (known.objective - known.dual) / known.objective


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("move", [1e-1, 1e-2, 1e-3])
def test_the_bound_is_tight_near_the_optimum(head: str, move: float) -> None:
    features, labels = images()
    weight, bias = reference(head, features, labels)
    known = certify(features, labels, head, L2, weight + move * some_head(1, 0)[0], bias)
    excess = known.objective - least_objective(head, features, labels)
    assert 0 < excess <= known.gap * known.objective
    assert known.gap < 400 * move**2  # a first-order mistake in either side would be linear
    at_optimum = certify(features, labels, head, L2, weight, bias + 1)
    assert at_optimum.gap < 1e-9
    torch.testing.assert_close(at_optimum.bias - float(head == "softmax"), bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("start", [0.0, 30.0])
def test_the_best_bias_leaves_no_gradient(head: str, start: float) -> None:
    features, labels = images()
    logits = features @ some_head(2, 1)[0].T
    far = start * torch.linspace(-1, 1, NUM_CLASSES, dtype=torch.float64)
    bias = best_bias(logits, labels, head, far)
    assert residual(logits + bias, labels, head).sum(0).abs().max() < 1e-9


@pytest.mark.parametrize("head", HEADS)
def test_the_residual_is_the_gradient_of_the_loss(head: str) -> None:
    features, labels = images()
    logits = (features @ some_head(1, 2)[0].T).requires_grad_()
    own = torch.arange(NUM_CLASSES) == labels[:, None]
    if head == "softmax":
        loss = (logits.logsumexp(1) - logits[own]).mean()
    else:
        loss = torch.where(own, -(NUM_CLASSES - 1) * logits.sigmoid().log(), -(-logits).sigmoid().log()).mean()
    (expected,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(residual(logits.detach(), labels, head), expected)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_bias_that_is_a_little_off_does_not_break_the_bound(
    head: str, sign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns that do not sum to zero would lift the "bound" above the optimum on one side, to first order."""
    monkeypatch.setattr(certificate, "NEWTON_STEPS", 0)
    features, labels = images()
    weight, bias = reference(head, features, labels)
    best = least_objective(head, features, labels)
    for position in range(NUM_CLASSES):
        moved = bias.clone()
        moved[position] += sign * 1e-3
        known = certify(features, labels, head, L2, weight, moved)
        assert known.dual <= best * (1 + 1e-10)
        assert known.gap < 1e-2
