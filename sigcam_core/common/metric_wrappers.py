"""What the wrappers of torchmetrics do not know of a metric: whose counts it may share, and what belongs to its maps.

Either would change values without a word.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.wrappers import BootStrapper

from .errors import fail


def set_apart(metric: Metric, **options: Any) -> None:
    """Let a metric share its counts only with one of the same class and options.

    A :class:`torchmetrics.MetricCollection` takes metrics for one if their states have the same names and are equal
    after the first batch, and from then on updates only the first of them. So the options become the name of a state,
    which is always 0.

    Args:
        metric: a metric that was just made.
        options: all that decides what its counts are.
    """
    words = [type(metric).__name__, *(f"{name}_{value!r}" for name, value in options.items())]
    metric.add_state("counts_of_" + "_".join(words).replace(".", "_"), torch.tensor(0), dist_reduce_fx="sum")


def check_redrawn(*arguments: object) -> None:
    """Refuse arguments of an update that :class:`torchmetrics.wrappers.BootStrapper` would tear apart.

    It redraws images along the first axis of every tensor, but passes an array on as it is and looks for tensors
    inside a list. Maps and boxes then no longer belong together. The numbers do not tell, so the caller is asked.

    Args:
        arguments: of the update, maps included; ``None`` where one was not given.

    Raises:
        SigcamError: if one is neither a tensor nor ``None``, and a BootStrapper is the caller.
    """
    if all(argument is None or isinstance(argument, Tensor) for argument in arguments):
        return
    redraws = BootStrapper.update.__code__
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is redraws:
            fail(
                "BootStrapper redraws images in tensors alone, and arrays and lists would no longer belong to their "
                "maps: pass tensors only, and boxes as one tensor (N, M, 4) in which rows of -1 stand for no box."
            )
