"""Show a network one image of noise: what it takes, what it gives, and the same with a classifier drawn at random."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .refusals import refuse

WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
USUAL = 3
"""Channels of most pictures."""
SIDES = (28, 32, 48, 64, 96, 112, 128, 160, 192, 227, 240, 256, 288, 299, 320, 384, 448, 512)
"""Sides of images that networks are made for, besides 224, tried for a network that fails on images of that side."""


def unwrapped(model: nn.Module) -> nn.Module:
    """Unwrap a network from PyTorch's wrappers: ``DataParallel``, its like, and ``torch.compile``.

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
    if not isinstance(model, nn.Module):
        if type(model).__module__.split(".")[0] in ("onnx", "onnxruntime"):
            refuse("onnx", model)
        refuse("exported" if isinstance(model, torch.export.ExportedProgram) else "no module", model)
    if isinstance(model, torch.jit.ScriptModule):
        refuse("script", model)
    if isinstance(model, torch.fx.GraphModule) or any("quantized" in type(m).__module__ for m in model.modules()):
        refuse("traced", model)
    parameters = list(model.parameters())
    if not parameters:
        refuse("no parameters", model)
    if any(nn.parameter.is_lazy(parameter) or parameter.is_meta for parameter in parameters):
        refuse("no values", model)
    if any(parameter.is_inference() for parameter in parameters):
        refuse("inference mode", model)


@torch.no_grad()
def probe_logits(model: nn.Module, probe: Tensor) -> Tensor:
    """Logits (1, C) of a probe image.

    Raises:
        SigcamError: if the network does not take it, gives something else, or what is not finite.
    """
    with evaluation_mode(model):
        try:
            outputs = model(probe)
        except Exception as error:  # layers complain of a size in many ways, and a forward may raise anything
            _refuse_failed(model, probe, error)
    logits = logits_of(outputs)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        refuse("no logits", model, given=tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__)
    if logits.shape[1] < 2:
        refuse("one logit", model)
    if not bool(logits.isfinite().all()):
        refuse("broken", model)
    return logits


def _refuse_failed(model: nn.Module, probe: Tensor, error: Exception) -> NoReturn:
    """Say why a network fails on a probe image (1, C, H, W), as far as that can be found out."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, TypeError) and "positional argument" in reason:
        refuse("more inputs", model, reason=reason)
    channels, height, width = probe.shape[1:]
    facts = {"reason": reason, "size": f"{height} x {width}", "channels": channels}
    for side in SIDES:
        if _runs(model, _noise(model, channels, (side, side))):
            refuse("size", model, side=side, **facts)
    refuse("fails", model, **facts)


def _runs(model: nn.Module, images: Tensor) -> bool:
    """Say whether a network, in evaluation mode, takes images of this size."""
    try:
        model(images)
    except Exception:  # a forward may raise anything
        return False
    return True


def logits_of(outputs: Any) -> Any:
    """Find the logits in what a classifier returns: itself, its ``logits``, or the first of a tuple.

    >>> logits_of({"loss": None, "logits": torch.zeros(1, 2)}).shape
    torch.Size([1, 2])
    """
    if isinstance(outputs, dict) and "logits" in outputs:
        return outputs["logits"]
    if hasattr(outputs, "logits"):
        return outputs.logits
    return outputs[0] if isinstance(outputs, tuple) and outputs else outputs


def agree(logits: Any, expected: Tensor) -> bool:
    """Say whether what a part gives are the expected logits up to rounding; it may be anything."""
    if not isinstance(logits, Tensor) or logits.shape != expected.shape:
        return False
    tolerance = torch.finfo(expected.dtype).eps ** 0.75  # 6e-6 in float32; the same layers give the same numbers
    return bool((logits - expected).abs().max() <= tolerance * expected.abs().max())


def probe_image(model: nn.Module) -> Tensor:
    """One image of noise with as many channels as the network takes, in the size that the network says it takes.

    The size is that of timm's or Hugging Face's configuration, or the attribute ``image_size``, of the network or of
    the largest part of a wrapper; else 224 pixels.

    Raises:
        SigcamError: if the network takes volumes.
    """
    return _noise(model, num_channels(model))


class _Convolutions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the shapes that reach the convolutions of a pass, whatever calls them; it sees its own thread alone."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.noted: list[tuple[tuple[int, ...], int, int]] = []  # of the input; channels that are wanted; dimensions

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.convolution.default:
            images, weight, groups = args[0], args[1], args[8]
            self.noted.append((images.shape, weight.shape[1] * groups, weight.ndim - 2))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def num_channels(network: nn.Module) -> int:
    """Channels of the images that a network takes.

    It is shown three. The first convolution of a pass that wants another number than reaches it tells how many there
    should have been, whatever rearranged or repeated them before; where none does, three are right. A network that
    refuses three before any convolution takes as many as the first of its layers that has a number of channels.

    Raises:
        SigcamError: if its first convolution looks at volumes.
    """
    shown = _noise(network, USUAL)
    seen = _Convolutions()
    with evaluation_mode(network), seen:
        takes_three = _runs(network, shown)
    if seen.noted and seen.noted[0][2] == 3 and seen.noted[0][0] == (1, *shown.shape):
        refuse("volumes", network)  # PyTorch took the batch of images for one volume without a batch
    if takes_three:
        return USUAL
    for shape, wanted, _ in seen.noted:
        given = int(shape[1])
        if given != wanted and USUAL * wanted % given == 0:
            return USUAL * wanted // given
    defined: int = next((module.in_channels for module in network.modules() if isinstance(module, nn.Conv2d)), USUAL)
    return USUAL if seen.noted else defined


def _noise(network: nn.Module, channels: int, size: tuple[int, int] | None = None) -> Tensor:
    parameter = next(network.parameters())
    sizes = (own for module in _inwards(network) if (own := _own_size(module)))
    height, width = size or next(sizes, (224, 224))
    # Both on the CPU whatever the default device: a generator serves one device, and noise is the same on all.
    generator = torch.Generator("cpu").manual_seed(0)
    return torch.randn(1, channels, height, width, generator=generator, device="cpu").to(parameter)


def _inwards(model: nn.Module) -> Iterator[nn.Module]:
    """Yield a network, its largest child, the largest of that one's, and so on."""
    yield model
    if children := [child for child in model.children() if any(True for _ in child.parameters())]:
        yield from _inwards(largest(children))


def largest(modules: list[nn.Module]) -> nn.Module:
    """Find the module with the most parameters."""
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
    generator = torch.Generator("cpu").manual_seed(0)
    layers = [module for module in model.modules() if _num_outputs(module) == num_classes and not has_hooks(module)]
    parameters = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
    own = [parameter.data for parameter in parameters]
    try:
        for parameter in parameters:
            drawn = torch.randn(parameter.shape, generator=generator, device="cpu")
            parameter.data = (drawn if parameter.ndim > 1 else torch.zeros_like(drawn)).to(parameter)
        yield
    finally:
        for parameter, data in zip(parameters, own, strict=True):
            parameter.data = data


def has_hooks(layer: nn.Module) -> bool:
    """Say whether something may change what a layer computes from its own ``weight``: hooks, or parametrisations."""
    return bool(layer._forward_pre_hooks or layer._forward_hooks or hasattr(layer, "parametrizations"))


def _num_outputs(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    return module.out_channels if isinstance(module, nn.Conv2d) else None


_HELD: dict[nn.Module, tuple[int, bool]] = {}
"""Modules that are held in evaluation mode: by how many blocks that run, and their mode before."""
_LOCK = threading.Lock()


@contextmanager
def evaluation_mode(*networks: nn.Module) -> Iterator[None]:
    """Dropout and BatchNorm in evaluation mode inside the block; afterwards every module has its own mode again.

    Threads may share a network: it has its own mode again when the last of their blocks ends.
    """
    modules = {module for network in networks for module in network.modules()}
    with _LOCK:
        for module in modules:
            count, mode = _HELD.get(module, (0, module.training))
            _HELD[module] = count + 1, mode
        for network in networks:
            network.eval()
    try:
        yield
    finally:
        with _LOCK:
            for module in modules:
                count, mode = _HELD.pop(module)
                if count > 1:
                    _HELD[module] = count - 1, mode
                else:
                    module.training = mode
