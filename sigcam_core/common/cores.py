"""Work that is spread over the cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


def over_cores(function: Callable[..., Result], *arguments: Iterable[Any]) -> list[Result]:
    """``map(function, *arguments)``, spread over as many threads as torch may use.

    Threads suffice where the function holds no interpreter lock for long, and nothing is copied.

    >>> over_cores(pow, [2, 3], [3, 2])
    [8, 9]
    """
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(function, *arguments))
