"""What softmax cannot see: the theorems of the book as properties, and who moves the gauge as an experiment."""

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sigcam_core import SigcamError
from sigcam_core.invariance import (
    center_weights,
    delta_for_map,
    erasing_delta,
    gauge_energy,
    shift_weights,
    shifted_head,
    sign_collapse_delta,
)

NUMBERS = st.floats(-100, 100, width=32)


@st.composite
def heads(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Weights (C, K) and a shift (K,)."""
    classes, channels = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    arrays = (draw(hnp.arrays(np.float64, shape, elements=NUMBERS)) for shape in ((classes, channels), (channels,)))
    weight, delta = map(torch.from_numpy, arrays)
    return weight, delta


def head_of(classes: int = 4, channels: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Features (K, 3, 3), weights (C, K) and bias (C,)."""
    return torch.rand(channels, 3, 3).double(), torch.randn(classes, channels).double(), torch.randn(classes).double()


@given(heads())
def test_probabilities_are_blind_to_any_shift(head: tuple[Tensor, Tensor]) -> None:
    weight, delta = head
    features = torch.linspace(0, 1, 4 * len(delta), dtype=torch.float64).view(len(delta), 2, 2).cos()
    bias = torch.zeros(len(weight), dtype=torch.float64)
    before, after = (shifted_head(features, weight, bias, shift, 0) for shift in (torch.zeros_like(delta), delta))
    torch.testing.assert_close(after.probabilities, before.probabilities, rtol=1e-9, atol=1e-12)
    # Every logit and every map moves by the same amount, which is what the sigmoid sees.
    common = torch.einsum("k,khw->hw", delta, features)
    torch.testing.assert_close(after.class_map - before.class_map, common, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(after.logits - before.logits, common.mean().expand(len(weight)), rtol=1e-9, atol=1e-9)


@given(heads())
def test_centring_forgets_the_shift(head: tuple[Tensor, Tensor]) -> None:
    weight, delta = head
    centred = center_weights(weight)
    torch.testing.assert_close(center_weights(centred), centred, rtol=0, atol=1e-12)
    torch.testing.assert_close(center_weights(shift_weights(weight, delta)), centred, rtol=0, atol=1e-11)
    torch.testing.assert_close(centred.sum(0), torch.zeros_like(delta), rtol=0, atol=1e-11)


@given(heads())
def test_centred_weights_have_the_least_norm_of_all_shifts(head: tuple[Tensor, Tensor]) -> None:
    weight, delta = head
    assert center_weights(weight).norm() <= shift_weights(weight, delta).norm() + 1e-9


@given(heads())
def test_gauge_energy_is_the_fraction_that_centring_removes(head: tuple[Tensor, Tensor]) -> None:
    weight, _ = head
    assume(weight.norm() > 1e-3)
    energy = gauge_energy(weight)
    assert 0 <= energy <= 1 + 1e-12
    kept = center_weights(weight).square().sum() / weight.square().sum()
    assert energy == pytest.approx(1 - kept.item(), abs=1e-9)


def test_gauge_energy_of_independent_weights_is_one_over_the_classes() -> None:
    assert gauge_energy(torch.randn(50, 100_000)) == pytest.approx(1 / 50, rel=0.03)
    assert gauge_energy(torch.ones(7, 3)) == pytest.approx(1)
    assert gauge_energy(center_weights(torch.randn(7, 3).double())) == pytest.approx(0, abs=1e-15)


def test_sign_collapse_negates_the_map_of_its_class() -> None:
    features, weight, bias = head_of()
    before = shifted_head(features, weight, bias, torch.zeros(6), 2)
    after = shifted_head(features, weight, bias, sign_collapse_delta(weight, 2), 2)
    torch.testing.assert_close(after.class_map, -before.class_map)
    torch.testing.assert_close(after.probabilities, before.probabilities)


@given(heads())
def test_erasing_leaves_no_positive_weight(head: tuple[Tensor, Tensor]) -> None:
    weight, _ = head
    shifted = shift_weights(weight, erasing_delta(weight))
    assert shifted.max() <= 0
    assert bool((shifted == 0).any(dim=0).all())  # and goes no further than needed


def test_any_map_in_the_span_is_reached() -> None:
    features, weight, bias = head_of(channels=12)  # more channels than the 9 pixels
    target = torch.randn(3, 3).double()
    start = shifted_head(features, weight, bias, torch.zeros(12), 1)
    delta = delta_for_map(features, start.class_map, target)
    reached = shifted_head(features, weight, bias, delta, 1)
    torch.testing.assert_close(reached.class_map, target, rtol=0, atol=1e-9)
    torch.testing.assert_close(reached.probabilities, start.probabilities, rtol=1e-7, atol=1e-10)
    least = torch.linalg.lstsq(features.flatten(1).T, (target - start.class_map).flatten(), driver="gelsd").solution
    torch.testing.assert_close(delta, least, rtol=1e-7, atol=1e-9)


def test_with_few_channels_the_nearest_map_is_reached() -> None:
    features, weight, bias = head_of(channels=4)
    target, start = torch.randn(3, 3).double(), shifted_head(features, weight, bias, torch.zeros(4), 0).class_map
    delta = delta_for_map(features, start, target)
    missed = target - shifted_head(features, weight, bias, delta, 0).class_map
    torch.testing.assert_close(features.flatten(1) @ missed.flatten(), torch.zeros(4).double(), rtol=0, atol=1e-9)


def test_the_class_sum_of_the_cross_entropy_gradient_is_zero() -> None:
    layer = nn.Linear(6, 5).double()
    cross_entropy(layer(torch.randn(32, 6).double()), torch.randint(5, (32,))).backward()
    assert layer.weight.grad.abs().max() > 1e-3
    torch.testing.assert_close(layer.weight.grad.sum(0), torch.zeros(6).double(), rtol=0, atol=1e-15)


def class_mean_after_training(optimizer_class: type[torch.optim.Optimizer], **options: float) -> tuple[Tensor, Tensor]:
    """Mean over the classes of a softmax head's weights, before and after 40 steps."""
    torch.manual_seed(3)
    layer = nn.Linear(6, 5).double()
    before = layer.weight.detach().mean(0).clone()
    inputs, labels = torch.randn(64, 6).double(), torch.randint(5, (64,))
    optimizer = optimizer_class(layer.parameters(), **options)
    for _ in range(40):
        optimizer.zero_grad()
        cross_entropy(layer(inputs), labels).backward()
        optimizer.step()
    return before, layer.weight.detach().mean(0)


def test_gradient_descent_never_moves_the_gauge_and_weight_decay_shrinks_it() -> None:
    before, after = class_mean_after_training(torch.optim.SGD, lr=0.1, momentum=0.9)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-13)
    before, after = class_mean_after_training(torch.optim.SGD, lr=0.1, weight_decay=0.5)
    torch.testing.assert_close(after, before * (1 - 0.1 * 0.5) ** 40, rtol=0, atol=1e-13)


def test_adam_moves_the_gauge() -> None:
    before, after = class_mean_after_training(torch.optim.Adam, lr=0.01)
    assert (after - before).norm() > 0.01


def test_bad_input_is_refused() -> None:
    weight = torch.ones(3, 4)
    with pytest.raises(SigcamError, match=r"delta must have shape \(4,\), one number a channel, got \(3,\)"):
        shift_weights(weight, torch.zeros(3))
    with pytest.raises(SigcamError, match=r"must be a \(C, K\) matrix, got shape \(4,\)"):
        center_weights(weight[0])
    with pytest.raises(SigcamError, match="gauge_energy is undefined for a head whose weights are all zero"):
        gauge_energy(torch.zeros(3, 4))
    for class_idx in (-1, 3):
        with pytest.raises(SigcamError, match=f"class index {class_idx} is out of range: there are 3 classes"):
            sign_collapse_delta(weight, class_idx)
    assert math.isclose(gauge_energy(weight.requires_grad_()), 1)
