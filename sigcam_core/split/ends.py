"""The end of a network: the layer that gives its logits, and what is made of them behind it.

Features, probabilities and logits are all rows of numbers. They are distinguished by what the network makes of noise in
place of what its last layer gives: logits may become any number, probabilities stay in [0, 1], and what an activation
lets through is never far below zero. Trained values tell nothing here: small logits may lie in [0, 1] by chance.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from .calls import first_tensor, put_first
from .probe import agree, evaluation_mode, logits_of
from .refusals import refuse

SIGMOIDS = (nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid)
PROBABILITIES = (nn.Softmax, nn.Softmax2d, nn.LogSoftmax, *SIGMOIDS)
"""Layers that make probabilities of logits, or their logarithms. Both heads leave them out."""
CHANNELS_SECOND = (nn.Conv2d, nn.BatchNorm2d)
"""Layers that give channels in the second dimension; others give them in the last."""
SWING = 10.0
"""Standard deviation of the noise, far beyond [0, 1], though its exponential is still finite in half precision."""
SMALL = 0.5  # so that sigmoids are not all 0 or 1, and do not add up to 1 by that
ROUNDING = 1e-3  # in half precision too
RECTIFIED = 0.5
"""Numbers are rectified where the lowest is less than so many times as far below zero as the highest is above it."""


@torch.no_grad()
def without_probabilities(network: nn.Module, inputs: Tensor) -> tuple[nn.Module, bool]:
    """Remove the layer of probabilities at a network's end, if it has one, and say whether it is a sigmoid.

    The layer is found by what it gives, which is what the network gives, so that any ``forward`` may call it. The
    network itself is left as it is: what holds the layer is copied, parameters are shared.

    Args:
        network: a classifier, or its head.
        inputs: of one image, which it takes.

    >>> network, is_sigmoid = without_probabilities(nn.Sequential(nn.Linear(4, 2), nn.Sigmoid()), torch.zeros(1, 4))
    >>> network[1], is_sigmoid
    (Identity(), True)
    """
    layers: list[nn.Module] = [module for module in network.modules() if isinstance(module, PROBABILITIES)]
    if not layers:
        return network, False
    given: dict[nn.Module, list[Any]] = {}

    def note(layer: nn.Module, _: object, outputs: Any) -> None:
        given.setdefault(layer, []).append(outputs)

    with evaluation_mode(network), ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.register_forward_hook(note).remove)
        expected = logits_of(network(inputs.clone()))
    for layer, own in given.items():
        if not torch.equal(own[0].flatten(), expected.flatten()):
            continue
        shorter = _replaced(network, layer, nn.Identity())
        with evaluation_mode(shorter):
            logits = logits_of(shorter(inputs.clone()))
        if agree(layer(logits.reshape(own[0].shape)).flatten(), expected.flatten()):
            return shorter, isinstance(layer, SIGMOIDS)
    return network, False


def _replaced(network: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """Replace a module of a network: modules around it become shallow copies, all others are shared."""
    if network is old:
        return new
    children = {name: child and _replaced(child, old, new) for name, child in network._modules.items()}
    if all(children[name] is child for name, child in network._modules.items()):
        return network
    copied = copy.copy(network)
    copied._modules = children
    return copied


def check_gives_logits(network: nn.Module, inputs: Tensor, model: nn.Module, num_classes: int | None = None) -> None:
    """Refuse a network whose outputs are probabilities, or features.

    Args:
        network: a classifier, or its head.
        inputs: of one image, which it takes.
        model: the classifier, which the sentence names.
        num_classes: C, where the caller says how many classes there are: outputs that look like features by an
            activation behind the last layer are then taken for the scores of classes.

    Raises:
        SigcamError: if its outputs are always probabilities, or their logarithms; if a norm gives them, or an
            activation; or if the network says that it has no classes.
    """
    with evaluation_mode(network):
        layer, classes = _last_layer(network, inputs)
        if getattr(network, "num_classes", None) == 0:  # as networks of timm say
            refuse("no classifier", model, classes=classes, last="what comes before a last layer")
        weight = _weight_of_classes(network, inputs, classes)
        outputs = _swung(network, inputs, layer, weight)
    low, high = float(outputs.min()), float(outputs.max())
    if low == high:
        return  # they do not depend on the image either, which is refused where that is checked
    if low >= 0 and high <= 1 + ROUNDING:
        refuse("softmax" if _add_up_to_one(outputs) else "sigmoid", model)
    if high <= ROUNDING and (_add_up_to_one(outputs.exp()) or _add_up_to_one(_of_both_signs(outputs.exp()))):
        refuse("logarithms", model)
    if layer is None or weight is not None:
        return
    if _is_norm(layer) and not isinstance(layer, nn.BatchNorm1d):
        refuse("no classifier", model, classes=classes, last=f"a {type(layer).__name__}")
    if -low < RECTIFIED * high and not _gives_maps_of_classes(layer, classes) and num_classes is None:
        refuse("activation", model, classes=classes)


@torch.no_grad()
def _swung(network: nn.Module, inputs: Tensor, layer: nn.Module | None, weight: nn.Parameter | None) -> Tensor:
    """Compute outputs (3, C) for noise in place of a layer's output or a weight matrix: large, its negative, small.

    Where there is neither, the inputs are varied instead.
    """
    rows = []
    for scale in (SWING, -SWING, SMALL):
        shown = inputs.clone()
        with ExitStack() as stack:
            if weight is not None:
                stack.callback(setattr, weight, "data", weight.data)
                weight.data = _noise(scale, weight, tuple(weight.shape))
            elif layer is not None:
                stack.callback(layer.register_forward_hook(_puts_noise(scale)).remove)
            else:
                shown *= scale
            rows.append(logits_of(network(shown)).float())
    return torch.cat(rows)


def _noise(scale: float, like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Noise of this shape, repeated to that of another tensor."""
    drawn = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(0), device="cpu")
    return (scale * drawn).expand(like.shape).contiguous().to(like)  # layers behind may work in place


def _puts_noise(scale: float) -> Callable[[nn.Module, Any, Any], Any]:
    """Make a hook that puts noise in place of a layer's output, the same at all places.

    Where it differed from place to place, the greatest over many of them would be positive for noise of either sign,
    as behind an activation.
    """

    def hook(layer: nn.Module, _: Any, outputs: Any) -> Any:
        tensor = first_tensor(outputs)
        if tensor is None:
            return outputs
        shape = [1] * tensor.ndim
        channels = 1 if isinstance(layer, CHANNELS_SECOND) else -1
        shape[channels] = tensor.shape[channels]
        return put_first(_noise(scale, tensor, tuple(shape)), outputs)

    return hook


def _add_up_to_one(outputs: Tensor) -> bool:
    """Say whether each row does."""
    return bool((outputs.sum(dim=1) - 1).abs().max() < ROUNDING)


def _of_both_signs(outputs: Tensor) -> Tensor:
    """Pairs (C, 2) of what came of noise and of its negative: their sigmoids add up to 1."""
    return outputs[:2].T


def _is_norm(layer: nn.Module) -> bool:
    return "norm" in type(layer).__name__.lower()


def _gives_maps_of_classes(layer: nn.Module, classes: int) -> bool:
    """Say whether a layer is a convolution of single places to classes, as SqueezeNet's, whose ReLU comes behind it."""
    return isinstance(layer, nn.Conv2d) and layer.out_channels == classes and max(layer.kernel_size) == 1


def _is_layer(module: nn.Module) -> bool:
    """Say whether a module is a norm, or has a matrix of weights, its own or one that a parametrisation makes."""
    if list(module.children()) and not hasattr(module, "parametrizations"):
        return False
    has_matrix = any(parameter.ndim > 1 for parameter in module.parameters())
    return has_matrix or _is_norm(module)


@torch.enable_grad()
def _last_layer(network: nn.Module, inputs: Tensor) -> tuple[nn.Module | None, int]:
    """Find the layer called last on which the outputs depend, and the number of outputs."""
    called: list[tuple[nn.Module, Tensor]] = []

    def note(layer: nn.Module, _: object, outputs: Any) -> None:
        if (tensor := first_tensor(outputs)) is not None:
            called.append((layer, tensor))

    with ExitStack() as stack:
        for module in network.modules():
            if _is_layer(module):
                stack.callback(module.register_forward_hook(note).remove)
        outputs = logits_of(network(inputs.detach().clone().requires_grad_()))
    asked = [(layer, tensor) for layer, tensor in called if tensor.requires_grad]
    if asked and outputs.requires_grad:
        found = torch.autograd.grad(outputs.sum(), [tensor for _, tensor in asked], allow_unused=True)
        called = [one for one, gradient in zip(asked, found, strict=True) if gradient is not None]
    return (called[-1][0] if called else None), outputs.shape[1]


def _weight_of_classes(network: nn.Module, inputs: Tensor, classes: int) -> nn.Parameter | None:
    """Find a matrix (C, K) or (K, C) of no layer, whose row or column of a class makes that class's output."""
    containers = [m for name, m in network.named_modules() if "parametrizations" not in name and not _is_layer(m)]
    weights: list[nn.Parameter] = [own for container in containers for own in container.parameters(recurse=False)]
    for weight in weights:
        if weight.ndim == 2 and classes in weight.shape and _is_of_classes(network, inputs, weight, classes):
            return weight
    return None


@torch.enable_grad()
def _is_of_classes(network: nn.Module, inputs: Tensor, weight: nn.Parameter, classes: int) -> bool:
    """Say whether the first output depends on the first row of a matrix (C, K), or column of (K, C), alone."""
    was_trained = weight.requires_grad
    weight.requires_grad_(True)
    try:
        outputs = logits_of(network(inputs.detach().clone()))
        gradient = None
        if outputs.requires_grad:
            (gradient,) = torch.autograd.grad(outputs[0, 0], weight, allow_unused=True)
    finally:
        weight.requires_grad_(was_trained)
    if gradient is None:
        return False
    rows = gradient if len(gradient) == classes else gradient.T
    return bool(rows[0].any()) and not bool(rows[1:].any())
