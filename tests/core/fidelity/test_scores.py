"""Fidelity metrics equal those of two other libraries on a real network, and their definitions by hand."""

from functools import partial

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from scipy.stats import pearsonr
from small_networks import calibrate, make_dual, random_images
from torch import Tensor, nn
from torchcam.metrics import ClassificationMetric

from benchmarks.fidelity import GivenMaps
from sigcam_core import SigcamError, cam_maps, normalize_maps
from sigcam_core.fidelity.scores import (
    adcc,
    average_drop,
    coherency,
    coherency_of_maps,
    coverage,
    explain_images,
    increase_in_confidence,
)


@pytest.fixture
def judged() -> tuple[nn.Module, Tensor, Tensor, Tensor, Tensor]:
    """A classifier, images, score maps, and the explained classes' scores before and after."""
    dual, images = make_dual("small_cnn-mlp"), random_images(24)
    images = images + torch.randn(24, 3, 1, 1)  # images of different colours
    calibrate(dual.backbone, images)
    dual.softmax_head[-1][-1].weight.data *= 20  # so that scores differ
    model = nn.Sequential(dual.backbone, dual.softmax_head)
    before = model(images).softmax(1)
    class_idx = torch.arange(24) % 5  # not the predicted classes, whose scores would hardly ever rise
    maps = normalize_maps(cam_maps(dual, images, class_idx, ["gradcam"], ["softmax"])["softmax", "gradcam"], (64, 64))
    after = model(explain_images(images, maps)).softmax(1)
    return model, images, maps, *(scores.gather(1, class_idx[:, None])[:, 0].detach() for scores in (before, after))


def test_metrics_equal_those_of_grad_cam(judged: tuple[nn.Module, Tensor, Tensor, Tensor, Tensor]) -> None:
    model, images, maps, y, o = judged
    targets = [ClassifierOutputSoftmaxTarget(k % 5) for k in range(24)]
    # Its drop is a difference; the published one is a fraction of the score on the image.
    drops = DropInConfidence()(images, maps.numpy(), targets, model) / y.numpy()
    increases = IncreaseInConfidence()(images, maps.numpy(), targets, model)
    assert average_drop(y, o) == pytest.approx(100 * float(np.mean(drops)), rel=1e-5)
    assert increase_in_confidence(y, o) == pytest.approx(100 * float(np.mean(increases)), rel=1e-6)
    assert 0 < np.mean(increases) < 1


def test_metrics_equal_those_of_torchcam(judged: tuple[nn.Module, Tensor, Tensor, Tensor, Tensor]) -> None:
    model, images, maps, y, o = judged
    metric = ClassificationMetric(GivenMaps(model, maps), partial(torch.softmax, dim=-1))
    metric.update(images, [k % 5 for k in range(24)])
    assert average_drop(y, o) == pytest.approx(100 * metric.summary()["avg_drop"], rel=1e-5)
    assert increase_in_confidence(y, o) == pytest.approx(100 * metric.summary()["conf_increase"], rel=1e-6)


def test_metrics_by_hand() -> None:
    y, o = torch.tensor([0.8, 0.5, 0.4, 1.0]), torch.tensor([0.2, 0.6, 0.4, 0.0])
    assert average_drop(y, o) == pytest.approx(100 * (0.75 + 0 + 0 + 1) / 4)
    assert increase_in_confidence(y, o) == 25  # an equal score is no increase


def test_maps_of_ones_and_zeros_keep_and_remove_the_image() -> None:
    images = random_images(2, 8)
    assert torch.equal(explain_images(images, torch.ones(2, 8, 8)), images)
    assert torch.count_nonzero(explain_images(images, torch.zeros(2, 8, 8))) == 0
    half = torch.zeros(2, 8, 8)
    half[1, :4] = 0.5
    expected = torch.zeros_like(images)
    expected[1, :, :4] = images[1, :, :4] / 2
    assert torch.equal(explain_images(images, half), expected)
    assert explain_images(images.float(), half.double()).dtype == torch.float32


@pytest.mark.parametrize("metric", [average_drop, increase_in_confidence])
@pytest.mark.parametrize(
    ("y", "o", "sentence"),
    [
        ([], [], r"two vectors of equal length N >= 1, got \(0,\) and \(0,\)"),
        ([0.5], [0.5, 0.5], r"got \(1,\) and \(2,\)"),
        ([[0.5]], [[0.5]], r"got \(1, 1\) and \(1, 1\)"),
        ([0.0], [0.5], r"must be probabilities: Y in \(0, 1\] and O in \[0, 1\]"),
        ([0.5], [1.5], "must be probabilities"),
        ([0.5], [float("nan")], "must be probabilities"),
    ],
)
def test_bad_scores_are_refused(metric: object, y: list[float], o: list[float], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        metric(torch.tensor(y), torch.tensor(o))


@pytest.mark.parametrize("value", [float("nan"), -0.1, 9.0])
def test_maps_outside_0_to_1_are_refused(value: float) -> None:
    maps = torch.ones(2, 8, 8)
    maps[1, 3, 3] = value
    with pytest.raises(SigcamError, match="score map 1 holds NaN or values outside"):
        explain_images(random_images(2, 8), maps)


@pytest.mark.parametrize("shape", [(2, 8, 9), (1, 8, 8), (2, 1, 8, 8)])
def test_maps_that_do_not_fit_the_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SigcamError, match=r"do not fit images \(2, 3, 8, 8\): one map per pixel"):
        explain_images(random_images(2, 8), torch.ones(shape))


def test_coverage_and_coherency_by_hand() -> None:
    maps = torch.tensor([[[0.0, 0.25, 0.5, 1.0]], [[1.0, 0.0, 0.0, 0.0]]])
    assert coverage(maps).tolist() == [0.4375, 0.25]
    a, b = maps.flatten(1).double().numpy()
    expected = (1 + pearsonr(a, b).statistic) / 2
    assert coherency(maps[:1], maps[1:]).item() == pytest.approx(expected)
    assert coherency(maps[:1], 0.5 * maps[:1] + 0.3).item() == pytest.approx(1)  # stretching changes nothing
    assert coherency(maps[:1], 1 - maps[:1]).item() == pytest.approx(0)


@pytest.mark.parametrize("size", [(224, 224), (33, 80)])
@pytest.mark.parametrize("shape", [(7, 7), (5, 9), (1, 4)])
def test_coherency_of_maps_is_that_of_their_score_maps(shape: tuple[int, int], size: tuple[int, int]) -> None:
    maps, others = random_images(40, 9)[:, :2, : shape[0], : shape[1]].unbind(1)
    others = others + torch.linspace(-2, 2, 40)[:, None, None] * maps  # from unlike to alike
    maps, others = 1000 + maps, 1e-4 * others  # a shift or scale changes nothing
    expected = coherency(normalize_maps(maps, size), normalize_maps(others, size))
    torch.testing.assert_close(coherency_of_maps(maps, others, size), expected, atol=1e-6, rtol=0)
    assert expected.std() > 0.1
    broken = maps.clone()
    broken[0], broken[1, 0, 0] = 3.0, torch.nan
    assert coherency_of_maps(broken, others, size)[:3].tolist() == pytest.approx([0, 0, expected[2].item()], abs=1e-6)
    assert coherency_of_maps(others, broken, size)[:2].tolist() == [0, 0]
    with pytest.raises(SigcamError, match=r"maps to correlate must have one shape, got \(40, .* and \(1, "):
        coherency_of_maps(maps, others[:1], size)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_a_constant_map_has_no_coherency(value: float) -> None:
    constant, ramp = torch.full((1, 3, 3), value), torch.arange(9.0).view(1, 3, 3) / 8
    for pair in ((constant, ramp), (ramp, constant), (constant, constant)):
        assert coherency(*pair).item() == 0


def test_adcc_by_hand() -> None:
    found = adcc(torch.tensor([0.8, 1.0, 0.9, 0.9]), torch.tensor([0.5, 0.0, 1.0, 0.5]), torch.tensor([0.2, 0, 0.1, 1]))
    # 3 / (1 / 0.8 + 1 / 0.5 + 1 / 0.8) = 3 / 4.5, a perfect map, and two that keep all or lose all.
    assert found.tolist() == pytest.approx([100 * 3 / 4.5, 100, 0, 0])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda m: coverage(m[:0]), "no score maps to average"),
        (lambda m: coverage(2 * m), r"score map 1 holds NaN or values outside \[0, 1\]"),
        (lambda m: coverage(m[0]), r"must have shape \(N, height, width\), .* got \(4, 4\)"),
        (lambda m: coherency(m, m[:1]), r"must pair up, N >= 1 of one size, got \(2, 4, 4\) and \(1, 4, 4\)"),
        (lambda m: coherency(m[:0], m[:0]), "must pair up"),
        (lambda m: coherency(m, m / 0), "score map 0 holds NaN"),
        (lambda m: adcc(m, m, m[:1]), "must have one shape"),
        (lambda m: adcc(m[:0], m[:0], m[:0]), "must have one shape"),
        (lambda m: adcc(m, m, 50 * m), r"must be fractions in \[0, 1\]: divide percentages"),
        (lambda m: adcc(m / 0, m, m), "leave out what is NaN"),
    ],
)
def test_bad_maps_and_terms_are_refused(call: object, sentence: str) -> None:
    maps = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])
    with pytest.raises(SigcamError, match=sentence):
        call(maps)
