"""Every metric of the package inside the wrappers of torchmetrics: collections, and BootStrapper."""

import inspect
import pkgutil
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchmetrics import Metric, MetricCollection
from torchmetrics.wrappers import BootStrapper

import sigcam_core
from sigcam_core.common.errors import SigcamError
from sigcam_core.localization.metrics import LocalizationAccuracy, MaxBoxAcc, PixelAP
from sigcam_core.localization.protocol import check_boxes
from sigcam_core.pointing.metrics import EnergyPointingGame, GridPointingGame, PointingGame

BOX, ELSEWHERE = [8, 8, 24, 24], [40, 40, 60, 60]
TWO_OPTIONS: dict[type[Metric], tuple[dict[str, Any], dict[str, Any]]] = {
    LocalizationAccuracy: ({"protocol": "standard"}, {"protocol": "paper"}),
    MaxBoxAcc: ({"multi_contour": True}, {"multi_contour": False, "with_holes": True}),
    PointingGame: ({"tolerance": 15}, {"tolerance": 1e-7}),
    GridPointingGame: ({"n": 2}, {"n": 4}),
}
ROOMS = ("localization", "pointing", "fidelity")


def metrics_of_the_package() -> set[type[Metric]]:
    found = set()
    for room in ROOMS:
        folder = import_module(f"{sigcam_core.__name__}.{room}").__path__
        for module in pkgutil.iter_modules(folder, f"{sigcam_core.__name__}.{room}."):
            members = inspect.getmembers(import_module(module.name), inspect.isclass)
            found |= {one for name, one in members if issubclass(one, Metric) and not name.startswith("_")}
    return {one for one in found if one.__module__.startswith(sigcam_core.__name__)}


METRICS = sorted(metrics_of_the_package(), key=lambda one: one.__name__)


def squares(*boxes: list[int]) -> Tensor:
    """For each box, a map (64, 64) that is 1 in it."""
    maps = torch.zeros(len(boxes), 64, 64)
    for one, (x0, y0, x1, y1) in zip(maps, boxes, strict=True):
        one[y0:y1, x0:x1] = 1
    return maps


def options_of(metric: type[Metric]) -> set[str]:
    return set(inspect.signature(metric.__init__).parameters) - {"self", "kwargs"}


# Collections


def test_options_of_localisation_keep_apart_in_a_collection() -> None:
    both = MetricCollection({"any": LocalizationAccuracy("standard"), "first": LocalizationAccuracy("paper")})
    both.update(squares(BOX), [np.array([BOX])], torch.tensor([True]))
    second_is_found = [np.array([ELSEWHERE, BOX])] * 3
    both.update(squares(BOX, BOX, BOX), second_is_found, torch.tensor([True] * 3))
    values = both.compute()
    assert float(values["any_gt_loc"]) == 100
    assert float(values["first_gt_loc"]) == 25


def test_every_metric_with_options_is_tried() -> None:
    assert METRICS
    assert {one for one in METRICS if options_of(one)} == set(TWO_OPTIONS)
    for metric, pair in TWO_OPTIONS.items():
        assert {name for options in pair for name in options} == options_of(metric)


@pytest.mark.parametrize("metric", TWO_OPTIONS, ids=lambda metric: metric.__name__)
def test_equal_counts_are_shared_by_equal_options_alone(metric: type[Metric]) -> None:
    first, second = TWO_OPTIONS[metric]
    collection = MetricCollection({"first": metric(**first), "second": metric(**second), "again": metric(**first)})
    counts = [list(one.metric_state.values()) for one in collection.values()]
    assert all(torch.equal(*pair) for other in counts[1:] for pair in zip(counts[0], other, strict=True))
    collection._merge_compute_groups()  # what a collection does after its first update
    assert sorted(map(sorted, collection.compute_groups.values())) == [["again", "first"], ["second"]]


def test_counts_with_and_without_holes_keep_apart() -> None:
    assert not MetricCollection._equal_metric_states(MaxBoxAcc(), MaxBoxAcc(with_holes=False))


@pytest.mark.parametrize("one", METRICS, ids=lambda metric: metric.__name__)
def test_metrics_of_different_classes_keep_apart(one: type[Metric]) -> None:
    for other in METRICS:
        assert MetricCollection._equal_metric_states(one(), other()) == (one is other)


# BootStrapper


def updates(maps: Tensor) -> dict[type[Metric], tuple[Any, ...]]:
    """Arguments that make the figure of every metric 100, as tensors, where the map belongs to its own ground truth."""
    boxes = [torch.tensor([BOX]), torch.tensor([ELSEWHERE, [0, 30, 4, 34]]), torch.tensor([[30, 2, 50, 12]])]
    padded = pad_sequence(boxes, batch_first=True, padding_value=-1)
    masks = (maps > 0).to(torch.uint8)
    return {
        MaxBoxAcc: (maps, padded),
        LocalizationAccuracy: (maps, padded, torch.ones(3, dtype=torch.bool)),
        PixelAP: (maps, masks),
        PointingGame: (maps, padded),
        EnergyPointingGame: (maps, padded),
    }


MAPS = squares(BOX, ELSEWHERE, [30, 2, 50, 12])


@pytest.mark.parametrize("metric", updates(MAPS), ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("strategy", ["poisson", "multinomial"])
def test_the_bootstrap_of_tensors_keeps_maps_and_ground_truth_together(metric: type[Metric], strategy: str) -> None:
    bootstrap = BootStrapper(metric(), num_bootstraps=8, sampling_strategy=strategy)
    for _ in range(3):  # a Poisson draw may be empty
        bootstrap.update(*updates(MAPS)[metric])
    for copy in bootstrap.metrics:
        assert float(next(iter(copy.compute().values()))) == 100


@pytest.mark.parametrize("metric", updates(MAPS), ids=lambda metric: metric.__name__)
def test_the_bootstrap_of_lists_and_arrays_is_refused(metric: type[Metric]) -> None:
    maps, *others = updates(MAPS)[metric]
    for position, one in enumerate(others):
        forms = [one.numpy(), [item.numpy() for item in one]]
        for form in forms:
            bootstrap = BootStrapper(metric(), num_bootstraps=1, sampling_strategy="multinomial")
            with pytest.raises(SigcamError, match="BootStrapper redraws images in tensors alone"):
                bootstrap.update(maps, *others[:position], form, *others[position + 1 :])


def test_the_bootstrap_of_lists_of_tensors_is_refused_where_it_would_pass() -> None:
    boxes = [torch.tensor([BOX] * 3)] * 3  # as many boxes as images: indices of images fit
    bootstrap = BootStrapper(MaxBoxAcc(), num_bootstraps=1, sampling_strategy="multinomial")
    with pytest.raises(SigcamError, match=r"pass tensors only, and boxes as one tensor \(N, M, 4\)"):
        bootstrap.update(MAPS, boxes)


def test_rows_of_minus_one_are_no_boxes_in_a_padded_tensor_alone() -> None:
    padded = torch.tensor([[BOX, [-1] * 4], [[-1] * 4, ELSEWHERE]])
    for form in (padded, padded.double(), padded.numpy()):
        assert [boxes.tolist() for boxes in check_boxes(form, (2, 64, 64))] == [[BOX], [ELSEWHERE]]
    with pytest.raises(SigcamError, match=r"box \[-1, -1, -1, -1\] of map 0 is not"):
        check_boxes(list(padded), (2, 64, 64))
    with pytest.raises(SigcamError, match=r"box \[-1, -1, 3, -1\] of map 0 is not"):
        check_boxes(torch.tensor([[[-1, -1, 3, -1]]]), (1, 64, 64))
    with pytest.raises(SigcamError, match=r"boxes of map 1 must have shape \(M, 4\) with M >= 1, got \(0, 4\)"):
        check_boxes(torch.tensor([[BOX], [[-1] * 4]]), (2, 64, 64))
