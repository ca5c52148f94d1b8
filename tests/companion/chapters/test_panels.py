"""The qualitative panels show the maps, boxes and scores that the modules beneath them give."""

import numpy as np
import pytest
import torch
from small_networks import tiny_shapes

from companion.chapters.panels import (
    box_hits,
    denormalize,
    explained_scores,
    explanation_panels,
    localization_panels,
    map_likeness,
)
from sigcam_core import METHODS, DualBranch, cam_maps, normalize_maps
from sigcam_core.backbones import build, input_format
from sigcam_core.localization.protocol import gt_loc_box, gt_loc_iou
from sigcam_core.prepare.images import load_images, normalize, scaled_boxes
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.summarise.drawing import Panel, to_pictures

FORM = input_format("small_cnn")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return tiny_shapes(tmp_path_factory.mktemp("qualitative")).split("test").take([0, 1, 2])


@pytest.fixture(scope="module")
def dual(shapes: Manifest) -> DualBranch:
    torch.manual_seed(0)
    return DualBranch.from_classifier(build("small_cnn", shapes.num_classes))


def test_localization_rows_hold_image_maps_and_boxes(shapes: Manifest, dual: DualBranch) -> None:
    rows = localization_panels(dual, shapes, "cam")
    images = load_images(shapes, FORM.size)
    maps = cam_maps(dual, normalize(images, FORM.mean, FORM.std), shapes.labels, ["cam"])
    assert len(rows) == 3
    for i, row in enumerate(rows):
        label = shapes.class_names[int(shapes.labels[i])]
        assert [panel.title for panel in row] == [label, "CAM, softmax", "CAM, sigmoid"]
        assert row[0].score_map is None
        for panel, head in zip(row[1:], ("softmax", "sigmoid"), strict=True):
            np.testing.assert_array_equal(panel.image, images[i].permute(1, 2, 0))
            expected = normalize_maps(maps[head, "cam"][i : i + 1], (FORM.size, FORM.size))[0]
            np.testing.assert_allclose(panel.score_map, expected, atol=1e-5)
            np.testing.assert_array_equal(panel.true_boxes, scaled_boxes(shapes, FORM.size)[i])
            np.testing.assert_array_equal(panel.estimated_box, gt_loc_box(panel.score_map))


def test_explanation_rows_show_what_the_map_keeps_and_its_score(shapes: Manifest, dual: DualBranch) -> None:
    rows = explanation_panels(dual, shapes, METHODS)
    assert len(rows) == 6  # an image and head each
    assert {len(row) for row in rows} == {1 + len(METHODS)}
    inputs = normalize(load_images(shapes, FORM.size), FORM.mean, FORM.std)
    before = dual(inputs).softmax_logits.softmax(1)
    class_idx = before.argmax(1)
    maps = cam_maps(dual, inputs, class_idx, ["layercam"], ["sigmoid"])["sigmoid", "layercam"]
    explained = inputs * normalize_maps(maps, (FORM.size, FORM.size))[:, None].float()
    after = dual(explained).softmax_logits.softmax(1)
    for i, row in enumerate(rows[1::2]):  # the sigmoid head's rows
        k = int(class_idx[i])
        assert row[0].title == f"{shapes.class_names[k]}\np = {before[i, k]:.2f}"
        assert row[-1].title == f"Layer-CAM\np = {after[i, k]:.2f}"
        shown = row[-1].image.astype(int)
        expected = 255 * (explained[i] * torch.tensor(FORM.std).view(3, 1, 1) + torch.tensor(FORM.mean).view(3, 1, 1))
        assert np.abs(shown - expected.permute(1, 2, 0).numpy()).max() <= 0.51


def test_normalising_comes_back(shapes: Manifest) -> None:
    images = load_images(shapes, FORM.size)
    assert torch.equal(denormalize(normalize(images, FORM.mean, FORM.std), FORM.mean, FORM.std), images)
    extreme = torch.tensor([-100.0, 0.0, 100.0]).view(1, 3, 1, 1)
    assert denormalize(extreme, (0.5,) * 3, (0.25,) * 3).flatten().tolist() == [0, 128, 255]
    assert to_pictures(images).shape == (3, FORM.size, FORM.size, 3)


def test_hits_count_boxes_that_meet_a_true_one(shapes: Manifest, dual: DualBranch) -> None:
    rows = localization_panels(dual, shapes, "cam")
    hits = box_hits(rows)
    for column, title in ((1, "CAM, softmax"), (2, "CAM, sigmoid")):
        ious = [gt_loc_iou(row[column].score_map, row[column].true_boxes)[0] for row in rows]
        assert hits[title] == (sum(iou >= 0.5 for iou in ious), 3)
    whole = [
        [
            panel if panel.estimated_box is None else panel._replace(true_boxes=panel.estimated_box[None])
            for panel in row
        ]
        for row in rows
    ]
    assert set(box_hits(whole).values()) == {(3, 3)}
    assert not box_hits([[panel._replace(true_boxes=np.zeros((0, 4), int)) for panel in row] for row in rows])


def test_photos_are_explained_by_what_the_network_predicts_in_its_own_names(shapes: Manifest, dual: DualBranch) -> None:
    names = [f"own {k}" for k in range(shapes.num_classes)]
    inputs = normalize(load_images(shapes, FORM.size), FORM.mean, FORM.std)
    predicted = dual(inputs).softmax_logits.argmax(1).tolist()
    rows = localization_panels(dual, shapes, "cam", class_names=names)
    assert [row[0].title for row in rows] == [names[k] for k in predicted]
    explained = explanation_panels(dual, shapes, ["cam"], class_names=names)
    assert explained[0][0].title.startswith(names[predicted[0]])


def test_scores_of_explained_images_come_with_their_head(shapes: Manifest, dual: DualBranch) -> None:
    rows = explanation_panels(dual, shapes, ["cam", "layercam"])
    scores = explained_scores(rows)
    assert scores["head"].tolist() == ["softmax", "softmax", "sigmoid", "sigmoid"] * 3
    for row, (_, pair) in zip(rows, scores.groupby(scores.index // 2), strict=True):
        for panel, after in zip(row[1:], pair["after"], strict=True):
            assert panel.title.endswith(f"p = {after:.2f}")


def test_likeness_is_the_mean_correlation_with_the_last_map() -> None:
    image, ramp = np.zeros((4, 4, 3), np.uint8), np.arange(16.0).reshape(4, 4)
    rows = [
        [Panel("photo", image), *(Panel(name, image, score_map) for name, score_map in maps.items())]
        for maps in ({"same": 2 * ramp + 1, "turned": sign * ramp, "last": ramp} for sign in (-1, 1))
    ]
    assert map_likeness(rows) == pytest.approx({"same": 1.0, "turned": 0.0})
