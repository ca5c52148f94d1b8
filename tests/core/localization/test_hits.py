"""MaxBoxAcc from bits is MaxBoxAcc from the evidence."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from made_up_evidence import made_up_evidence, packed

from sigcam_core.common.errors import SigcamError
from sigcam_core.common.resampling import figure_and_resamples
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.localization.hits import (
    best_levels,
    box_acc_at,
    hit_rates,
    in_ten_thousandths,
    max_box_acc,
    pack_hits,
    unpack_hits,
)

NAMES = ["maxboxacc@30", "maxboxacc@50", "maxboxacc@70", "maxboxacc_v2"]


def random_iou(num_images: int, seed: int = 0) -> np.ndarray:
    """Best IoUs that hit often at some levels and seldom at others, many of them exactly at .3, .5 and .7."""
    generator = np.random.default_rng(seed)
    smooth = np.sin(np.linspace(0, 3, 255)) * generator.uniform(0.4, 1.1, (num_images, 1))
    return np.round(np.clip(smooth + generator.normal(0, 0.1, (num_images, 255)), 0, 1), 1).astype(np.float32)


@pytest.mark.parametrize("num_images", [1, 7, 2500])
def test_figures_and_resamples_equal_those_of_the_evidence(num_images: int) -> None:
    best_iou = random_iou(num_images)
    row = made_up_evidence().iloc[0].drop("best_iou_multi")
    in_evidence = [packed(in_ten_thousandths(curve.astype(np.float64).round(1))) for curve in best_iou]
    rows = pd.DataFrame([row] * num_images).assign(best_iou_multi=in_evidence)
    weights = figure_and_resamples(num_images, 20, seed=0)
    expected = wsol_statistics(rows, weights)
    figures = max_box_acc(hit_rates(pack_hits(best_iou), weights))
    assert list(figures) == NAMES
    for name, values in figures.items():
        np.testing.assert_array_equal(values, expected[name])


def test_weights_that_are_not_whole_are_not_rounded() -> None:
    best_iou, weights = random_iou(50), np.random.default_rng(0).exponential(size=(3, 50))
    weights[:, 0] = 1 + 1e-9
    rates = hit_rates(pack_hits(best_iou), weights)
    hits = np.stack([best_iou >= np.float32(least) for least in (0.3, 0.5, 0.7)], axis=1)
    expected = 100 * np.einsum("bn,nil->bil", weights, hits) / weights.sum(axis=1)[:, None, None]
    np.testing.assert_allclose(rates, expected, rtol=1e-13)


def test_counts_beyond_float32_stay_exact() -> None:
    packed = pack_hits(np.stack([np.ones(255), np.zeros(255), np.ones(255)]))
    weights = np.array([[2.0**24, 1.0, 1.0]])
    assert hit_rates(packed, weights)[0, 0, 0] == 100 * (2.0**24 + 1) / (2.0**24 + 2)


@given(
    arrays(
        np.float32,
        array_shapes(max_dims=2, max_side=3).map(lambda shape: (*shape, 255)),
        elements=st.floats(0, 1, width=32),
    )
)
def test_packing_loses_no_hit(best_iou: np.ndarray) -> None:
    packed = pack_hits(best_iou)
    assert (packed.shape, packed.dtype) == ((*best_iou.shape[:-1], 96), np.uint8)
    hits = unpack_hits(packed)
    for index, least in enumerate((0.3, 0.5, 0.7)):
        np.testing.assert_array_equal(hits[..., index, :], best_iou >= np.float32(least))


def test_an_iou_at_the_limit_is_a_hit_and_the_next_below_is_none() -> None:
    limits = np.float32([0.3, 0.5, 0.7])
    for index, limit in enumerate(limits):
        for value, hit in ((limit, True), (np.nextafter(limit, np.float32(0)), False)):
            assert (unpack_hits(pack_hits(np.full(255, value)))[index] == hit).all()


def test_a_threshold_of_other_images_by_hand() -> None:
    chosen_on, applied_to = np.zeros((2, 3, 255))
    chosen_on[0, [40, 90]] = 60  # the first of ties
    chosen_on[1, 7] = 50
    chosen_on[2, 254] = 1
    applied_to[0, 40], applied_to[0, 90], applied_to[1, 7], applied_to[2, 254] = 30, 99, 20, 10
    levels = best_levels(chosen_on)
    assert levels.tolist() == [40, 7, 254]
    figures = box_acc_at(applied_to[None], levels)
    assert list(figures) == [f"{name}_held_out" for name in NAMES]
    assert [values.tolist() for values in figures.values()] == [[30], [20], [10], [20]]


def test_held_out_thresholds_do_no_better_than_the_best_and_as_well_on_their_own_images() -> None:
    packed, others = pack_hits(random_iou(60)), pack_hits(random_iou(60, seed=1))
    rates = hit_rates(packed, figure_and_resamples(60, 30, seed=0))
    best = max_box_acc(rates)
    own, other = best_levels(rates[0]), best_levels(hit_rates(others, np.ones((1, 60)))[0])
    for name in NAMES:
        assert box_acc_at(rates, own)[f"{name}_held_out"][0] == best[name][0]
        assert (box_acc_at(rates, other)[f"{name}_held_out"] <= best[name]).all()
    assert (box_acc_at(rates, other)["maxboxacc_v2_held_out"] < best["maxboxacc_v2"]).any()


def test_many_images_and_resamples_take_little_memory() -> None:
    packed = np.random.default_rng(0).integers(0, 256, (10_000, 96), dtype=np.uint8)
    weights = np.ones((200, 10_000))
    tracemalloc.start()
    hit_rates(packed, weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # all hits at once would be 30 MB in float32


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: pack_hits(np.zeros((2, 1000))), "must be of 255 gray levels"),
        (lambda: pack_hits(np.full(255, np.nan)), "NaN"),
        (lambda: unpack_hits(np.zeros((2, 95), dtype=np.uint8)), r"uint8 of shape \(..., 96\)"),
        (lambda: unpack_hits(np.zeros((2, 96))), "got float64"),
        (lambda: hit_rates(np.zeros((2, 96), dtype=np.uint8), np.ones((1, 3))), r"weights \(B, N\)"),
        (lambda: hit_rates(np.zeros((2, 96), dtype=np.uint8), np.zeros((1, 2))), "must draw an image"),
        (lambda: box_acc_at(np.zeros((1, 3, 255)), np.array([0, 1])), "one gray level"),
        (lambda: box_acc_at(np.zeros((1, 3, 255)), np.array([0, 1, 255])), "from 0 to 254"),
    ],
)
def test_bad_input_gets_one_sentence(call: object, sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        call()  # type: ignore[operator]


@given(st.integers(1, 100_352), st.data())
def test_ten_thousandths_decide_every_percentage_exactly(union: int, data: st.DataObject) -> None:
    intersection = data.draw(st.integers(0, union))
    found = int(in_ten_thousandths(np.array([intersection / union]))[0])
    assert found == 10_000 * intersection // union
    for percentage in (30, 50, 70):
        assert (found >= 100 * percentage) == (100 * intersection >= percentage * union)
