"""Localisation figures are what their definitions say of the evidence."""

import numpy as np
import pandas as pd
import pytest
from made_up_evidence import NUM_IMAGES, made_up_evidence, packed, value

from sigcam_core.common.errors import SigcamError
from sigcam_core.common.packed import unpack
from sigcam_core.common.resampling import bootstrap_weights
from sigcam_core.localization.evidence import BOX_METRICS, wsol_statistics
from sigcam_core.localization.hits import in_ten_thousandths
from sigcam_core.localization.protocol import NUM_BINS, pixel_average_precision


def test_localisation_figures_by_hand() -> None:
    rows = made_up_evidence()
    figures = wsol_statistics(rows, np.ones((1, NUM_IMAGES)))
    assert value(figures, "top1_cls") == pytest.approx(50)
    assert value(figures, "gt_loc") == pytest.approx(100 * 4 / 6)  # .5 reaches one half, to the last bit
    assert value(figures, "top1_loc") == pytest.approx(100 * 2 / 6)  # of images 2 to 5, those of label 0
    first = wsol_statistics(rows, np.ones((1, NUM_IMAGES)), protocol="paper")
    assert value(first, "gt_loc") == pytest.approx(50)


def test_max_box_acc_is_the_best_threshold_of_the_mean_not_the_mean_of_the_best() -> None:
    rows = made_up_evidence()
    best_iou = np.zeros((NUM_IMAGES, 255))
    best_iou[:3, 10] = best_iou[3:5, 20] = 0.6
    rows["best_iou_multi"] = [packed(in_ten_thousandths(curve)) for curve in best_iou]
    figures = wsol_statistics(rows, np.ones((1, NUM_IMAGES)))
    assert value(figures, "maxboxacc@50") == pytest.approx(50)
    assert value(figures, "maxboxacc@70") == 0
    assert value(figures, "maxboxacc_v2") == pytest.approx(100 / 3)


def test_outer_contours_have_their_own_thresholds() -> None:
    rows = made_up_evidence()
    best_iou = np.zeros((NUM_IMAGES, 255))
    best_iou[:4, 7] = 0.6
    rows["best_iou_outer"] = [packed(in_ten_thousandths(curve)) for curve in best_iou]
    figures = wsol_statistics(rows, np.ones((1, NUM_IMAGES)))
    assert value(figures, "maxboxacc_v2_outer") == pytest.approx(2 / 3 * 100 * 4 / 6)
    assert value(figures, "maxboxacc_v2") == value(wsol_statistics(made_up_evidence(), np.ones((1, 6))), "maxboxacc_v2")


def test_a_threshold_of_each_map_s_own_by_hand() -> None:
    figures = wsol_statistics(made_up_evidence(), np.ones((1, NUM_IMAGES)))
    # .25, .35, .45, .55, .65 and .75 against .3, .5 and .7; then .1 to .6, of which .3 and .5 are met to the last bit
    assert value(figures, "boxacc_v2_otsu") == pytest.approx(100 * (5 + 3 + 1) / 18)
    assert value(figures, "boxacc_v2_half") == pytest.approx(100 * (4 + 2 + 0) / 18)


def test_pxap_equals_the_metric_and_weights_repeat_images() -> None:
    rows = made_up_evidence()
    weights = np.array([[1, 1, 1, 1, 1, 1], [0, 2, 0, 1, 3, 0]], dtype=np.float64)
    repeated = rows.iloc[[1, 1, 3, 4, 4, 4]]
    for part, found in zip((rows, repeated), wsol_statistics(rows, weights)["pxap"], strict=True):
        sums = np.stack([unpack(part[f"{kind}_histogram"], NUM_BINS).sum(0) for kind in ("object", "background")])
        assert found == pytest.approx(pixel_average_precision(sums))
    for metric, values in wsol_statistics(rows, weights).items():
        again = wsol_statistics(repeated, np.ones((1, NUM_IMAGES)))[metric]
        assert values[1] == pytest.approx(again[0]), metric


def without(rows: pd.DataFrame, **images: int) -> pd.DataFrame:
    """Evidence in which one image lacks a column, by the column's name."""
    return rows.assign(
        **{name: rows[name].mask(rows["image_id"] == f"image{one}", None) for name, one in images.items()}
    )


def test_figures_and_resamples_are_of_the_images_that_have_boxes_or_masks() -> None:
    rows, weights = made_up_evidence(), bootstrap_weights(NUM_IMAGES, 40, seed=0)
    figures = wsol_statistics(without(rows, best_iou_multi=1, object_histogram=4), weights)
    assert list(figures) == list(wsol_statistics(rows, weights))
    for missing, metrics in ((1, BOX_METRICS), (4, ["pxap"])):
        there = np.arange(NUM_IMAGES) != missing
        expected = wsol_statistics(rows[there], weights[:, there])
        for metric in metrics:
            np.testing.assert_array_equal(figures[metric], expected[metric], err_msg=metric)
    np.testing.assert_array_equal(figures["top1_cls"], wsol_statistics(rows, weights)["top1_cls"])


def test_a_resample_without_any_such_image_has_no_figure() -> None:
    rows = made_up_evidence()
    only_last = {
        name: rows[name].where(rows["image_id"] == "image5", None) for name in ("best_iou_multi", "object_histogram")
    }
    weights = np.array([[1.0] * 6, [1, 1, 1, 1, 2, 0], [0, 0, 0, 0, 0, 6]])
    figures = wsol_statistics(rows.assign(**only_last), weights)
    for metric in (*BOX_METRICS, "pxap"):
        assert np.isnan(figures[metric]).tolist() == [False, True, False], metric
        assert figures[metric][0] == figures[metric][2]


def test_pxap_without_any_object_is_refused_and_nan_in_one_resample_alone() -> None:
    histograms = np.ones((2, 2, NUM_BINS))
    histograms[1, 0] = 0
    assert np.isnan(pixel_average_precision(histograms)).tolist() == [False, True]
    with pytest.raises(SigcamError, match="no mask has an object pixel"):
        pixel_average_precision(histograms[1])
    with pytest.raises(SigcamError, match="no mask has an object pixel"):
        pixel_average_precision(histograms[[1, 1]])
