"""Maps of permuted heads: what must keep its correlation, and what must lose it."""

import numpy as np
import pandas as pd
import pytest
import torch

from companion.controls.maps import LinearHead
from companion.controls.randomised import DRAWS, MAP_KINDS, PERMUTED, _permuted, randomised_table

CLASSES, CHANNELS = 7, 400


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(40, CHANNELS, 4, 5, generator=generator)
    weight = torch.randn(CLASSES, CHANNELS, generator=generator)
    heads = {"plain": LinearHead(weight, torch.zeros(CLASSES)), "shared": LinearHead(weight + 9, torch.zeros(CLASSES))}
    labels = torch.arange(40) % CLASSES
    return randomised_table(features, labels, heads, 20).set_index(["head", "map", "permuted"])


def test_every_head_map_and_permutation_has_a_line(table: pd.DataFrame) -> None:
    assert len(table) == (2 * len(MAP_KINDS) + 4) * len(PERMUTED)
    assert ((table["low"] <= table["correlation"]) & (table["correlation"] <= table["high"])).all()


def test_signed_maps_of_random_weights_keep_nothing_and_a_map_without_a_head_everything(table: pd.DataFrame) -> None:
    for kind in PERMUTED:
        assert abs(table.loc[("plain", "CAM", kind), "correlation"]) < 0.1
        assert table.loc[("none", "centre", kind), "correlation"] == 1


def test_what_all_classes_share_is_kept_until_weights_are_centred(table: pd.DataFrame) -> None:
    assert table.loc[("shared", "CAM", "classes"), "correlation"] > 0.9
    for name in ("centred CAM", "centred and truncated CAM"):
        one, other = (table.loc[(head, name, "channels"), "correlation"] for head in ("plain", "shared"))
        assert one == pytest.approx(other, abs=1e-4)


def test_positive_weights_keep_the_sum_of_the_feature_maps(table: pd.DataFrame) -> None:
    names = ("CAM", "truncated CAM, Layer-CAM")
    signed, cut = (table.loc[("plain", name, "channels"), "correlation"] for name in names)
    assert cut > signed + 0.2


@pytest.mark.parametrize("seed", range(DRAWS))
def test_permutations_are_what_they_are_called(seed: int) -> None:
    weight = torch.arange(12.0).view(3, 4)
    channels, classes = (_permuted(weight, kind, seed) for kind in ("channels", "classes"))
    np.testing.assert_array_equal(np.sort(channels.numpy(), axis=1), weight.numpy())
    assert (channels[0] - channels[1] == weight[0, 0] - weight[1, 0]).all()  # the same channels for all classes
    assert sorted(classes[:, 0].tolist()) == weight[:, 0].tolist()
    assert (classes[:, 0] != weight[:, 0]).all()


def test_images_whose_map_is_the_same_everywhere_are_left_out() -> None:
    features = torch.rand(6, 5, 3, 3, generator=torch.Generator().manual_seed(1))
    features[2] = 1
    head = LinearHead(torch.randn(3, 5, generator=torch.Generator().manual_seed(2)), torch.zeros(3))
    table = randomised_table(features, torch.zeros(6, dtype=torch.int64), {"one": head}, 10)
    assert set(table.loc[(table["head"] == "one") & (table["map"] == "CAM"), "images"]) == {5}
