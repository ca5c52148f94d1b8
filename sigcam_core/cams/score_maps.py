"""Score maps: class activation maps resized to the image and stretched to [0, 1], the form that most metrics judge.

Metrics that ask about the sign of a map take it resized in the same way, but not stretched.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..common.checks import Array, to_tensor
from ..common.errors import fail
from ..common.floats import widened, widest_float


def normalize_maps(maps: Array, size: int | Sequence[int]) -> Tensor:
    """Resize maps bicubically and stretch each to [0, 1] by its minimum and maximum, in float64.

    On a device without float64, such as Apple's GPUs, results are float32, here and below.

    The order (resize, then stretch) and the interpolation are those of Choe et al. 2020.

    Args:
        maps: (N, h, w), whose gradient is kept.
        size: (height, width) of the result, or one side of a square.

    Returns:
        (N, height, width) float64 score maps; a map that is constant or holds NaN becomes zeros.

    Raises:
        SigcamError: if ``maps`` is not three-dimensional, or the size is not in whole pixels.

    >>> normalize_maps(torch.tensor([[[1.0, 3.0], [5.0, 1.0]]]), size=(2, 2))
    tensor([[[0.0000, 0.5000],
             [1.0000, 0.0000]]], dtype=torch.float64)
    """
    maps, size = _checked(maps), _sides(size)
    # Constant maps are found before resizing, whose rounding would otherwise be stretched to noise in [0, 1].
    resized = _resized(maps, _varies(maps), size)
    low = resized.amin(dim=(1, 2), keepdim=True)
    span = resized.amax(dim=(1, 2), keepdim=True) - low
    span = span.where(span > 0, 1.0)
    if resized.requires_grad:  # what is changed in place has no gradient
        return (resized - low) / span
    return resized.sub_(low).div_(span)


def resize_maps(maps: Array, size: int | Sequence[int]) -> Tensor:
    """Resize maps bicubically as :func:`normalize_maps` does, and leave their values: signs and scale are kept.

    Args:
        maps: (N, h, w), whose gradient is kept.
        size: (height, width) of the result, or one side of a square.

    Returns:
        (N, height, width) float64; a constant map stays exactly constant, and one that holds NaN becomes zeros.

    Raises:
        SigcamError: if ``maps`` is not three-dimensional, or the size is not in whole pixels.

    >>> resize_maps(torch.tensor([[[1.0, -3.0]]]), size=(2, 2))
    tensor([[[ 1., -3.],
             [ 1., -3.]]], dtype=torch.float64)
    """
    maps, size = _checked(maps), _sides(size)
    varies = _varies(maps)
    constant = widened(maps[:, :1, :1]).where(~varies[:, None, None], 0.0)
    return _resized(maps, varies, size) + constant.nan_to_num(0.0, 0.0, 0.0)


def correlation_of_resized(maps: Array, others: Array, size: int | Sequence[int]) -> Tensor:
    """Pearson's correlation over the pixels of two maps, as if both were resized as :func:`normalize_maps` does.

    Resizing is linear, X -> R X C' with weights R of rows and C of columns, so that the sum over pixels of one resized
    map times another, tr (R X C')' (R Y C'), is the sum over X times (R'R) Y (C'C): no pixel need be made. Stretching
    changes no correlation.

    Args:
        maps: (N, h, w).
        others: (N, h, w).
        size: (height, width) that both would be resized to, or one side of a square.

    Returns:
        (N,) float64 in [-1, 1]; NaN where a map is constant or holds NaN.

    Raises:
        SigcamError: if the maps are not three-dimensional, their shapes differ, or the size is not in whole pixels.

    >>> ramp = torch.arange(4.0).view(1, 2, 2)
    >>> correlation_of_resized(ramp, 1 - 2 * ramp, size=(8, 8))
    tensor([-1.], dtype=torch.float64)
    """
    maps, others, size = _checked(maps), _checked(others), _sides(size)
    if maps.shape != others.shape:
        fail(f"maps to correlate must have one shape, got {tuple(maps.shape)} and {tuple(others.shape)}.")
    varies = _varies(maps) & _varies(others)
    rows, columns = (_bicubic_weights(old, new, maps.device) for old, new in zip(maps.shape[1:], size, strict=True))
    shares = torch.outer(rows.mean(dim=0), columns.mean(dim=0))  # (h, w) of each value in the mean over pixels
    between_rows, between_columns = rows.T @ rows, columns.T @ columns  # (h, h), (w, w)

    def centred(values: Tensor) -> Tensor:
        kept = widened(values).where(varies[:, None, None], 0.0)
        return kept - (kept * shares).sum(dim=(1, 2), keepdim=True)

    def products(one: Tensor, other: Tensor) -> Tensor:
        return (one * (between_rows @ other @ between_columns)).sum(dim=(1, 2))

    a, b = centred(maps), centred(others)
    correlation = products(a, b) / (products(a, a) * products(b, b)).sqrt()
    return correlation.clamp(-1, 1).where(varies, torch.nan)


def _checked(maps: Array) -> Tensor:
    """Return the maps as a tensor, if they are (N, h, w) with at least one pixel each."""
    tensor = to_tensor(maps)
    if tensor.ndim != 3 or 0 in tensor.shape[1:]:
        fail(f"maps must have shape (N, height, width), got {tuple(tensor.shape)}: give each at least one pixel.")
    return tensor


def _sides(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width; one number is the side of a square."""
    sides: Any = (size, size) if isinstance(size, Integral) else size
    try:
        height, width = map(operator.index, sides)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        fail(f"maps cannot be resized to {size!r}: give (height, width), or the side of a square, in whole pixels.")
    return height, width


def _varies(maps: Tensor) -> Tensor:
    """Say which of the maps (N, h, w) are finite and not constant, (N,)."""
    flat = maps.flatten(1)  # (N, h w)
    return flat.isfinite().all(dim=1) & (flat.amax(dim=1) > flat.amin(dim=1))


def _resized(maps: Tensor, kept: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize the maps that are kept (N,) to (N, H, W) in float64; the others become zeros."""
    # Bicubic interpolation is linear along each axis: two small products of matrices, ten times faster than
    # interpolating in two dimensions.
    rows, columns = (_bicubic_weights(old, new, maps.device) for old, new in zip(maps.shape[1:], size, strict=True))
    # (H, h) @ ((N, h, w) @ (w, W)) = (N, H, W)
    return rows @ (widened(maps).where(kept[:, None, None], 0.0) @ columns.T)


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)  # what is kept must serve callers in any mode
@torch.no_grad()
def _bicubic_weights(old: int, new: int, device: torch.device) -> Tensor:
    """Compute what each of ``old`` values adds to each of ``new`` interpolated ones, (new, old)."""
    each = torch.eye(old, dtype=widest_float(device), device=device)[:, None, :, None]
    return interpolate(each, size=(new, 1), mode="bicubic", align_corners=False)[:, 0, :, 0].T.contiguous()
