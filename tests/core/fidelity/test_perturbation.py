"""Insertion and deletion equal torchcam's on a real network, and by hand on a linear one."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import calibrate, make_dual, random_images
from torch import Tensor, nn
from torchcam.metrics import DeletionInsertionMetric

from benchmarks.fidelity import GivenMaps
from sigcam_core import SigcamError, cam_maps, normalize_maps
from sigcam_core.fidelity.perturbation import (
    PerturbationCurves,
    average_drop_at_coverage,
    deletion_auc,
    insertion_auc,
    perturbation_curves,
)
from sigcam_core.fidelity.scores import average_drop, class_scores

SIZE = 32


@pytest.fixture(scope="module")
def judged() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A classifier whose scores differ, images, classes and score maps."""
    dual, images = make_dual("small_cnn-mlp"), random_images(6, SIZE) + torch.arange(6).view(6, 1, 1, 1) / 4
    calibrate(dual.backbone, images)
    dual.softmax_head[-1][-1].weight.data *= 20
    class_idx = torch.arange(6) % 5
    maps = cam_maps(dual, images, class_idx, ["gradcam"], ["softmax"])["softmax", "gradcam"]
    return nn.Sequential(dual.backbone, dual.softmax_head), images, class_idx, normalize_maps(maps, (SIZE, SIZE))


@pytest.mark.parametrize("steps", [1, 7, 20])  # 7 and 20 do not divide 32 x 32
@pytest.mark.parametrize("mean", [True, False])
def test_areas_equal_those_of_torchcam(
    judged: tuple[nn.Module, Tensor, Tensor, Tensor], steps: int, mean: bool
) -> None:
    model, images, class_idx, maps = judged
    baseline = None if mean else images.flip(3) / 2
    metric = DeletionInsertionMetric(
        GivenMaps(model, maps), partial(torch.softmax, dim=-1), steps=steps, baseline=baseline, batch_size=5
    )
    metric.update(images, class_idx.tolist())
    curves = perturbation_curves(
        lambda batch, index: class_scores(model(batch), class_idx[index]), images, maps, steps, baseline, batch_size=7
    )
    summary = metric.summary()
    assert deletion_auc(curves).mean().item() == pytest.approx(summary["deletion_auc"], abs=1e-6)
    assert insertion_auc(curves).mean().item() == pytest.approx(summary["insertion_auc"], abs=1e-6)
    assert steps == 1 or (insertion_auc(curves) - deletion_auc(curves)).abs().max() > 1e-3


def linear_score(weights: Tensor) -> object:
    return lambda batch, _: (batch[:, 0] * weights).sum(dim=(1, 2))


WEIGHTS = torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64)


def test_curves_by_hand() -> None:
    images = torch.ones(2, 3, 2, 2, dtype=torch.float64)
    maps = torch.stack([WEIGHTS, -WEIGHTS])  # the best order and the worst
    curves = perturbation_curves(linear_score(WEIGHTS), images, maps, steps=4)
    assert curves.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    torch.testing.assert_close(curves.insertion[0], torch.tensor([0, 0.4, 0.7, 0.9, 1], dtype=torch.float64))
    torch.testing.assert_close(curves.deletion[0], torch.tensor([1, 0.6, 0.3, 0.1, 0], dtype=torch.float64))
    torch.testing.assert_close(curves.insertion[1], torch.tensor([0, 0.1, 0.3, 0.6, 1], dtype=torch.float64))
    assert insertion_auc(curves).tolist() == pytest.approx([(0.4 + 0.7 + 0.9 + 0.5) / 4, (0.1 + 0.3 + 0.6 + 0.5) / 4])
    assert deletion_auc(curves).tolist() == pytest.approx([(0.5 + 0.6 + 0.3 + 0.1) / 4, (0.5 + 0.9 + 0.7 + 0.4) / 4])


def test_average_drop_at_coverage_by_hand() -> None:
    images = torch.ones(2, 3, 2, 2, dtype=torch.float64) * torch.tensor([1, 0.5]).view(2, 1, 1, 1)
    curves = perturbation_curves(linear_score(WEIGHTS), images, WEIGHTS.expand(2, 2, 2), steps=4)
    # Drops are relative to each image's score, so the darker image drops as much as the other.
    assert average_drop_at_coverage(curves.insertion).tolist() == pytest.approx([100, 60, 30, 10, 0])
    # Where less is more there is no drop.
    curve = torch.tensor([[0, 0.4, 0.7, 0.9, 0.8]])
    assert average_drop_at_coverage(curve).tolist() == pytest.approx([100, 50, 12.5, 0, 0], abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_curves_keep_exactly_the_highest_pixels(data: st.DataObject) -> None:
    height, width, steps = (data.draw(st.integers(1, 5)) for _ in range(3))
    values = data.draw(st.lists(st.integers(0, 3), min_size=height * width, max_size=height * width))
    maps = torch.tensor(values, dtype=torch.float64).view(1, height, width)
    images = torch.ones(1, 3, height, width, dtype=torch.float64)
    curves = perturbation_curves(
        lambda batch, _: batch[:, 0].mean(dim=(1, 2)), images, maps, steps, batch_size=data.draw(st.integers(1, 4))
    )
    torch.testing.assert_close(curves.insertion[0], curves.fractions)
    torch.testing.assert_close(curves.deletion[0], 1 - curves.fractions)
    ramp = torch.arange(1, height * width + 1, dtype=torch.float64).view(height, width)
    ramp /= 2 * ramp.sum()
    by_hand = sorted(range(height * width), key=lambda pixel: -values[pixel])  # Python's sort is stable
    counts = (curves.fractions * height * width).round().int().tolist()
    expected = [sum(ramp.flatten()[pixel].item() for pixel in by_hand[:count]) for count in counts]
    found = perturbation_curves(linear_score(ramp), images, maps, steps).insertion[0]
    assert found.tolist() == pytest.approx(expected)


def test_every_image_is_scored_once_a_step() -> None:
    calls: list[int] = []

    def score(batch: Tensor, index: Tensor) -> Tensor:
        calls.append(len(batch))
        return torch.full((len(batch),), 0.5)

    images, maps = random_images(3, 8), torch.rand(3, 8, 8)
    perturbation_curves(score, images, maps, steps=4, batch_size=8, image_scores=torch.full((3,), 0.5))
    assert sum(calls) == 3 * (2 * 4 - 1)
    assert max(calls) == 8
    calls.clear()
    perturbation_curves(score, images, maps, steps=4, batch_size=8)
    assert sum(calls) == 3 * 2 * 4


def test_bad_input_gets_one_sentence() -> None:
    images, maps = random_images(2, 8), torch.rand(2, 8, 8)

    def curves(*arguments: object, **options: object) -> PerturbationCurves:
        return perturbation_curves(lambda batch, _: batch.new_full((len(batch),), 0.5), *arguments, **options)

    for wrong in (maps[:1], maps[:, :4], maps[:, None]):
        with pytest.raises(SigcamError, match="do not fit images"):
            curves(images, wrong)
    with pytest.raises(SigcamError, match="N >= 1"):
        curves(images[:0], maps[:0])
    with pytest.raises(SigcamError, match="hold NaN"):
        curves(images, maps / 0)
    with pytest.raises(SigcamError, match="at least 1, got 0 and 32"):
        curves(images, maps, steps=0)
    with pytest.raises(SigcamError, match="cannot be broadcast to images"):
        curves(images, maps, baseline=torch.zeros(5))
    with pytest.raises(SigcamError, match=r"one score for each of 2 images, got shape \(3,\)"):
        curves(images, maps, image_scores=torch.ones(3))
    with pytest.raises(SigcamError, match="must be probabilities"):
        perturbation_curves(lambda batch, _: batch.new_full((len(batch),), 2.0), images, maps)
    with pytest.raises(SigcamError, match=r"must have shape \(N, S \+ 1\)"):
        average_drop_at_coverage(torch.zeros(0, 3))
    with pytest.raises(SigcamError, match="must be probabilities"):
        average_drop_at_coverage(torch.tensor([[0.5, 0.0]]))


def test_a_map_of_whole_pixels_gives_the_drop_of_its_explained_image() -> None:
    images = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.full((4, 4), 1 / 16, dtype=torch.float64)
    maps = torch.zeros(3, 4, 4, dtype=torch.float64)
    maps[:, :2] = 1
    curves = perturbation_curves(linear_score(weights), images, maps, steps=2)
    whole, kept = (linear_score(weights)(batch, None) for batch in (images, images * maps[:, None]))
    assert average_drop_at_coverage(curves.insertion)[1].item() == pytest.approx(average_drop(whole, kept))
