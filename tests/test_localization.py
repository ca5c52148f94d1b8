"""MaxBoxAcc, GT-Loc and PxAP against the golden outputs of the reference evaluation."""

import numpy as np
import pytest
import torch
from golden_wsol import load
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from sigcam_core.errors import SigcamError
from sigcam_core.localization import MaxBoxAcc, PixelAP, best_iou_per_threshold
from sigcam_core.protocol import (
    GT_LOC_THRESHOLD_INDEX,
    NUM_BINS,
    THRESHOLDS,
    iou_curves,
    pixel_average_precision,
    score_histograms,
)

GOLDEN = load()
MAPS, BOXES, MASKS = GOLDEN["maps"], GOLDEN["boxes"], GOLDEN["masks"]
ONE_MAP = torch.zeros(1, 16, 16)
ONE_BOX = [np.array([[2, 2, 9, 9]])]


@pytest.mark.parametrize(("multi_contour", "name"), [(True, "multi"), (False, "largest")])
def test_best_iou_at_all_thresholds(multi_contour: bool, name: str) -> None:
    for i, (score_map, boxes) in enumerate(zip(MAPS, BOXES, strict=True)):
        found = best_iou_per_threshold(score_map, boxes, multi_contour)
        np.testing.assert_allclose(found, GOLDEN[f"best_iou_{name}"][i], atol=1e-6, err_msg=GOLDEN["kinds"][i])


@pytest.mark.parametrize(("multi_contour", "name"), [(True, "multi"), (False, "largest")])
def test_max_box_acc(multi_contour: bool, name: str) -> None:
    metric = MaxBoxAcc(multi_contour=multi_contour)
    metric.update(torch.from_numpy(MAPS[:7]), BOXES[:7])
    metric.update(torch.from_numpy(MAPS[7:]), BOXES[7:])
    values = metric.compute()
    expected = GOLDEN[f"maxboxacc_{name}"]
    assert [float(values[f"maxboxacc@{p}"]) for p in (30, 50, 70)] == pytest.approx(expected.tolist(), abs=1e-12)
    assert float(values["maxboxacc_v2"]) == pytest.approx(expected.mean(), abs=1e-12)


def test_gt_loc_against_any_and_against_the_first_box() -> None:
    curves = [iou_curves(score_map, boxes) for score_map, boxes in zip(MAPS, BOXES, strict=True)]
    for name, curve in (("any", "largest"), ("first", "largest_first")):
        found = [values[curve][GT_LOC_THRESHOLD_INDEX] for values in curves]
        np.testing.assert_allclose(found, GOLDEN[f"gtloc_iou_{name}"], atol=1e-12)


def test_pixel_average_precision() -> None:
    metric = PixelAP()
    metric.update(torch.from_numpy(MAPS[:10]), torch.from_numpy(MASKS[:10]))
    metric.update(torch.from_numpy(MAPS[10:]), torch.from_numpy(MASKS[10:]))
    assert float(metric.compute()["pxap"]) == pytest.approx(float(GOLDEN["pxap"]), abs=1e-6)


@given(
    arrays(np.float64, (6, 7), elements=st.floats(0, 1)),
    arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 255])),
)
def test_histograms_equal_numpy(score_map: NDArray[np.float64], mask: NDArray[np.uint8]) -> None:
    edges = np.append(THRESHOLDS, [1.0, 2.0, 3.0])
    expected = [np.histogram(score_map[mask == value], bins=edges)[0] for value in (1, 0)]
    np.testing.assert_array_equal(score_histograms(score_map, mask), expected)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 40))
def test_pxap_of_two_score_levels_by_hand(hits: int, misses: int, false_alarms: int) -> None:
    histograms = np.zeros((2, NUM_BINS), dtype=np.int64)
    histograms[0, 900], histograms[0, 100] = hits, misses
    histograms[1, 900] = false_alarms
    recall = hits / (hits + misses)
    precision = hits / (hits + false_alarms)
    overall = (hits + misses) / (hits + misses + false_alarms)
    assert pixel_average_precision(histograms) == pytest.approx(100 * (precision * recall + overall * (1 - recall)))


def test_counts_do_not_overflow_in_32_bits() -> None:
    histograms = np.zeros((2, NUM_BINS), dtype=np.int64)
    histograms[:, 500] = 2**40
    assert pixel_average_precision(histograms) == pytest.approx(50)


@pytest.mark.parametrize(
    ("score_maps", "boxes", "sentence"),
    [
        (torch.full((1, 16, 16), torch.nan), ONE_BOX, "score map 0 holds NaN or values outside"),
        (torch.full((1, 16, 16), 1.5), ONE_BOX, "score map 0 holds NaN or values outside"),
        (torch.zeros(16, 16), ONE_BOX, "score maps must have shape"),
        (ONE_MAP, [np.array([[9, 2, 2, 9]])], r"box \[9, 2, 2, 9\] of map 0 is not"),
        (ONE_MAP, [np.array([[2, 2, 9, 17]])], r"box \[2, 2, 9, 17\] of map 0 is not .* within 16 x 16"),
        (ONE_MAP, [np.zeros((0, 4))], r"boxes of map 0 must have shape \(M, 4\)"),
        (ONE_MAP, ONE_BOX * 2, "1 score maps but 2 sets of boxes"),
    ],
)
def test_bad_maps_and_boxes_get_one_sentence(score_maps: torch.Tensor, boxes: list, sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        MaxBoxAcc().update(score_maps, boxes)


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")  # torchmetrics' own, before our sentence
def test_bad_masks_and_empty_metrics_get_one_sentence() -> None:
    with pytest.raises(SigcamError, match="may hold 0"):
        PixelAP().update(ONE_MAP, torch.full((1, 16, 16), 7, dtype=torch.uint8))
    with pytest.raises(SigcamError, match="masks have shape"):
        PixelAP().update(ONE_MAP, torch.zeros((1, 8, 8), dtype=torch.uint8))
    with pytest.raises(SigcamError, match="no mask has an object pixel"):
        PixelAP().compute()
    with pytest.raises(SigcamError, match="MaxBoxAcc has no images"):
        MaxBoxAcc().compute()
