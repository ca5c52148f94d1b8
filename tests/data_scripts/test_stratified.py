"""Splits: stratified, seeded, and the same everywhere."""

import hashlib
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_scripts.stratified import split_names, stratified_share


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0, 1), st.integers(0, 5))
def test_every_class_gives_its_rounded_share_of_those_that_come_first(
    labels: list[int], share: float, seed: int
) -> None:
    image_ids = [f"image{index}" for index in range(len(labels))]
    chosen = stratified_share(image_ids, labels, share, seed)
    for label in set(labels):
        members = [name for name, other in zip(image_ids, labels, strict=True) if other == label]
        members.sort(key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
        expected = set(members[: math.floor(len(members) * share + 0.5)])
        actual = {name for name, other, yes in zip(image_ids, labels, chosen, strict=True) if other == label and yes}
        assert actual == expected


def test_the_order_of_the_rows_does_not_matter() -> None:
    image_ids, labels = [f"{index}" for index in range(50)], [index % 3 for index in range(50)]
    order = np.random.default_rng(0).permutation(50)
    chosen = stratified_share(image_ids, labels, 0.3, 7)
    shuffled = stratified_share([image_ids[row] for row in order], [labels[row] for row in order], 0.3, 7)
    np.testing.assert_array_equal(shuffled, chosen[order])
    assert (stratified_share(image_ids, labels, 0.3, 8) != chosen).any()


def test_val_is_never_taken_from_test() -> None:
    image_ids, labels = [f"{index}" for index in range(40)], [0] * 40
    is_test = [index < 20 for index in range(40)]
    names = split_names(image_ids, labels, is_test, {"seed": 0, "val_fraction": 0.25})
    assert names[:20] == ["test"] * 20
    assert (names[20:].count("val"), names[20:].count("train")) == (5, 15)
