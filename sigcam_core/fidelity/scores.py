"""Fidelity of a map: how a class score changes when only what the map shows is kept.

What is float64 here is float32 on a device without float64, such as Apple's GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from ..cams.score_maps import correlation_of_resized
from ..common.checks import Array, check_class_idx, check_score_maps, to_tensor
from ..common.errors import fail
from ..common.floats import widened
from ..common.resampling import FloatArray

Scores = TypeVar("Scores", Tensor, FloatArray)


def average_drop(image_scores: Array, explained_scores: Array) -> float:
    """Average drop: 100 mean(max(0, Y - O) / Y), lower is better (Chattopadhay et al. 2018).

    Args:
        image_scores: (N,) probabilities Y of the explained class on the image.
        explained_scores: (N,) probabilities O of the same class on the explained image.

    Returns:
        Percentage in [0, 100].

    Raises:
        SigcamError: if the shapes differ, nothing is given, or a score is not in [0, 1] (Y not in (0, 1]).

    >>> average_drop(torch.tensor([0.8, 0.5]), torch.tensor([0.4, 0.9]))
    25.0
    """
    y, o = _check(image_scores, explained_scores)
    return float(100 * relative_drop(y, o).mean())


def relative_drop(image_scores: Scores, explained_scores: Scores) -> Scores:
    """Compute the drop max(0, Y - O) / Y of each image (N,), a fraction of its score; inputs are taken as checked."""
    drop: Scores = (image_scores - explained_scores).clip(min=0) / image_scores
    return drop


def increase_in_confidence(image_scores: Array, explained_scores: Array) -> float:
    """Increase in confidence: 100 mean(O > Y), higher is better (Chattopadhay et al. 2018).

    Args and errors as for :func:`average_drop`.

    >>> increase_in_confidence(torch.tensor([0.8, 0.5]), torch.tensor([0.4, 0.9]))
    50.0
    """
    y, o = _check(image_scores, explained_scores)
    return float(100 * widened(o > y).mean())


def coverage(score_maps: Array) -> Tensor:
    """Compute the share of the image that each map keeps, its mean; Poppi et al. 2021 call it complexity.

    Args:
        score_maps: (N, H, W) in [0, 1].

    Returns:
        (N,) float64 fractions in [0, 1].

    Raises:
        SigcamError: if there is no map, or one is not (H, W), finite and within [0, 1].

    >>> coverage(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))
    tensor([0.2500], dtype=torch.float64)
    """
    checked = check_score_maps(score_maps)
    if len(checked) == 0:
        fail("there are no score maps to average: give at least one.")
    return widened(checked).mean(dim=(1, 2))


def coherency(score_maps: Array, explained_score_maps: Array) -> Tensor:
    """Compare the maps of an image and of its explained image: (1 + correlation) / 2 (Poppi et al. 2021).

    Pearson's correlation over pixels does not change when a map is stretched. Where it is undefined, because one of
    the two maps is constant, coherency is 0: in the authors' code, too, a map that cannot be stretched gives 0.

    Args:
        score_maps: (N, H, W) in [0, 1], of the images.
        explained_score_maps: (N, H, W) in [0, 1], of the same class on the explained images.

    Returns:
        (N,) float64 in [0, 1].

    Raises:
        SigcamError: if the shapes differ, there is no map, or one is not (H, W), finite and within [0, 1].

    >>> halves = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    >>> coherency(torch.cat([halves, halves]), torch.cat([halves, 0 * halves]))
    tensor([1., 0.], dtype=torch.float64)
    """
    given = [to_tensor(maps) for maps in (score_maps, explained_score_maps)]
    if given[0].shape != given[1].shape or len(given[0]) == 0:
        shapes = " and ".join(str(tuple(maps.shape)) for maps in given)
        fail(f"the maps of images and of explained images must pair up, N >= 1 of one size, got {shapes}.")
    flat = [widened(check_score_maps(maps)).flatten(1) for maps in given]
    constant = [maps.amax(dim=1) == maps.amin(dim=1) for maps in flat]
    a, b = (maps - maps.mean(dim=1, keepdim=True) for maps in flat)
    correlation = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
    return torch.where(constant[0] | constant[1], 0.0, (1 + correlation.clamp(-1, 1)) / 2)


def coherency_of_maps(maps: Array, explained_maps: Array, size: int | Sequence[int]) -> Tensor:
    """:func:`coherency` of maps before they are made into score maps, to rounding, in a fraction of its time.

    Args:
        maps: (N, h, w), of the images.
        explained_maps: (N, h, w), of the same class on the explained images.
        size: (height, width) of the score maps, or one side of a square.

    Returns:
        (N,) float64 in [0, 1].

    >>> ramp = torch.arange(4.0).view(1, 2, 2)
    >>> coherency_of_maps(ramp, 3 * ramp, size=(8, 8)), coherency_of_maps(ramp, 0 * ramp, size=(8, 8))
    (tensor([1.], dtype=torch.float64), tensor([0.], dtype=torch.float64))
    """
    correlation = correlation_of_resized(maps, explained_maps, size)
    return ((1 + correlation) / 2).nan_to_num(0.0)


def adcc(coherency: Array, complexity: Array, average_drop: Array) -> Tensor:
    """ADCC: the harmonic mean of coherency, 1 - complexity and 1 - average drop (Poppi et al. 2021).

    The definition is of one image. For a data set, put in the means over its images, as our tables do: the harmonic
    mean of an image is 0 as soon as one term is, and the mean of such values is mostly a count of those images.

    Args:
        coherency: (...) fractions in [0, 1], higher is better.
        complexity: (...) coverage of the maps, a fraction in [0, 1].
        average_drop: (...) a fraction in [0, 1], not a percentage.

    Returns:
        (...) float64 percentages, higher is better; 0 where one of the three terms is 0.

    Raises:
        SigcamError: if the shapes differ, nothing is given, or a value is not in [0, 1].

    >>> adcc(torch.tensor(0.9), torch.tensor(0.4), torch.tensor(0.2))
    tensor(74.4828, dtype=torch.float64)
    """
    given = [widened(to_tensor(term)) for term in (coherency, complexity, average_drop)]
    if len({term.shape for term in given}) > 1 or given[0].numel() == 0:
        fail(f"the terms of ADCC must have one shape, got {', '.join(str(tuple(term.shape)) for term in given)}.")
    if not all(bool(((term >= 0) & (term <= 1)).all()) for term in given):
        fail("the terms of ADCC must be fractions in [0, 1]: divide percentages by 100, and leave out what is NaN.")
    terms = torch.stack([given[0], 1 - given[1], 1 - given[2]])
    return 100 * 3 / (1 / terms).sum(dim=0)  # a zero gives 3 / infinity = 0


def explain_images(images: Tensor, score_maps: Array) -> Tensor:
    """Explained images: normalised images times their score maps, so that what is dropped takes the mean colour.

    Args:
        images: (N, 3, H, W) normalised images, for which zero is the mean colour.
        score_maps: (N, H, W) in [0, 1].

    Returns:
        (N, 3, H, W) in the type of the images, on their device.

    Raises:
        SigcamError: if the shapes do not fit, or maps hold NaN or values outside [0, 1].
    """
    score_maps = to_tensor(score_maps)
    if images.ndim != 4 or score_maps.shape != (images.shape[0], *images.shape[2:]):
        fail(f"score maps {tuple(score_maps.shape)} do not fit images {tuple(images.shape)}: one map per pixel.")
    return images * check_score_maps(score_maps)[:, None].to(images)


def class_scores(logits: Array, class_idx: Array) -> Tensor:
    """Compute softmax probabilities (N,) of one class per image, in float64, from logits (N, C).

    Raises:
        SigcamError: if a class is out of range or not a whole number.
    """
    logits, class_idx = to_tensor(logits), to_tensor(class_idx)
    check_class_idx(class_idx, logits.shape[1])
    return softmax_of_class(logits, class_idx)


def softmax_of_class(logits: Tensor, class_idx: Tensor) -> Tensor:
    """:func:`class_scores` (N,) of logits (N, C) and classes (N,) that were checked before."""
    return widened(logits).softmax(dim=1).gather(1, class_idx[:, None])[:, 0]


def _check(image_scores: Array, explained_scores: Array) -> tuple[Tensor, Tensor]:
    y, o = widened(to_tensor(image_scores)), widened(to_tensor(explained_scores))
    if y.ndim != 1 or y.shape != o.shape or len(y) == 0:
        fail(f"scores must be two vectors of equal length N >= 1, got {tuple(y.shape)} and {tuple(o.shape)}.")
    if not bool(((y > 0) & (y <= 1) & (o >= 0) & (o <= 1)).all()):
        fail("scores must be probabilities: Y in (0, 1] and O in [0, 1].")
    return y, o
