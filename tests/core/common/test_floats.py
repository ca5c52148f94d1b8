"""Everything that is measured, on a device without float64: the same to float32, and never refused by the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from small_devices import without_float64
from small_networks import make_evaluated, partly_annotated, random_images
from torch import Tensor

from sigcam_core import invariance
from sigcam_core.common.floats import widened, widest_float
from sigcam_core.evaluate.evaluate import EvaluationOptions, evaluate
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.fidelity import perturbation, scores
from sigcam_core.localization.metrics import LocalizationAccuracy, MaxBoxAcc, PixelAP
from sigcam_core.pointing import grids
from sigcam_core.pointing import scores as pointing
from sigcam_core.pointing.metrics import EnergyPointingGame, GridPointingGame, PointingGame

MAPS = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))
MASKS = (MAPS > 0.5).to(torch.uint8)
BOXES = torch.tensor([[[2, 2, 8, 9]], [[0, 0, 3, 3]], [[4, 1, 11, 11]]])
WEIGHT, FEATURES = MAPS[0, :4, :6], MAPS[:, :6, :].reshape(3, 6, 3, 4)
IDX = torch.tensor([0, 3, 1])
GRIDS = MAPS[:1].expand(4, 12, 12)[None] - 0.5


def halves(images: Tensor, index: Tensor) -> Tensor:
    return images.mean(dim=(1, 2, 3)).sigmoid()


def curves() -> perturbation.PerturbationCurves:
    return perturbation.perturbation_curves(halves, random_images(3, 12, torch.float32), MAPS, steps=4)


def measured(metric: Callable[[], object], *arguments: object) -> list[Tensor]:
    """What a metric computes of two updates."""
    made = metric()
    made.update(*arguments)  # type: ignore[attr-defined]
    made.update(*arguments)  # type: ignore[attr-defined]
    return list(made.compute().values())  # type: ignore[attr-defined]


CALLS: dict[str, Callable[[], object]] = {
    "average_drop": lambda: scores.average_drop(MAPS[0, 0], MAPS[0, 1]),
    "increase_in_confidence": lambda: scores.increase_in_confidence(MAPS[0, 0], MAPS[0, 1]),
    "coverage": lambda: scores.coverage(MAPS),
    "coherency": lambda: scores.coherency(MAPS, MAPS.flip(0)),
    "coherency_of_maps": lambda: scores.coherency_of_maps(MAPS, MAPS.flip(0), 20),
    "adcc": lambda: scores.adcc(MAPS[0, 0], MAPS[0, 1], MAPS[0, 2]),
    "class_scores": lambda: scores.class_scores(MAPS[:, 0], IDX),
    "perturbation_curves": lambda: list(curves()),
    "areas": lambda: [perturbation.insertion_auc(curves()), perturbation.deletion_auc(curves())],
    "average_drop_at_coverage": lambda: perturbation.average_drop_at_coverage(MAPS[0]),
    "pointing_hits": lambda: pointing.pointing_hits(MAPS, BOXES, 1.5),
    "energy_shares": lambda: pointing.energy_shares(MAPS - 0.5, MASKS == 1),
    "cell_shares": lambda: pointing.cell_shares(GRIDS, 2),
    "grid_shares": lambda: grids.grid_shares(FEATURES[:, :, :2] - 0.5, [WEIGHT], IDX.new_zeros(3, 4), [False]),
    "pointing game": lambda: measured(PointingGame, MAPS, BOXES),
    "energy pointing": lambda: measured(EnergyPointingGame, MAPS - 0.5, BOXES),
    "grid pointing": lambda: measured(partial(GridPointingGame, 2), GRIDS),
    "boxes": lambda: measured(MaxBoxAcc, MAPS, BOXES),
    "gauge_energy": lambda: invariance.gauge_energy(WEIGHT),
    "mean_map_variance_ratio": lambda: invariance.mean_map_variance_ratio(FEATURES, WEIGHT, IDX),
    "telling_deltas": lambda: list(invariance.telling_deltas(MAPS[:, :6], WEIGHT[:, :3], MAPS[0, :6], 1).values()),
    "shifted_head": lambda: list(invariance.shifted_head(FEATURES[0], WEIGHT, WEIGHT[:, 0], FEATURES[0, :, 0, 0], 2)),
}


@pytest.mark.parametrize("name", CALLS)
def test_no_measure_asks_a_device_for_float64(name: str) -> None:
    expected = CALLS[name]()
    with without_float64():
        assert widest_float(torch.device("cpu")) == widened(IDX).dtype == torch.float32
        found = CALLS[name]()
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5, check_dtype=False)


def test_localisation_on_the_cpu_is_left_as_it_was() -> None:
    """These two take maps to the CPU, where they are measured in float64."""
    correct = torch.tensor([True, True, False])
    assert {value.dtype for value in measured(LocalizationAccuracy, MAPS, BOXES, correct)} == {torch.float64}
    assert {value.dtype for value in measured(PixelAP, MAPS, MASKS)} == {torch.float64}


def test_an_evaluation_runs_without_float64(tmp_path: Path) -> None:
    manifest = partly_annotated(tmp_path)
    options = EvaluationOptions(batch_size=4, perturbation_images=2, perturbation_steps=3)
    dual = make_evaluated()
    paths = [evaluate(dual, manifest, "tiny", tmp_path / "with.parquet", options)]
    with without_float64():
        paths.append(evaluate(dual, manifest, "tiny", tmp_path / "without.parquet", options))
    first, second = map(read_evidence, paths)
    for name in ("coverage", "coherency", "energy_in_box", "insertion_auc", "image_score_softmax"):
        np.testing.assert_allclose(second[name].to_numpy(float), first[name].to_numpy(float), atol=1e-4)
