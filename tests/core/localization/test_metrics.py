"""MaxBoxAcc, GT-Loc and PxAP against the golden outputs of the reference evaluation."""

import numpy as np
import pytest
import torch
from golden_wsol import load
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torchmetrics import Metric

from benchmarks.localization import boxes_at_each_threshold
from sigcam_core.common.errors import SigcamError
from sigcam_core.localization.metrics import LocalizationAccuracy, MaxBoxAcc, PixelAP, best_iou_per_threshold
from sigcam_core.localization.protocol import (
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


def test_without_holes_the_negative_of_a_centred_blob_is_no_better_than_the_whole_image() -> None:
    rows, columns = np.mgrid[:32, :32] / 32 - 0.5
    blob = np.exp(-(rows**2 + columns**2) / 0.1)
    negative = 1 - (blob - blob.min()) / (blob.max() - blob.min())
    boxes = [np.array([[8, 8, 24, 24]])]
    values = {}
    for with_holes in (True, False):
        metric = MaxBoxAcc(with_holes=with_holes)
        metric.update(negative[None], boxes)
        values[with_holes] = float(metric.compute()["maxboxacc_v2"])
        best = best_iou_per_threshold(negative, boxes[0], with_holes=with_holes).max()
        assert best == pytest.approx(17 * 17 / 32**2 if not with_holes else 1, abs=0.2 * with_holes)
    assert values == {True: 100.0, False: 0.0}  # a box of the whole image has an IoU of .28


def test_holes_are_no_matter_of_the_largest_contour() -> None:
    with pytest.raises(SigcamError, match="leave with_holes on"):
        MaxBoxAcc(multi_contour=False, with_holes=False)


def test_gt_loc_against_any_and_against_the_first_box() -> None:
    curves = [iou_curves(score_map, boxes) for score_map, boxes in zip(MAPS, BOXES, strict=True)]
    for name, curve in (("any", "largest"), ("first", "largest_first")):
        found = [values[curve][GT_LOC_THRESHOLD_INDEX] for values in curves]
        np.testing.assert_allclose(found, GOLDEN[f"gtloc_iou_{name}"], atol=1e-12)


@pytest.mark.parametrize(("protocol", "name"), [("standard", "any"), ("paper", "first")])
def test_gt_loc_and_top1_loc(protocol: str, name: str) -> None:
    metric = LocalizationAccuracy(protocol)
    is_correct = torch.arange(len(MAPS)) % 3 > 0
    metric.update(torch.from_numpy(MAPS[:8]), BOXES[:8], is_correct[:8])
    metric.update(torch.from_numpy(MAPS[8:]), BOXES[8:], is_correct[8:])
    located = GOLDEN[f"gtloc_iou_{name}"] >= 0.5
    assert 0 < located.sum() < len(located)
    values = metric.compute()
    assert float(values["gt_loc"]) == pytest.approx(100 * located.mean(), abs=1e-12)
    assert float(values["top1_loc"]) == pytest.approx(100 * (located & is_correct.numpy()).mean(), abs=1e-12)
    assert (GOLDEN["gtloc_iou_any"] >= GOLDEN["gtloc_iou_first"]).all()


@st.composite
def score_maps(draw: st.DrawFn) -> NDArray[np.float64]:
    """Score maps as float values: flat, with holes, with plateaus at the ends, with a maximum below 1."""
    height, width = draw(st.integers(1, 16)), draw(st.integers(1, 16))
    elements = st.one_of(st.sampled_from([0.0, 0.2, 0.2 + 1e-9, 0.999, 1.0]), st.floats(0, 1))
    values = draw(arrays(np.float64, (height, width), elements=elements, fill=st.just(0.0)))
    return values * draw(st.sampled_from([1.0, 0.6]))


@given(score_maps(), st.booleans())
@settings(max_examples=30)
def test_every_threshold_equals_a_contour_search_at_it(score_map: NDArray[np.float64], multi_contour: bool) -> None:
    height, width = score_map.shape
    boxes = np.array([[0, 0, width // 2, height // 2], [width // 3, 0, width - 1, height - 1]])
    expected = boxes_at_each_threshold(score_map, boxes, multi_contour)
    np.testing.assert_allclose(best_iou_per_threshold(score_map, boxes, multi_contour), expected, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_gives_what_its_maps_give_alone_however_many_cores(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together, alone = MaxBoxAcc(), MaxBoxAcc()
        together.update(torch.from_numpy(MAPS), BOXES)
        for score_map, boxes in zip(MAPS, BOXES, strict=True):
            alone.update(torch.from_numpy(score_map[None]), [boxes])
        assert torch.equal(together.hits, alone.hits)
        assert together.num_images == alone.num_images == len(MAPS)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("metric", [MaxBoxAcc(), LocalizationAccuracy(), PixelAP()])
def test_metrics_keep_counts_and_no_images(metric: Metric) -> None:
    def kept() -> list[torch.Size]:
        return [value.shape for value in metric.metric_state.values()]

    before, arguments = kept(), (torch.rand(2, 16, 16), ONE_BOX * 2, torch.tensor([True, False]))
    if isinstance(metric, PixelAP):
        arguments = (arguments[0], torch.ones(2, 16, 16, dtype=torch.uint8))
    for _ in range(3):
        metric.update(*(arguments[:2] if isinstance(metric, MaxBoxAcc) else arguments))
    assert kept() == before
    assert all(isinstance(value, torch.Tensor) for value in metric.metric_state.values())


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


def test_scores_at_and_next_to_an_edge_fall_on_its_right_side() -> None:
    edges = np.append(THRESHOLDS, 1.0)
    score_map = np.stack([edges, np.nextafter(edges, 0), np.nextafter(edges, 1)])
    expected = np.histogram(score_map, bins=np.append(edges, [2.0, 3.0]))[0]
    np.testing.assert_array_equal(score_histograms(score_map, np.ones(score_map.shape, np.uint8))[0], expected)


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
        (ONE_MAP, [[[2, 2, 9, 9], [2, 2]]], r"boxes of map 0 must be numbers of shape \(M, 4\)"),
        (ONE_MAP, [np.array([[2, 2, 9, np.nan]])], "boxes of map 0 hold NaN or infinity"),
        (torch.zeros(1, 0, 16), ONE_BOX, "at least one pixel each"),
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
    white = torch.zeros((2, 16, 16), dtype=torch.uint8)
    white[0, 4:8], white[0, 9], white[1, 4:8] = 1, 255, 255
    with pytest.raises(SigcamError, match="mask 1 holds 255 but no 1: 255 is ignored here, so store objects as 1"):
        PixelAP().update(ONE_MAP.expand(2, -1, -1), white)
    background = PixelAP()
    background.update(ONE_MAP, torch.zeros((1, 16, 16), dtype=torch.uint8))
    with pytest.raises(SigcamError, match="no mask has an object pixel"):
        background.compute()
    for metric in (MaxBoxAcc(), LocalizationAccuracy(), PixelAP()):
        with pytest.raises(SigcamError, match=f"{type(metric).__name__} has no images: call update first"):
            metric.compute()


@pytest.mark.parametrize("is_correct", [torch.ones(1), torch.ones(2, dtype=torch.bool)])
def test_correctness_must_be_one_bool_a_map(is_correct: torch.Tensor) -> None:
    with pytest.raises(SigcamError, match="is_correct must be one bool for each of the 1 score maps, got"):
        LocalizationAccuracy().update(ONE_MAP, ONE_BOX, is_correct)


def test_lists_arrays_and_half_precision_are_taken() -> None:
    maps = torch.rand(2, 16, 16).half()
    for dtype in (torch.float16, torch.bfloat16):
        pixels = PixelAP()
        pixels.update(maps.to(dtype), torch.ones(2, 16, 16, dtype=torch.uint8))
        assert float(pixels.compute()["pxap"]) == pytest.approx(100)
        boxes = MaxBoxAcc()
        boxes.update(maps.to(dtype), [[[2, 2, 9, 9]], torch.tensor([[2.7, 2, 9, 9]])])
        assert boxes.num_images == 2
    metric = LocalizationAccuracy()
    metric.update(maps, ONE_BOX * 2, np.array([True, False]))
    assert metric.num_images == 2


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(SigcamError, match="unknown protocol 'official': choose one of standard, paper"):
        LocalizationAccuracy("official")
