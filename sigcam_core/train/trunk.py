"""A network whose first layers stay as they are: these run once per view, and what comes after them starts from there.

To fine-tune the last block of a large network then costs that block alone in every epoch, and so does whatever needs
its features later.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ..backbones.formats import required_format
from ..common.errors import fail
from ..prepare.manifest import Manifest
from ..prepare.views import View
from .features import FeatureCache, cache_features
from .fit import Session
from .recipes import Recipe


def cut(layers: nn.Module, counts: Sequence[int], network: nn.Module) -> tuple[list[nn.Module], nn.Sequential]:
    """Cut a sequence of layers behind each of some counts; the parts are its own modules.

    Args:
        layers: of a network, from images to feature maps.
        counts: of the layers before each cut, rising.
        network: says how images are made ready.

    Returns:
        The parts before the cuts, the first from images (N, D, H, W) to maps, flattened (N, K h w), each other from
        such to such; and what comes behind the last cut, from such to what ``layers`` gives. All have the attribute
        ``input_format``.

    Raises:
        SigcamError: if ``layers`` is no sequence, or not that long.

    >>> from sigcam_core.backbones import build
    >>> (trunk,), rest = cut((network := build("small_cnn", 8)).features, [4], network)
    >>> rest(trunk(torch.zeros(1, 3, 96, 96))).shape
    torch.Size([1, 48, 12, 12])
    """
    if not isinstance(layers, nn.Sequential) or not 0 < counts[-1] <= len(layers):
        fail(f"cannot freeze the first {counts[-1]} layers of {type(layers).__name__}: its features have fewer.")
    form, device = required_format(network), next(layers.parameters()).device
    maps = torch.zeros(1, form.channels, form.size, form.size, device=device)
    parts, before = [], list[nn.Module]()
    for start, end in zip((0, *counts), (*counts, len(layers)), strict=True):
        part = nn.Sequential(*before, *list(layers)[start:end])
        part.input_format = form  # type: ignore[assignment]  # torch types all attributes as modules
        parts.append(part)
        with torch.no_grad():
            maps = layers[start:end](maps)
        before = [nn.Unflatten(1, tuple(maps.shape[1:]))]
    *cached, rest = parts
    for part in cached:
        part.append(nn.Flatten(1))
    return list(cached), rest


def cache_views(
    parts: Sequence[nn.Module],
    manifest: Manifest,
    views: Sequence[View],
    recipe: Recipe,
    folder: Path,
    session: Session,
) -> FeatureCache:
    """Cache the features of the last of a network's parts, each of which takes what the one before it gives.

    Args:
        parts: at least one; the first takes images.
        manifest: the images.
        views: how they are shown.
        recipe: says the type of what is cached.
        folder: of all caches.
        session: devices and reports.
    """
    cache: FeatureCache | None = None
    for part in parts:
        cache = cache_features(
            part,
            manifest,
            views,
            folder,
            cache_type=recipe.cache_type,
            fabric=session.fabric,
            report=session.report,
            earlier=cache,
        )
    assert cache is not None
    return cache
