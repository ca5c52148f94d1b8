"""Heads of global average pooling and one linear layer, which alone have a class activation map, and fresh weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.weight_norm import WeightNorm

from ..split.probe import has_hooks
from ..split.refusals import refuse

PASSIVE = (nn.Flatten, nn.Dropout, nn.Identity)


def linear_head_weight(head: nn.Module) -> Tensor | None:
    """Weights (C, K) of a head that is global average pooling and one linear layer, else ``None``.

    Only such a head has a class activation map in the sense of Zhou et al. 2016. It must be made of
    :class:`~torch.nn.Sequential`, which tells what is computed. Where something else may take part in the layer, such
    as weight normalisation, the weights are those that it behaves by.
    """
    layer = linear_layer(head)
    if layer is None:
        return None
    return effective_weight(layer) if has_hooks(layer) else layer.weight


def linear_head_bias(head: nn.Module) -> Tensor | None:
    """Biases (C,) of such a head, zeros where its layer has none, else ``None``."""
    layer = linear_layer(head)
    if layer is None:
        return None
    return layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias


def linear_layer(head: nn.Module) -> nn.Linear | None:
    """Find the linear layer of a head that is global average pooling and one linear layer, else ``None``."""
    modules = [module for name, module in head.named_modules() if "parametrizations" not in name]
    leaves = [module for module in modules if isinstance(module, nn.Linear) or not list(module.children())]
    inner = [module for module in modules if module not in leaves]
    if any(type(module) is not nn.Sequential for module in inner):
        return None
    active = [module for module in leaves if not isinstance(module, PASSIVE)]
    if len(active) != 2 or not _is_plain_linear(active[1]):
        return None
    pool, layer = active
    is_global = type(pool) is nn.AdaptiveAvgPool2d and pool.output_size in (1, (1, 1))
    return layer if is_global and isinstance(layer, nn.Linear) else None


def _is_plain_linear(layer: nn.Module) -> bool:
    """Say whether a layer is PyTorch's own, which a parametrisation gives a class of its own."""
    return type(layer) is nn.Linear or (isinstance(layer, nn.Linear) and hasattr(layer, "parametrizations"))


@torch.no_grad()
def effective_weight(layer: nn.Linear) -> Tensor:
    """Weights (C, K) by which a linear layer behaves, whatever hooks make of its own."""
    inputs = torch.eye(layer.in_features, dtype=layer.weight.dtype, device=layer.weight.device)
    bias: Tensor = layer(torch.zeros_like(inputs[:1]))  # (1, C)
    weight: Tensor = (layer(inputs) - bias).T.contiguous()
    return weight


def draw_fresh(module: nn.Module, std: float) -> None:
    """Weights of a layer from N(0, std) and zero biases; layers of norm start as they do when they are made.

    Weights that hooks or parametrisations make are drawn as well, and read back: of a pruned layer, those that are
    left.

    Args:
        module: one module; its children are left alone.
        std: of the weights that the layer behaves by, under weight normalisation too.

    Raises:
        SigcamError: if what makes a layer's weights makes others of them than were drawn, as spectral normalisation
            does.
    """
    if isinstance(module, nn.Linear | nn.Conv2d | nn.MultiheadAttention):
        for name in ("weight", "bias"):
            if isinstance(made := getattr(module, name, None), Tensor) and not isinstance(made, nn.Parameter):
                _draw_made(module, name, torch.randn_like(made) * std if name == "weight" else torch.zeros_like(made))
        made_of = {f"{name}{end}" for name in ("weight", "bias") for end in ("_orig", "_g", "_v")}
        for name, parameter in module.named_parameters(recurse=False):
            if name not in made_of:
                nn.init.normal_(parameter, std=std) if parameter.ndim > 1 else nn.init.zeros_(parameter)
    elif not list(module.children()) and callable(reset := getattr(module, "reset_parameters", None)):
        reset()


@torch.no_grad()
def _draw_made(layer: Any, name: str, drawn: Tensor) -> None:
    """Let a tensor of a layer that is made of other parameters be the drawn one, and look whether it has become so."""
    hook = next((hook for hook in layer._forward_pre_hooks.values() if isinstance(hook, WeightNorm)), None)
    try:
        if hasattr(layer, "parametrizations"):
            setattr(layer, name, drawn)  # a parametrisation takes its own parameters from it
        elif hook is not None and hook.name == name:
            nn.utils.remove_weight_norm(layer, name)
            getattr(layer, name).data = drawn
            nn.utils.weight_norm(layer, name, hook.dim)
        elif isinstance(original := getattr(layer, f"{name}_orig", None), nn.Parameter):  # pruned, or spectral norm
            original.data = drawn.clone()
        for run in layer._forward_pre_hooks.values():
            run(layer, ())  # which is when hooks make it
    except (NotImplementedError, RuntimeError, ValueError, TypeError, IndexError):
        refuse("made weights", layer)
    made = getattr(layer, name)
    if not torch.allclose(made, torch.where(made == 0, made, drawn), rtol=1e-3, atol=0.0):
        refuse("made weights", layer)
