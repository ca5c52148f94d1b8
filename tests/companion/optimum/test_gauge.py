"""Who moves the gauge: measured against what follows from the gradient's class-sum of zero."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pandas as pd
import pytest
import torch
from test_optimum import L2, NUM_CLASSES, images, silent
from torch import nn
from torch.nn.functional import cross_entropy

from companion.optimum.gauge import GAUGE_RECIPES, gauge_study, mean_weight_factor, starting_head
from companion.optimum.optimum import Settings, solve_head
from companion.optimum.penalties import Rows
from sigcam_core import SigcamError
from sigcam_core.invariance import gauge_energy
from sigcam_core.train.fit import Session, start_fabric
from sigcam_core.train.recipes import Recipe

DECAY = Recipe(epochs=3, batch_size=32, learning_rate=0.05, weight_decay=0.1, optimizer="sgd", augment="none")


def rows() -> Rows:
    features, labels = images()
    return Rows(features.half(), labels)


@cache
def study() -> pd.DataFrame:
    train = rows()
    optimum = solve_head(*train, NUM_CLASSES, "softmax", L2, settings=Settings(report=silent))
    recipes = {name: replace(recipe, epochs=3, batch_size=32) for name, recipe in GAUGE_RECIPES.items()}
    recipes["SGD, weight decay"] = DECAY
    session = Session(fabric=start_fabric("cpu"), report=silent)
    return gauge_study(train, train, NUM_CLASSES, optimum, recipes, (0, 1), session)


def energies(optimizer: str, start: str) -> pd.DataFrame:
    return study()[(study()["optimizer"] == optimizer) & (study()["start"] == start)]


def test_there_is_a_row_for_each_optimizer_start_and_seed_and_one_for_the_optimum() -> None:
    table = study()
    assert list(table) == ["optimizer", "start", "seed", "gauge_energy", "theory", "top1", "loss"]
    assert len(table) == len(GAUGE_RECIPES) * 2 * 2 + 1
    assert table.iloc[-1]["optimizer"] == "optimum"
    assert table.iloc[-1]["gauge_energy"] < 1e-8
    assert table["top1"].min() > 100 / NUM_CLASSES
    assert table["loss"].min() == table["loss"].iloc[-1]
    random = energies("SGD", "random")
    assert random["gauge_energy"].nunique() == 2  # seeds are of the start, too


@pytest.mark.parametrize("optimizer", ["SGD", "SGD, weight decay"])
def test_sgd_from_zero_has_no_gauge_energy(optimizer: str) -> None:
    measured = energies(optimizer, "zero")
    assert measured["gauge_energy"].max() < 1e-10
    assert (measured["theory"] == 0).all()


@pytest.mark.parametrize("optimizer", ["SGD", "SGD, weight decay"])
def test_sgd_from_a_random_start_keeps_its_mean_weight_up_to_the_decay(optimizer: str) -> None:
    measured = energies(optimizer, "random")
    assert measured["gauge_energy"].to_numpy() == pytest.approx(measured["theory"].to_numpy(), rel=1e-3)
    assert measured["gauge_energy"].min() > 1e-8


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW"])
@pytest.mark.parametrize("start", ["zero", "random"])
def test_adam_moves_the_gauge_and_no_theory_says_how_far(optimizer: str, start: str) -> None:
    measured = energies(optimizer, start)
    assert measured["gauge_energy"].min() > 1e-3
    assert measured["theory"].isna().all()


def test_the_factor_of_decay_is_that_of_the_optimizer() -> None:
    """A mean weight that sees no gradient but its decay, by torch's own optimizer."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9, nesterov=True, weight_decay=DECAY.weight_decay)
    for epoch in range(DECAY.epochs):
        for step in range(5):  # 150 images in batches of 32
            optimizer.param_groups[0]["lr"] = DECAY.learning_rate_at(epoch, step / 5)
            weight.grad = torch.zeros_like(weight)
            optimizer.step()
    assert mean_weight_factor(DECAY, 150) == pytest.approx(weight.item(), rel=1e-12)
    assert 0.2 < weight.item() < 0.9
    slow = replace(DECAY, learning_rate=1e-6)
    total = sum(slow.learning_rate_at(epoch, step / 5) for epoch in range(3) for step in range(5))
    assert -math.log(mean_weight_factor(slow, 150)) < 10 * 0.1 * total  # momentum of 0.9 is at most ten times as fast
    with pytest.raises(SigcamError, match=r"only SGD leaves the mean weight to its decay, and .* is 'adamw'"):
        mean_weight_factor(replace(DECAY, optimizer="adamw"), 150)


def test_without_momentum_the_factor_is_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("companion.optimum.gauge.MOMENTUM", 0.0)
    rates = [DECAY.learning_rate_at(epoch, step / 5) for epoch in range(3) for step in range(5)]
    product = math.prod(1 - rate * 0.1 for rate in rates)
    assert mean_weight_factor(DECAY, 150) == pytest.approx(product, rel=1e-12)
    # And so a plain loop shrinks the mean weight of a head.
    head, (features, labels) = starting_head(NUM_CLASSES, 12, "random", 0), rows()
    before = head.weight.detach().mean(0)
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0, weight_decay=0.1)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        cross_entropy(head(features.float()), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    torch.testing.assert_close(head.weight.detach().mean(0), product * before, rtol=1e-3, atol=1e-7)


def test_starts_are_zero_or_small_and_random() -> None:
    assert not starting_head(200, 50, "zero", 0).weight.any()
    weight = starting_head(200, 50, "random", 0).weight.detach()
    assert weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert gauge_energy(weight) == pytest.approx(1 / 200, rel=0.5)
    assert torch.equal(weight, starting_head(200, 50, "random", 0).weight)
    assert not torch.equal(weight, starting_head(200, 50, "random", 1).weight)
    with pytest.raises(SigcamError, match="unknown start 'ones': choose one of zero, random"):
        starting_head(2, 2, "ones", 0)
