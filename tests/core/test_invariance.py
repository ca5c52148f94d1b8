"""What softmax cannot see: the theorems of the book as properties, and who moves the gauge as an experiment."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, kl_div, one_hot
from torch.nn.utils.parametrizations import weight_norm

from sigcam_core import SigcamError, class_balanced_bce
from sigcam_core.backbones import build
from sigcam_core.invariance import (
    center_weights,
    delta_for_map,
    erasing_delta,
    gauge_energy,
    mean_map_variance_ratio,
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


def test_gauge_energy_depends_on_the_classes_that_are_kept() -> None:
    # The mean over all ways to keep n of C rows of a centred head, as the book gives it.
    weight = center_weights(torch.randn(6, 4).double())
    for kept in range(1, 7):
        heads = [weight[list(rows)] for rows in itertools.combinations(range(6), kept)]
        shared = sum(kept * head.mean(0).square().sum() for head in heads)
        whole = sum(head.square().sum() for head in heads)
        assert float(shared / whole) == pytest.approx((6 - kept) / (kept * 5), abs=1e-12)


def test_the_imagenet_head_loses_its_gauge_when_classes_are_left_out() -> None:
    network = build("efficientnet_lite0", 1000, pretrained=True)
    weight = [module.weight for module in network.modules() if isinstance(module, nn.Linear)][-1].detach()
    assert weight.shape == (1000, 1280)
    assert gauge_energy(weight) < 1e-4
    for _ in range(3):
        assert gauge_energy(weight[torch.randperm(1000)[:200]]) == pytest.approx(800 / (200 * 999), rel=0.1)


@given(heads(), st.integers(0, 2**32 - 1))
def test_the_ratio_of_variances_is_that_of_the_two_maps(head: tuple[Tensor, Tensor], seed: int) -> None:
    weight, _ = head
    assume(center_weights(weight).norm() > 1e-3)
    features = np.random.default_rng(seed).exponential(size=(2, weight.shape[1], 3, 4))
    class_idx = torch.tensor([0, len(weight) - 1])
    ratios = mean_map_variance_ratio(torch.from_numpy(features), weight, class_idx)
    for maps, k, ratio in zip(features, class_idx.tolist(), ratios.tolist(), strict=True):
        class_maps = np.tensordot(weight.numpy(), maps, axes=1)  # (C, 3, 4)
        assume(class_maps[k].std() > 1e-3)
        assert ratio == pytest.approx(class_maps.mean(0).var() / class_maps[k].var(), rel=1e-6, abs=1e-9)
        canonical = class_maps[k] - class_maps.mean(0)
        if ratio < 1 and canonical.std() > 1e-6:
            correlation = np.corrcoef(class_maps[k].ravel(), canonical.ravel())[0, 1]
            assert correlation >= math.sqrt(1 - ratio) - 1e-6
    centred = mean_map_variance_ratio(torch.from_numpy(features), center_weights(weight), class_idx)
    assert centred.nan_to_num().max() < 1e-9


def test_a_map_that_is_the_same_everywhere_has_no_ratio() -> None:
    features, weight = torch.ones(1, 2, 3, 3), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert mean_map_variance_ratio(features, weight, torch.tensor([1])).isnan().all()


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


def test_what_scores_of_the_literature_sum_to_over_the_classes() -> None:
    logits, k = torch.randn(7).double().requires_grad_(), 2
    others = torch.cat([logits[:k], logits[k + 1 :]])
    weights = torch.rand(6).double()
    scores = {
        "ReST": (logits[k] + logits.log_softmax(0)[k], 1.0),
        "DiffGradCAM, weights held": ((weights * (logits[k] - others)).sum(), 0.0),
        "DiffGradCAM, weights by probability": ((others.softmax(0) * (logits[k] - others)).sum(), 0.0),
    }
    for name, (score, expected) in scores.items():
        (gradient,) = torch.autograd.grad(score, logits, retain_graph=True)
        assert float(gradient.sum()) == pytest.approx(expected, abs=1e-12), name
    (gradient,) = torch.autograd.grad(scores["ReST"][0], logits)
    expected_gradient = 2.0 * one_hot(torch.tensor(k), 7) - logits.softmax(0)
    torch.testing.assert_close(gradient, expected_gradient.detach(), rtol=0, atol=1e-12)


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


Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy_with(**options: Any) -> Loss:
    return lambda logits, labels: cross_entropy(logits, labels, **options)


def targets_of_any_sum(logits: Tensor, labels: Tensor) -> Tensor:
    return -((one_hot(labels, 5) * 3.0 - 0.2) * logits.log_softmax(1)).sum(1).mean()


def focal(logits: Tensor, labels: Tensor) -> Tensor:
    log_p = logits.log_softmax(1).gather(1, labels[:, None])
    return -((1 - log_p.exp()).square() * log_p).mean()


def squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.softmax(1) - one_hot(labels, 5)).square().sum(1).mean()


def distillation(logits: Tensor, labels: Tensor) -> Tensor:
    return kl_div((logits / 4).log_softmax(1), (one_hot(labels, 5) * 2.0).softmax(1), reduction="batchmean")


def z_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits, labels) + 0.01 * logits.logsumexp(1).square().mean()


def plain_bce(logits: Tensor, labels: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(logits, one_hot(labels, 5).double())


def clip_norm(layer: nn.Module) -> None:
    nn.utils.clip_grad_norm_(layer.parameters(), 0.1)


def clip_value(layer: nn.Module) -> None:
    nn.utils.clip_grad_value_(layer.parameters(), 0.01)


KEEPING: dict[str, dict[str, Any]] = {
    "cross-entropy": {},
    "weights of classes": {"loss": cross_entropy_with(weight=torch.arange(1, 6).double())},
    "label smoothing": {"loss": cross_entropy_with(label_smoothing=0.1)},
    "targets of any sum": {"loss": targets_of_any_sum},
    "focal loss": {"loss": focal},
    "squared error of probabilities": {"loss": squared_error},
    "distillation": {"loss": distillation},
    "clipping of the norm": {"clip": clip_norm},
}
MOVING: dict[str, dict[str, Any]] = {
    "z-loss": {"loss": z_loss},
    "BCE": {"loss": plain_bce},
    "balanced BCE": {"loss": class_balanced_bce},
    "Adam": {"optimizer": torch.optim.Adam},
    "AdamW": {"optimizer": torch.optim.AdamW},
    "RMSprop": {"optimizer": torch.optim.RMSprop},
    "Adagrad": {"optimizer": torch.optim.Adagrad},
    "clipping by value": {"clip": clip_value},
    "normalised weights": {"normalised": True},
}


def part_of_the_mean_row(
    seed: int,
    loss: Loss = cross_entropy,
    optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
    clip: Callable[[nn.Module], None] | None = None,
    normalised: bool = False,
) -> float:
    """How far ten steps move a head's mean row, by how far they move the head."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(6, 5).double()
    inputs = torch.randn(32, 6, generator=generator).double()
    labels = torch.multinomial(torch.arange(1.0, 6.0), 32, replacement=True, generator=generator)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(5, 6, generator=generator))
        layer.bias.zero_()
    if normalised:
        weight_norm(layer)
    before = layer.weight.detach().clone()
    options: Mapping[str, float] = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
    steps = optimizer(layer.parameters(), lr=0.05, **options)
    for _ in range(10):
        steps.zero_grad()
        loss(layer(inputs), labels).backward()
        if clip is not None:
            clip(layer)
        steps.step()
    moved = layer.weight.detach() - before
    return float(moved.mean(0).norm() / moved.norm())


@pytest.mark.parametrize("rule", [*KEEPING, *MOVING])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_mean_row_stays_where_the_loss_sees_probabilities_alone_and_steps_are_linear(rule: str, seed: int) -> None:
    part = part_of_the_mean_row(seed, **(KEEPING | MOVING)[rule])
    if rule in KEEPING:
        assert part < 1e-13
    else:
        assert part > 1e-4


def test_gradient_descent_never_moves_the_gauge_and_weight_decay_shrinks_it() -> None:
    before, after = class_mean_after_training(torch.optim.SGD, lr=0.1, momentum=0.9)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-13)
    before, after = class_mean_after_training(torch.optim.SGD, lr=0.1, weight_decay=0.5)
    torch.testing.assert_close(after, before * (1 - 0.1 * 0.5) ** 40, rtol=0, atol=1e-13)


def test_adam_moves_the_gauge() -> None:
    before, after = class_mean_after_training(torch.optim.Adam, lr=0.01)
    assert (after - before).norm() > 0.01


def gauge_before_and_after_learning(labels: Tensor, inputs: Tensor, weight: Tensor) -> tuple[float, float]:
    """Gauge energy of a softmax head at its start and after 200 steps of gradient descent without weight decay."""
    layer = nn.Linear(weight.shape[1], len(weight), bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        cross_entropy(layer(inputs), labels).backward()
        optimizer.step()
    return gauge_energy(weight), gauge_energy(layer.weight)


def test_gradient_descent_raises_the_gauge_energy_where_it_shrinks_what_softmax_sees() -> None:
    inputs, weight = torch.randn(500, 20).double(), torch.randn(7, 20).double()
    before, after = gauge_before_and_after_learning(torch.randint(7, (500,)), inputs, weight)
    assert after > 4 * before
    # From small weights, and with labels that follow from the features, it falls.
    learnable = (inputs @ torch.randn(20, 7).double()).argmax(1)
    before, after = gauge_before_and_after_learning(learnable, inputs, 0.01 * weight)
    assert after < 0.01 * before
    # The example done by hand: one feature that is always 1, two classes that are equally frequent.
    ones, labels = torch.ones(2, 1).double(), torch.tensor([0, 1])
    before, after = gauge_before_and_after_learning(labels, ones, torch.tensor([[1.0], [0.0]]).double())
    assert before == 0.5
    assert after > 0.99


def test_on_separable_data_no_head_is_the_best_and_the_pull_on_what_classes_share_fades() -> None:
    features = labels = torch.arange(3)
    features = one_hot(labels).double()
    direction = 1.5 * torch.eye(3).double() - 0.5  # logits 1 for the class of the image, -1/2 for the others
    pulls, losses = [], []
    for length in (1, 4, 16, 64):
        weight = (length * direction).requires_grad_()
        balanced, softmax = (loss(features @ weight.T, labels) for loss in (class_balanced_bce, cross_entropy))
        (gradient,) = torch.autograd.grad(balanced, weight)
        pulls.append(float(gradient.sum(0).norm()))
        losses.append((balanced.item(), softmax.item()))
    assert pulls[0] > 0.01
    assert pulls == sorted(pulls, reverse=True)
    assert pulls[-1] < 1e-12
    for values in zip(*losses, strict=True):
        assert list(values) == sorted(values, reverse=True)
        assert 0 <= values[-1] < 1e-12


def test_bad_input_is_refused() -> None:
    weight = torch.ones(3, 4)
    with pytest.raises(SigcamError, match=r"delta must have shape \(4,\), one number per channel, got \(3,\)"):
        shift_weights(weight, torch.zeros(3))
    with pytest.raises(SigcamError, match=r"must be a \(C, K\) matrix, got shape \(4,\)"):
        center_weights(weight[0])
    with pytest.raises(SigcamError, match="gauge_energy is undefined for a head whose weights are all zero"):
        gauge_energy(torch.zeros(3, 4))
    with pytest.raises(SigcamError, match=r"4 channels need features of shape \(N, 4, h, w\) .* got \(4, 2, 2\)"):
        mean_map_variance_ratio(torch.ones(4, 2, 2), weight, torch.tensor([0]))
    with pytest.raises(SigcamError, match="class index 3 at position 0 is out of range"):
        mean_map_variance_ratio(torch.ones(1, 4, 2, 2), weight, torch.tensor([3]))
    for class_idx in (-1, 3):
        with pytest.raises(SigcamError, match=f"class index {class_idx} is out of range: there are 3 classes"):
            sign_collapse_delta(weight, class_idx)
    assert math.isclose(gauge_energy(weight.requires_grad_()), 1)
