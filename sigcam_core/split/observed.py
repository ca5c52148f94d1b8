"""Cuts at the output of any module of a network, for networks whose parts do not tell where they may be cut."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .calls import Call, Calls, constant_modules, first_tensor, record_calls
from .cut import Behind, behind, drop_unused, up_to
from .modules import sequence
from .places import layouts, lie_in_place
from .probe import agree, logits_of
from .proposals import MISFITS, Split

MOST_CUTS = 32  # the last maps are among the last modules; each cut that is tried costs a pass


def observed_splits(model: nn.Module, probe: Tensor) -> Iterator[Split]:
    """Cuts of a network where a pass over a probe image shows maps or tokens, the last first.

    Each is tried here: the part behind the cut gives the network's logits, depends on what is at the places of the
    maps, and these lie where they do in the picture.

    Args:
        model: the network, in evaluation mode, with a classifier of random weights.
        probe: (1, 3, H, W) an image that it takes.
    """
    try:
        calls = record_calls(model, probe)
        constants = constant_modules(calls, record_calls(model, probe.flip(3) + 1))
    except MISFITS:
        return
    expected = logits_of(model(probe))
    for cut in _cuts(calls)[:MOST_CUTS]:
        try:
            yield from _splits_at(model, calls, cut, probe, expected, constants)
        except MISFITS:
            continue


def _cuts(calls: Calls) -> list[Call]:
    """List the calls of modules that ran once and gave maps (1, K, h, w) or tokens (1, L, K), the last first."""
    once = [own[0] for name, own in _by_first_name(calls) if name and len(own) == 1]
    found = [call for call in once if (features := first_tensor(call.outputs)) is not None and _has_places(features)]
    return sorted(found, key=lambda call: -call.end)


def _by_first_name(calls: Calls) -> list[tuple[str, list[Call]]]:
    """List the calls of each module once."""
    return [(name, own) for name, own in calls.items() if name == own[0].name]


def _has_places(features: Tensor) -> bool:
    if not features.is_floating_point() or len(features) != 1:
        return False
    return (features.ndim == 4 and features[0, 0].numel() > 1) or (features.ndim == 3 and features.shape[1] > 1)


def _splits_at(
    model: nn.Module, calls: Calls, cut: Call, probe: Tensor, expected: Tensor, constants: set[str]
) -> Iterator[Split]:
    before, containers = up_to(model, calls, cut)
    features = before(probe)
    head = _head_behind(model, calls, cut, features, probe, expected, constants)
    if head is None:
        return
    drop_unused(before, containers, probe)
    for to_maps in layouts(features, calls, probe):
        if not _depends_on_places(head, features, to_maps):
            continue
        if features.ndim == 3 and not lie_in_place(before, to_maps, probe):
            continue
        if (linear := _classifier(model, calls, cut, expected.shape[1])) is not None:
            pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), *linear)
            yield Split(sequence(before, to_maps), pooled, nn.Identity())
        head.takes_any_size = features.ndim == 4 and _takes_another_size(model, before, head, probe)
        yield Split(before, nn.Sequential(head), to_maps)


def _head_behind(
    model: nn.Module, calls: Calls, cut: Call, features: Tensor, probe: Tensor, expected: Tensor, constants: set[str]
) -> Behind | None:
    """Build the part behind the cut, or return ``None`` if the logits also depend on something else before it."""
    picture = probe.new_zeros(()).expand(probe.shape)
    for kept in (set[str](), constants) if constants else (set[str](),):
        try:
            head = behind(model, calls, cut, picture, kept)
            if head is not None and agree(head(features.clone()), expected):
                return head
        except MISFITS:
            continue
    return None


@torch.enable_grad()
def _depends_on_places(head: nn.Module, features: Tensor, to_maps: nn.Module) -> bool:
    """Say whether a gradient of the logits reaches places of the maps, which that of a class token alone does not."""
    leaf = features.detach().clone().requires_grad_()
    logits = head(leaf.clone())
    weights = torch.linspace(1, 2, logits.shape[1], dtype=logits.dtype, device=logits.device)
    (gradient,) = torch.autograd.grad((logits * weights).sum(), leaf)
    return bool(to_maps(gradient).any())


def _classifier(model: nn.Module, calls: Calls, cut: Call, num_classes: int) -> list[nn.Module] | None:
    """Find the dropouts and the one linear layer called behind the cut, or return ``None`` where there are more."""
    modules = dict(model.named_modules())
    names = sorted((call.start, name) for name, own in _by_first_name(calls) for call in own if call.start > cut.end)
    called = [modules[name] for _, name in names]
    linear = [module for module in called if isinstance(module, nn.Linear)]
    if len(linear) != 1 or linear[0].out_features != num_classes:
        return None
    return [*(module for module in called if isinstance(module, nn.Dropout)), linear[0]]


def _takes_another_size(model: nn.Module, before: nn.Module, head: Behind, probe: Tensor) -> bool:
    """Say whether the parts make up the network for images half as large again too."""
    larger = nn.functional.interpolate(probe, scale_factor=1.5, mode="nearest")
    head.takes_any_size = True
    try:
        return agree(head(before(larger)), logits_of(model(larger)))
    except MISFITS:
        return False
    finally:
        head.takes_any_size = False
