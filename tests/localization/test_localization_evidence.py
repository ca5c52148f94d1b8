"""Localisation figures are what their definitions say of the evidence."""

import numpy as np
import pytest
from made_up_evidence import NUM_IMAGES, made_up_evidence, value

from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.localization.protocol import pixel_average_precision


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
    best_iou = np.zeros((NUM_IMAGES, 255), dtype=np.float32)
    best_iou[:3, 10] = best_iou[3:5, 20] = 0.6
    rows["best_iou_multi"] = list(best_iou)
    figures = wsol_statistics(rows, np.ones((1, NUM_IMAGES)))
    assert value(figures, "maxboxacc@50") == pytest.approx(50)
    assert value(figures, "maxboxacc@70") == 0
    assert value(figures, "maxboxacc_v2") == pytest.approx(100 / 3)


def test_pxap_equals_the_metric_and_weights_repeat_images() -> None:
    rows = made_up_evidence()
    weights = np.array([[1, 1, 1, 1, 1, 1], [0, 2, 0, 1, 3, 0]], dtype=np.float64)
    repeated = rows.iloc[[1, 1, 3, 4, 4, 4]]
    for part, found in zip((rows, repeated), wsol_statistics(rows, weights)["pxap"], strict=True):
        sums = np.stack([np.stack(part[f"{kind}_histogram"].to_list()).sum(0) for kind in ("object", "background")])
        assert found == pytest.approx(pixel_average_precision(sums))
    for metric, values in wsol_statistics(rows, weights).items():
        again = wsol_statistics(repeated, np.ones((1, NUM_IMAGES)))[metric]
        assert values[1] == pytest.approx(again[0]), metric
