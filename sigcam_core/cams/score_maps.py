"""Score maps: class activation maps resized to the image, and stretched to [0, 1], the form that metrics judge."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..common.errors import fail


def normalize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps bicubically and stretch each to [0, 1] by its minimum and maximum, in float64.

    The order (resize, then stretch) and the interpolation are those of Choe et al. 2020.

    Args:
        maps: (N, h, w).
        size: (height, width) of the result.

    Returns:
        (N, height, width) float64 score maps; a map that is constant or holds NaN becomes zeros.

    Raises:
        SigcamError: if ``maps`` is not three-dimensional.

    >>> normalize_maps(torch.tensor([[[1.0, 3.0], [5.0, 1.0]]]), size=(2, 2))
    tensor([[[0.0000, 0.5000],
             [1.0000, 0.0000]]], dtype=torch.float64)
    """
    if maps.ndim != 3:
        fail(f"maps must have shape (N, height, width), got {tuple(maps.shape)}.")
    flat = maps.flatten(1)  # (N, h w)
    # Constant maps are found before resizing, whose rounding would otherwise be stretched to noise in [0, 1].
    valid = flat.isfinite().all(dim=1) & (flat.amax(dim=1) > flat.amin(dim=1))
    resized = resize_maps(maps.double().where(valid[:, None, None], 0.0), size)
    low = resized.amin(dim=(1, 2), keepdim=True)
    span = resized.amax(dim=(1, 2), keepdim=True) - low
    return resized.sub_(low).div_(span.where(span > 0, 1.0))


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps bicubically in float64, values as they are.

    Args:
        maps: (N, h, w).
        size: (height, width) of the result.

    Returns:
        (N, height, width) float64.
    """
    # Bicubic interpolation is linear along each axis: two small products of matrices, ten times faster than
    # interpolating in two dimensions.
    rows, columns = (_bicubic_weights(old, new, maps.device) for old, new in zip(maps.shape[1:], size, strict=True))
    # (H, h) @ ((N, h, w) @ (w, W)) = (N, H, W)
    return rows @ (maps.double() @ columns.T)


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)  # what is kept must serve callers in any mode
@torch.no_grad()
def _bicubic_weights(old: int, new: int, device: torch.device) -> Tensor:
    """What each of ``old`` values adds to each of ``new`` interpolated ones, (new, old) in float64."""
    each = torch.eye(old, dtype=torch.float64, device=device)[:, None, :, None]
    return interpolate(each, size=(new, 1), mode="bicubic", align_corners=False)[:, 0, :, 0].T.contiguous()
