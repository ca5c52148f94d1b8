"""Heads at their optimum: against scikit-learn's logistic regressions, and what follows from convexity."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from companion.optimum.optimum import Optimum, Point, Settings, solve_head
from sigcam_core import SigcamError
from sigcam_core.invariance import gauge_energy

NUM_CLASSES, L2 = 5, 3e-3
HEADS = ("softmax", "sigmoid")


def silent(line: str) -> None:
    """Report nothing."""


PRECISE = Settings(tolerance=1e-10, report=silent)


def images(seed: int = 0, num_items: int = 150, width: int = 12) -> tuple[Tensor, Tensor]:
    """Features (N, D) after a ReLU, of unlike scales and some of them dead, with classes of unlike sizes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(NUM_CLASSES, (num_items,), generator=generator) % torch.randint(
        1, NUM_CLASSES + 1, (num_items,), generator=generator
    )
    centres = torch.randn(NUM_CLASSES, width, generator=generator, dtype=torch.float64)
    noise = torch.randn(num_items, width, generator=generator, dtype=torch.float64)
    scales = torch.logspace(-1, 0.5, width, dtype=torch.float64)
    scales[3] = 0
    return (0.7 * centres[labels] + noise).relu() * scales, labels


def reference(head: str, features: Tensor, labels: Tensor, l2: float = L2) -> Point:
    """scikit-learn's heads: one multinomial regression, or one weighted binary regression per class."""

    def regression(of: float, targets: Tensor, weights: Tensor | None = None) -> Any:
        model = LogisticRegression(C=1 / (l2 * of), solver="newton-cholesky", tol=1e-12, max_iter=1000)
        return model.fit(features.numpy(), targets.numpy(), None if weights is None else weights.numpy())

    if head == "softmax":
        models = [regression(len(labels), labels)]
    else:
        models = [
            regression(len(labels) * NUM_CLASSES, labels == c, torch.where(labels == c, NUM_CLASSES - 1.0, 1.0))
            for c in range(NUM_CLASSES)
        ]
    weights = torch.cat([torch.from_numpy(model.coef_) for model in models])
    return weights, torch.cat([torch.from_numpy(model.intercept_) for model in models])


def loss_of(head: str, features: Tensor, labels: Tensor, point: Point) -> float:
    """The losses as the formulas have them."""
    logits = features @ point[0].T + point[1]
    own = torch.arange(NUM_CLASSES) == labels[:, None]
    if head == "softmax":
        return (logits.logsumexp(1) - logits[own]).mean().item()
    terms = torch.where(own, (NUM_CLASSES - 1) * torch.log1p(torch.exp(-logits)), torch.log1p(torch.exp(logits)))
    return terms.mean().item()


def solved(head: str, features: Tensor, labels: Tensor, start: Point | None = None, l2: float = L2) -> Optimum:
    return solve_head(features, labels, NUM_CLASSES, head, l2, start, PRECISE)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("l2", [1e-1, L2, 1e-5])
def test_the_optimum_is_the_one_of_scikit_learn(head: str, l2: float) -> None:
    features, labels = images()
    weight, bias = reference(head, features, labels, l2)
    optimum = solved(head, features, labels, l2=l2)
    torch.testing.assert_close(optimum.weight, weight, rtol=1e-3, atol=1e-4)
    ours, theirs = (b - b.mean() * (head == "softmax") for b in (optimum.bias, bias))  # softmax: up to a constant
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    assert optimum.loss == pytest.approx(loss_of(head, features, labels, (weight, bias)), abs=1e-6)
    assert optimum.loss == pytest.approx(loss_of(head, features, labels, (optimum.weight, optimum.bias)), abs=1e-12)
    assert optimum.objective == pytest.approx(optimum.loss + l2 / 2 * float(optimum.weight.square().sum()), abs=1e-12)
    assert optimum.certificate <= 1e-10
    assert optimum.iterations > 1


@pytest.mark.parametrize("head", HEADS)
def test_features_in_half_precision_are_solved_to_the_usual_certificate(head: str) -> None:
    features, labels = images()
    optimum = solve_head(features.half(), labels, NUM_CLASSES, head, L2, settings=Settings(report=silent))
    best = solved(head, features.half().double(), labels)
    assert optimum.weight.dtype == optimum.bias.dtype == torch.float32
    assert (1 - optimum.certificate) * optimum.objective <= best.objective <= optimum.objective
    assert optimum.certificate <= 1e-3


def test_the_softmax_optimum_is_centred_wherever_it_starts_and_the_sigmoid_one_is_not() -> None:
    features, labels = images()
    shifted = torch.ones(NUM_CLASSES, features.shape[1]), torch.zeros(NUM_CLASSES)
    assert gauge_energy(shifted[0]) == 1
    assert gauge_energy(solved("softmax", features, labels, shifted).weight) < 1e-10
    assert gauge_energy(solved("sigmoid", features, labels, shifted).weight) > 1e-3


@pytest.mark.parametrize("head", HEADS)
def test_an_optimum_is_recognised(head: str) -> None:
    features, labels = images()
    optimum = solved(head, features, labels)
    again = solved(head, features, labels, (optimum.weight, optimum.bias))
    assert again.iterations == 0
    torch.testing.assert_close(again.weight, optimum.weight)


@pytest.mark.parametrize("head", HEADS)
def test_a_constant_added_to_the_features_only_moves_the_bias(head: str) -> None:
    features, labels = images()
    offset = torch.linspace(-3, 5, features.shape[1], dtype=torch.float64)
    optimum, moved = solved(head, features, labels), solved(head, features + offset, labels)
    torch.testing.assert_close(moved.weight, optimum.weight, rtol=1e-4, atol=1e-5)
    difference = moved.bias + moved.weight @ offset - optimum.bias
    if head == "softmax":
        difference = difference - difference.mean()
    assert difference.abs().max() < 1e-4


def test_the_classes_of_a_sigmoid_head_are_solved_independently() -> None:
    features, labels = images()
    both = solved("sigmoid", features, labels)
    swapped = torch.where(labels == 0, 1, torch.where(labels == 1, 0, labels))
    torch.testing.assert_close(solved("sigmoid", features, swapped).weight[2:], both.weight[2:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(solved("softmax", features, labels).weight[2:], both.weight[2:], atol=1e-2)


@pytest.mark.parametrize("head", HEADS)
def test_the_same_input_gives_the_same_bits(head: str) -> None:
    features, labels = images()
    usual = Settings(report=silent)
    first, second = (solve_head(features.float(), labels, NUM_CLASSES, head, L2, None, usual) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


def test_a_head_that_is_not_solved_is_refused_after_it_has_told_how_far_it_was() -> None:
    features, labels = images()
    lines: list[str] = []
    impatient = Settings(tolerance=1e-13, max_iterations=21, report=lines.append)
    sentence = r"the softmax head is not at its optimum after 21 iterations \(l2 1e-05, gap about .*\): allow more"
    with pytest.raises(SigcamError, match=sentence):
        solve_head(features, labels, NUM_CLASSES, "softmax", 1e-5, settings=impatient)
    assert len(lines) == 1
    assert re.fullmatch(r"softmax head, l2 1\.0e-05: iteration 20, objective 0\.\d+, gap about \de-\d+|.*", lines[0])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"head": "tanh"}, "unknown head 'tanh': choose one of softmax"),
        ({"l2": 0.0}, r"l2 must be a positive number, got 0\.0: without one there may be no optimum"),
        ({"l2": float("nan")}, "l2 must be a positive number, got nan"),
        ({"features": torch.ones(3)}, r"needs features \(N, D\) and labels \(N,\), got \(3,\) and \(150,\)"),
        ({"num_classes": 4}, "class index 4 at position"),
        ({"num_classes": 6}, "class 5 has no training row, so that the best bias is infinite"),
        (
            {"start": (torch.zeros(5, 3), torch.zeros(5))},
            r"must have weights \(5, 12\) and a bias \(5,\), got \(5, 3\)",
        ),
    ],
)
def test_impossible_problems_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    features, labels = images()
    usual = {"features": features, "labels": labels, "num_classes": NUM_CLASSES, "head": "softmax", "l2": L2}
    with pytest.raises(SigcamError, match=sentence):
        solve_head(**{**usual, **wrong})
