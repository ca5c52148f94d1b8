"""Contour boxes of all levels against a contour search at each level."""

import cv2
import numpy as np
from golden_wsol import load
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from sigcam_core.localization.contours import BoxArray, iou_by_level, largest_contour_box, outer_iou_by_level

GOLDEN = load()


def box_iou(boxes: BoxArray, others: BoxArray) -> NDArray[np.float64]:
    """IoU (M, L) of every pair, inclusive pixels, the plain way."""
    iou = np.zeros((len(boxes), len(others)))
    for i, a in enumerate(boxes):
        for j, b in enumerate(others):
            width = max(min(a[2], b[2]) - max(a[0], b[0]) + 1, 0)
            height = max(min(a[3], b[3]) - max(a[1], b[1]) + 1, 0)
            areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
            iou[i, j] = width * height / (sum(areas) - width * height)
    return iou


def search_each_level(gray: NDArray[np.uint8], boxes: BoxArray) -> NDArray[np.float64]:
    """The reference's own way: OpenCV's contours at each level. (3, 255)."""
    height, width = gray.shape
    curves = np.zeros((3, 255))
    for level in range(255):
        _, binary = cv2.threshold(gray, level, 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        estimated, largest = np.zeros((1, 4), dtype=np.int64), 0
        if contours:
            rectangles = [cv2.boundingRect(contour) for contour in contours]
            estimated = np.array([[x, y, min(x + w, width - 1), min(y + h, height - 1)] for x, y, w, h in rectangles])
            largest = int(np.argmax([cv2.contourArea(contour) for contour in contours]))
        iou = box_iou(estimated, boxes)
        curves[:, level] = iou.max(), iou[largest].max(), iou[largest, 0]
    return curves


@st.composite
def maps_and_boxes(draw: st.DrawFn) -> tuple[NDArray[np.uint8], BoxArray]:
    """Small maps rich in plateaus, ties, holes and borders, with one to three boxes."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    grays = draw(st.sampled_from([[0, 255], [0, 1, 2], [0, 64, 128, 255], [7], list(range(0, 256, 15))]))
    gray = draw(arrays(np.uint8, (height, width), elements=st.sampled_from(grays)))
    corners = st.tuples(st.integers(0, width - 1), st.integers(0, height - 1))
    boxes = [
        [min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])]
        for a, b in draw(st.lists(st.tuples(corners, corners), min_size=1, max_size=3))
    ]
    return gray, np.array(boxes, dtype=np.int64)


@st.composite
def bumpy_maps(draw: st.DrawFn) -> tuple[NDArray[np.uint8], BoxArray]:
    """Maps of random sides, tall and wide ones too, from rough to smooth, with one box."""
    height, width = draw(st.integers(1, 80)), draw(st.integers(1, 80))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    coarse = generator.random((draw(st.integers(1, 9)), draw(st.integers(1, 9))))
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width)
    noise = draw(st.sampled_from([0, 0.02, 0.3])) * generator.random((height, width))
    gray = (255 * (smooth + noise) / 1.3).astype(np.uint8)
    return gray, np.array([[width // 4, height // 5, width // 2, height // 2]])


@given(bumpy_maps())
@settings(max_examples=40)
def test_rough_and_smooth_maps_of_any_shape(case: tuple[NDArray[np.uint8], BoxArray]) -> None:
    gray, boxes = case
    expected = search_each_level(gray, boxes)
    np.testing.assert_array_equal(np.stack(iou_by_level(gray, boxes)), expected)
    np.testing.assert_array_equal(iou_by_level(gray, boxes, with_largest=False), expected[:1])


@given(maps_and_boxes())
def test_every_level_equals_a_contour_search(case: tuple[NDArray[np.uint8], BoxArray]) -> None:
    gray, boxes = case
    np.testing.assert_array_equal(np.stack(iou_by_level(gray, boxes)), search_each_level(gray, boxes))


def test_smooth_maps_rings_and_plateaus_of_protocol_size() -> None:
    for kind in ("cnn7x7", "random28", "ring", "two_rings", "constant", "corner_pixel", "edge_plateau"):
        i = GOLDEN["kinds"].tolist().index(kind)
        gray = (GOLDEN["maps"][i] * 255).astype(np.uint8)
        found = np.stack(iou_by_level(gray, GOLDEN["boxes"][i]))
        np.testing.assert_array_equal(found, search_each_level(gray, GOLDEN["boxes"][i]), err_msg=kind)


def test_the_boundary_of_a_hole_counts_as_a_box() -> None:
    gray = np.zeros((20, 20), dtype=np.uint8)
    gray[2:18, 2:18] = 200
    gray[6:12, 7:13] = 0
    hole = np.array([[6, 5, 14, 13]])  # one pixel outside of the hole, and the far corner one further
    multi, largest, _ = iou_by_level(gray, hole)
    assert multi[100] == 1.0
    assert largest[100] == 81 / (17 * 17)


def test_a_dark_region_that_touches_the_border_is_no_hole() -> None:
    gray = np.full((9, 9), 200, dtype=np.uint8)
    gray[3:6, 3:] = 0
    multi, _, _ = iou_by_level(gray, np.array([[2, 2, 8, 6]]))
    assert multi[100] == 35 / 81  # only the box of the bright region, which spans the whole map


def search_outer_contours(gray: NDArray[np.uint8], boxes: BoxArray) -> NDArray[np.float64]:
    """The reference for outer contours: OpenCV's RETR_EXTERNAL at every level."""
    height, width = gray.shape
    curve = np.zeros(255)
    for level in range(255):
        binary = (gray > level).astype(np.uint8)
        contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        found = [
            (x, y, min(x + w, width - 1), min(y + h, height - 1)) for x, y, w, h in map(cv2.boundingRect, contours)
        ]
        curve[level] = box_iou(np.array(found or [(0, 0, 0, 0)]), boxes).max()
    return curve


@given(st.one_of(maps_and_boxes(), bumpy_maps()))
def test_outer_contours_are_those_of_opencv_at_every_level(case: tuple[NDArray[np.uint8], BoxArray]) -> None:
    np.testing.assert_array_equal(outer_iou_by_level(*case), search_outer_contours(*case))


def test_neither_the_rim_of_a_hole_nor_what_lies_in_it_is_an_outer_contour() -> None:
    gray = np.zeros((20, 20), dtype=np.uint8)
    gray[2:18, 2:18] = 200
    gray[6:12, 7:13] = 0
    gray[8:10, 9:11] = 150  # a dot in the hole
    whole, rim, dot = (np.array([box]) for box in ([2, 2, 18, 18], [6, 5, 14, 13], [9, 8, 11, 10]))
    for box in (whole, rim, dot):
        assert iou_by_level(gray, box, with_largest=False)[0][100] == 1.0
    assert outer_iou_by_level(gray, whole)[100] == 1.0
    assert outer_iou_by_level(gray, rim)[100] == 81 / (17 * 17)
    assert outer_iou_by_level(gray, dot)[100] == 9 / (17 * 17)


def test_ties_take_the_contour_that_opencv_lists_first() -> None:
    gray = np.zeros((10, 10), dtype=np.uint8)
    gray[1, 1] = gray[8, 8] = 255
    contours, _ = cv2.findContours(gray, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    x, y = contours[0][0, 0]
    np.testing.assert_array_equal(largest_contour_box(gray, 10), [x, y, min(x + 1, 9), min(y + 1, 9)])
