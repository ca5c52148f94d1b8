"""Fixed boxes against a plain loop over boxes and images."""

import numpy as np
import pytest
from test_contours import box_iou

from sigcam_core.common.errors import SigcamError
from sigcam_core.localization.centre import centre_box_accuracy
from sigcam_core.localization.fixed import best_fixed_box, fixed_box_iou, whole_image
from sigcam_core.localization.metrics import MaxBoxAcc


def random_boxes(seed: int, num_images: int = 12, size: int = 32) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    sets = []
    for _ in range(num_images):
        corners = np.sort(generator.integers(0, size, (generator.integers(1, 3), 2, 2)), axis=1)
        sets.append(corners.reshape(-1, 4))
    return sets


def accuracy(box: np.ndarray, sets: list[np.ndarray]) -> float:
    best = np.array([box_iou(box[None], own).max() for own in sets])
    return float(np.mean([(best >= limit).mean() for limit in (0.3, 0.5, 0.7)]))


@pytest.mark.parametrize("seed", range(3))
def test_no_box_of_the_lattice_is_better(seed: int) -> None:
    sets = random_boxes(seed)
    edges = [0, 8, 16, 24, 31]
    tried = [
        np.array([x0, y0, x1, y1])
        for x0 in edges
        for x1 in edges
        for y0 in edges
        for y1 in edges
        if x0 < x1 and y0 < y1
    ]
    found = best_fixed_box(sets, size=32)
    assert found.tolist() in [box.tolist() for box in tried]
    assert accuracy(found, sets) == max(accuracy(box, sets) for box in tried)


def test_the_iou_is_that_of_the_best_box_and_of_no_image_without_one() -> None:
    sets = [*random_boxes(5), np.zeros((0, 4), dtype=np.int64)]
    found = fixed_box_iou(np.array([4, 5, 20, 25]), sets)
    expected = [box_iou(np.array([[4, 5, 20, 25]]), own).max() for own in sets[:-1]]
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-6)
    assert np.isnan(found[-1])
    assert best_fixed_box(sets, size=32).tolist() == best_fixed_box(sets[:-1], size=32).tolist()


def test_the_whole_image_is_the_contour_of_a_map_that_is_high_everywhere_but_at_one_corner() -> None:
    score_map = np.ones((1, 224, 224))
    score_map[0, 0, 0] = 0
    sets = [np.array([[10, 20, 200, 210]])]
    metric = MaxBoxAcc()
    metric.update(score_map, sets)
    iou = float(fixed_box_iou(whole_image(), sets)[0])
    assert iou == pytest.approx(191 * 191 / 224**2)
    assert float(metric.compute()["maxboxacc_v2"]) == pytest.approx(100 * sum(iou >= x for x in (0.3, 0.5, 0.7)) / 3)


def test_a_centred_object_is_met_by_a_fixed_box_as_well_as_by_the_centre() -> None:
    sets = [np.array([[80, 80, 144, 144]])] * 3
    assert accuracy(best_fixed_box(sets), sets) == 1
    assert float(centre_box_accuracy(sets)["maxboxacc_v2"][0]) == 100


def test_no_box_at_all_is_refused() -> None:
    with pytest.raises(SigcamError, match="no image has a box"):
        best_fixed_box([np.zeros((0, 4), dtype=np.int64)])
