"""Evidence in shards: whoever measures them, the file is the same, and nothing is measured twice."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from small_networks import make_evaluated, partly_annotated

from sigcam_core.common.errors import SigcamError
from sigcam_core.dual.branch import DualBranch
from sigcam_core.evaluate import evaluate as module
from sigcam_core.evaluate.evaluate import EvaluationOptions, evaluate, evaluate_shards
from sigcam_core.evaluate.schema import SCHEMA, read_evidence
from sigcam_core.evaluate.shards import Part, facts_of, gather
from sigcam_core.prepare.manifest import Manifest

OPTIONS = EvaluationOptions(methods=["gradcam"], batch_size=1, perturbation_images=2, perturbation_steps=2)


@pytest.fixture
def dual() -> DualBranch:
    torch.manual_seed(0)
    return make_evaluated()


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """Four images, in shards of one."""
    monkeypatch.setattr(module, "BATCHES_A_SHARD", 1)
    return partly_annotated(tmp_path).split("test")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first images of the shards that are measured from now on."""
    starts: list[int] = []
    measure = module._measure_shard

    def noting(dual: DualBranch, manifest: Manifest, shard: range, *rest: object) -> object:
        starts.append(shard.start)
        return measure(dual, manifest, shard, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_measure_shard", noting)
    return starts


def test_parts_are_gathered_to_the_file_that_one_process_writes(
    dual: DualBranch, images: Manifest, tmp_path: Path, measured: list[int]
) -> None:
    alone = evaluate(dual, images, "net", tmp_path / "alone.parquet", OPTIONS)
    for part in (Part(2, 3), Part(1, 3), Part(3, 3)):
        evaluate_shards(dual, images, "net", tmp_path / "shared", OPTIONS, part=part)
    assert measured == [0, 1, 2, 3, 1, 0, 3, 2]
    shards = evaluate_shards(dual, images, "net", tmp_path / "shared", OPTIONS)
    assert len(measured) == 8
    assert gather(shards, tmp_path / "shared.parquet").read_bytes() == alone.read_bytes()
    assert facts_of(shards)["passes"] == "plain"
    assert sorted(path.name for path in tmp_path.glob("*.shards")) == []
    rows = read_evidence(alone)
    assert rows["image_id"].tolist() == [f"test{index}" for index in range(4) for _ in range(2)]
    assert rows["insertion_auc"].notna().tolist() == [True] * 4 + [False] * 4


def test_the_rows_do_not_depend_on_the_size_of_a_shard(
    dual: DualBranch, images: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = evaluate(dual, images, "net", tmp_path / "small.parquet", OPTIONS)
    monkeypatch.setattr(module, "BATCHES_A_SHARD", 3)
    assert pq.read_table(evaluate(dual, images, "net", tmp_path / "large.parquet", OPTIONS)).equals(
        pq.read_table(small)
    )


def test_a_stopped_run_goes_on(
    dual: DualBranch, images: Manifest, tmp_path: Path, measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = module.write_shard

    def stopped(path: Path, *rest: object) -> None:
        if path.stem.endswith("2"):
            raise KeyboardInterrupt
        write(path, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_shard", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate(dual, images, "net", tmp_path / "evidence.parquet", OPTIONS)
    assert not (tmp_path / "evidence.parquet").exists()
    evaluate(dual, images, "net", tmp_path / "evidence.parquet", OPTIONS)
    assert measured == [0, 1, 2, 2, 3]


def test_shards_that_were_altered_or_are_of_something_else_are_measured_again(
    dual: DualBranch, images: Manifest, tmp_path: Path, measured: list[int]
) -> None:
    folder = tmp_path / "shards"
    first, second, *_ = evaluate_shards(dual, images, "net", folder, OPTIONS)
    expected = first.read_bytes()
    altered = bytearray(expected)
    altered[len(altered) // 3] ^= 1
    first.write_bytes(altered)
    second.write_bytes(expected[:100])
    measured.clear()
    evaluate_shards(dual, images, "net", folder, OPTIONS)
    assert measured == [0, 1]
    with torch.no_grad():
        next(dual.sigmoid_head.parameters()).mul_(2)
    measured.clear()
    evaluate_shards(dual, images, "net", folder, OPTIONS)
    evaluate_shards(dual, images.take([0, 1, 2]), "net", folder, OPTIONS)
    assert measured == [0, 1, 2, 3, 0, 1, 2]


def test_the_file_has_the_schema_and_two_bytes_a_level(dual: DualBranch, images: Manifest, tmp_path: Path) -> None:
    path = evaluate(dual, images, "net", tmp_path / "evidence.parquet", OPTIONS)
    assert pq.read_schema(path).equals(SCHEMA)
    rows = read_evidence(path)
    assert set(rows["best_iou_multi"].dropna().map(len)) == {2 * 255}
    assert set(rows["object_histogram"].dropna().map(len)) == {2 * 1002}


@pytest.mark.parametrize("given", ["0/4", "5/4", "2", "a/b", "-1/2", "1/0", ""])
def test_parts_that_there_are_not_get_one_sentence(given: str) -> None:
    with pytest.raises(SigcamError, match="give which of how many, such as 2/4"):
        Part.parse(given)
