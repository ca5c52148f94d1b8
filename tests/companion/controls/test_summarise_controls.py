"""Tables of control maps, against figures that are worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from companion.controls.comparisons import differences_table
from companion.controls.maps import Control
from companion.controls.names import COMPARISONS, FURTHER_TITLES, NO_HEAD
from companion.controls.tables import (
    NEED_BOXES,
    ControlEvidence,
    comparison_pairs,
    figures_table,
    fixed_figures,
    likeness_table,
    resampled_figures,
    scorers_table,
    with_image_counts,
    without_later,
)
from sigcam_core.common.resampling import figure_and_resamples
from sigcam_core.localization.hits import pack_hits
from sigcam_core.localization.protocol import pixel_average_precision

CONTROLS = (
    Control("softmax"),
    Control("softmax", weights="truncated"),
    Control("softmax", "wrong class"),
    Control("sigmoid"),
    Control("sigmoid", weights="truncated"),
    Control(NO_HEAD, "class-free"),
)
N, R = 4, len(CONTROLS)


def made_up() -> ControlEvidence:
    """Four images. Row r finds the box of image i at gray levels below 50 (r + 1), if i <= r."""
    best = np.zeros((N, R, 255))
    for image in range(N):
        for row in range(image, R):
            best[image, row, : 50 * (row + 1)] = 0.6  # passes 30 and 50, not 70
    held_out = np.zeros((2, R, 255))
    held_out[:, :, 120:130] = 0.8
    located = {
        "hits": pack_hits(best),
        "outer_hits": pack_hits(0.5 * best),  # passes 30 alone
        "iou_otsu": np.tile(np.linspace(0.2, 0.7, R, dtype=np.float32), (N, 1)),
        "iou_half": np.full((N, R), 0.55, dtype=np.float32),
        "gt_loc_iou": np.tile(np.linspace(0.2, 0.8, R, dtype=np.float32), (N, 1)),
        "pointing_hit": np.tile([True, False, True, True, False, False], (N, 1)),
        "energy_in_box": np.full((N, R), 0.25, dtype=np.float32),
        "correlation": np.where(np.arange(R) == 2, 0.5, np.nan)[None].repeat(N, 0).astype(np.float32),
    }
    explained = np.zeros((N, 2, 2))
    explained[:, 0] = [0.4, 0.1]
    explained[:, 1] = [0.9, 0.2]
    scored = {
        "image_scores": np.tile([0.8, 0.4], (N, 1)),
        "explained_scores": explained,
        "coverage": np.tile(np.array([0.3, 0.5], dtype=np.float32), (N, 1)),
    }
    curve = np.array([0.0, 0.2, 0.4, 0.6, 0.8])
    perturbed = {"insertion": np.tile(curve, (N, 1, 1)), "deletion": np.tile(curve[::-1], (N, 1, 1))}
    grids = {2: np.full((3, 4, R), 0.5, dtype=np.float32)}
    return ControlEvidence(
        CONTROLS,
        located,
        pack_hits(held_out),
        (CONTROLS[0], CONTROLS[4]),
        scored,
        (CONTROLS[0],),
        perturbed,
        CONTROLS,
        grids,
        {2: np.arange(12).reshape(3, 4) % N},
        ("softmax", "sigmoid"),
        "softmax",
    )


def test_figures_are_those_worked_out() -> None:
    figures = resampled_figures(made_up(), resamples=10)

    def value(control: Control, metric: str) -> float:
        return float(figures[control.name][metric][0])

    # The first row finds image 0 alone, the fifth all four; at IoU .7 nobody is found.
    assert value(CONTROLS[0], "maxboxacc_v2") == pytest.approx((25 + 25 + 0) / 3)
    assert value(CONTROLS[4], "maxboxacc_v2") == pytest.approx(200 / 3)
    # Held-out images choose level 120, which rows below the third never pass: 50 (r + 1) <= 120.
    assert value(CONTROLS[1], "maxboxacc_v2_held_out") == 0
    assert value(CONTROLS[2], "maxboxacc_v2_held_out") == pytest.approx(150 / 3)
    assert [value(control, "gt_loc") for control in CONTROLS] == [0, 0, 0, 100, 100, 100]
    assert value(CONTROLS[0], "pointing_game") == 100
    assert value(CONTROLS[0], "energy_pointing") == 25
    assert value(CONTROLS[0], "grid_2x2") == 50
    assert value(CONTROLS[0], "average_drop") == pytest.approx(50)
    assert value(CONTROLS[4], "average_drop") == 0
    assert value(CONTROLS[4], "increase_in_confidence") == 100
    assert value(CONTROLS[4], "coverage") == pytest.approx(50)
    assert value(CONTROLS[0], "drop_at_50") == pytest.approx(50)
    assert value(CONTROLS[0], "insertion_auc") == pytest.approx(40)
    assert value(CONTROLS[0], "deletion_auc") == pytest.approx(40)
    assert "average_drop" not in figures[CONTROLS[1].name]
    assert value(CONTROLS[4], "maxboxacc_v2_outer") == pytest.approx(100 / 3)
    assert [value(control, "boxacc_v2_otsu") for control in CONTROLS] == pytest.approx(
        [0, 100 / 3, 100 / 3, 200 / 3, 200 / 3, 100]
    )
    assert value(CONTROLS[0], "boxacc_v2_half") == pytest.approx(200 / 3)
    # By its own branch: the softmax map falls from .8 to .4, the sigmoid map from .4 to .2.
    assert value(CONTROLS[0], "average_drop_own") == value(CONTROLS[4], "average_drop_own") == pytest.approx(50)
    assert value(CONTROLS[4], "increase_in_confidence_own") == 0


def test_measures_of_a_grid_without_a_zero_have_names_of_their_own() -> None:
    made = made_up()
    top = np.full((3, 4, R), 0.75, dtype=np.float32)
    figures = resampled_figures(replace(made, zero_free={2: {"top": top, "named": 0 * top}}), resamples=5)
    assert figures[CONTROLS[0].name]["grid_2x2"][0] == 50
    assert figures[CONTROLS[0].name]["grid_2x2_top"][0] == 75
    assert figures[CONTROLS[0].name]["grid_2x2_named"][0] == 0


def test_a_fixed_box_has_one_figure_at_every_threshold() -> None:
    figures = fixed_figures(np.array([0.35, 0.55, np.nan, 0.9], dtype=np.float32), resamples=5)
    assert figures["maxboxacc_v2"][0] == figures["boxacc_v2_otsu"][0] == pytest.approx(100 * (1 + 2 + 3) / 9)
    assert figures["gt_loc"][0] == pytest.approx(100 * 2 / 3)


def test_what_was_added_later_is_in_no_family_of_before() -> None:
    figures = resampled_figures(made_up(), resamples=20)
    pairs = comparison_pairs(figures, "softmax", "sigmoid")
    before = differences_table(figures, pairs, without_later)
    assert not set(before["metric"]) & set(FURTHER_TITLES)
    alone = {name: {m: v for m, v in one.items() if m not in FURTHER_TITLES} for name, one in figures.items()}
    pd.testing.assert_frame_equal(before, differences_table(alone, pairs))


def test_more_grids_of_the_same_images_are_no_more_evidence() -> None:
    made = made_up()
    own = np.linspace(0, 1, N)[made.grid_images[2]]  # every cell of an image has its share
    shares = np.repeat(own[..., None], R, axis=2).astype(np.float32)
    once = resampled_figures(replace(made, grids={2: shares}), resamples=50)
    images = np.concatenate([made.grid_images[2]] * 9)
    often = replace(made, grids={2: np.concatenate([shares] * 9)}, grid_images={2: images})
    for name, mine in resampled_figures(often, resamples=50).items():
        np.testing.assert_allclose(mine["grid_2x2"], once[name]["grid_2x2"])
    # The draws are those of the other metrics, so that all lines of a table hold together.
    weights = figure_and_resamples(N, 50, 0)
    expected = 100 * (weights @ np.linspace(0, 1, N)) / weights.sum(axis=1)
    np.testing.assert_allclose(once[CONTROLS[0].name]["grid_2x2"], expected, rtol=1e-6)


def test_rows_share_their_draws() -> None:
    figures = resampled_figures(made_up(), resamples=50)
    first, second = (figures[CONTROLS[row].name]["maxboxacc_v2"] for row in (3, 5))
    assert np.array_equal(first, second)  # both find every image
    assert np.ptp(figures[CONTROLS[0].name]["maxboxacc_v2"]) > 0


def test_differences_are_second_minus_first() -> None:
    figures = resampled_figures(made_up(), resamples=20)
    pairs = comparison_pairs(figures, "softmax", "sigmoid")
    names = {name for name, _, _ in pairs}
    assert "sigmoid_as_published" in names
    assert "class_free_vs_sigmoid_truncated" in names
    assert "centring_softmax" not in names  # its rows are not there
    table = differences_table(figures, pairs)
    row = table[(table["comparison"] == "sigmoid_as_published") & (table["metric"] == "average_drop")].iloc[0]
    assert (row["first"], row["second"]) == ("softmax/logit/signed", "sigmoid/logit/truncated")
    assert row["difference"] == pytest.approx(-50)


def test_every_scorer_has_a_line_for_every_map() -> None:
    table = scorers_table(made_up())
    assert len(table) == 4
    by_sigmoid = table[(table["scorer"] == "sigmoid") & (table["head"] == "softmax")].iloc[0]
    assert by_sigmoid["average_drop"] == pytest.approx(75)
    assert by_sigmoid["confidence"] == pytest.approx(40)


def test_likeness_is_of_the_wrong_class() -> None:
    table = likeness_table(made_up())
    assert table.to_dict("records") == [{"head": "softmax", "weights": "signed", "correlation": 0.5}]


def test_the_table_of_figures_has_a_line_a_row_and_metric() -> None:
    table = figures_table(resampled_figures(made_up(), resamples=10), CONTROLS)
    assert list(table.columns) == ["head", "scalar", "weights", "metric", "value", "low", "high"]
    assert not table.duplicated(["head", "scalar", "weights", "metric"]).any()
    assert (table["low"] <= table["high"]).all()


def test_comparisons_name_rows_that_can_be() -> None:
    for name, comparison in COMPARISONS.items():
        for head, scalar, weights in (comparison.first, comparison.second):
            Control(head, scalar, weights)
        assert comparison.first != comparison.second
        assert comparison.words
        assert name.isidentifier()


def test_localisation_is_of_the_images_that_have_boxes_or_masks_and_says_of_how_many() -> None:
    whole = made_up()
    histograms = np.random.default_rng(0).integers(1, 50, (N, R, 2, 1002)).astype(np.uint16)
    whole.located["histograms"] = histograms
    assert "images" not in with_image_counts(figures_table(resampled_figures(whole, 5), CONTROLS), whole)
    partly = made_up()
    partly.located["hits"][1] = 0
    partly.located["gt_loc_iou"][1] = partly.located["energy_in_box"][1] = np.nan
    partly.located["pointing_hit"][1] = False
    partly.located["histograms"] = histograms * (np.arange(N) != 2)[:, None, None, None].astype(np.uint16)
    figures = resampled_figures(partly, resamples=200)
    row = CONTROLS[4].name
    assert figures[row]["maxboxacc_v2"][0] == pytest.approx(200 / 3)  # all three that have a box
    assert figures[CONTROLS[0].name]["maxboxacc_v2"][0] == pytest.approx(2 / 3 * 100 / 3)
    assert figures[CONTROLS[0].name]["energy_pointing"][0] == 25
    assert figures[row]["gt_loc"][0] == 100
    others = np.delete(histograms[:, 4].astype(np.int64), 2, axis=0).sum(axis=0)
    assert figures[row]["pxap"][0] == pytest.approx(pixel_average_precision(others))
    table = with_image_counts(figures_table(figures, CONTROLS), partly)
    counts = table.groupby("metric")["images"].unique()
    assert {name: counts[name][0] for name in ("maxboxacc_v2", "gt_loc", "pointing_game", "pxap")} == {
        "maxboxacc_v2": 3,
        "gt_loc": 3,
        "pointing_game": 3,
        "pxap": 3,
    }
    assert table.loc[table["metric"] == "grid_2x2", "images"].isna().all()
    assert np.isfinite(table[["value", "low", "high"]].to_numpy()).all()


def test_a_resample_without_a_box_has_no_figure_and_no_warning() -> None:
    partly = made_up()
    partly.located["gt_loc_iou"][1:] = np.nan
    figures = resampled_figures(partly, resamples=50)[CONTROLS[4].name]
    missing = np.isnan(figures["gt_loc"])
    assert 0 < missing.sum() < 50
    for name in NEED_BOXES:
        np.testing.assert_array_equal(np.isnan(figures[name]), missing)
