"""Which maps of an image are the same, so that none is scored twice."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..common.floats import widest_float

SAME_MAP_TOLERANCE = 1e-5  # of a map's range; rounding in float32 leaves about 1e-6


def distinct_maps(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Find the P distinct maps among N x R, by :func:`same_as_earlier`, on the device of the maps.

    Args:
        maps: (N, R, h, w), before normalisation.

    Returns:
        (P, 2) image and row of each distinct map, image by image, and (N, R) which of the P a map is.
    """
    source = torch.from_numpy(same_as_earlier(maps))  # (N, R)
    owners = (source == torch.arange(source.shape[1])).nonzero()  # (P, 2)
    rank = torch.zeros_like(source)
    rank[owners[:, 0], owners[:, 1]] = torch.arange(len(owners))
    return owners.to(maps.device), rank.gather(1, source).to(maps.device)


def same_as_earlier(maps: Tensor) -> NDArray[np.int64]:
    """For each of R maps of an image, the first of them that is the same map once stretched to [0, 1].

    On a head of global average pooling and one linear layer most methods coincide (up to rounding), and there is
    no need to score one map twice.

    Args:
        maps: (N, R, h, w), before normalisation.

    Returns:
        (N, R) indices into the R maps.

    >>> ramp = torch.arange(4.0).view(2, 2)
    >>> same_as_earlier(torch.stack([ramp, 3 * ramp + 1, -ramp])[None])
    array([[0, 0, 2]])
    """
    flat = maps.flatten(2).to(widest_float(maps.device))  # (N, R, h w)
    low = flat.amin(dim=2, keepdim=True)
    span = flat.amax(dim=2, keepdim=True) - low
    return _first_of_same(torch.where(span > 0, (flat - low) / span, 0.0))


def same_up_to_scale(maps: Tensor) -> NDArray[np.int64]:
    """For each of R maps of an image, the first of them that is a positive multiple of it, signs and zeros in place.

    Less is the same here than for :func:`same_as_earlier`, which also lets a constant be added.

    Args:
        maps: (N, R, h, w), raw.

    Returns:
        (N, R) indices into the R maps.

    >>> ramp = torch.arange(4.0).view(2, 2)
    >>> same_up_to_scale(torch.stack([ramp, 3 * ramp + 1, -ramp, 2 * ramp])[None])
    array([[0, 1, 2, 0]])
    """
    flat = maps.flatten(2).to(widest_float(maps.device))  # (N, R, h w)
    largest = flat.abs().amax(dim=2, keepdim=True)
    return _first_of_same(torch.where(largest > 0, flat / largest, 0.0))


def _first_of_same(flat: Tensor) -> NDArray[np.int64]:
    """For each of R maps (N, R, P) of the same range, the first that differs by rounding alone, (N, R)."""
    # A row at a time: all R x R differences at once would be the largest tensor of an evaluation.
    rows = [(flat - flat[:, row, None]).abs().amax(dim=2) <= SAME_MAP_TOLERANCE for row in range(flat.shape[1])]
    same = torch.stack(rows, dim=1).cpu().numpy()  # (N, R, R)
    source = np.tile(np.arange(same.shape[1]), (len(same), 1))
    for row in range(1, same.shape[1]):
        # Only maps that stand for themselves qualify: closeness within a tolerance is not transitive.
        earlier = same[:, row, :row] & (source[:, :row] == np.arange(row))
        source[:, row] = np.where(earlier.any(axis=1), earlier.argmax(axis=1), row)
    return source
