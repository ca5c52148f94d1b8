"""Control maps measured, against the metrics of the package and sums that are written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_networks import seeded_images
from torch import Tensor, nn

from companion.controls.maps import Control, LinearHead
from companion.controls.measured import (
    ControlBatch,
    grid_controls,
    have_boxes,
    have_masks,
    locate_controls,
    perturb_controls,
    score_controls,
)
from companion.controls.names import BASELINES, NO_HEAD
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.cams.maps import cam_maps
from sigcam_core.cams.score_maps import normalize_maps, resize_maps
from sigcam_core.dual.branch import DualBranch
from sigcam_core.fidelity.explained import score_explained_images
from sigcam_core.fidelity.perturbation import insertion_auc, perturbation_curves
from sigcam_core.fidelity.scores import class_scores
from sigcam_core.localization.centre import centre_box_accuracy, centre_map
from sigcam_core.localization.hits import hit_rates, max_box_acc
from sigcam_core.localization.metrics import MaxBoxAcc, best_iou_per_threshold
from sigcam_core.localization.protocol import FIRST_THRESHOLD_OF_LEVEL, to_gray
from sigcam_core.localization.thresholds import LEVEL_RULES
from sigcam_core.pointing.grids import GridBatch, compose_grids
from sigcam_core.pointing.metrics import EnergyPointingGame, PointingGame

N = 6
CLASSES = torch.tensor([0, 3, 7, 7, 2, 5])
BOXES = [np.array([[20 + 9 * i, 30, 120 + 9 * i, 180]]) for i in range(N)]
CONTROLS = (
    Control("softmax"),
    Control("softmax", weights="truncated"),
    Control("softmax", "wrong class"),
    Control("sigmoid", weights="truncated"),
    *(Control(NO_HEAD, baseline) for baseline in BASELINES),
)


@pytest.fixture(scope="module")
def dual() -> DualBranch:
    torch.manual_seed(0)
    made = DualBranch.from_classifier(small_cnn(num_classes=8))
    for head in (made.softmax_head, made.sigmoid_head):
        nn.init.normal_(head[-1].weight)
    return made


@pytest.fixture(scope="module")
def images() -> Tensor:
    return seeded_images(N, 96)


@pytest.fixture(scope="module")
def batch(dual: DualBranch, images: Tensor) -> ControlBatch:
    layers = {"softmax": dual.softmax_head[-1], "sigmoid": dual.sigmoid_head[-1]}
    heads = {name: LinearHead(x.weight.detach(), x.bias.detach(), name == "sigmoid") for name, x in layers.items()}
    return ControlBatch(dual.extract(images), CLASSES, CONTROLS, heads, torch.arange(N))


def row(control: Control) -> int:
    return CONTROLS.index(control)


def test_localisation_is_that_of_the_metrics(batch: ControlBatch) -> None:
    located = locate_controls(batch, BOXES)
    maps = batch.maps()
    for control in (CONTROLS[0], CONTROLS[3], Control(NO_HEAD, "class-free")):
        metric, pointing, energy = MaxBoxAcc(), PointingGame(), EnergyPointingGame()
        score_maps = normalize_maps(maps[:, row(control)], (224, 224))
        metric.update(score_maps, BOXES)
        raw = resize_maps(maps[:, row(control)], (224, 224))
        pointing.update(raw, BOXES)
        energy.update(raw, BOXES)
        rates = hit_rates(located["hits"][:, row(control)], np.ones((1, N)))
        assert max_box_acc(rates)["maxboxacc_v2"][0] == pytest.approx(float(metric.compute()["maxboxacc_v2"]))
        hits = 100 * located["pointing_hit"][:, row(control)].mean()
        assert hits == pytest.approx(float(pointing.compute()["pointing_game"]))
        share = 100 * located["energy_in_box"][:, row(control)].mean(dtype=np.float64)
        assert share == pytest.approx(float(energy.compute()["energy_pointing"]), abs=1e-4)


def test_the_centre_is_the_one_of_the_table_without_images(batch: ControlBatch) -> None:
    located = locate_controls(batch, BOXES)
    rates = hit_rates(located["hits"][:, row(Control(NO_HEAD, "centre"))], np.ones((1, N)))
    assert max_box_acc(rates)["maxboxacc_v2"] == centre_box_accuracy(BOXES)["maxboxacc_v2"]


def test_a_negative_is_located_as_one_minus_the_map(batch: ControlBatch) -> None:
    negatives = [Control("softmax", weights="negative"), Control("sigmoid", weights="truncated, negative")]
    located = locate_controls(replace(batch, controls=[*negatives, Control(NO_HEAD, "centre", "negative")]), BOXES)
    score_maps = [1 - normalize_maps(batch.maps()[:, row(one)], (224, 224)) for one in (CONTROLS[0], CONTROLS[3])]
    score_maps.append(1 - torch.from_numpy(centre_map(224)).expand(N, -1, -1))
    for place, each in enumerate(score_maps):
        for name, with_holes in (("hits", True), ("outer_hits", False)):
            metric = MaxBoxAcc(with_holes=with_holes)
            metric.update(each, BOXES)
            found = max_box_acc(hit_rates(located[name][:, place], np.ones((1, N))))["maxboxacc_v2"][0]
            assert found == pytest.approx(float(metric.compute()["maxboxacc_v2"]), abs=1e-9)


def test_the_best_iou_at_a_maps_own_threshold_is_on_its_curve(batch: ControlBatch) -> None:
    located = locate_controls(batch, BOXES)
    for place, score_map in enumerate(normalize_maps(batch.maps()[:, 0], (224, 224)).numpy()):
        curve = best_iou_per_threshold(score_map, BOXES[place])[FIRST_THRESHOLD_OF_LEVEL]
        for name, rule in LEVEL_RULES.items():
            assert located[f"iou_{name}"][place, 0] == pytest.approx(curve[rule(to_gray(score_map))], abs=1e-6)


def test_a_wrong_class_is_correlated_with_the_label_s_map(batch: ControlBatch) -> None:
    correlation = locate_controls(batch, BOXES)["correlation"]
    maps = batch.maps().flatten(2).numpy()
    wrong, own = row(Control("softmax", "wrong class")), row(Control("softmax"))
    expected = [np.corrcoef(maps[i, wrong], maps[i, own])[0, 1] for i in range(N)]
    np.testing.assert_allclose(correlation[:, wrong], expected, atol=1e-5)
    assert np.isnan(np.delete(correlation, wrong, axis=1)).all()


def test_histograms_count_the_pixels_of_the_mask(batch: ControlBatch) -> None:
    masks = np.zeros((N, 224, 224), dtype=np.uint8)
    masks[:, 50:150, 60:160] = 1
    masks[:, :10] = 255
    histograms = locate_controls(batch, BOXES, masks)["histograms"]
    assert histograms.shape == (N, len(CONTROLS), 2, 1002)
    assert (histograms.sum(axis=3)[:, :, 0] == 100 * 100).all()
    assert (histograms.sum(axis=(2, 3), dtype=np.int64) == 224 * 214).all()


def test_scores_are_those_of_explained_images(dual: DualBranch, images: Tensor, batch: ControlBatch) -> None:
    scored = score_controls(dual.extract, images, batch, batch_size=5)
    maps = cam_maps(dual, images, CLASSES, ("cam",), evidence_only="paper")
    expected = score_explained_images(dual, images, CLASSES, maps)
    for position, control in enumerate((Control("softmax"), Control("sigmoid", weights="truncated"))):
        got = scored["explained_scores"][:, row(control)]
        for scorer, name in enumerate(("softmax", "sigmoid")):
            np.testing.assert_allclose(got[:, scorer], expected.scores[name][:, position].numpy(), rtol=1e-4)
        np.testing.assert_allclose(scored["coverage"][:, row(control)], expected.coverage[:, position], rtol=1e-5)
    plain = class_scores(dual(images).softmax_logits, CLASSES)
    np.testing.assert_allclose(scored["image_scores"][:, 0], plain.detach().numpy(), rtol=1e-5)


def test_perturbation_is_that_of_each_map_alone(dual: DualBranch, images: Tensor, batch: ControlBatch) -> None:
    curves = perturb_controls(dual.extract, images, batch, "softmax", batch_size=4)
    position = row(Control("softmax", weights="truncated"))
    score_maps = normalize_maps(batch.maps()[:, position], (96, 96))

    def score(perturbed: Tensor, index: Tensor) -> Tensor:
        return class_scores(dual(perturbed).softmax_logits.detach(), CLASSES[index])

    expected = perturbation_curves(score, images, score_maps, 4)
    np.testing.assert_allclose(curves["insertion"][:, position], expected.insertion.numpy(), rtol=1e-4)
    np.testing.assert_allclose(curves["deletion"][:, position], expected.deletion.numpy(), rtol=1e-4)
    area = np.trapezoid(curves["insertion"][:, position], dx=0.25, axis=1)
    np.testing.assert_allclose(area, insertion_auc(expected).numpy(), rtol=1e-4)


def test_grids_are_scored_cell_by_cell(dual: DualBranch, images: Tensor, batch: ControlBatch) -> None:
    rows = torch.tensor([[0, 1, 2, 4]])
    grids = GridBatch(rows, compose_grids(images[rows[0]], 2), CLASSES[rows])
    features = dual.extract(grids.images)
    measured = grid_controls(grids, features, CONTROLS, batch.heads)
    assert list(measured) == ["shares", "top", "named"]
    shares = measured["shares"]
    assert shares.shape == (1, 4, len(CONTROLS))
    weight = batch.heads["softmax"].weight.clamp(min=0)
    for cell, (top, left) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        class_map = torch.einsum("k,khw->hw", weight[grids.classes[0, cell]], features[0]).clamp(min=0)
        half = class_map.shape[0] // 2
        part = class_map[top * half : (top + 1) * half, left * half : (left + 1) * half]
        expected = float(part.sum() / class_map.sum())
        assert float(shares[0, cell, row(Control("softmax", weights="truncated"))]) == pytest.approx(expected, abs=1e-5)
    for each in measured.values():
        assert float(each[0, :, row(Control(NO_HEAD, "centre"))].mean()) == pytest.approx(0.25)


def test_an_image_without_box_or_mask_has_nothing_and_changes_no_other(batch: ControlBatch) -> None:
    masks = [np.zeros((224, 224), dtype=np.uint8) for _ in range(N)]
    for mask in masks:
        mask[50:150, 60:160] = 1
    whole = locate_controls(batch, BOXES, masks)
    assert have_boxes(whole).all()
    assert have_masks(whole).all()
    nothing = np.zeros((0, 4), dtype=np.int64)
    partly = locate_controls(batch, [*BOXES[:2], nothing, *BOXES[3:]], [masks[0], None, *masks[2:]])
    assert have_boxes(partly).tolist() == [True, True, False, True, True, True]
    assert have_masks(partly).tolist() == [True, False, True, True, True, True]
    for name, values in whole.items():
        there = np.arange(N) != (1 if name == "histograms" else 2)
        there |= name == "correlation"
        np.testing.assert_array_equal(partly[name][there], values[there])
        assert partly[name].dtype == values.dtype
    no_mask = locate_controls(batch, BOXES, [None] * N)  # as of a shard none of whose images has one
    assert no_mask["histograms"].shape == whole["histograms"].shape
    assert not no_mask["histograms"].any()
