"""A network cut at the output of any of its modules: what runs up to there, and what runs from there on.

Both parts run the network's own ``forward``, so that whatever it does between its modules is done. In the part up to
the cut, the module there ends the pass. In the part behind it, the module there gives the features, and modules that
ran before it give zeros: if logits still come out right, nothing before the cut takes part in them. No hooks, no copies
of parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import fail
from .calls import Call, Calls, first_tensor, is_before, is_behind, mapped, put_first
from .modules import shallow_copy
from .probe import logits_of

_FEATURES: ContextVar[Tensor] = ContextVar("features")
"""Features of the pass that runs. Kept here and not on a module, so that threads which share a network keep apart."""


class Reached(Exception):  # noqa: N818  # nothing went wrong
    """Ends a pass where the features are."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features


class Last(nn.Module):
    """The last module of a pass."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Run the module, and end the pass with the first tensor that it gives."""
        features = first_tensor(self.module(*inputs, **options))
        if features is None:
            raise TypeError(f"{type(self.module).__name__} gives no tensor")
        raise Reached(features)


class UpTo(nn.Module):
    """A network up to the output of one of its modules: images (N, 3, H, W) to features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Images to features, by the network's own ``forward``, which goes no further."""
        try:
            self.network(images)
        except Reached as reached:
            return reached.features
        raise RuntimeError("the network took another way than with the probe image")


class Passing:
    """What the modules of a pass share that stand in for others.

    Attributes:
        leaves: while a network is cut, a list: what stands in for numbers is noise, noted here to see what depends on
            it. Afterwards ``None``.
    """

    def __init__(self) -> None:
        self.leaves: list[Tensor] | None = None

    def of_batch(self, recorded: Any) -> Any:
        """Zeros in the shapes that a pass over one image gave, for the images of this one."""
        features = _FEATURES.get()

        def numbers(tensor: Tensor) -> Tensor:
            dtype = features.dtype if tensor.is_floating_point() else tensor.dtype
            shape = (len(features) * tensor.shape[0], *tensor.shape[1:]) if tensor.ndim else tensor.shape
            if self.leaves is None or not tensor.is_floating_point():
                return torch.zeros((), dtype=dtype, device=features.device).expand(shape)
            self.leaves.append(torch.randn(shape, dtype=dtype, device=features.device).requires_grad_())
            return self.leaves[-1]

        return mapped(numbers, recorded)


class Hidden:
    """A module that another one knows and does not own: its parameters are somebody else's, in every copy."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __deepcopy__(self, _: object) -> Hidden:
        return self


class StandIn(nn.Module):
    """In place of a module that ran before the cut: gives zeros, or the features if it is the one at the cut."""

    def __init__(self, module: nn.Module, passing: Passing, recorded: Any, gives_features: bool = False) -> None:
        super().__init__()
        self.hidden = Hidden(module)
        self.passing = passing
        self.recorded = recorded
        self.gives_features = gives_features

    def __getattr__(self, name: str) -> Any:
        """Attributes that a network reads of its parts, such as the type of a weight, are those of the module."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["hidden"].module, name)

    def reset_parameters(self) -> None:
        """Draw nothing: the parameters are the other module's."""

    def forward(self, *_: Any, **__: Any) -> Any:
        """Return the module's output for the probe image, its numbers zeroed, or with the features at the cut."""
        outputs = self.passing.of_batch(self.recorded)
        return put_first(_FEATURES.get(), outputs) if self.gives_features else outputs


class Behind(nn.Module):
    """A network from the output of one of its modules on: features to logits (N, C).

    Args:
        network: with its parts before the cut replaced.
        passing: which these parts share.
        picture: (1, 3, H, W) zeros in the size of the probe image.
        shape: of the features of one image.
    """

    def __init__(self, network: nn.Module, passing: Passing, picture: Tensor, shape: torch.Size) -> None:
        super().__init__()
        self.network = network
        self.passing = passing
        self.picture = picture
        self.shape = tuple(shape)
        self.takes_any_size = False

    def forward(self, features: Tensor) -> Tensor:
        """Features to logits.

        Raises:
            SigcamError: for features of another size, where the network takes one size.
        """
        if features.shape[1:] != self.shape and not self.takes_any_size:
            fail(
                f"features must be (N, {', '.join(map(str, self.shape))}), got {tuple(features.shape)}: give images of "
                f"{self.picture.shape[2]} x {self.picture.shape[3]} pixels, or set the network's `image_size` before "
                "it is split."
            )
        own = _FEATURES.set(features)
        try:
            logits: Tensor = logits_of(self.network(self.passing.of_batch(self.picture)))
        finally:
            _FEATURES.reset(own)
        return logits


def up_to(network: nn.Module, calls: Calls, cut: Call) -> tuple[UpTo, list[nn.Module]]:
    """Copy the network up to the output of one call, and list the containers in it, which are copies.

    Modules that ran only behind the cut are not its own.
    """
    passing = Passing()
    containers: list[nn.Module] = []

    def kept(module: nn.Module, name: str) -> nn.Module:
        own = calls.get(name, [])
        if _is_at(own, cut):
            return Last(module)
        if is_behind(own, cut):  # never reached, but Python looks it up before it runs what stands in its brackets
            return StandIn(module, passing, None)
        if _is_around(name, own, calls, cut):
            containers.append(_rebuilt(module, name, kept))
            return containers[-1]
        return module

    return UpTo(kept(network, "")), containers


@torch.enable_grad()
def drop_unused(part: UpTo, containers: list[nn.Module], images: Tensor) -> None:
    """Leave the parameters of containers to the part behind the cut that the features do not depend on."""
    _drop_unused(containers, lambda: part(images), [])


def behind(network: nn.Module, calls: Calls, cut: Call, picture: Tensor, constants: set[str]) -> Behind | None:
    """Copy the network behind the output of one call, or return ``None`` if it also depends on anything before it.

    Args:
        network: the network.
        calls: of a pass over one image.
        cut: one of them.
        picture: (1, 3, H, W) zeros in that image's size.
        constants: names of modules whose output is the same for all images, and which run again.
    """
    passing = Passing()
    containers: list[nn.Module] = []

    def kept(module: nn.Module, name: str) -> nn.Module:
        own = calls.get(name, [])
        if _is_at(own, cut):
            return StandIn(module, passing, cut.outputs, gives_features=True)
        if is_before(own, cut) and name not in constants:
            return StandIn(module, passing, own[0].outputs)
        if _is_around(name, own, calls, cut):
            containers.append(_rebuilt(module, name, kept))
            return containers[-1]
        return module if own else StandIn(module, passing, None)  # never called, but what it holds may be read

    features = first_tensor(cut.outputs)
    assert features is not None
    part = Behind(kept(network, ""), passing, picture, features.shape[1:])
    return part if _owns_what_it_needs(part, containers, features) else None


def _is_at(own: list[Call], cut: Call) -> bool:
    """Say whether the call at the cut is one of this module, whatever it is called here."""
    return any(call is cut for call in own)


def _is_around(name: str, own: list[Call], calls: Calls, cut: Call) -> bool:
    """Say whether the call at the cut belongs to one of this module, or the module is a list of modules that ran."""
    if own:
        return len(own) == 1 and own[0].start < cut.start and own[0].end > cut.end
    return any(other.startswith(f"{name}.") for other in calls)


def _rebuilt(module: nn.Module, name: str, kept: Callable[[nn.Module, str], nn.Module]) -> nn.Module:
    """Copy a module with other children, and tables of parameters and buffers of its own."""
    copied = shallow_copy(module, ())
    for child_name, child in module._modules.items():
        path = f"{name}.{child_name}" if name else child_name
        copied._modules[child_name] = None if child is None else kept(child, path)
    copied._parameters, copied._buffers = dict(module._parameters), dict(module._buffers)
    copied._non_persistent_buffers_set = set(module._non_persistent_buffers_set)
    return copied


@torch.enable_grad()
def _owns_what_it_needs(part: Behind, containers: list[nn.Module], features: Tensor) -> bool:
    """Say whether nothing that stands in for others has a part in the logits, however small."""
    others: list[Tensor] = []
    part.passing.leaves = others
    try:
        found = _drop_unused(containers, lambda: part(torch.randn_like(features).requires_grad_()), others)
    finally:
        part.passing.leaves = None
    return all(gradient is None for gradient in found)


def _drop_unused(containers: list[nn.Module], run: Callable[[], Tensor], others: list[Tensor]) -> list[Tensor | None]:
    """Take parameters of containers out of a part whose outputs do not depend on them, such as position embeddings.

    Args:
        containers: modules with tables of parameters of their own.
        run: gives the part's outputs, with a graph.
        others: tensors that the run adds here, to be looked at as well.

    Returns:
        The gradients of these others, ``None`` where the outputs do not depend on one.
    """
    own = [(module, name) for module in containers for name, value in module._parameters.items() if value is not None]
    parameters = [parameter for module, name in own if (parameter := module._parameters.pop(name)) is not None]
    leaves = [parameter.detach().clone().requires_grad_() for parameter in parameters]
    for (module, name), leaf in zip(own, leaves, strict=True):
        module.register_buffer(name, leaf, persistent=False)
    outputs = run()
    asked = [*leaves, *others]
    found: list[Tensor | None] = [None] * len(asked)
    if asked and outputs.requires_grad:
        found = list(torch.autograd.grad(outputs.sum(), asked, allow_unused=True))
    for (module, name), parameter, gradient in zip(own, parameters, found, strict=False):
        if gradient is None:
            module._buffers[name] = parameter.detach()
        else:
            del module._buffers[name]
            module._parameters[name] = parameter
    return found[len(leaves) :]
