"""Insertion and deletion: how a class score changes as pixels come or go in the order of a map.

Both curves run over images of which a growing share of pixels is kept (insertion) or replaced (deletion), those that
the map ranks highest first. A point of the insertion curve keeps the same area whatever the map, so maps compared at
one point are compared at matched coverage.

What is float64 here is float32 on a device without float64, such as Apple's GPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..common.checks import Array, to_tensor
from ..common.errors import fail
from ..common.floats import widened, widest_float
from .scores import average_drop

Score = Callable[[Tensor, Tensor], Tensor]
"""From images (B, 3, H, W), and which of the N images each was made of (B,), to probabilities (B,)."""


class PerturbationCurves(NamedTuple):
    """Scores of N images as more and more of their pixels are perturbed."""

    fractions: Tensor  #: (S + 1,) float64 from 0 to 1, the share of the pixels that is inserted or deleted
    deletion: Tensor  #: (N, S + 1) float64
    insertion: Tensor  #: (N, S + 1) float64


@torch.no_grad()
def perturbation_curves(
    score: Score,
    images: Tensor,
    score_maps: Array,
    steps: int = 20,
    baseline: Tensor | None = None,
    batch_size: int = 32,
    image_scores: Tensor | None = None,
) -> PerturbationCurves:
    """Compute the deletion and insertion curves of RISE (Petsiuk et al. 2018, Section 4.3).

    The two curves share their end points, so a map costs 2 S - 1 forward passes, and one more where the scores of
    the images are not given.

    Args:
        score: probability of each image's explained class; also called with batches that mix images.
        images: (N, 3, H, W) normalised images.
        score_maps: (N, H, W); pixels are ranked by them, in reading order where they are equal.
        steps: S, how many steps a curve takes. All are of ceil(H W / S) pixels, save the last, which takes the rest;
            so there can be fewer of them than asked for where S does not divide H W.
        baseline: what a pixel is replaced by, broadcast to the images. Zero by default, the mean colour; RISE inserts
            into a blurred image, such as torchvision's ``gaussian_blur(images, 11, 5.0)``.
        batch_size: perturbed images a call of ``score``; memory is in proportion to it.
        image_scores: (N,) scores of the images, where they are known.

    Raises:
        SigcamError: if maps do not fit the images or hold NaN, the baseline does not fit, there are no images, a
            count is below 1, or ``score`` gives anything but one probability per image.
    """
    ranks, counts = _ranks_and_counts(images, score_maps, steps, batch_size)  # (N, H W), (S + 1,)
    filling = _filling(images, baseline)
    num_images, num_pixels = ranks.shape
    last = len(counts) - 1
    curves = images.new_zeros((num_images, 2, last + 1), dtype=widest_float(images.device))  # deletion and insertion
    # Each job is an image, a curve and a point. Deletion's last point, the baseline alone, is insertion's first.
    jobs = torch.cartesian_prod(torch.arange(num_images), torch.arange(2), torch.arange(1, last + 1))  # (J, 3)
    jobs = jobs[(jobs[:, 2] < last) | (jobs[:, 1] == 0)].to(images.device)
    for start in range(0, len(jobs), batch_size):
        image, curve, point = jobs[start : start + batch_size].unbind(1)
        ahead = ranks[image] < counts[point][:, None]  # (B, H W)
        kept = (ahead == (curve == 1)[:, None]).view(-1, 1, *images.shape[2:])  # (B, 1, H, W)
        perturbed = torch.where(kept, images[image], filling[image])  # (B, 3, H, W)
        curves[image, curve, point] = _checked_scores(score(perturbed, image), len(image))
    curves[:, 1, 0] = curves[:, 0, last]
    if image_scores is None:
        for batch in torch.split(torch.arange(num_images, device=images.device), batch_size):
            curves[batch, 0, 0] = _checked_scores(score(images[batch], batch), len(batch))
    else:
        curves[:, 0, 0] = _checked_scores(image_scores, num_images)
    curves[:, 1, last] = curves[:, 0, 0]
    return PerturbationCurves(widened(counts) / num_pixels, curves[:, 0], curves[:, 1])


def deletion_auc(curves: PerturbationCurves) -> Tensor:
    """Area (N,) under the deletion curve, in [0, 1], lower is better (Petsiuk et al. 2018)."""
    return torch.trapezoid(curves.deletion, curves.fractions, dim=1)


def insertion_auc(curves: PerturbationCurves) -> Tensor:
    """Area (N,) under the insertion curve, in [0, 1], higher is better (Petsiuk et al. 2018)."""
    return torch.trapezoid(curves.insertion, curves.fractions, dim=1)


def average_drop_at_coverage(insertion: Array) -> Tensor:
    """Average drop where every map keeps the same share of pixels: exactly the highest of them, the rest replaced.

    Args:
        insertion: (N, S + 1) insertion curves; the last point is the whole image.

    Returns:
        (S + 1,) percentages at the fractions of the curves; 0 at the last.

    Raises:
        SigcamError: if there is no curve, or a score is not in [0, 1] (of the whole image not in (0, 1]).

    >>> average_drop_at_coverage(torch.tensor([[0.2, 0.4, 0.8], [0.1, 0.6, 0.5]]))
    tensor([77.5000, 25.0000,  0.0000], dtype=torch.float64)
    """
    insertion = to_tensor(insertion)
    if insertion.ndim != 2 or insertion.numel() == 0:
        fail(f"insertion curves must have shape (N, S + 1) with N >= 1, got {tuple(insertion.shape)}.")
    drops = [average_drop(insertion[:, -1], point) for point in insertion.unbind(1)]
    return torch.tensor(drops, dtype=widest_float(insertion.device), device=insertion.device)


def _ranks_and_counts(images: Tensor, score_maps: Array, steps: int, batch_size: int) -> tuple[Tensor, Tensor]:
    """Rank (N, H W) of every pixel, 0 the highest; and how many are perturbed at each point of a curve, (S + 1,).

    None is at the first point, and all are at the last.
    """
    score_maps = _checked_ranking_maps(images, score_maps)
    if steps < 1 or batch_size < 1:
        fail(f"steps and batch size must be at least 1, got {steps} and {batch_size}.")
    order = score_maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    num_pixels = order.shape[1]
    counts = torch.arange(0, num_pixels, -(-num_pixels // steps), device=images.device)
    return torch.empty_like(order).scatter_(1, order, places), torch.cat([counts, counts.new_tensor([num_pixels])])


def _filling(images: Tensor, baseline: Tensor | None) -> Tensor:
    if baseline is None:
        return images.new_zeros(()).expand_as(images)
    try:
        return baseline.to(images).expand_as(images)
    except RuntimeError:
        fail(f"a baseline {tuple(baseline.shape)} cannot be broadcast to images {tuple(images.shape)}.")


def _checked_ranking_maps(images: Tensor, score_maps: Array) -> Tensor:
    """Return the maps on the images' device, if they can rank the pixels of the images.

    Raises:
        SigcamError: if there are no images, or maps do not fit them or hold NaN or infinity.
    """
    score_maps = to_tensor(score_maps).to(images.device)
    if images.ndim != 4 or len(images) == 0 or score_maps.shape != (len(images), *images.shape[2:]):
        shapes = f"score maps {tuple(score_maps.shape)} do not fit images {tuple(images.shape)}"
        fail(f"{shapes}: give N >= 1 images (N, 3, H, W) and maps (N, H, W).")
    if not bool(score_maps.isfinite().all()):
        fail("score maps hold NaN or infinity, which have no rank: pass maps through normalize_maps first.")
    return score_maps


def _checked_scores(scores: Tensor, count: int) -> Tensor:
    """Return the scores in the widest float type, if they are probabilities (count,).

    Raises:
        SigcamError: if they are not.
    """
    if scores.shape != (count,):
        fail(f"there must be one score for each of {count} images, got shape {tuple(scores.shape)}.")
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        fail("scores must be probabilities in [0, 1]: take a softmax of the logits.")
    return widened(scores)
