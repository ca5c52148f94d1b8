"""The float type that numbers are computed in where precision matters."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
def widest_float(device: torch.device) -> torch.dtype:
    """Return the widest float type of a device: float64, or float32 where there is none, as on Apple's GPUs.

    >>> widest_float(torch.device("cpu"))
    torch.float64
    """
    try:
        torch.zeros(1, dtype=torch.float64, device=device).add(1)
    except (TypeError, RuntimeError):  # a device says so when it makes the tensor, or when it computes with it
        return torch.float32
    return torch.float64


def widened(values: Tensor) -> Tensor:
    """Convert values to the widest float type of their device, as :func:`widest_float` says.

    >>> widened(torch.tensor([1])).dtype
    torch.float64
    """
    return values.to(widest_float(values.device))
