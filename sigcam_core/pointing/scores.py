"""What the pointing games ask of raw maps: where a maximum lies, and which share of the positive energy lies where.

Functions alone, without torchmetrics: code that measures maps one by one does not wait for it to be loaded. The metrics
that add them up are in :mod:`sigcam_core.pointing.metrics`. What is float64 here is float32 on a device without
float64, such as Apple's GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..common.checks import Array, to_tensor
from ..common.errors import fail
from ..common.floats import widened
from ..localization.contours import BoxArray
from ..localization.protocol import Boxes, check_boxes

TOLERANCE = 15  # pixels around the maximum, as published


def pointing_hits(maps: Array, boxes: Boxes, tolerance: float = TOLERANCE) -> Tensor:
    """Say whether the maximum of each map lies in one of its boxes, or within ``tolerance`` of one (Zhang et al. 2018).

    The first of equal maxima counts, row by row. A constant map points nowhere and misses.

    Args:
        maps: (N, H, W) raw maps at the size that boxes refer to.
        boxes: for each map, (M, 4) x0, y0, x1, y1, inclusive pixels, M >= 1.
        tolerance: greatest Euclidean distance from the maximum to the box that is a hit, pixels.

    Returns:
        (N,) bool.

    Raises:
        SigcamError: for malformed maps or boxes, or a negative tolerance.

    >>> pointing_hits(torch.eye(3)[None], [torch.tensor([[1, 1, 2, 2]])], tolerance=0)
    tensor([False])
    >>> pointing_hits(torch.eye(3)[None], [torch.tensor([[1, 1, 2, 2]])], tolerance=1.5)
    tensor([True])
    """
    if not tolerance >= 0:
        fail(f"the tolerance of the pointing game is {tolerance}: give pixels, 0 or more.")
    maps = check_raw_maps(maps, 3)
    checked = check_boxes(boxes, tuple(maps.shape))
    if not checked:
        return torch.zeros(0, dtype=torch.bool, device=maps.device)
    flat = maps.flatten(1)
    place = flat.argmax(dim=1)  # (N,)
    points = torch.stack([place % maps.shape[2], place // maps.shape[2]], dim=1)  # (N, 2) x, y
    owner, corners = _all_boxes(checked, maps.device)
    point = points[owner]  # (B, 2), one per box
    # How far a point lies beyond a box along x and y; 0 within.
    beyond = widened(torch.maximum(corners[:, :2] - point, point - corners[:, 2:]).clamp_min(0))
    is_near = (beyond.square().sum(dim=1) <= tolerance**2).long()
    near_boxes = torch.zeros(len(maps), dtype=torch.int64, device=maps.device).index_add(0, owner, is_near)
    return (near_boxes > 0) & (flat.amax(dim=1) > flat.amin(dim=1))


def energy_shares(maps: Array, inside: Array, counted: Array | None = None) -> Tensor:
    """Share of the positive energy of each map that lies inside a region (Wang et al. 2020, Section 4.3).

    Args:
        maps: (..., H, W) raw maps; what is negative does not count.
        inside: bool, broadcast to the maps: the region.
        counted: bool, broadcast to the maps: pixels that count at all; ``None`` counts all.

    Returns:
        (...) float64 in [0, 1]; 0 for a map without positive energy.

    >>> energy_shares(torch.tensor([[[3.0, 1.0], [-5.0, 0.0]]]), torch.tensor([[True, False], [True, False]]))
    tensor([0.7500], dtype=torch.float64)
    """
    positive = widened(to_tensor(maps)).clamp_min(0)
    if counted is not None:
        positive = positive * to_tensor(counted)
    total = positive.sum(dim=(-2, -1))
    within = (positive * to_tensor(inside)).sum(dim=(-2, -1))
    return (within / total.where(total > 0, 1.0)).clamp(max=1.0)  # two sums may round differently


def cell_shares(maps: Array, n: int) -> Tensor:
    """Share of each class's positive attribution that falls into its own cell (Boehle et al. 2021; Rao et al. 2022).

    Args:
        maps: (G, n*n, h, w) raw maps of G grids of n x n images; map m is that of the class shown in cell m, cells
            being counted row by row. h and w are multiples of n.
        n: cells along each side.

    Returns:
        (G, n*n) float64 in [0, 1]; 0 for a map without positive attribution.

    Raises:
        SigcamError: if the shape does not fit.

    >>> cell_shares(torch.ones(1, 4, 6, 6), n=2)
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]], dtype=torch.float64)
    """
    sums = _in_cells(maps, n).clamp_min(0).sum(dim=3)  # (G, map, cell)
    total = sums.sum(dim=2)
    shares: Tensor = sums.diagonal(dim1=1, dim2=2) / total.where(total > 0, 1.0)
    return shares


def top_shares(maps: Array, n: int) -> Tensor:
    """Share of each class's highest 1 / n^2 pixels that lies in its own cell: grid pointing that knows no zero.

    :func:`cell_shares` counts what is above zero, so that it depends on where a map's zero lies, which neither a
    softmax nor a threshold fixes. The order of the pixels does not: whatever is added to a map, and whatever positive
    number it is multiplied by, this share stays. A map that knows no class scores 1 / n^2.

    Args:
        maps: (G, n*n, h, w), as for :func:`cell_shares`.
        n: cells along each side.

    Returns:
        (G, n*n) float64 in [0, 1]. Of pixels that tie for the last places, each counts for the same part.

    Raises:
        SigcamError: if the shape does not fit.

    >>> maps = torch.zeros(1, 4, 2, 4)
    >>> maps[0, 0, 0] = torch.tensor([5.0, 1.0, 3.0, 0.0])  # its highest two pixels lie in cells 0 and 1
    >>> top_shares(maps, n=2)
    tensor([[0.5000, 0.2500, 0.2500, 0.2500]], dtype=torch.float64)
    """
    cells = _in_cells(maps, n)  # (G, map, cell, pixel)
    num_kept = cells.shape[3]
    flat = cells.flatten(2)
    last = flat.topk(num_kept, dim=2).values[..., -1:, None]  # the value of the last place
    above, tied = (cells > last).sum(dim=3).double(), (cells == last).sum(dim=3).double()  # (G, map, cell)
    left = num_kept - above.sum(dim=2, keepdim=True)
    kept = above + tied * left / tied.sum(dim=2, keepdim=True)
    shares: Tensor = kept.diagonal(dim1=1, dim2=2) / num_kept
    return shares


def named_cells(maps: Array, n: int) -> Tensor:
    """Whether the cell in which a map's mean is greatest is that of its class; it knows no zero either.

    Args:
        maps: (G, n*n, h, w), as for :func:`cell_shares`.
        n: cells along each side.

    Returns:
        (G, n*n) float64: 1 or 0, and 1 / m where m cells tie for the greatest mean and the class's own is among them.

    Raises:
        SigcamError: if the shape does not fit.

    >>> maps = torch.zeros(1, 4, 2, 2)
    >>> maps[0, 0] = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    >>> named_cells(maps, n=2)
    tensor([[1.0000, 0.2500, 0.2500, 0.2500]], dtype=torch.float64)
    """
    means = _in_cells(maps, n).mean(dim=3)  # (G, map, cell)
    is_greatest = (means == means.amax(dim=2, keepdim=True)).double()
    shares: Tensor = (is_greatest / is_greatest.sum(dim=2, keepdim=True)).diagonal(dim1=1, dim2=2)
    return shares


def _in_cells(maps: Array, n: int) -> Tensor:
    """Cut maps (G, n*n, h, w) into the pixels (G, map, cell, h w / n^2) of the cells of a grid, widened.

    Raises:
        SigcamError: if the shape does not fit.
    """
    check_grid_size(n)
    maps = to_tensor(maps)
    if maps.ndim != 4 or maps.shape[1] != n * n:
        fail(f"maps of grids must have shape (G, {n * n}, height, width), one map per cell, got {tuple(maps.shape)}.")
    height, width = maps.shape[2:]
    if height < n or width < n or height % n or width % n:
        fail(f"maps of {height} x {width} cannot be cut into {n} x {n} cells: their sides must be multiples of {n}.")
    cells = widened(maps).reshape(len(maps), n * n, n, height // n, n, width // n)
    return cells.permute(0, 1, 2, 4, 3, 5).reshape(len(maps), n * n, n * n, -1)


def boxes_to_masks(boxes: Sequence[BoxArray], shape: tuple[int, int]) -> Tensor:
    """Draw the union of each image's boxes as a mask.

    Args:
        boxes: N arrays (M, 4) x0, y0, x1, y1, inclusive pixels.
        shape: (height, width).

    Returns:
        (N, height, width) bool.
    """
    masks = torch.zeros(len(boxes), *shape, dtype=torch.bool)
    for mask, image_boxes in zip(masks, boxes, strict=True):
        for x0, y0, x1, y1 in image_boxes.tolist():
            mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return masks


def check_raw_maps(maps: Any, ndim: int) -> Tensor:
    """Return raw maps as a tensor if they have ``ndim`` dimensions, at least one pixel each, and finite values.

    Raises:
        SigcamError: if they do not.
    """
    tensor = to_tensor(maps)
    if tensor.ndim != ndim or 0 in tensor.shape[-2:]:
        form = "(N, height, width)" if ndim == 3 else "(G, n*n, height, width)"
        fail(f"raw maps must have shape {form}, at least one pixel each, got {tuple(tensor.shape)}.")
    finite = tensor.isfinite().flatten(1).all(dim=1)
    if not bool(finite.all()):
        fail(f"raw map {int((~finite).nonzero()[0, 0])} holds NaN or infinity: leave it out, and say so.")
    return tensor


def check_grid_size(n: int) -> None:
    """Refuse grids that are not at least two cells wide.

    Raises:
        SigcamError: if n is below 2.
    """
    if n < 2:
        fail(f"a grid of {n} x {n} images has no other cell to point at: give n of at least 2.")


def _all_boxes(boxes: Sequence[BoxArray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Stack the boxes of all images: image of each (B,), and corners (B, 4)."""
    counts = torch.tensor([len(image_boxes) for image_boxes in boxes])
    corners = torch.cat([torch.from_numpy(image_boxes) for image_boxes in boxes])
    return torch.arange(len(boxes)).repeat_interleave(counts).to(device), corners.to(device)
