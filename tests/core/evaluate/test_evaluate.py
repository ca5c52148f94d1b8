"""Evidence holds what the metrics need: figures computed from it equal the metrics run on the images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_run
import torch
from small_networks import make_evaluated, partly_annotated

from sigcam_core import cam_maps, normalize_maps
from sigcam_core.backbones import input_format
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json
from sigcam_core.evaluate.evaluate import EvaluationOptions, evaluate, evaluate_shards, sample_of
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.fidelity.evidence import FIDELITY, PERTURBATION, fidelity_statistics
from sigcam_core.fidelity.perturbation import deletion_auc, insertion_auc, perturbation_curves
from sigcam_core.fidelity.scores import (
    adcc,
    average_drop,
    class_scores,
    coherency,
    explain_images,
    increase_in_confidence,
)
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.localization.metrics import MaxBoxAcc, PixelAP, best_iou_per_threshold
from sigcam_core.localization.protocol import LEVELS, MAP_SIZE
from sigcam_core.pointing.evidence import pointing_statistics
from sigcam_core.prepare.images import load_images, load_masks, normalize, scaled_boxes
from sigcam_core.prepare.manifest import read_manifest
from sigcam_core.run import Run
from sigcam_core.stations import ensure_sigmoid_head
from sigcam_core.summarise.tables import table_of, table_with_intervals, tables_of

PERTURBATION_COLUMNS = [name for name, _ in PERTURBATION.columns]


@pytest.fixture(scope="module", params=small_run.NETWORKS)
def run(request: pytest.FixtureRequest, trained: Callable[[str], Run]) -> Run:
    return trained(request.param)


def test_one_row_an_image_head_and_method(run: Run) -> None:
    evidence = read_evidence(run.evidence)
    methods = {"small_cnn": 5, "small_cnn_mlp": 4}[run.backbone]
    assert len(evidence) == 24 * 2 * methods
    assert not evidence.duplicated(["image_id", "head", "method"]).any()
    assert not evidence.drop(columns=PERTURBATION_COLUMNS).isna().any().any()


def test_figures_from_evidence_equal_the_metrics_on_the_images(run: Run) -> None:
    evidence = read_evidence(run.evidence)
    test = read_manifest(run.manifest).split("test")
    dual = ensure_sigmoid_head(run)
    form = input_format(run.backbone)
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
        explained = explain_images(images, kept)
        after = dual(explained).softmax_logits.double().softmax(1)
        y, o = (scores.gather(1, predicted[:, None])[:, 0].detach() for scores in (before, after))
        expected["average_drop"] = average_drop(y, o)
        expected["increase_in_confidence"] = increase_in_confidence(y, o)
        expected["coverage"] = 100 * float(kept.mean())
        own = normalize_maps(cam_maps(dual, explained, predicted, [method])[head, method], (form.size, form.size))
        expected["coherency"] = 100 * float(coherency(kept, own).mean())
        terms = [torch.tensor(expected[name] / 100) for name in ("coherency", "coverage", "average_drop")]
        expected["adcc"] = float(adcc(*terms))
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-3), (head, method, name)


def test_evidence_expands_to_the_thousand_thresholds(run: Run) -> None:
    test = read_manifest(run.manifest).split("test").take([3])
    dual, form = ensure_sigmoid_head(run), input_format(run.backbone)
    images = normalize(load_images(test, form.size), form.mean, form.std)
    score_map = normalize_maps(cam_maps(dual, images, test.labels, ["gradcam"])["softmax", "gradcam"], (224, 224))[0]
    evidence = read_evidence(run.evidence)
    row = evidence[(evidence["head"] == "softmax") & (evidence["method"] == "gradcam")].iloc[3]
    expected = best_iou_per_threshold(score_map, scaled_boxes(test, 224)[0])
    curve = np.frombuffer(row["best_iou_multi"], "<u2")
    np.testing.assert_array_equal(curve[LEVELS], np.floor(10_000 * expected + 1e-6))


def test_provenance_lies_beside_the_evidence(run: Run) -> None:
    record = read_json(run.evidence.with_suffix(".json"))
    assert record["manifest_checksum"] == read_manifest(run.manifest).checksum
    assert {"seed", "commit", "versions", "device", "date", "seconds", "classifier_sha256", "sha256"} <= set(record)


@pytest.fixture(scope="module")
def perturbed(run: Run, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Evidence in batches of 5, whose first 7 images are perturbed in 4 steps."""
    path = tmp_path_factory.mktemp("perturbed") / "evidence.parquet"
    dual, test = ensure_sigmoid_head(run), read_manifest(run.manifest).split("test")
    evaluate(
        dual,
        test,
        run.network,
        path,
        EvaluationOptions(batch_size=5, perturbation_images=7, perturbation_steps=4),
    )
    return read_evidence(path)


def test_the_first_images_are_perturbed(run: Run, perturbed: pd.DataFrame) -> None:
    first = perturbed["image_id"].isin(read_manifest(run.manifest).split("test").table["image_id"][:7])
    for name in PERTURBATION_COLUMNS:
        assert (perturbed[name].notna() == first).all(), name
    rest = perturbed.drop(columns=PERTURBATION_COLUMNS)
    pd.testing.assert_frame_equal(rest, read_evidence(run.evidence)[rest.columns], rtol=1e-4, atol=1e-5)


def test_perturbed_evidence_equals_the_curves_of_the_images(run: Run, perturbed: pd.DataFrame) -> None:
    test, form = read_manifest(run.manifest).split("test").take(list(range(7))), input_format(run.backbone)
    dual, images = ensure_sigmoid_head(run), normalize(load_images(test, form.size), form.mean, form.std)
    predicted = dual(images).softmax_logits.argmax(1)
    for head, method in (("softmax", "gradcam"), ("sigmoid", "layercam")):
        maps = normalize_maps(cam_maps(dual, images, predicted, [method])[head, method], (form.size, form.size))
        curves = perturbation_curves(
            lambda batch, index: class_scores(dual(batch).softmax_logits.detach(), predicted[index]), images, maps, 4
        )
        rows = perturbed[(perturbed["head"] == head) & (perturbed["method"] == method)].iloc[:7]
        np.testing.assert_allclose(rows["insertion_auc"], insertion_auc(curves), atol=1e-5)
        np.testing.assert_allclose(rows["deletion_auc"], deletion_auc(curves), atol=1e-5)
        np.testing.assert_allclose(np.stack(rows["insertion_curve"]), curves.insertion, atol=1e-5)
        np.testing.assert_allclose(rows["insertion_fractions"].iloc[0], curves.fractions, atol=1e-6)


def test_without_fidelity_localisation_is_the_same(run: Run, tmp_path: Path) -> None:
    dual, test = ensure_sigmoid_head(run), read_manifest(run.manifest).split("test")
    with pytest.raises(SigcamError, match="insertion and deletion are part of fidelity"):
        EvaluationOptions(with_fidelity=False, perturbation_images=1)
    path = evaluate(dual, test, run.network, tmp_path / "evidence.parquet", EvaluationOptions(with_fidelity=False))
    bare, whole = read_evidence(path), read_evidence(run.evidence)
    weights = np.ones((1, 24))
    for keys, rows in bare.groupby(["head", "method"]):
        same = whole[(whole["head"] == keys[0]) & (whole["method"] == keys[1])]
        assert wsol_statistics(rows, weights) == wsol_statistics(same, weights)
        with pytest.raises(SigcamError, match="this evidence has no fidelity"):
            fidelity_statistics(rows, weights)


def test_a_sample_is_explained_as_all_are_and_the_rest_is_missing(run: Run, tmp_path: Path) -> None:
    dual, test = ensure_sigmoid_head(run), read_manifest(run.manifest).split("test")
    options = EvaluationOptions(explained_images=7, batch_size=5)  # of 24, so that some batch may have none
    sample = read_evidence(evaluate(dual, test, run.network, tmp_path / "evidence.parquet", options))
    whole = read_evidence(run.evidence).drop(columns=PERTURBATION_COLUMNS)
    is_explained = sample["coverage"].notna().to_numpy()
    assert sample[is_explained]["image_id"].nunique() == 7
    assert is_explained.sum() * 24 == 7 * len(sample)
    columns = [name for name, _ in FIDELITY.columns]
    assert sample[~is_explained][columns].isna().all().all()
    others = [name for name in whole if name not in columns]
    pd.testing.assert_frame_equal(sample[others], whole[others], check_exact=False, rtol=1e-4, atol=1e-6)
    pd.testing.assert_frame_equal(sample[is_explained][columns], whole[is_explained][columns], rtol=1e-4, atol=1e-6)
    tables = tables_of(sample, resamples=20)
    assert set(tables["fidelity"]["images"]) == {7}
    assert "images" not in tables["wsol"]
    expected = table_with_intervals(whole[is_explained], fidelity_statistics, resamples=1)
    got = tables["fidelity"].query("scorer == 'softmax'")
    assert got["value"].to_numpy() == pytest.approx(expected["value"].to_numpy(), rel=1e-4, abs=1e-3)


def test_the_sample_is_the_same_whatever_the_batches_and_is_not_the_first_images() -> None:
    chosen = sample_of(1000, 100)
    assert chosen is not None
    assert int(chosen.sum()) == 100
    assert torch.equal(chosen, sample_of(1000, 100))
    assert 30 < int(chosen[:500].sum()) < 70


def test_passes_in_bfloat16_are_those_of_autocast_and_said_to_be(run: Run, tmp_path: Path) -> None:
    dual, test = ensure_sigmoid_head(run), read_manifest(run.manifest).split("test")
    folder = tmp_path / "shards"
    (shard,) = evaluate_shards(
        dual, test, run.network, folder, EvaluationOptions(in_bfloat16=True, with_fidelity=False)
    )
    assert read_json(shard.with_suffix(".json"))["passes"] == "bfloat16"
    rough = pq.read_table(shard).to_pandas()
    exact = read_evidence(run.evidence)
    assert not np.array_equal(rough["energy_in_box"], exact["energy_in_box"])
    np.testing.assert_allclose(rough["energy_in_box"], exact["energy_in_box"], atol=0.05)


def test_counts_that_make_no_sense_get_one_sentence() -> None:
    with pytest.raises(SigcamError, match="cannot perturb -1 images in 10 steps"):
        EvaluationOptions(perturbation_images=-1)
    for options in ({"explained_images": 0}, {"explained_images": 5, "with_fidelity": False}):
        with pytest.raises(SigcamError, match=r"cannot explain \d images"):
            EvaluationOptions(**options)


def test_files_that_are_not_evidence_get_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match="does not exist"):
        read_evidence(tmp_path / "none.parquet")
    other = tmp_path / "other.parquet"
    other.write_bytes(b"not parquet")
    with pytest.raises(SigcamError, match="is not an evidence file"):
        read_evidence(other)
    pq.write_table(pa.table({"network": ["gap"]}), other)
    with pytest.raises(SigcamError, match=r"lacks column background_histogram, .*: delete it and"):
        read_evidence(other)


def partly_evaluated(folder: Path, batch_size: int) -> pd.DataFrame:
    """Evidence of four test images, of which the second has no mask and the third no box."""
    torch.manual_seed(0)
    dual = make_evaluated()
    test = partly_annotated(folder).split("test")
    options = EvaluationOptions(batch_size=batch_size, with_fidelity=False)
    return read_evidence(evaluate(dual, test, "net", folder / f"{batch_size}.parquet", options))


def test_an_image_without_mask_or_box_is_left_out_alone_whatever_the_batch(tmp_path: Path) -> None:
    whole = partly_evaluated(tmp_path, 4)
    names = [f"test{index}" for index in range(4)]
    for columns, missing in (
        (["object_histogram", "background_histogram", "energy_in_mask"], "test1"),
        (["best_iou_multi", "gt_loc_iou_any", "pointing_hit", "energy_in_box"], "test2"),
    ):
        for column in columns:
            assert set(whole.loc[whole[column].notna(), "image_id"]) == set(names) - {missing}, column
    figures = table_of(whole, wsol_statistics)
    for batch_size in (2, 1):
        again = partly_evaluated(tmp_path, batch_size)
        assert again.notna().equals(whole.notna())
        pd.testing.assert_frame_equal(table_of(again, wsol_statistics), figures, atol=0.1)  # a pixel may round apart


def test_figures_are_of_the_images_that_have_what_they_need(tmp_path: Path) -> None:
    evidence = partly_evaluated(tmp_path, 4)
    for statistics, need in (
        (wsol_statistics, {"maxboxacc_v2": "test2", "gt_loc": "test2", "top1_loc": "test2", "pxap": "test1"}),
        (pointing_statistics, {"pointing_game": "test2", "energy_pointing": "test2", "energy_pointing_mask": "test1"}),
    ):
        table = table_of(evidence, statistics).set_index(["method", "head"])
        assert (table[["images_with_boxes", "images_with_masks"]] == 3).all(axis=None)
        for metric, missing in need.items():
            rest = evidence[evidence["image_id"] != missing]
            expected = table_of(rest, statistics).set_index(["method", "head"])[metric]
            pd.testing.assert_series_equal(table[metric], expected)


def test_ids_that_are_numbers_are_text_in_the_evidence(tmp_path: Path) -> None:
    manifest = partly_annotated(tmp_path).split("test")
    manifest = replace(manifest, table=manifest.table.assign(image_id=[7, 8, 9, 10]))
    options = EvaluationOptions(methods=["gradcam"], with_fidelity=False)
    dual = make_evaluated()
    evidence = read_evidence(evaluate(dual, manifest, "net", tmp_path / "evidence.parquet", options))
    assert evidence["image_id"].unique().tolist() == ["7", "8", "9", "10"]
