"""The crossed measurement on a few generated images, from heads to tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from small_measurement import TINY, Made, copy_of

from companion.controls import publish
from companion.controls import study as controls
from companion.controls.heads import control_heads, log_odds_likeness
from companion.controls.maps import LinearHead, control_maps
from companion.controls.names import COMPARISONS, SHIFTED
from companion.controls.publish import control_rows, publish_controls
from sigcam_core.backbones import input_format
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json
from sigcam_core.prepare.images import image_batches
from sigcam_core.prepare.manifest import read_manifest
from sigcam_core.stations import ensure_sigmoid_head


@pytest.fixture(scope="module")
def crossed(made: Made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A work dir, and the folder of its tables."""
    folder = tmp_path_factory.mktemp("crossed")
    work_dir = copy_of(made, folder, "controls")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controls, "GRIDS", 3)
        patch.setattr(controls, "SURE", 0.0)
        patch.setattr(publish, "RESAMPLES", 20)
        patch.setattr(publish, "CELLS", (2,))
        experiment = replace(TINY, perturbed_images=3)
        publish_controls(experiment, folder / "tables", work_dir, lambda _: None)
    return work_dir, folder / "tables"


def table(crossed: tuple[Path, Path], name: str) -> pd.DataFrame:
    return pd.read_csv(crossed[1] / f"{name}.csv")


def test_every_row_has_its_figures(crossed: tuple[Path, Path]) -> None:
    figures = table(crossed, "figures")
    rows = figures.groupby(["head", "scalar", "weights"])["metric"].agg(set)
    everywhere = {"maxboxacc_v2", "maxboxacc_v2_held_out", "gt_loc", "pxap", "pointing_game", "energy_pointing"}
    assert all(everywhere <= metrics for metrics in rows)
    assert {"average_drop", "grid_2x2", "drop_at_50"} <= rows["softmax", "centred", "signed"]
    assert {head for head, _, _ in rows.index} == {
        "softmax",
        "sigmoid",
        "sigmoid from softmax",
        "sigmoid optimum",
        "none",
    }
    assert figures["value"].between(0, 100).all()


def test_comparisons_are_those_of_the_optimum(crossed: tuple[Path, Path]) -> None:
    differences = table(crossed, "differences")
    assert set(differences["comparison"]) == set(COMPARISONS)
    published = differences[differences["comparison"] == "sigmoid_as_published"]
    assert set(published["second"]) == {"sigmoid optimum/logit/truncated"}


def test_the_optimum_is_at_a_certificate(crossed: tuple[Path, Path]) -> None:
    penalties = table(crossed, "penalties_sigmoid")
    assert (penalties["certificate"] <= 1e-3).all()


def test_gains_are_those_of_softmax_heads(crossed: tuple[Path, Path]) -> None:
    gains = table(crossed, "gains").set_index(["head", "gain", "metric"])
    assert {head for head, _, _ in gains.index} == {"softmax"}
    figures = table(crossed, "figures").set_index(["head", "scalar", "weights", "metric"])["value"]
    signed = figures["softmax", "logit", "signed", "grid_2x2"]
    for gain, row in {
        "centring": ("softmax", "centred", "signed"),
        "truncation": ("softmax", "logit", "truncated"),
        "sigmoid": ("sigmoid optimum", "logit", "truncated"),
    }.items():
        assert gains["difference"]["softmax", gain, "grid_2x2"] == pytest.approx(figures[*row, "grid_2x2"] - signed)
    heads = table(crossed, "heads").set_index("head")["gauge_energy"]
    assert gains["gauge_energy"].unique() == pytest.approx([heads["softmax"]])


def test_the_shift_is_chosen_on_held_out_images(crossed: tuple[Path, Path]) -> None:
    shifts = table(crossed, "shifts")
    chosen = shifts[shifts["chosen"]]
    assert len(chosen) == 1
    assert chosen["held_out_maxboxacc_v2"].iloc[0] == shifts["held_out_maxboxacc_v2"].max()


def test_the_record_says_what_was_measured(crossed: tuple[Path, Path]) -> None:
    record = read_json(crossed[1] / "record.json")
    assert (record["test_images"], record["held_out_images"], record["perturbed_images"]) == (24, 16, 3)
    steps = {"located_test", "located_val", "scored", "perturbed", "grids_2", "optima", "tables"}
    assert steps <= set(record["seconds"])


def test_cells_of_a_grid_are_scored_as_images_of_the_split(crossed: tuple[Path, Path], made: Made) -> None:
    """Also the rows that are drawn for an image, by its place in the split and not among those that are shown."""
    run = replace(made.run(), work_dir=crossed[0])
    heads = control_heads(run, controls.folder_of(run), lambda _: None)
    rows = [row for row in control_rows(heads) if row.scalar != "random weights" and "negative" not in row.weights]
    kept = load_file(controls.folder_of(run) / "grids_2.safetensors")
    test = read_manifest(run.manifest).split("test")
    dual = ensure_sigmoid_head(run)
    shifted = np.array([row.scalar == SHIFTED for row in rows])  # its shift is chosen during the run
    for places, found in zip(kept["images"], kept["shares"], strict=True):
        assert (places != np.argsort(np.argsort(places))).any()  # else a place among four would be one in the split
        ((_, images, labels),) = image_batches(test.take(places.tolist()), 4, input_format(run.backbone))
        grid = torch.cat([torch.cat(list(images[:2]), dim=2), torch.cat(list(images[2:]), dim=2)], dim=1)
        features = dual.extract(grid[None])
        for cell in range(4):
            seed = torch.tensor([places[cell]])
            maps = control_maps(features, labels[cell : cell + 1], rows, heads.heads, seed)[0].double().clamp_min(0)
            quarters = [half.tensor_split(2, dim=2) for half in maps.tensor_split(2, dim=1)]
            own = quarters[cell // 2][cell % 2].sum(dim=(1, 2)) / maps.sum(dim=(1, 2)).clamp_min(1e-12)
            np.testing.assert_allclose(found[cell][~shifted], own.numpy()[~shifted], atol=1e-5)


def test_log_odds_are_those_of_the_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(50, 6, generator=generator)
    softmax = LinearHead(torch.randn(4, 6, generator=generator), torch.randn(4, generator=generator))
    labels = torch.arange(50) % 4
    p = softmax.logits(inputs).double().softmax(dim=1)
    odds = torch.log(p / (1 - p)).numpy()
    table = log_odds_likeness({"softmax": softmax}, "softmax", inputs, labels).iloc[0]
    logits = softmax.logits(inputs).numpy()
    assert table["all_classes"] == pytest.approx(np.corrcoef(logits.ravel(), odds.ravel())[0, 1], abs=1e-6)
    own = (np.arange(50), labels.numpy())
    assert table["label"] == pytest.approx(np.corrcoef(logits[own], odds[own])[0, 1], abs=1e-6)


def test_of_two_classes_a_head_of_differences_is_the_log_odds() -> None:
    inputs = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    softmax = LinearHead(torch.randn(2, 6, generator=torch.Generator().manual_seed(1)), torch.zeros(2))
    difference = LinearHead(softmax.weight - softmax.weight.flip(0), torch.zeros(2), is_sigmoid=True)
    heads = {"softmax": softmax, "sigmoid": difference}
    table = log_odds_likeness(heads, "softmax", inputs, torch.zeros(50, dtype=torch.int64)).set_index("head")
    assert table.loc["sigmoid"].tolist() == pytest.approx([1, 1])
    assert table.loc["softmax", "all_classes"] < 0.999


def test_a_head_of_several_layers_is_refused(made: Made, tmp_path: Path) -> None:
    experiment = replace(TINY, backbone="small_cnn_mlp")
    work_dir = copy_of(made, tmp_path, "controls", "checkpoints", "choices")
    with pytest.raises(SigcamError, match="are not linear"):
        publish_controls(experiment, tmp_path / "tables", work_dir, lambda _: None)


def test_thresholds_are_chosen_on_held_out_images_that_have_boxes() -> None:
    located = {"hits": np.arange(3 * 2 * 96, dtype=np.uint8).reshape(3, 2, 96), "gt_loc_iou": np.full((3, 2), 0.5)}
    located["gt_loc_iou"][1] = np.nan
    np.testing.assert_array_equal(controls.held_out_hits(located), located["hits"][[0, 2]])
    located["gt_loc_iou"][:] = np.nan
    with pytest.raises(SigcamError, match="no held-out image has a box"):
        controls.held_out_hits(located)
