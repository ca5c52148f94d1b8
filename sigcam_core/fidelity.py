"""Fidelity of a map: how a class score changes when only what the map shows is kept."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import fail


def average_drop(image_scores: Tensor, explained_scores: Tensor) -> float:
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
    return float(100 * ((y - o).clamp(min=0) / y).mean())


def increase_in_confidence(image_scores: Tensor, explained_scores: Tensor) -> float:
    """Increase in confidence: 100 mean(O > Y), higher is better (Chattopadhay et al. 2018).

    Args and errors as for :func:`average_drop`.

    >>> increase_in_confidence(torch.tensor([0.8, 0.5]), torch.tensor([0.4, 0.9]))
    50.0
    """
    y, o = _check(image_scores, explained_scores)
    return float(100 * (o > y).double().mean())


def explain_images(images: Tensor, score_maps: Tensor) -> Tensor:
    """Explained images: normalised images times their score maps, so that what is dropped takes the mean colour.

    Args:
        images: (N, 3, H, W) normalised images, for which zero is the mean colour.
        score_maps: (N, H, W) in [0, 1].

    Returns:
        (N, 3, H, W) in the type of the images.

    Raises:
        SigcamError: if the shapes do not fit.
    """
    if images.ndim != 4 or score_maps.shape != (images.shape[0], *images.shape[2:]):
        fail(f"score maps {tuple(score_maps.shape)} do not fit images {tuple(images.shape)}: one map a pixel.")
    return images * score_maps[:, None].to(images.dtype)


def _check(image_scores: Tensor, explained_scores: Tensor) -> tuple[Tensor, Tensor]:
    y, o = torch.as_tensor(image_scores).double(), torch.as_tensor(explained_scores).double()
    if y.ndim != 1 or y.shape != o.shape or len(y) == 0:
        fail(f"scores must be two vectors of equal length N >= 1, got {tuple(y.shape)} and {tuple(o.shape)}.")
    if not bool(((y > 0) & (y <= 1) & (o >= 0) & (o <= 1)).all()):
        fail("scores must be probabilities: Y in (0, 1] and O in [0, 1].")
    return y, o
