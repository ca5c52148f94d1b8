"""Arrays of other tools are taken wherever numbers come in, and give what tensors give; masks must have an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics import Metric

from sigcam_core import SigcamError, normalize_maps
from sigcam_core.cams.score_maps import correlation_of_resized, resize_maps
from sigcam_core.common.checks import check_object_value, check_score_maps, to_tensor
from sigcam_core.fidelity import average_drop, coherency, coverage, explain_images, perturbation_curves
from sigcam_core.fidelity.perturbation import average_drop_at_coverage
from sigcam_core.fidelity.scores import class_scores, coherency_of_maps
from sigcam_core.invariance import center_weights, erasing_delta, gauge_energy, shift_weights, sign_collapse_delta
from sigcam_core.localization import LocalizationAccuracy, MaxBoxAcc, PixelAP, best_iou_per_threshold
from sigcam_core.pointing import (
    EnergyPointingGame,
    GridPointingGame,
    PointingGame,
    cell_shares,
    choose_grids,
    compose_grids,
    energy_shares,
    grid_shares,
    pointing_hits,
)

MAPS = np.random.default_rng(0).random((4, 16, 16))
IMAGES = torch.from_numpy(np.random.default_rng(1).random((4, 3, 16, 16)))
BOXES = [np.array([[1, 1, 8, 8]])] * 4
MASKS = np.zeros((4, 16, 16), np.uint8)
MASKS[:, 2:7, 1:9] = 1
CORRECT = np.array([True, False, True, True])

Make = Callable[[Any], Any]
"""What turns a NumPy array into the kind of numbers that a case is called with."""
DOORS: dict[str, Callable[[Make], Any]] = {
    "normalize_maps": lambda make: normalize_maps(make(MAPS), (8, 5)),
    "resize_maps": lambda make: resize_maps(make(MAPS), (8, 5)),
    "correlation_of_resized": lambda make: correlation_of_resized(make(MAPS), make(MAPS**2), (8, 5)),
    "best_iou_per_threshold": lambda make: best_iou_per_threshold(make(MAPS[0]), make(BOXES[0])),
    "MaxBoxAcc": lambda make: _computed(MaxBoxAcc(), make(MAPS), BOXES),
    "LocalizationAccuracy": lambda make: _computed(LocalizationAccuracy(), make(MAPS), BOXES, make(CORRECT)),
    "PixelAP": lambda make: _computed(PixelAP(), make(MAPS), make(MASKS)),
    "PointingGame": lambda make: _computed(PointingGame(), make(MAPS), BOXES),
    "EnergyPointingGame": lambda make: _computed(EnergyPointingGame(), make(MAPS), None, make(MASKS)),
    "GridPointingGame": lambda make: _computed(GridPointingGame(2), make(MAPS[None])),
    "pointing_hits": lambda make: pointing_hits(make(MAPS), BOXES),
    "energy_shares": lambda make: energy_shares(make(MAPS), make(MASKS == 1), make(MAPS > 0.1)),
    "cell_shares": lambda make: cell_shares(make(MAPS[None]), 2),
    "choose_grids": lambda make: choose_grids(make(np.eye(8)), make(np.arange(8)), 2, 3),
    "compose_grids": lambda make: compose_grids(make(MAPS[:, None]), 2),
    "grid_shares": lambda make: grid_shares(make(MAPS[None]), [make(MAPS[0, :, :4])], make(np.arange(4)[None]), [True]),
    "explain_images": lambda make: explain_images(IMAGES, make(MAPS)),
    "coverage": lambda make: coverage(make(MAPS)),
    "coherency": lambda make: coherency(make(MAPS), make(MAPS**2)),
    "coherency_of_maps": lambda make: coherency_of_maps(make(MAPS), make(MAPS**2), (8, 5)),
    "average_drop": lambda make: average_drop(make(MAPS[0, 0]), make(MAPS[0, 1])),
    "average_drop_at_coverage": lambda make: average_drop_at_coverage(make(MAPS[0])),
    "class_scores": lambda make: class_scores(make(MAPS[0]), make(np.arange(16))),
    "perturbation_curves": lambda make: perturbation_curves(_mean, IMAGES, make(MAPS), 4).insertion,
    "shift_weights": lambda make: shift_weights(make(MAPS[0]), make(MAPS[0, 0])),
    "center_weights": lambda make: center_weights(make(MAPS[0])),
    "gauge_energy": lambda make: gauge_energy(make(MAPS[0])),
    "sign_collapse_delta": lambda make: sign_collapse_delta(make(MAPS[0]), 3),
    "erasing_delta": lambda make: erasing_delta(make(MAPS[0])),
}
KINDS: dict[str, Make] = {
    "array": lambda values: values,
    "mirrored twice": lambda values: values[..., ::-1].copy()[..., ::-1],
    "read-only": lambda values: np.frombuffer(values.tobytes(), values.dtype).reshape(values.shape),
    "of another machine": lambda values: values.astype(values.dtype.newbyteorder("S")),
}


def _computed(metric: Metric, *arguments: Any) -> Any:
    metric.update(*arguments)
    return metric.compute()


def _mean(images: Tensor, _: Tensor) -> Tensor:
    return images.mean(dim=(1, 2, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", DOORS)
def test_arrays_give_what_tensors_give(door: str, kind: str) -> None:
    expected = DOORS[door](lambda values: torch.from_numpy(values.copy()))
    torch.testing.assert_close(DOORS[door](KINDS[kind]), expected, rtol=0, atol=0)


@pytest.mark.parametrize("door", ["MaxBoxAcc", "LocalizationAccuracy", "PixelAP", "best_iou_per_threshold", "coverage"])
def test_maps_that_carry_a_gradient_are_judged_like_others(door: str) -> None:
    def with_gradient(values: Any) -> Tensor:
        return torch.from_numpy(values).requires_grad_(values.dtype == np.float64)

    expected = DOORS[door](torch.from_numpy)
    torch.testing.assert_close(DOORS[door](with_gradient), expected, check_dtype=True)


def test_nested_lists_and_single_numbers_are_taken() -> None:
    assert to_tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert to_tensor(0.5).shape == ()
    tensor = torch.ones(2)
    assert to_tensor(tensor) is tensor


@pytest.mark.parametrize("values", [None, "heat.png", [[1.0], [2.0, 3.0]], {"cam": 1}, [object()]])
def test_what_is_no_number_is_said_in_one_sentence(values: object) -> None:
    with pytest.raises(SigcamError, match=r"cannot be read as numbers: pass a tensor, or an array of numbers\.$"):
        check_score_maps(values)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [[0, 1, 255], [0, 1], [1, 255], [1], [0]])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_masks_with_an_object_or_with_nothing_pass(values: list[int], dtype: type) -> None:
    check_object_value(np.array(values, dtype=dtype).reshape(1, -1), "mask a.png")


@pytest.mark.parametrize("values", [[0, 255], [255]])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_masks_that_ignore_and_have_no_object_get_one_sentence(values: list[int], dtype: type) -> None:
    with pytest.raises(
        SigcamError, match=r"^mask a\.png holds 255 but no 1: 255 is ignored here, so store objects as 1"
    ):
        check_object_value(np.array(values, dtype=dtype).reshape(1, -1), "mask a.png")
