"""The cost of the second head: parameters counted exactly, times measured on both networks in turns."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_networks import make_dual
from torch import nn

from sigcam_core import DualBranch, SigcamError
from sigcam_core.evaluate.overhead import count_parameters, measure_head_training, measure_overhead, overhead_rows


def test_parameters_are_counted() -> None:
    assert count_parameters(nn.Linear(3, 5)) == 20
    assert count_parameters(nn.Linear(3, 5), nn.Conv2d(2, 4, 3, bias=False)) == 92


@pytest.mark.parametrize(("name", "method"), [("small_cnn-gap", "cam"), ("small_cnn-mlp", "gradcam")])
def test_dual_branch_costs_one_head_more(name: str, method: str) -> None:
    dual = make_dual(name, torch.float32)
    measured = measure_overhead(dual, batch_size=2, repeats=3)
    baseline, both = measured["parameters"]
    assert both - baseline == sum(parameter.numel() for parameter in dual.softmax_head.parameters())
    assert baseline == sum(
        parameter.numel() for parameter in nn.Sequential(dual.backbone, dual.softmax_head).parameters()
    )
    assert measured["method"] == method
    assert min(measured["inference_time_with_cam"]) > 0
    assert measured["inference_ratio"] > 0


def test_times_are_medians_of_pairs_in_ms_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two pairs to warm up, then three; one pair is disturbed and must not count.
    seconds = iter([9.0, 9.0, 9.0, 9.0, 0.010, 0.012, 5.0, 1.0, 0.020, 0.030])
    monkeypatch.setattr("sigcam_core.evaluate.overhead.seconds_of", lambda *_: next(seconds))
    measured = measure_overhead(make_dual(dtype=torch.float32), batch_size=2, repeats=3)
    assert measured["inference_time_with_cam"] == pytest.approx((10, 15))
    assert measured["inference_ratio"] == pytest.approx(1.2)
    assert measured["inference_ratios"] == pytest.approx([1.2, 0.2, 1.5])
    assert next(seconds, None) is None


def test_both_passes_do_their_work(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "sigcam_core.evaluate.overhead.maps_from_features",
        lambda dual, features, k, options: asked.append(options.heads),
    )
    measure_overhead(make_dual(dtype=torch.float32), batch_size=1, repeats=1)
    assert asked == 3 * [("softmax",), ("softmax", "sigmoid")]


def test_measuring_changes_nothing() -> None:
    dual = make_dual(dtype=torch.float32)
    before = copy.deepcopy(dual.state_dict())
    measure_overhead(dual, batch_size=1, repeats=1)
    assert all(torch.equal(value, before[name]) for name, value in dual.state_dict().items())


def test_rows_have_the_units_of_the_paper() -> None:
    measured = {
        "method": "cam",
        "parameters": (25_560_000, 27_610_000),
        "inference_time_with_cam": (100.0, 118.0),
        "inference_ratio": 1.17,
        "training_time": (3600.0, 4500.0),
    }
    rows = {row["quantity"]: row for row in overhead_rows("net", measured)}
    assert {quantity: row["unit"] for quantity, row in rows.items()} == {
        "training_time": "h",
        "inference_time_with_cam": "ms",
        "parameters": "M",
    }
    assert rows["parameters"]["baseline"] == pytest.approx(25.56)
    assert rows["parameters"]["dual_branch"] == pytest.approx(27.61)
    assert rows["training_time"]["dual_branch"] == pytest.approx(1.25)
    assert rows["training_time"]["ratio"] == pytest.approx(1.25)
    assert rows["inference_time_with_cam"]["ratio"] == 1.17  # of the pairs, not of the medians
    del measured["training_time"]
    assert len(overhead_rows("net", measured)) == 2


@pytest.mark.parametrize(("batch_size", "repeats"), [(0, 1), (1, 0)])
def test_measuring_nothing_is_refused(batch_size: int, repeats: int) -> None:
    with pytest.raises(SigcamError, match=f"at least 1 image, not {repeats} on {batch_size}"):
        measure_overhead(make_dual(), batch_size, repeats)


def test_training_a_head_is_reckoned_from_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    # A forward pass, a step, and both in a row: one round to warm up, then three. The ratios are of the same round.
    seconds = iter([9.0, 9.0, 9.0, 0.010, 0.001, 0.012, 0.040, 0.010, 0.100, 0.020, 0.001, 0.022])
    monkeypatch.setattr("sigcam_core.evaluate.overhead.seconds_of", lambda *_: next(seconds))
    dual = make_dual(dtype=torch.float32)
    measured = measure_head_training(dual, batch_size=2, epochs=10, repeats=3)
    assert measured == pytest.approx(
        {
            "forward_pass": 1000 / 2 * 0.020,
            "on_the_fly": 1000 / 2 * 10 * 0.022,
            "cached": 1000 / 2 * (0.020 + 10 * 0.001),
            "on_the_fly_passes": 10 * 0.012 / 0.010,
            "cached_passes": (0.010 + 10 * 0.001) / 0.010,
        }
    )
    assert next(seconds, None) is None


@pytest.mark.parametrize("name", ["small_cnn-gap", "small_cnn-mlp"])
def test_a_forward_pass_a_step_and_both_take_turns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    extract, backward = DualBranch.extract, torch.Tensor.backward

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: done.append(name) or function(*arguments)

    def seconds_of(turn: Callable[[], Any], _: torch.device) -> float:
        done.append("turn")
        turn()
        return 1.0

    monkeypatch.setattr(DualBranch, "extract", noted("forward", extract))
    monkeypatch.setattr(torch.Tensor, "backward", noted("step", backward))
    monkeypatch.setattr("sigcam_core.evaluate.overhead.seconds_of", seconds_of)
    measure_head_training(make_dual(name, torch.float32), batch_size=2, epochs=3, repeats=2)
    assert done[done.index("turn") :] == 3 * ["turn", "forward", "turn", "step", "turn", "forward", "step"]


def test_the_head_whose_training_is_measured_is_left_as_it_was() -> None:
    dual = make_dual(dtype=torch.float32)
    before = copy.deepcopy(dual.state_dict())
    measured = measure_head_training(dual, batch_size=2, epochs=2, repeats=1)
    assert all(torch.equal(value, before[name]) for name, value in dual.state_dict().items())
    assert all(parameter.grad is None for parameter in dual.parameters())
    assert not dual.sigmoid_head.training
    assert min(measured.values()) > 0


@pytest.mark.parametrize(("batch_size", "epochs", "repeats"), [(0, 1, 2), (1, 0, 2), (3, 1, 0)])
def test_measuring_no_training_is_refused(batch_size: int, epochs: int, repeats: int) -> None:
    sentence = f"at least 1 round, epoch and image, not {repeats}, {epochs} and {batch_size}"
    with pytest.raises(SigcamError, match=sentence):
        measure_head_training(make_dual(dtype=torch.float32), batch_size, epochs, repeats)


def test_a_head_that_is_no_sequence_of_layers_is_refused() -> None:
    class Wrapped(nn.Module):
        def __init__(self, head: nn.Module) -> None:
            super().__init__()
            self.head = head

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return self.head(features)

    dual = make_dual(dtype=torch.float32)
    wrapped = DualBranch(dual.backbone, dual.softmax_head, Wrapped(dual.sigmoid_head), input_format=dual.input_format)
    with pytest.raises(SigcamError, match=r"the head must be an nn\.Sequential to cache its inputs, got Wrapped"):
        measure_head_training(wrapped, batch_size=1, epochs=1, repeats=1)
