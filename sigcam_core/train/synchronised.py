"""BatchNorm over the whole batch, where several processes share it.

Each process sees its share of a batch. With statistics of its share alone, two processes would train another classifier
than one. Torch's own SyncBatchNorm runs on GPUs only; this one adds sums over all processes on any device, forward and
backward, so that it is the same function of the whole batch as BatchNorm in one process, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

BatchNorm = nn.modules.batchnorm._BatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes. Its gradient is that of the sum of all processes' losses."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def _total(values: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(values)  # type: ignore[no-untyped-call]  # missing in torch's stubs
    return total


@contextmanager
def synchronised(modules: Iterable[nn.Module], processes: int) -> Iterator[None]:
    """Let every BatchNorm in training mode use the statistics of all processes' shares, within the block.

    Parameters, buffers and names stay as they are.

    Args:
        modules: networks, which all processes run on as many images, in the same order.
        processes: how many there are; of one, nothing changes.
    """
    layers = [one for module in modules for one in module.modules() if isinstance(one, BatchNorm)]
    layers = list(dict.fromkeys(layers)) if processes > 1 else []
    for layer in layers:
        layer.forward = partial(_forward, layer, processes)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # that of its class comes back


def _forward(layer: Any, processes: int, inputs: Tensor) -> Tensor:
    if not layer.training:
        outputs: Tensor = type(layer).forward(layer, inputs)
        return outputs
    outputs = _normalised(layer, processes, inputs)
    if hasattr(layer, "act"):  # timm's, which carries dropout and the activation behind it
        outputs = layer.act(layer.drop(outputs))
    return outputs


def _normalised(layer: Any, processes: int, inputs: Tensor) -> Tensor:
    """Normalise inputs (B, C, ...) by the statistics of every process's B images; running statistics follow."""
    others = [axis for axis in range(inputs.ndim) if axis != 1]
    shape = [1, -1, *[1] * (inputs.ndim - 2)]
    count = processes * inputs.numel() // inputs.shape[1]
    values = inputs.float()
    mean = _total(values.sum(others)) / count
    centred = values - mean.view(shape)
    variance = _total(centred.square().sum(others)) / count
    if layer.running_mean is not None and layer.track_running_stats:  # torch updates no other either
        with torch.no_grad():
            layer.num_batches_tracked.add_(1)
            share = layer.momentum if layer.momentum is not None else 1 / float(layer.num_batches_tracked)
            layer.running_mean.lerp_(mean.detach(), share)
            layer.running_var.lerp_(variance.detach() * count / max(count - 1, 1), share)
    outputs: Tensor = centred * torch.rsqrt(variance + layer.eps).view(shape)
    if layer.affine:
        outputs = outputs * layer.weight.view(shape) + layer.bias.view(shape)
    return outputs.to(inputs.dtype)
