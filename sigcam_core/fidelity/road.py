"""ROAD: remove pixels in the order of a map and impute them from their neighbours, so that no shape of a mask is left.

A pixel set to a constant shows where it was removed, and a network may read the outline of what is gone. Noisy linear
imputation sets every removed pixel to the weighted mean of its eight neighbours, known or removed, plus a little noise
(Rong et al. 2022). That is one sparse, symmetric and positive definite system a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..common.errors import fail
from .perturbation import Score, check_ranking_maps, checked_scores

PERCENTILES = tuple(range(10, 100, 10))
RESIDUAL = 1e-6  # of the right-hand side: leaves errors of about 2e-5 in normalised images, far below the noise
MAX_ITERATIONS = 10_000


class Road(NamedTuple):
    """Change of each image's score, imputed minus original, averaged over percentiles; (N,) float64 each."""

    most_relevant_first: Tensor  #: lower is better
    least_relevant_first: Tensor  #: higher is better

    @property
    def combined(self) -> Tensor:
        """Half of what least relevant first leaves above most relevant first, (N,), higher is better."""
        return (self.least_relevant_first - self.most_relevant_first) / 2


@torch.no_grad()
def road(
    score: Score,
    images: Tensor,
    score_maps: Tensor,
    percentiles: Sequence[float] = PERCENTILES,
    noise: float = 0.01,
    generator: torch.Generator | None = None,
) -> Road:
    """Remove and debias (Rong et al. 2022): the score after removal of the most, and of the least, relevant pixels.

    At percentile p, the pixels of which the map (or 1 - map) is at least its p-th percentile are removed and imputed.

    Args:
        score: probability of each image's explained class, as
            :func:`sigcam_core.fidelity.perturbation.perturbation_curves` takes it; called with all N images at once.
        images: (N, 3, H, W) normalised images.
        score_maps: (N, H, W) in [0, 1].
        percentiles: where to cut, in [0, 100]; 90 removes a tenth of the pixels.
        noise: standard deviation of what is added to imputed pixels, in units of the normalised images.
        generator: of the noise, on the device of the images; torch's global one by default.

    Raises:
        SigcamError: if maps do not fit the images or hold NaN, a percentile is out of range or there is none, or
            ``score`` gives anything but one probability an image.
    """
    check_ranking_maps(images, score_maps)
    if len(percentiles) == 0 or not all(0 <= percentile <= 100 for percentile in percentiles):
        fail(f"percentiles must be numbers in [0, 100], at least one, got {list(percentiles)}.")
    everything = torch.arange(len(images), device=images.device)
    before = checked_scores(score(images, everything), len(images))
    levels = torch.tensor(percentiles, dtype=torch.float64, device=images.device) / 100
    changes = []
    for ranking in (score_maps, 1 - score_maps):
        thresholds = torch.quantile(ranking.double().flatten(1), levels, dim=1)[:, :, None, None]
        imputed = (impute(images, ranking >= threshold, noise, generator) for threshold in thresholds)
        after = torch.stack([checked_scores(score(batch, everything), len(images)) for batch in imputed])
        changes.append(after.mean(dim=0) - before)
    return Road(*changes)


@torch.no_grad()
def impute(images: Tensor, removed: Tensor, noise: float = 0.01, generator: torch.Generator | None = None) -> Tensor:
    """Noisy linear imputation (Rong et al. 2022, Section 4.1).

    Every removed pixel becomes the weighted mean of its neighbours inside the image: 1/6 for those beside, above and
    below it, 1/12 for the diagonal ones. All masks and channels are solved together by conjugate gradients on the
    images' device.

    Args:
        images: (N, 3, H, W).
        removed: (N, H, W) bool, the pixels to impute. An image without any other pixel becomes zeros and noise.
        noise: standard deviation of normal noise on imputed pixels.
        generator: of the noise, on the device of the images.

    Returns:
        (N, 3, H, W); pixels that are not removed are unchanged.

    Raises:
        SigcamError: if the masks do not fit the images or are not bool, or the images hold NaN or infinity.
    """
    if images.ndim != 4 or removed.shape != (len(images), *images.shape[2:]) or removed.dtype != torch.bool:
        fail(f"masks {tuple(removed.shape)} must be bool and fit images {tuple(images.shape)}: one value a pixel.")
    if not bool(images.isfinite().all()):
        fail("images hold NaN or infinity, which would spread: give finite images.")
    precise = images.double() if images.dtype == torch.float64 else images.float()  # half precision never converges
    filled = _solve(precise, removed[:, None].expand_as(images)).to(images.dtype)
    if noise:
        for image, mask in zip(filled, removed, strict=True):
            shape = (len(image), int(mask.sum()))
            draws = torch.randn(shape, dtype=images.dtype, device=images.device, generator=generator)
            image[:, mask] += noise * draws
    return filled


def _solve(images: Tensor, removed: Tensor) -> Tensor:
    """Conjugate gradients on A u = b, where A u = (weights inside the image) u - neighbours(u) on removed pixels."""
    unknown = removed.to(images.dtype)
    diagonal = unknown * neighbour_sum(torch.ones_like(images[:1, :1]))
    solution = torch.where(removed, 0, images)
    # An image without any known pixel has b = 0, and stays zero.
    residual = unknown * neighbour_sum(solution)
    direction = residual.clone()
    energy = _dot(residual, residual)
    tolerance = RESIDUAL**2 * energy
    for iteration in range(MAX_ITERATIONS):
        if iteration % 10 == 0 and bool((energy <= tolerance).all()):
            return solution
        applied = neighbour_sum(direction).mul_(unknown).neg_().addcmul_(diagonal, direction)
        step = energy / _dot(direction, applied)
        step = torch.where(energy > 0, step, 0)  # a system that is solved to the last bit stands still
        solution.addcmul_(step, direction)
        residual.addcmul_(step, applied, value=-1)
        previous, energy = energy, _dot(residual, residual)
        direction.mul_(torch.where(previous > 0, energy / previous, 0)).add_(residual)
    fail(f"imputation did not converge in {MAX_ITERATIONS} steps: give images of ordinary size and range.")


def neighbour_sum(images: Tensor) -> Tensor:
    """Weighted sum of each pixel's eight neighbours, 1/6 and on the diagonals 1/12; outside the image is zero.

    The weights are ((1, 2, 1) x (1, 2, 1) - 4 in the middle) / 12, so two passes along the axes give the sum.

    >>> neighbour_sum(torch.ones(1, 1, 3, 3))[0, 0].mul(12).round()
    tensor([[ 5.,  8.,  5.],
            [ 8., 12.,  8.],
            [ 5.,  8.,  5.]])
    """
    padded = pad(images, (1, 1, 1, 1))
    rows = padded[..., :-2, :] + padded[..., 2:, :]
    rows.add_(padded[..., 1:-1, :], alpha=2)
    total = rows[..., :-2] + rows[..., 2:]
    return total.add_(rows[..., 1:-1], alpha=2).sub_(images, alpha=4).div_(12)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    dot: Tensor = torch.linalg.vecdot(a.flatten(2), b.flatten(2))
    return dot[:, :, None, None]
