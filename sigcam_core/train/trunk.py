"""A network whose first layers stay as they are: these run once a view, and what comes after them starts from there.

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


def cut(layers: nn.Module, count: int, network: nn.Module) -> tuple[nn.Sequential, nn.Sequential]:
    """Cut a sequence of layers behind its first ``count``; the parts are its own modules.

    Args:
        layers: of a network, from images to feature maps.
        count: of the layers that stay as they are.
        network: says how images are made ready.

    Returns:
        Images (N, D, H, W) to the first part's maps, flattened (N, K h w); and these to what ``layers`` gives. Both
        have the attribute ``input_format``.

    Raises:
        SigcamError: if ``layers`` is no sequence, or not that long.

    >>> from sigcam_core.backbones import build
    >>> trunk, rest = cut((network := build("small_cnn", 8)).features, 4, network)
    >>> rest(trunk(torch.zeros(1, 3, 96, 96))).shape
    torch.Size([1, 48, 12, 12])
    """
    if not isinstance(layers, nn.Sequential) or not 0 < count < len(layers):
        fail(f"cannot freeze the first {count} layers of {type(layers).__name__}: its features must be a longer list.")
    form, device = required_format(network), next(layers.parameters()).device
    with torch.no_grad():
        shape = layers[:count](torch.zeros(1, form.channels, form.size, form.size, device=device)).shape[1:]
    trunk = nn.Sequential(*list(layers)[:count], nn.Flatten(1))
    rest = nn.Sequential(nn.Unflatten(1, tuple(shape)), *list(layers)[count:])
    for part in (trunk, rest):
        part.input_format = form  # type: ignore[assignment]  # torch types all attributes as modules
    return trunk, rest


def cache_views(
    parts: Sequence[nn.Module],
    manifest: Manifest,
    views: Sequence[View],
    recipe: Recipe,
    folder: Path,
    session: Session,
) -> FeatureCache:
    """The features of the last of a network's parts, each of which takes what the one before it gives.

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
