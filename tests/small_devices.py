"""A device that is not there: the CPU, as if it had no float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sigcam_core.cams.score_maps import _bicubic_weights
from sigcam_core.common.floats import widest_float


class WithoutFloat64(TorchDispatchMode):
    """A device that refuses float64 as Apple's does."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        if any(isinstance(one, Tensor) and one.dtype == torch.float64 for one in tree_leaves(outputs)):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        return outputs


@contextmanager
def without_float64() -> Iterator[None]:
    """Work without float64. What was found out about the CPU does not hold inside, nor the reverse."""
    for cached in (widest_float, _bicubic_weights):
        cached.cache_clear()
    try:
        with WithoutFloat64():  # which is of one thread; what it finds out holds in the others
            assert widest_float(torch.device("cpu")) == torch.float32
            yield
    finally:
        for cached in (widest_float, _bicubic_weights):
            cached.cache_clear()
