"""What the modules of a network give in one pass: the record that tells where a network may be cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..common.floats import widest_float


class Call(NamedTuple):
    """One call of one module."""

    name: str  #: of the module, the first in ``named_modules``; the network itself is ""
    start: int  #: number of the event that began it, counted through the pass
    end: int  #: number of the event that ended it
    outputs: Any  #: what it gave, with tensors of zeros, which take no memory, in place of the tensors
    sums: tuple[float, ...]  #: of the tensors that it gave, which tell two passes apart


Calls = dict[str, list[Call]]
"""The calls of one pass, by the module's name; where a module has several names, by each of them."""


@torch.no_grad()
def record_calls(network: nn.Module, images: Tensor) -> Calls:
    """Record what every module of a network gives, in a pass over images (N, 3, H, W)."""
    calls: Calls = {}
    begun: list[int] = []
    events = iter(range(1 << 62))

    def begin(*_: object) -> None:
        begun.append(next(events))

    def end(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(_: nn.Module, __: Any, outputs: Any) -> None:
            sums = tuple(float(tensor.to(widest_float(tensor.device)).sum()) for tensor in tensors_of(outputs))
            call = Call(name, begun.pop(), next(events), mapped(_zeros, outputs), sums)
            calls.setdefault(name, []).append(call)

        return note

    with ExitStack() as stack:
        for name, module in network.named_modules():
            stack.callback(module.register_forward_pre_hook(begin).remove)
            stack.callback(module.register_forward_hook(end(name)).remove)
        network(images)
    first = {module: name for name, module in network.named_modules()}
    names = network.named_modules(remove_duplicate=False)
    return {name: calls[first[module]] for name, module in names if first[module] in calls}


def constant_modules(calls: Calls, others: Calls) -> set[str]:
    """Names of the modules that gave the same in two passes over different images, such as position embeddings."""
    return {
        name
        for name, own in calls.items()
        if all(call.sums for call in own)
        and [call.sums for call in own] == [call.sums for call in others.get(name, [])]
    }


def _zeros(tensor: Tensor) -> Tensor:
    return tensor.new_zeros(()).expand(tensor.shape)


def mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Map the tensors in a structure of tuples, lists and dictionaries through a function.

    >>> mapped(torch.neg, (torch.ones(1), {"a": torch.zeros(1), "b": None}))
    (tensor([-1.]), {'a': tensor([-0.]), 'b': None})
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        made = {key: mapped(function, one) for key, one in value.items()}
        return made if type(value) is dict else type(value)(**made)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(function, one) for one in value))
    if isinstance(value, list | tuple):
        return type(value)(mapped(function, one) for one in value)
    return value


def tensors_of(value: Any) -> Iterator[Tensor]:
    """All tensors in a structure, the first of which is what a layer is said to give."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    mapped(note, value)
    return iter(found)


def first_tensor(value: Any) -> Tensor | None:
    """Find the first tensor in a structure, if there is one."""
    return next(tensors_of(value), None)


def put_first(tensor: Tensor, value: Any) -> Any:
    """Replace the first tensor in a structure."""
    left = [tensor]
    return mapped(lambda own: left.pop() if left else own, value)


def is_before(calls: list[Call], cut: Call) -> bool:
    """Say whether a module was called, and each call was over when the other began."""
    return bool(calls) and all(call.end < cut.start for call in calls)


def is_behind(calls: list[Call], cut: Call) -> bool:
    """Say whether a module was called, and each call began when the other was over."""
    return bool(calls) and all(call.start > cut.end for call in calls)
