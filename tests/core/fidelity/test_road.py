"""Imputation and ROAD equal the authors' code as grad-cam ships it, without its noise and with the same noise."""

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.road import (
    NoisyLinearImputer,
    ROADCombined,
    ROADLeastRelevantFirstAverage,
    ROADMostRelevantFirstAverage,
)
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from torch import Tensor, nn

from sigcam_core import SigcamError, normalize_maps
from sigcam_core.fidelity.road import impute, road
from sigcam_core.fidelity.scores import class_scores

SIZE = 24
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # grad-cam under NumPy 2


def images_and_maps(count: int = 3) -> tuple[Tensor, Tensor]:
    """Images of noise, and maps enlarged from a few cells, one of them with plateaus."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(count, 3, SIZE, SIZE, generator=generator)
    maps = normalize_maps(torch.rand(count, 4, 4, generator=generator), (SIZE, SIZE))
    maps[-1] = (4 * maps[-1]).round() / 4
    return images, maps


def steep_classifier(num_classes: int = 4) -> nn.Module:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    linear = nn.Linear(32, num_classes)
    linear.weight.data *= 20  # so that scores respond
    return nn.Sequential(*model, linear).requires_grad_(False)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.998])
@pytest.mark.parametrize("scattered", [True, False])
def test_imputation_solves_the_system_of_the_authors(share: float, scattered: bool) -> None:
    images, maps = images_and_maps()
    if scattered:
        maps = torch.rand(maps.shape, generator=torch.Generator().manual_seed(4))
    removed = maps >= torch.quantile(maps.flatten(1), 1 - share, dim=1)[:, None, None]
    filled = impute(images, removed, noise=0)
    for image, mask, ours in zip(images, removed, filled, strict=True):
        theirs = NoisyLinearImputer(noise=0)(image, (~mask).float())
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
        assert torch.equal(ours[:, ~mask], image[:, ~mask])


def test_imputation_by_hand() -> None:
    image = torch.arange(27, dtype=torch.float64).view(1, 3, 3, 3)
    middle = torch.zeros(1, 3, 3, dtype=torch.bool)
    middle[0, 1, 1] = True
    torch.testing.assert_close(impute(image, middle, noise=0), image)  # a ramp's pixel is the mean of its neighbours
    corner = torch.zeros_like(middle)
    corner[0, 0, 0] = True
    expected = (1 / 6 * 1 + 1 / 6 * 3 + 1 / 12 * 4) / (5 / 12)  # only three neighbours lie inside
    assert impute(image, corner, noise=0)[0, 0, 0, 0].item() == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_imputed_in_full(dtype: torch.dtype) -> None:
    images, maps = images_and_maps()
    expected = impute(images.to(dtype).float(), maps > 0.5, noise=0)
    filled = impute(images.to(dtype), maps > 0.5, noise=0)
    assert filled.dtype == dtype
    torch.testing.assert_close(filled, expected.to(dtype))


def test_an_image_without_known_pixels_becomes_zeros_and_one_without_removed_stays() -> None:
    images, _ = images_and_maps(2)
    removed = torch.stack([torch.ones(SIZE, SIZE, dtype=torch.bool), torch.zeros(SIZE, SIZE, dtype=torch.bool)])
    filled = impute(images, removed, noise=0)
    assert torch.count_nonzero(filled[0]) == 0
    assert torch.equal(filled[1], images[1])


def test_images_that_are_imputed_are_left_as_they_are() -> None:
    images = images_and_maps(2)[0].double()
    before = images.clone()
    filled = impute(images, torch.ones(2, SIZE, SIZE, dtype=torch.bool), noise=0.1)
    assert torch.equal(images, before)
    assert filled.dtype == images.dtype
    assert impute(images[:0], torch.ones(0, SIZE, SIZE, dtype=torch.bool)).shape == (0, 3, SIZE, SIZE)


@pytest.mark.parametrize("size", [(1, 5), (5, 1), (2, 7)])
def test_an_image_of_few_rows_or_columns_is_imputed(size: tuple[int, int]) -> None:
    image = torch.arange(float(size[0] * size[1])).expand(1, 3, -1).reshape(1, 3, *size)
    removed = torch.zeros(1, *size, dtype=torch.bool)
    removed.flatten()[[1, 3]] = True
    theirs = NoisyLinearImputer(noise=0)(image[0], (~removed[0]).float())
    torch.testing.assert_close(impute(image, removed, noise=0)[0], theirs)


def test_noise_is_normal_on_removed_pixels_and_follows_its_generator() -> None:
    images, maps = images_and_maps()
    removed = maps > 0.5
    clean = impute(images, removed, noise=0)
    noisy = [impute(images, removed, 0.1, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0], noisy[2])
    difference = (noisy[0] - clean).permute(0, 2, 3, 1)
    assert torch.count_nonzero(difference[~removed]) == 0
    assert difference[removed].std().item() == pytest.approx(0.1, rel=0.1)


def test_road_equals_grad_cams_with_the_same_noise() -> None:
    images, maps = images_and_maps()
    model, class_idx = steep_classifier(), torch.tensor([0, 2, 3])
    targets = [ClassifierOutputSoftmaxTarget(int(k)) for k in class_idx]
    torch.manual_seed(5)
    theirs = [
        metric()(images, maps.numpy(), targets, model)
        for metric in (ROADMostRelevantFirstAverage, ROADLeastRelevantFirstAverage)
    ]
    torch.manual_seed(5)
    ours = road(lambda batch, index: class_scores(model(batch), class_idx[index]), images, maps)
    np.testing.assert_allclose(ours.most_relevant_first, theirs[0], atol=1e-5)
    np.testing.assert_allclose(ours.least_relevant_first, theirs[1], atol=1e-5)
    assert np.ptp(theirs[0]) > 1e-2
    combined = ROADCombined()(images, maps.numpy(), targets, model)  # its noise is drawn anew
    np.testing.assert_allclose(ours.combined, combined, atol=1e-2)


def test_a_score_that_reads_the_kept_region_tells_the_orders_apart() -> None:
    images = torch.zeros(1, 3, 8, 8)
    images[:, :, :4] = 1.0
    maps = images[:, 0] * torch.linspace(1, 0.9, 8)  # points at the bright half
    found = road(lambda batch, _: batch.mean(dim=(1, 2, 3)).clamp(0, 1), images, maps, [50], noise=0)
    assert found.most_relevant_first.item() == pytest.approx(-0.5)  # the bright half is imputed from the dark one
    assert found.least_relevant_first.item() == pytest.approx(0.5)
    assert found.combined.item() == pytest.approx(0.5)


def test_bad_input_gets_one_sentence() -> None:
    images, maps = images_and_maps()
    removed = maps > 0.5

    def score(batch: Tensor, index: Tensor) -> Tensor:
        return torch.full((len(batch),), 0.5)

    with pytest.raises(SigcamError, match="must be bool and fit images"):
        impute(images, removed[:2])
    with pytest.raises(SigcamError, match="must be bool and fit images"):
        impute(images, maps)
    with pytest.raises(SigcamError, match="hold NaN or infinity"):
        impute(images / 0, removed)
    with pytest.raises(SigcamError, match=r"percentiles must be numbers in \[0, 100\], at least one, got \[101\]"):
        road(score, images, maps, [101])
    with pytest.raises(SigcamError, match=r"at least one, got \[\]"):
        road(score, images, maps, [])
    with pytest.raises(SigcamError, match="do not fit images"):
        road(score, images, maps[:, :4])
    with pytest.raises(SigcamError, match="one score for each of 3 images"):
        road(lambda batch, index: score(batch, index)[:1], images, maps)
