"""Show a network one image of noise: what it takes, what it gives, and the same with a classifier drawn at random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import fail

WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
USUAL, MOST_COMMON = 3, 4
"""Channels of most pictures, and the most that pictures usually have."""
SUM_OF_PROBABILITIES = 1e-3  # how near 1 the outputs of a softmax add up, in half precision too


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside what PyTorch wraps around networks: ``DataParallel``, its like, and ``torch.compile``.

    >>> unwrapped(nn.DataParallel(nn.Identity()))
    Identity()
    """
    while isinstance(model, WRAPPERS) or hasattr(model, "_orig_mod"):
        model = model.module if isinstance(model, WRAPPERS) else model._orig_mod  # type: ignore[assignment]
    return model


def check_is_trainable(model: nn.Module) -> None:
    """Refuse networks whose parameters are not there to be read or copied.

    Raises:
        SigcamError: for what is no module of PyTorch, such as an ONNX model, compiled and quantised formats, a network
            without parameters, or one that was made under ``torch.inference_mode``.
    """
    name = type(model).__name__
    if not isinstance(model, nn.Module):
        if type(model).__module__.split(".")[0] in ("onnx", "onnxruntime"):
            fail(f"{name} is an ONNX model, whose parts cannot be taken out: pass the nn.Module it was exported from.")
        if isinstance(model, torch.export.ExportedProgram):
            fail(f"{name} is an exported program, which is not trained: pass the nn.Module it was exported from.")
        fail(f"{name} is no network: pass a torch.nn.Module that classifies images.")
    if isinstance(model, torch.jit.ScriptModule):
        fail(f"{name} is TorchScript, whose parts cannot be taken out: pass the nn.Module it was made from.")
    if isinstance(model, torch.fx.GraphModule) or any("quantized" in type(m).__module__ for m in model.modules()):
        fail(f"{name} is a traced or quantised network: pass the nn.Module it was made from, in floating point.")
    parameters = list(model.parameters())
    if not parameters:
        fail(f"{name} has no parameters: pass a classifier of images.")
    if any(parameter.is_inference() for parameter in parameters):
        fail(f"{name} was made under torch.inference_mode, where nothing can be trained later: make it outside.")


@torch.no_grad()
def probe_logits(model: nn.Module) -> Tensor:
    """Logits (1, C) of a probe image.

    Raises:
        SigcamError: if the network does not take it, or gives something else.
    """
    probe = probe_image(model)
    name = type(model).__name__
    with evaluation_mode(model):
        try:
            outputs = model(probe)
        except Exception as error:  # layers complain of a size in many ways, and a forward may raise anything
            size = f"{probe.shape[2]} x {probe.shape[3]}"
            reason = (str(error) or type(error).__name__).splitlines()[0]
            if isinstance(error, TypeError) and "positional argument" in reason:
                fail(f"{name} does not take one batch of images ({reason}): wrap it in a module that does.")
            fail(
                f"{name} fails on a probe of {size} pixels ({reason}): set its `image_size` to the side it expects, or "
                "wrap it, where it takes something else than images, in a module that takes these."
            )
    logits = logits_of(outputs)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        fail(f"{name} must give logits of shape (N, C), got {given}: pass a classifier of images.")
    if logits.shape[1] < 2:
        fail(
            f"{name} gives one logit an image, and a softmax over one class is always 1: let its last layer give two, "
            "with weights and bias of zero for the other class, which is the same classifier."
        )
    return logits


def logits_of(outputs: Any) -> Any:
    """The logits in what a classifier gives: itself, its ``logits``, or the first of a tuple.

    >>> logits_of({"loss": None, "logits": torch.zeros(1, 2)}).shape
    torch.Size([1, 2])
    """
    if isinstance(outputs, dict) and "logits" in outputs:
        return outputs["logits"]
    if hasattr(outputs, "logits"):
        return outputs.logits
    return outputs[0] if isinstance(outputs, tuple) and outputs else outputs


def agree(logits: Any, expected: Tensor) -> bool:
    """Whether what a part gives are the expected logits up to rounding; it may be anything."""
    if not isinstance(logits, Tensor) or logits.shape != expected.shape:
        return False
    tolerance = torch.finfo(expected.dtype).eps ** 0.75  # 6e-6 in float32; the same layers give the same numbers
    return bool((logits - expected).abs().max() <= tolerance * expected.abs().max())


def probe_image(model: nn.Module) -> Tensor:
    """One image of noise with as many channels as the network takes, in the size that the network says it takes.

    The size is that of timm's or Hugging Face's configuration, or the attribute ``image_size``, of the network or of
    the largest part of a wrapper; else 224 pixels.
    """
    return _noise(model, num_channels(model))


def num_channels(network: nn.Module) -> int:
    """Channels of the images that a network takes: those of its first convolution, else 3.

    Some networks rearrange pixels before that, in blocks or frequencies, which gives it many channels; they take three.
    """
    channels = next((module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d)), USUAL)
    return USUAL if channels > MOST_COMMON and _takes(network, USUAL) else channels


@torch.no_grad()
def _takes(network: nn.Module, channels: int) -> bool:
    """Whether a network runs on an image of so many channels."""
    with evaluation_mode(network):
        try:
            network(_noise(network, channels))
        except Exception:  # a forward may raise anything
            return False
    return True


def _noise(network: nn.Module, channels: int) -> Tensor:
    parameter = next(network.parameters())
    sizes = (size for module in _inwards(network) if (size := _own_size(module)))
    height, width = next(sizes, (224, 224))
    noise = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0))
    return noise.to(parameter)


def _inwards(model: nn.Module) -> Iterator[nn.Module]:
    """A network, its largest child, the largest of that one's, and so on."""
    yield model
    if children := [child for child in model.children() if any(True for _ in child.parameters())]:
        yield from _inwards(largest(children))


def largest(modules: list[nn.Module]) -> nn.Module:
    """The module with the most parameters."""
    return max(modules, key=lambda module: sum(parameter.numel() for parameter in module.parameters()))


def _own_size(module: Any) -> tuple[int, int] | None:
    config = getattr(module, "pretrained_cfg", None) or {}  # timm's
    size = (
        getattr(getattr(module, "patch_embed", None), "img_size", None)
        or getattr(module, "image_size", None)
        or getattr(getattr(module, "config", None), "image_size", None)  # of Hugging Face
        or tuple(config.get("input_size", ()))[1:]
    )
    if not size:
        return None
    return (size, size) if isinstance(size, int) else tuple(size)


@contextmanager
def drawn_classifier(model: nn.Module, num_classes: int) -> Iterator[None]:
    """Random weights and no bias in every layer with C outputs; afterwards the layers have their own again.

    A new network may have a classifier of zeros, or features so small that its bias hides them. Its logits would
    then agree with those of any split. Layers whose weights are made by hooks, such as weight normalisation, are left
    alone: what the hooks once made of random numbers would stay behind.
    """
    generator = torch.Generator().manual_seed(0)
    layers = [module for module in model.modules() if _num_outputs(module) == num_classes and not has_hooks(module)]
    parameters = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
    own = [parameter.data for parameter in parameters]
    try:
        for parameter in parameters:
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.data = (drawn if parameter.ndim > 1 else torch.zeros_like(drawn)).to(parameter)
        yield
    finally:
        for parameter, data in zip(parameters, own, strict=True):
            parameter.data = data


def has_hooks(layer: nn.Module) -> bool:
    """Whether something may change what a layer computes from its own ``weight``: hooks, or parametrisations."""
    return bool(layer._forward_pre_hooks or layer._forward_hooks or hasattr(layer, "parametrizations"))


def _num_outputs(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    return module.out_channels if isinstance(module, nn.Conv2d) else None


def are_probabilities(logits: Tensor) -> bool:
    """Whether outputs (N, C) are a softmax already: none is negative, and those of an image add up to 1."""
    total = logits.double().sum(dim=1)
    return bool((logits >= 0).all()) and bool(((total - 1).abs() < SUM_OF_PROBABILITIES).all())


@contextmanager
def evaluation_mode(*networks: nn.Module) -> Iterator[None]:
    """Dropout and BatchNorm in evaluation mode inside the block; afterwards every module has its own mode again."""
    was_training = {module: module.training for network in networks for module in network.modules()}
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, mode in was_training.items():
            module.training = mode
