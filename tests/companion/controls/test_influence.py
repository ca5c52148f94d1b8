"""What the removal of a channel does, against removing it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from companion.controls.influence import METRICS, Pooled, influence_table
from companion.controls.maps import LinearHead

CLASSES, CHANNELS, IMAGES = 5, 12, 40
KEYS = ["head", "weights", "removed", "score", "metric"]


def made_up() -> tuple[Pooled, dict[str, LinearHead]]:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(IMAGES, CHANNELS, generator=generator)
    features[:, 3] = 0  # a channel that no image has
    weight = torch.randn(CLASSES, CHANNELS, generator=generator)
    bias = torch.randn(CLASSES, generator=generator)
    heads = {
        "softmax": LinearHead(weight, bias),
        "shifted": LinearHead(weight + 3, bias),
        "sigmoid": LinearHead(weight + torch.randn(CHANNELS, generator=generator), bias, is_sigmoid=True),
    }
    return Pooled(features, torch.arange(IMAGES) % CLASSES, torch.rand(CHANNELS, generator=generator)), heads


@pytest.fixture(scope="module")
def table() -> pd.Series:
    pooled, heads = made_up()
    return influence_table(pooled, heads, ("softmax", "sigmoid"), 20).set_index(KEYS)["value"]


def fall(pooled: Pooled, head: LinearHead, channel: int, reference: float, is_sigmoid: bool) -> torch.Tensor:
    """The fall (N,) of each image's log-odds when a channel is removed, the plain way."""
    odds = []
    removed = pooled.features.clone().double()
    removed[:, channel] = reference
    for features in (pooled.features.double(), removed):
        logits = features @ head.weight.double().T + head.bias.double()
        p = (logits.sigmoid() if is_sigmoid else logits.softmax(1)).gather(1, pooled.class_idx[:, None])[:, 0]
        odds.append((p / (1 - p)).log())
    return odds[0] - odds[1]


@pytest.mark.parametrize(
    ("name", "score", "scorer", "by_sigmoid"),
    [
        ("softmax", "own probability", "softmax", False),
        ("shifted", "own probability", "shifted", False),
        ("sigmoid", "own probability", "sigmoid", True),
        ("sigmoid", "softmax over own logits", "sigmoid", False),
        ("sigmoid", "classifier's probability", "softmax", False),
    ],
)
@pytest.mark.parametrize("removed", ["zero", "mean"])
def test_figures_are_those_of_removing_channels_one_by_one(
    table: pd.Series, name: str, score: str, scorer: str, by_sigmoid: bool, removed: str
) -> None:
    pooled, heads = made_up()
    reference = torch.zeros(CHANNELS) if removed == "zero" else pooled.mean
    found: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for one in range(CLASSES):
        mine = pooled.class_idx == one
        effect = np.array(
            [
                fall(pooled, heads[scorer], channel, float(reference[channel]), by_sigmoid)[mine].mean()
                for channel in range(CHANNELS)
            ]
        )
        amount = (pooled.features - reference)[mine].mean(dim=0).numpy()
        weight = heads[name].weight[one].numpy()
        there = amount != 0
        assert there.sum() == (CHANNELS - 1 if removed == "zero" else CHANNELS)
        found["rank_weight"].append(spearmanr(weight[there], effect[there])[0])
        found["rank_contribution"].append(spearmanr((weight * amount)[there], effect[there])[0])
        found["sign"].append(100 * np.mean(np.sign(weight * amount)[there] == np.sign(effect[there])))
    for metric in METRICS:
        assert table[name, "as trained", removed, score, metric] == pytest.approx(np.mean(found[metric]), abs=1e-6)


def test_a_sigmoids_own_probability_follows_its_weights_by_construction(table: pd.Series) -> None:
    assert table["sigmoid", "as trained", "zero", "own probability", "sign"] == 100
    assert table["sigmoid", "as trained", "zero", "own probability", "rank_contribution"] == pytest.approx(1)


def test_a_weight_that_all_classes_share_misleads_until_it_is_centred(table: pd.Series) -> None:
    row = ("zero", "own probability", "sign")
    assert table["shifted", "as trained", *row] < table["softmax", "as trained", *row]
    assert table["shifted", "centred", *row] == table["softmax", "centred", *row]


def test_the_difference_is_sigmoid_minus_softmax(table: pd.Series) -> None:
    for metric in METRICS:
        row = ("as trained", "zero", "classifier's probability", metric)
        assert table["difference", *row] == pytest.approx(table["sigmoid", *row] - table["softmax", *row])
