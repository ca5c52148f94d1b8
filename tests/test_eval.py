"""Evidence holds what the metrics need: figures computed from it equal the metrics run on the images."""

from pathlib import Path

import numpy as np
import pytest
import small_run
import torch

from sigcam_core import cam_maps, normalize_maps
from sigcam_core.backbones import INPUT_FORMATS
from sigcam_core.data import load_images, load_masks, normalize, read_manifest, scaled_boxes
from sigcam_core.errors import SigcamError
from sigcam_core.eval import MAP_SIZE, expand_levels, read_evidence, same_as_earlier
from sigcam_core.fidelity import average_drop, explain_images, increase_in_confidence
from sigcam_core.localization import MaxBoxAcc, PixelAP, best_iou_per_threshold
from sigcam_core.provenance import read_json
from sigcam_core.stations import Run, ensure_sigmoid_head
from sigcam_core.tables import fidelity_statistics, wsol_statistics


@pytest.fixture(scope="module", params=small_run.HEADS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run.make(tmp_path_factory.mktemp("run"), request.param)


def test_one_row_an_image_head_and_method(run: Run) -> None:
    evidence = read_evidence(run.evidence)
    methods = {"gap": 5, "mlp": 4}[run.head]
    assert len(evidence) == 24 * 2 * methods
    assert not evidence.duplicated(["image_id", "head", "method"]).any()
    assert not evidence.isna().any().any()


def test_figures_from_evidence_equal_the_metrics_on_the_images(run: Run) -> None:
    evidence = read_evidence(run.evidence)
    test = read_manifest(run.manifest).split("test")
    dual = ensure_sigmoid_head(run)
    form = INPUT_FORMATS[run.backbone]
    images = normalize(load_images(test, form.size), form.mean, form.std)
    boxes, masks = scaled_boxes(test, MAP_SIZE), load_masks(test, MAP_SIZE)
    before = dual(images).softmax_logits.double().softmax(1)
    predicted = before.argmax(1)
    for head, method in (("softmax", "gradcam"), ("sigmoid", "layercam")):
        rows = evidence[(evidence["head"] == head) & (evidence["method"] == method)]
        assert rows["image_id"].tolist() == test.table["image_id"].tolist()
        weights = np.ones((1, len(rows)))
        found = {name: value[0] for name, value in wsol_statistics(rows, weights).items()}
        found |= {name: value[0] for name, value in fidelity_statistics(rows, weights).items()}

        score_maps = normalize_maps(cam_maps(dual, images, test.labels, [method])[head, method], (MAP_SIZE, MAP_SIZE))
        box_metric, pixel_metric = MaxBoxAcc(), PixelAP()
        box_metric.update(score_maps, boxes)
        pixel_metric.update(score_maps, masks)
        expected = {name: float(value) for name, value in box_metric.compute().items()}
        expected |= {name: float(value) for name, value in pixel_metric.compute().items()}
        largest = [
            best_iou_per_threshold(m, b, multi_contour=False)[200] for m, b in zip(score_maps, boxes, strict=True)
        ]
        expected["gt_loc"] = 100 * np.mean(np.array(largest) >= 0.5)
        expected["top1_cls"] = 100 * float((predicted == test.labels).double().mean())

        kept = normalize_maps(cam_maps(dual, images, predicted, [method])[head, method], (form.size, form.size))
        after = dual(explain_images(images, kept)).softmax_logits.double().softmax(1)
        y, o = (scores.gather(1, predicted[:, None])[:, 0].detach() for scores in (before, after))
        expected["average_drop"] = average_drop(y, o)
        expected["increase_in_confidence"] = increase_in_confidence(y, o)
        expected["coverage"] = 100 * float(kept.mean())
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-3), (head, method, name)


def test_evidence_expands_to_the_thousand_thresholds(run: Run) -> None:
    test = read_manifest(run.manifest).split("test").take([3])
    dual, form = ensure_sigmoid_head(run), INPUT_FORMATS[run.backbone]
    images = normalize(load_images(test, form.size), form.mean, form.std)
    score_map = normalize_maps(cam_maps(dual, images, test.labels, ["gradcam"])["softmax", "gradcam"], (224, 224))[0]
    evidence = read_evidence(run.evidence)
    row = evidence[(evidence["head"] == "softmax") & (evidence["method"] == "gradcam")].iloc[3]
    expected = best_iou_per_threshold(score_map, scaled_boxes(test, 224)[0])
    np.testing.assert_allclose(expand_levels(np.array(row["best_iou_multi"])), expected, atol=1e-6)


def test_provenance_lies_beside_the_evidence(run: Run) -> None:
    record = read_json(run.evidence.with_suffix(".json"))
    assert record["manifest_checksum"] == read_manifest(run.manifest).checksum
    assert {"seed", "commit", "versions", "device", "date", "seconds", "classifier_sha256", "sha256"} <= set(record)


def test_equal_maps_share_the_first_and_only_what_stands_for_itself_is_shared() -> None:
    ramp = torch.linspace(0, 1, 16).view(4, 4)
    nearly = ramp.clone()
    nearly[1, 1] += 9e-6
    further = ramp.clone()
    further[1, 1] += 1.8e-5  # close to `nearly`, not to `ramp`
    maps = torch.stack([ramp, 3 * ramp + 2, nearly, further, ramp.flip(0)])[None]
    np.testing.assert_array_equal(same_as_earlier(maps), [[0, 0, 0, 3, 4]])


def test_files_that_are_not_evidence_get_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match="does not exist"):
        read_evidence(tmp_path / "none.parquet")
    other = tmp_path / "other.parquet"
    other.write_bytes(b"not parquet")
    with pytest.raises(SigcamError, match="is not an evidence file"):
        read_evidence(other)
