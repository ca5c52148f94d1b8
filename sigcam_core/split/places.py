"""Where the values of features have their place in the picture: which layout makes maps of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .calls import Calls, tensors_of
from .modules import ChannelsFirst, TokensToMaps

MOST_PREFIX_TOKENS = 8  # the class token, one of distillation, a few registers
SPOTS = ((0.2, 0.7), (0.7, 0.2), (0.4, 0.9), (0.9, 0.4), (0.1, 0.4), (0.6, 0.1), (0.3, 0.3), (0.8, 0.8))
"""Places in the picture, in parts of its height and width, none of which a flip or a turn leaves where it is."""
FOUND = 0.75
"""Share of the visible spots that must be seen in their place; of tokens in another order hardly any is."""
LARGE = 6  # places per side from which on the neighbour of a place is near enough: layers look beyond their places
SEEN = 2.0
"""A spot is seen if it changes one place of the maps by more than so many times what it changes the average place."""


def layouts(features: Tensor, calls: Calls, picture: Tensor) -> Iterator[nn.Module]:
    """Modules that may make maps (N, K, h, w) of features, the likeliest first.

    Args:
        features: of one image: maps (1, K, h, w) or (1, h, w, K), or tokens (1, L, K).
        calls: of the pass that gave them.
        picture: (1, 3, H, W) the image.
    """
    if features.ndim == 4:
        first, middle, last = features.shape[1:]
        height, width = picture.shape[2:]
        is_last = first * width == middle * height and middle * width != last * height
        yield ChannelsFirst() if is_last else nn.Identity()
    elif features.ndim == 3:
        for prefix in range(MOST_PREFIX_TOKENS + 1):
            for grid in _grids(features.shape[1] - prefix, calls, picture):
                yield TokensToMaps(prefix, grid)


def _grids(tokens: int, calls: Calls, picture: Tensor) -> list[tuple[int, int]]:
    """Sides (h, w) with h w tokens: those of maps that the network makes, or those in the form of the picture."""
    seen = [tensor.shape for own in calls.values() for call in own for tensor in tensors_of(call.outputs)]
    sides = [(side[0], side[1]) for shape in seen if len(shape) == 4 for side in (shape[2:], shape[1:3])]
    height, width = picture.shape[2:]
    in_form = round((max(tokens, 0) * height / width) ** 0.5)
    form = [(in_form, tokens // in_form)] if in_form else []
    found = [(h, w) for h, w in [*form, *sides] if h * w == tokens and h * width == w * height]
    return list(dict.fromkeys(found))


@torch.no_grad()
def lie_in_place(features: nn.Module, to_maps: nn.Module, picture: Tensor) -> bool:
    """Say whether what changes in a spot of the picture changes the maps most in the place of that spot.

    Some transformers sort their tokens in windows, or put tokens of other kinds behind the patches; laid out in rows,
    such tokens would make a map whose places mean nothing. A spot that changes all places alike, as it does where new
    attention looks everywhere, says nothing of them.
    """
    maps = to_maps(features(picture))  # (1, K, h, w)
    rows, columns = maps.shape[2:]
    sizes = picture.shape[2] / rows, picture.shape[3] / columns
    noise = torch.randn(picture.shape, generator=torch.Generator("cpu").manual_seed(1), device="cpu").to(picture)
    in_place: list[bool] = []
    for down, right in SPOTS:
        row, column = int(down * rows), int(right * columns)
        spot = torch.zeros_like(picture)
        spot[
            ...,
            round(row * sizes[0]) : round((row + 1) * sizes[0]),
            round(column * sizes[1]) : round((column + 1) * sizes[1]),
        ] = 1
        changed = to_maps(features(picture + spot * noise))
        change = (changed - maps).square().sum(dim=1).sqrt().flatten()  # (h w)
        if change.max() > SEEN * change.mean():
            most = int(change.argmax())
            distance = max(abs(most // columns - row), abs(most % columns - column))
            in_place.append(distance <= (min(rows, columns) >= LARGE))
    return sum(in_place) >= FOUND * len(in_place)
