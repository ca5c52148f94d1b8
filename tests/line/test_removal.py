"""Pixel flipping and ROAD are measured against Quantus, which gives the same numbers."""

import sys

import pytest
import torch

from benchmarks import removal
from benchmarks.case import make_case
from benchmarks.removal import measure_removal
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.common.errors import SigcamError


def test_removal_is_measured_and_equals_quantus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    torch.manual_seed(0)
    case = make_case(small_cnn(num_classes=8).eval(), "Small", 2, 96, torch.device("cpu"))
    rows = measure_removal(case, repeats=1)
    assert [row.setting.rpartition(" ")[2] for row in rows] == ["plain", "plain", "compiled", "compiled"]
    for flipping, road in (rows[:2], rows[2:]):
        assert (flipping.task, flipping.peer) == ("pixel flipping in 6 steps, ten maps", "Quantus")
        assert road.task == "ROAD at 2 percentages, ten maps"
        assert flipping.max_difference is not None
        assert flipping.max_difference < 1e-5
        assert road.max_difference == 0  # shares of images
        assert flipping.goal == road.goal == 10


def test_wrong_options_of_removal_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.removal", "--images", "0"])
    with pytest.raises(SigcamError, match="--images 0 and --repeats 3 must be at least 1"):
        removal.main()
