"""The whole evaluation is measured against a peer that gives the same figures, by passes that are counted."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import whole_line
from benchmarks.peer_line import evaluate_by_peers, iou_at_thresholds, passes_of_peer, peer_networks
from benchmarks.random_images import draw_images, manifest_of, random_images
from benchmarks.shares import timed_passes
from benchmarks.whole_line import Counts
from sigcam_core import DualBranch, normalize_maps
from sigcam_core.backbones import passes
from sigcam_core.backbones.formats import IMAGENET_FORMAT
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json
from sigcam_core.localization.protocol import best_iou_per_threshold, gt_loc_iou

BOXES = np.array([[40, 50, 150, 180], [5, 5, 60, 60]])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> DualBranch:
    """A small network in place of the measured ones; passes that are compiled are the plain ones."""
    torch.manual_seed(0)
    dual = DualBranch.from_classifier(small_cnn(num_classes=8), input_format=IMAGENET_FORMAT)
    monkeypatch.setattr(whole_line, "GOALS", {"small": 2.0})
    monkeypatch.setattr(whole_line, "NAMES", {"small": "Small"})
    monkeypatch.setattr(whole_line, "IMAGENET_CLASSES", 8)
    monkeypatch.setattr(whole_line, "network_of", lambda _: dual)
    monkeypatch.setattr(torch, "compile", lambda network, **_: partial(network))
    return dual


@pytest.mark.parametrize("size", [4, 9])
def test_boxes_at_thresholds_are_those_of_the_protocol(size: int) -> None:
    maps = torch.from_numpy(np.random.default_rng(size).random((3, size, size)))
    for score_map in normalize_maps(maps, (224, 224)).numpy():
        curve, largest = iou_at_thresholds(score_map, BOXES)
        np.testing.assert_array_equal(curve, best_iou_per_threshold(score_map, BOXES))
        assert largest == pytest.approx(gt_loc_iou(score_map, BOXES)[0], abs=1e-12)


@pytest.mark.parametrize(("labels", "passes_made"), [("predicted", (19, 8)), ("others", (27, 16))])
def test_both_lines_are_measured_and_give_the_same_figures(
    labels: str, passes_made: tuple[int, int], small: DualBranch
) -> None:
    counts = Counts(images=6, peer_images=3, repeats=1)
    result: dict[str, Any] = whole_line.measure("small", counts, labels, batch_size=4)
    plain, compiled = result["rows"]
    assert plain["setting"] == f"Small, 6 images of 224 px, labels {labels}, passes plain"
    assert compiled["setting"].endswith("passes compiled")
    for row in (plain, compiled):
        assert row["max_difference"] < 0.01  # percentage points
        assert row["goal"] == 2.0
        assert row["speed_up"] == pytest.approx(row["peer_seconds"] / row["seconds"])
    assert 2 <= result["passes"]["ours"] <= 11
    assert (result["passes"]["peer_forward"], result["passes"]["peer_backward"]) == passes_made
    assert all(0 < share < 1 for share in result["shares"].values())
    assert set(result["processor_seconds_per_image"]) == {"peer", "plain", "compiled"}


def test_passes_that_are_not_compiled_are_not_called_so(small: DualBranch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)  # as torch does where it is told not to
    result = whole_line.measure("small", Counts(images=2, peer_images=1, repeats=1), "predicted", batch_size=2)
    kinds = [row["setting"].rpartition("passes ")[2] for row in result["rows"]]
    assert kinds == ["plain", "plain (compiled asked for)"]


def test_the_peer_makes_the_passes_that_are_told(small: DualBranch, tmp_path: Path) -> None:
    networks = peer_networks(small)
    calls: list[int] = []
    networks.dual.backbone.register_forward_hook(lambda *_: calls.append(1))
    evaluate_by_peers(networks, random_images(tmp_path, 2, 8), batch_size=2)  # labels that are not predicted
    assert len(calls) == 27 == passes_of_peer(same=False)[0]
    assert passes_of_peer(same=True) == (19, 8)


def test_the_sigmoid_head_of_the_peer_is_cut_and_ours_is_not(small: DualBranch) -> None:
    networks = peer_networks(small)
    assert any((p < 0).any() for p in small.sigmoid_head.parameters())
    assert all((p >= 0).all() for name, p in networks.by_head["sigmoid"][1].named_parameters() if "weight" in name)
    assert not any(p.requires_grad for p in small.backbone.parameters())


def test_passes_are_timed_and_left_as_they_were(small: DualBranch) -> None:
    before = passes.FastBackbone.forward
    with timed_passes() as clock:
        passes.FastBackbone(small.backbone, torch.zeros(1, 3, 96, 96), 1)(torch.zeros(1, 3, 96, 96))
    assert clock.wall > 0
    assert clock.kinds == {"plain"}
    assert passes.FastBackbone.forward is before


def test_images_are_shown_again_where_fewer_are_drawn(tmp_path: Path) -> None:
    draw_images(tmp_path, 2)
    manifest = manifest_of(tmp_path, 5, 8, files=2)
    assert all(manifest.locate(path).is_file() for path in manifest.table["path"])
    assert manifest.table["path"].nunique() == 2
    assert manifest.table["image_id"].is_unique
    boxes = np.stack(manifest.table["boxes"].tolist())[:, 0]
    assert (boxes >= 0).all()
    assert (boxes < 256).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--images", "0"], "--images 0, --peer-images 16 and --repeats 3 must be at least 1"),
        (["--images", "4"], "--peer-images 16 are more than --images 4: give at most as many"),
    ],
)
def test_wrong_options_of_the_whole_line_are_refused(
    options: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.whole_line", *options])
    with pytest.raises(SigcamError, match=sentence):
        whole_line.main()


def test_what_was_measured_is_written_with_the_load_and_where_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_line, "measure", lambda name, counts, labels: {"network": name, "labels": labels})
    output = tmp_path / "cpu.json"
    monkeypatch.setattr(sys, "argv", ["benchmarks.whole_line", "--images", "20", "--output", str(output)])
    whole_line.main()
    result = read_json(output)
    told = [(network["network"], network["labels"]) for network in result["networks"]]
    assert told == [(name, labels) for name in whole_line.GOALS for labels in ("predicted", "others")]
    assert set(result["load_of_the_machine"]) == {"before", "after"}
    assert result["provenance"]["parameters"]["images"] == 20
    assert "environment" in result["provenance"]
