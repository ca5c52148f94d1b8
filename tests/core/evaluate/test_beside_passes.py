"""What takes no pass is measured beside the passes: they do not wait for it, and its errors are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow as pa
import pytest
import torch
from small_networks import make_evaluated, partly_annotated

from sigcam_core.cams.batch import MapBatch
from sigcam_core.common.errors import SigcamError, fail
from sigcam_core.dual.branch import DualBranch
from sigcam_core.evaluate import evaluate as module
from sigcam_core.evaluate.evaluate import BATCHES_BEHIND, EvaluationOptions, evaluate
from sigcam_core.evaluate.schema import FAMILIES
from sigcam_core.fidelity.evidence import FIDELITY, PERTURBATION
from sigcam_core.localization.evidence import LOCALIZATION
from sigcam_core.prepare.manifest import Manifest

OPTIONS = EvaluationOptions(methods=["gradcam"], batch_size=1)
Measure = Callable[[MapBatch], dict[str, Any]]


@pytest.fixture
def dual() -> DualBranch:
    torch.manual_seed(0)
    return make_evaluated()


@pytest.fixture
def images(tmp_path: Path) -> Manifest:
    """Four images, in four batches of one shard."""
    return partly_annotated(tmp_path).split("test")


def measured_by(measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have localisation measured by another function."""
    families = [replace(family, measure=measure) if family is LOCALIZATION else family for family in FAMILIES]
    monkeypatch.setattr(module, "FAMILIES", families)


def test_those_families_make_passes_that_call_the_network(dual: DualBranch, images: Manifest, tmp_path: Path) -> None:
    assert [family for family in FAMILIES if family.makes_passes] == [FIDELITY, PERTURBATION]
    calls: list[int] = []
    seen: list[MapBatch] = []
    with pytest.MonkeyPatch.context() as patch:
        measured_by(lambda batch: seen.append(batch) or LOCALIZATION.measure(batch), patch)  # type: ignore[func-returns-value]
        evaluate(dual, images, "net", tmp_path / "evidence.parquet", OPTIONS, lambda _: None)
    dual.backbone.register_forward_hook(lambda *_: calls.append(1))
    for family in FAMILIES:
        calls.clear()
        family.measure(replace(seen[0], dual=dual, num_perturbed=1))
        assert bool(calls) == family.makes_passes, family.name


def test_passes_do_not_wait_for_boxes(
    dual: DualBranch, images: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, batches = Event(), []
    make = module._batch

    def noting(*arguments: Any) -> MapBatch:
        batches.append(1)
        if len(batches) > BATCHES_BEHIND:
            begun.set()
        return make(*arguments)

    def boxes(batch: MapBatch) -> dict[str, Any]:
        assert begun.wait(timeout=60), "the next batch waits for the boxes of this one"
        return LOCALIZATION.measure(batch)

    monkeypatch.setattr(module, "_batch", noting)
    measured_by(boxes, monkeypatch)
    evaluate(dual, images, "net", tmp_path / "evidence.parquet", OPTIONS, lambda _: None)
    assert len(batches) == 4


def test_boxes_lag_no_more_than_is_told_and_rows_keep_their_order(
    dual: DualBranch, images: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = evaluate(dual, images, "net", tmp_path / "expected.parquet", OPTIONS, lambda _: None)
    open_batches, most = 0, 0
    begin = module._begin_table

    def noting(*arguments: Any) -> Callable[[], pa.Table]:
        nonlocal open_batches, most
        open_batches += 1
        most = max(most, open_batches)
        table = begin(*arguments)

        def ended() -> pa.Table:
            nonlocal open_batches
            open_batches -= 1
            return table()

        return ended

    monkeypatch.setattr(module, "_begin_table", noting)
    got = evaluate(dual, images, "net", tmp_path / "got.parquet", OPTIONS, lambda _: None)
    assert (open_batches, most) == (0, BATCHES_BEHIND + 1)
    assert got.read_bytes() == expected.read_bytes()


def test_what_goes_wrong_beside_the_passes_is_told_and_nothing_is_written(
    dual: DualBranch, images: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured_by(lambda _: fail("a box is wrong: give another."), monkeypatch)
    with pytest.raises(SigcamError, match="a box is wrong"):
        evaluate(dual, images, "net", tmp_path / "evidence.parquet", OPTIONS, lambda _: None)
    assert not list(tmp_path.glob("evidence*/*")) + list(tmp_path.glob("evidence.parquet"))
