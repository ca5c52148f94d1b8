"""The centred square against a plain loop over images, thresholds and boxes, and against the metrics for maps."""

import math
from functools import cache

import cv2
import numpy as np
import pytest
import torch

from sigcam_core.common.errors import SigcamError
from sigcam_core.common.resampling import bootstrap_weights
from sigcam_core.localization.centre import centre_box_accuracy, centre_map
from sigcam_core.localization.metrics import LocalizationAccuracy, MaxBoxAcc
from sigcam_core.prepare.images import scale_boxes

SIZE = 224
Boxes = list[np.ndarray]


def random_boxes(seed: int, num_images: int = 8, size: int = SIZE) -> Boxes:
    """Boxes of one to three objects per image, around the centre and elsewhere, some of them up to the edges."""
    generator = np.random.default_rng(seed)
    sets = []
    for _ in range(num_images):
        centre = generator.uniform(0.3, 0.7, (generator.integers(1, 4), 2)) * size
        sides = generator.uniform(0.1, 0.9, centre.shape) * size
        corners = np.concatenate([centre - sides / 2, centre + sides / 2], axis=1)
        sets.append(corners.clip(0, size).astype(np.int64))
    return sets


@cache
def squares_one_by_one(size: int = SIZE) -> list[tuple[int, ...]]:
    """The box at each of the 1,000 thresholds, by the protocol as it is written, with none of the package's code."""
    middle, deviation = (size - 1) / 2, 0.25 * size
    raw = [
        [math.exp(-((x - middle) ** 2 + (y - middle) ** 2) / (2 * deviation**2)) for x in range(size)]
        for y in range(size)
    ]
    low, high = min(map(min, raw)), max(map(max, raw))
    gray = np.array([[math.floor(255 * (v - low) / (high - low)) for v in row] for row in raw], dtype=np.uint8)
    squares = []
    for k in range(1000):
        binary = cv2.threshold(gray, int(k * 0.001 * int(gray.max())), 255, cv2.THRESH_BINARY)[1]
        (contour,) = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        x, y, w, h = cv2.boundingRect(contour)
        squares.append((x, y, min(x + w, size - 1), min(y + h, size - 1)))
    return squares


def one_by_one(sets: Boxes) -> dict[str, float]:
    """A plain loop over thresholds, images and boxes."""
    hits = {delta: [0] * 1000 for delta in (30, 50, 70)}
    located = 0
    for k, square in enumerate(squares_one_by_one()):
        for boxes in sets:
            best = max(inclusive_iou(square, tuple(box)) for box in boxes.tolist())
            for delta, counts in hits.items():
                counts[k] += best >= delta / 100
            located += k == 200 and best >= 0.5
    accuracy = {f"maxboxacc@{delta}": 100 * max(counts) / len(sets) for delta, counts in hits.items()}
    return {"gt_loc": 100 * located / len(sets), **accuracy, "maxboxacc_v2": sum(accuracy.values()) / 3}


def inclusive_iou(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return common / (sum(areas) - common)


def of_the_metrics(sets: Boxes, protocol: str = "standard", size: int = SIZE) -> dict[str, float]:
    maps = torch.from_numpy(np.stack([centre_map(size)] * len(sets)))
    box_accuracy, localisation = MaxBoxAcc(), LocalizationAccuracy(protocol)
    box_accuracy.update(maps, sets)
    localisation.update(maps, sets, torch.ones(len(sets), dtype=torch.bool))
    values = {name: float(value) for name, value in box_accuracy.compute().items()}
    return {"gt_loc": float(localisation.compute()["gt_loc"]), **values}


def plain(statistics: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: value.item() for name, value in statistics.items()}


@pytest.mark.parametrize("seed", range(30))
def test_a_plain_loop_over_images_thresholds_and_boxes_gives_the_same(seed: int) -> None:
    sets = random_boxes(seed)
    assert plain(centre_box_accuracy(sets)) == pytest.approx(one_by_one(sets), abs=1e-12)


@pytest.mark.parametrize("protocol", ["standard", "paper"])
@pytest.mark.parametrize("size", [SIZE, 97])
def test_the_metrics_give_the_same_for_that_map_to_the_last_bit(protocol: str, size: int) -> None:
    for seed in range(10):
        sets = random_boxes(seed, 7, size)
        assert plain(centre_box_accuracy(sets, protocol=protocol, size=size)) == of_the_metrics(sets, protocol, size)


def test_the_protocols_differ_where_an_image_has_several_boxes() -> None:
    sets = [np.array([[0, 0, 20, 20], [12, 12, 212, 212]])]
    gt_loc = {name: centre_box_accuracy(sets, protocol=name)["gt_loc"].item() for name in ("standard", "paper")}
    assert gt_loc == {"standard": 100, "paper": 0}


def test_both_ends_of_a_box_count() -> None:
    # At the top of the map stand 2 x 2 pixels. A box ends one pixel after its contour, so this one goes from 111 to
    # 113, 9 pixels with both ends, and shares 4 with either truth. Without the ends it would be 1 of 4, below 30 %.
    for box in ([112, 112, 113, 113], [111, 111, 112, 112]):
        assert centre_box_accuracy([np.array([box])])["maxboxacc@30"].item() == 100


def test_a_box_that_just_reaches_the_iou_is_found() -> None:
    # The same 9 pixels, all of them within a truth of 18 or of 30.
    for end, percentage in ((116, 50), (120, 30)):
        assert centre_box_accuracy([np.array([[111, 111, 113, end]])])[f"maxboxacc@{percentage}"].item() == 100


def test_scaled_boxes_lose_their_decimals() -> None:
    # 110 to 111 shares one pixel with that box; rounded, it would be 111 to 112 and share four.
    for box in (
        [[110.9, 110.9, 111.9, 111.9]],
        scale_boxes([[495.1, 495.1, 499.6, 499.6]], (1000, 1000), (SIZE, SIZE)),
    ):
        assert centre_box_accuracy([np.array(box)])["maxboxacc@30"].item() == 0


@pytest.mark.parametrize("deviation", [0.25, 0.35, 0.5])
def test_the_width_of_the_gaussian_decides_nothing_since_every_side_that_matters_is_there(deviation: float) -> None:
    for side in range(60, SIZE, 2):
        edges = [(SIZE - side) // 2, min((SIZE + side) // 2, SIZE - 1)]
        box = np.array([[edges[0], edges[0], edges[1], edges[1]]])
        assert centre_box_accuracy([box], deviation=deviation)["maxboxacc@70"].item() == 100
    sets = random_boxes(0, num_images=200)
    accuracy = centre_box_accuracy(sets, deviation=deviation)["maxboxacc_v2"].item()
    assert accuracy == centre_box_accuracy(sets)["maxboxacc_v2"].item()


def test_the_map_is_symmetric_falls_outwards_and_fills_the_range() -> None:
    for size in (5, SIZE):
        scores = centre_map(size)
        assert scores.shape == (size, size)
        assert (scores.min(), scores.max()) == (0, 1)
        for other in (scores.T, scores[::-1], scores[:, ::-1]):
            np.testing.assert_allclose(scores, other, atol=1e-15)
        assert (np.diff(scores[: (size + 1) // 2], axis=0) > 0).all()


def test_resamples_count_an_image_as_often_as_it_is_drawn() -> None:
    sets = random_boxes(3, num_images=6)
    weights = bootstrap_weights(6, 20, seed=1)
    statistics = centre_box_accuracy(sets, weights)
    for row, drawn in enumerate(weights.astype(int)):
        repeated = [boxes for boxes, times in zip(sets, drawn, strict=True) for _ in range(times)]
        alone = plain(centre_box_accuracy(repeated))
        assert {name: values[row] for name, values in statistics.items()} == pytest.approx(alone, abs=1e-12)


@pytest.mark.parametrize(
    ("sets", "options", "sentence"),
    [
        ([], {}, "the centre of no image has no accuracy"),
        ([np.zeros((0, 4))], {}, r"boxes of map 0 must have shape \(M, 4\)"),
        ([np.array([[0, 0, 300, 9]])], {}, r"box \[0, 0, 300, 9\] of map 0 is not .* within 224 x 224"),
        ([np.array([[0, 0, 9, 9]])], {"protocol": "lenient"}, "unknown protocol 'lenient'"),
        ([np.array([[0, 0, 1, 1]])], {"size": 2}, "side 2 and deviation 0.25 is none"),
        ([np.array([[0, 0, 1, 1]])], {"deviation": 0.0}, "side 224 and deviation 0.0 is none"),
    ],
)
def test_bad_input_gets_one_sentence(sets: Boxes, options: dict, sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        centre_box_accuracy(sets, **options)
