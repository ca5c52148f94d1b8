"""Rows that know no class, against the metrics of maps that are made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import partly_annotated, tiny_shapes
from torch import Tensor, nn

from companion.controls.baselines import SHIFTS, baseline_figures, shift_table
from sigcam_core.backbones.networks import build
from sigcam_core.cams.maps import cam_maps
from sigcam_core.cams.score_maps import normalize_maps
from sigcam_core.common.errors import SigcamError
from sigcam_core.dual.branch import DualBranch
from sigcam_core.localization.fixed import best_fixed_box, fixed_box_iou
from sigcam_core.localization.metrics import MaxBoxAcc, PixelAP
from sigcam_core.prepare.images import image_batches, load_masks, scaled_boxes
from sigcam_core.prepare.manifest import Manifest


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return tiny_shapes(tmp_path_factory.mktemp("shapes"))


def dual_of(name: str) -> DualBranch:
    torch.manual_seed(0)
    made = DualBranch.from_classifier(build(name, 8))
    for parameter in (*made.softmax_head.parameters(), *made.sigmoid_head.parameters()):
        nn.init.normal_(parameter)
    return made


def features_of(dual: DualBranch, images: Manifest) -> Tensor:
    ((_, batch, _),) = image_batches(images, len(images), dual.input_format)
    return dual.extract(batch)


def test_rows_are_figures_of_their_maps(shapes: Manifest) -> None:
    dual, test = dual_of("small_cnn"), shapes.split("test")
    table = baseline_figures(dual, shapes, "small_cnn-gap").set_index("method")
    assert set(table["head"]) == {"none", "softmax", "sigmoid"}
    score_maps = normalize_maps(features_of(dual, test).sum(dim=1), (224, 224))
    boxes, pixels = MaxBoxAcc(), PixelAP()
    boxes.update(score_maps, scaled_boxes(test, 224))
    pixels.update(score_maps, load_masks(test, 224))
    row = table.loc["class-free"]
    assert row["maxboxacc_v2"] == pytest.approx(float(boxes.compute()["maxboxacc_v2"]))
    assert row["pxap"] == pytest.approx(float(pixels.compute()["pxap"]))


def test_the_shift_is_the_best_of_held_out_images(shapes: Manifest) -> None:
    dual = dual_of("small_cnn")
    table = baseline_figures(dual, shapes, "small_cnn-gap").set_index("method")
    layer = dual.softmax_head[-1]
    by_shift: dict[str, list[float]] = {"val": [], "test": []}
    for split, values in by_shift.items():
        images = shapes.split(split)
        features = features_of(dual, images)
        for shift in SHIFTS:
            weight = layer.weight.detach() + shift * layer.weight.detach().abs().mean()
            maps = torch.einsum("nk,nkhw->nhw", weight[images.labels], features)
            metric = MaxBoxAcc()
            metric.update(normalize_maps(maps, (224, 224)), scaled_boxes(images, 224))
            values.append(float(metric.compute()["maxboxacc_v2"]))
    chosen = by_shift["val"].index(max(by_shift["val"]))
    assert table.loc["best shift, signed", "maxboxacc_v2"] == pytest.approx(by_shift["test"][chosen])


def test_a_head_of_several_layers_has_rows_of_its_feature_maps_alone(shapes: Manifest) -> None:
    table = baseline_figures(dual_of("small_cnn_mlp"), shapes, "small_cnn-mlp")
    methods = table["method"].tolist()
    assert methods[:3] == ["class-free", "random weights", "random positive weights"]
    assert methods[3:-2] == 2 * [f"negative of {one}" for one in ("Grad-CAM", "Grad-CAM++", "XGrad-CAM", "Layer-CAM")]
    assert methods[-2:] == ["whole image", "best fixed box"]


def test_negatives_are_one_minus_the_maps_of_the_table(shapes: Manifest) -> None:
    dual, test = dual_of("small_cnn"), shapes.split("test")
    table = baseline_figures(dual, shapes, "small_cnn-gap").set_index(["method", "head"])
    ((_, images, labels),) = image_batches(test, len(test), dual.input_format)
    for (head, method), maps in cam_maps(dual, images, labels, ("cam", "layercam")).items():
        negatives = 1 - normalize_maps(maps, (224, 224))
        row = table.loc[({"cam": "negative of CAM", "layercam": "negative of Layer-CAM"}[method], head)]
        for with_holes, name in ((True, "maxboxacc_v2"), (False, "maxboxacc_v2_outer")):
            metric = MaxBoxAcc(with_holes=with_holes)
            metric.update(negatives, scaled_boxes(test, 224))
            assert row[name] == pytest.approx(float(metric.compute()["maxboxacc_v2"]), abs=1e-9)


def test_the_fixed_box_is_chosen_on_held_out_images(shapes: Manifest) -> None:
    table = baseline_figures(dual_of("small_cnn"), shapes, "small_cnn-gap").set_index("method")
    box = best_fixed_box(scaled_boxes(shapes.split("val"), 224))
    iou = fixed_box_iou(box, scaled_boxes(shapes.split("test"), 224))
    expected = 100 * np.mean([(iou >= np.float32(limit)).mean() for limit in (0.3, 0.5, 0.7)])
    assert table.loc["best fixed box", "maxboxacc_v2"] == pytest.approx(expected)


def test_the_first_of_equal_shifts_is_chosen() -> None:
    table = shift_table(np.full((3, len(SHIFTS), 96), 255, dtype=np.uint8))
    assert table["chosen"].tolist() == [True] + [False] * (len(SHIFTS) - 1)


def test_images_without_box_or_mask_are_left_out_and_counted(tmp_path: Path) -> None:
    manifest = partly_annotated(tmp_path)
    dual = dual_of("small_cnn")
    table = baseline_figures(dual, manifest, "small_cnn-gap").set_index("method")
    assert (table[["images_with_boxes", "images_with_masks"]] == 3).all(axis=None)
    of_split = {"boxed": [0, 1, 3], "masked": [0, 2, 3]}
    for kind, metrics in {"boxed": ["gt_loc", "maxboxacc_v2"], "masked": ["pxap"]}.items():
        rows = [4 * split + row for split in range(2) for row in of_split[kind]]
        rest = replace(manifest, table=manifest.table.iloc[rows].reset_index(drop=True))
        expected = baseline_figures(dual, rest, "small_cnn-gap").set_index("method")
        # Other rows draw weights or classes by an image's place, which moves here.
        assert table.loc["class-free", metrics].tolist() == pytest.approx(expected.loc["class-free", metrics].tolist())
    no_box = replace(manifest, table=manifest.table.assign(boxes=[[]] * 8))
    with pytest.raises(SigcamError, match="no image of partly that maps without a class are measured on has a box"):
        baseline_figures(dual, no_box, "small_cnn-gap")


def test_complete_images_are_not_counted(shapes: Manifest) -> None:
    table = baseline_figures(dual_of("small_cnn"), shapes, "small_cnn-gap")
    metrics = ["gt_loc", "maxboxacc_v2", "maxboxacc_v2_outer", "pxap"]
    assert table.columns.tolist() == ["network", "method", "head", *metrics]
