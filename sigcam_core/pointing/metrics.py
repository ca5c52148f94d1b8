"""Class specificity as metrics: the pointing game, energy pointing, and the grid pointing game.

They judge *raw* maps, resized by :func:`sigcam_core.cams.score_maps.resize_maps` and not stretched: only what is
positive speaks for the class. They follow the interface of torchmetrics, so that distributed runs add up, and keep
sums only, so that memory does not grow with the data set. What :mod:`sigcam_core.localization.metrics` says of the
wrappers of torchmetrics holds for them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ..common.checks import to_tensor
from ..common.errors import fail
from ..common.masks import IGNORE, OBJECT
from ..common.metric_wrappers import check_redrawn, set_apart
from ..localization.contours import BoxArray
from ..localization.protocol import Boxes, check_boxes, check_masks

TOLERANCE = 15  # pixels around the maximum, as published


def pointing_hits(maps: Tensor, boxes: Boxes, tolerance: float = TOLERANCE) -> Tensor:
    """Whether the maximum of each map lies in one of its boxes, or within ``tolerance`` of one (Zhang et al. 2018).

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
    point = points[owner]  # (B, 2), one a box
    # How far a point lies beyond a box along x and y; 0 within.
    beyond = torch.maximum(corners[:, :2] - point, point - corners[:, 2:]).clamp_min(0).double()
    is_near = (beyond.square().sum(dim=1) <= tolerance**2).long()
    near_boxes = torch.zeros(len(maps), dtype=torch.int64, device=maps.device).index_add(0, owner, is_near)
    return (near_boxes > 0) & (flat.amax(dim=1) > flat.amin(dim=1))


def energy_shares(maps: Tensor, inside: Tensor, counted: Tensor | None = None) -> Tensor:
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
    positive = maps.double().clamp_min(0)
    if counted is not None:
        positive = positive * counted
    total = positive.sum(dim=(-2, -1))
    within = (positive * inside).sum(dim=(-2, -1))
    return (within / total.where(total > 0, 1.0)).clamp(max=1.0)  # two sums may round differently


def cell_shares(maps: Tensor, n: int) -> Tensor:
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
    check_grid_size(n)
    if maps.ndim != 4 or maps.shape[1] != n * n:
        fail(f"maps of grids must have shape (G, {n * n}, height, width), one map a cell, got {tuple(maps.shape)}.")
    height, width = maps.shape[2:]
    if height < n or width < n or height % n or width % n:
        fail(f"maps of {height} x {width} cannot be cut into {n} x {n} cells: their sides must be multiples of {n}.")
    positive = maps.double().clamp_min(0).reshape(len(maps), n * n, n, height // n, n, width // n)
    sums = positive.sum(dim=(3, 5)).flatten(2)  # (G, map, cell)
    total = sums.sum(dim=2)
    shares: Tensor = sums.diagonal(dim1=1, dim2=2) / total.where(total > 0, 1.0)
    return shares


def boxes_to_masks(boxes: Sequence[BoxArray], shape: tuple[int, int]) -> Tensor:
    """The union of each image's boxes as a mask.

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


class PointingGame(Metric):
    """The pointing game: share of the maps whose maximum hits the object (Zhang et al. 2018).

    Args:
        tolerance: pixels that the maximum may lie beside a box; 15 as published, 0 for none.

    >>> metric = PointingGame()
    >>> maps = torch.zeros(2, 32, 32)
    >>> maps[0, 4, 4] = maps[1, 31, 31] = 1
    >>> metric.update(maps, [torch.tensor([[2, 2, 9, 9]])] * 2)
    >>> metric.compute()
    {'pointing_game': tensor(50., dtype=torch.float64)}
    """

    full_state_update = False
    hits: Tensor
    num_images: Tensor

    def __init__(self, tolerance: float = TOLERANCE, **kwargs: Any) -> None:
        if not tolerance >= 0:
            fail(f"the tolerance of the pointing game is {tolerance}: give pixels, 0 or more.")
        super().__init__(**kwargs)
        self.tolerance = tolerance
        for name in ("hits", "num_images"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")
        set_apart(self, tolerance=tolerance)

    def update(self, maps: Tensor, boxes: Boxes) -> None:
        """Add raw maps (N, H, W) and, for each, its ground-truth boxes (M, 4) at the maps' size.

        Raises:
            SigcamError: for maps with NaN or infinity, malformed boxes, or counts that differ; for boxes in a list
                under a BootStrapper.
        """
        check_redrawn(maps, boxes)
        hits = pointing_hits(maps, boxes, self.tolerance)
        self.hits += hits.sum().to(self.hits.device)
        self.num_images += len(hits)

    def compute(self) -> dict[str, Tensor]:
        """Percentage ``pointing_game``."""
        return {"pointing_game": _percentage(self.hits, self.num_images, self)}


class _Shares(Metric):
    """A sum of shares, how many there are, and how many maps had no positive energy."""

    full_state_update = False
    share: Tensor
    num_empty: Tensor
    num_maps: Tensor

    def __init__(self, options: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        set_apart(self, **options)
        self.add_state("share", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("num_empty", "num_maps"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def _add(self, shares: Tensor, maps: Tensor, counted: Tensor | bool = True) -> None:
        has_energy = ((maps > 0) & counted).flatten(-2).any(dim=-1)
        self.share += shares.sum().to(self.share.device)
        self.num_empty += (~has_energy).sum().to(self.num_empty.device)
        self.num_maps += shares.numel()


class EnergyPointingGame(_Shares):
    """Energy-based pointing: share of the positive energy that lies inside box or mask (Wang et al. 2020, Section 4.3).

    A map without positive energy counts as 0, and ``without_energy`` says how many there are.

    >>> metric = EnergyPointingGame()
    >>> metric.update(torch.ones(1, 10, 10), boxes=[torch.tensor([[0, 0, 4, 4]])])
    >>> metric.compute()["energy_pointing"]
    tensor(25., dtype=torch.float64)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__({}, **kwargs)

    def update(
        self,
        maps: Tensor,
        boxes: Boxes | None = None,
        masks: Tensor | None = None,
    ) -> None:
        """Add raw maps (N, H, W) with either boxes or masks at their size.

        Args:
            maps: the maps.
            boxes: for each map, (M, 4) with M >= 1; their union is the region.
            masks: (N, H, W) 1 object, 0 background, 255 ignore, with an object in each; ignored pixels do not count
                at all.

        Raises:
            SigcamError: for maps with NaN or infinity, malformed boxes or masks, or both or none of them; for anything
                but tensors under a BootStrapper.
        """
        check_redrawn(maps, boxes, masks)
        if (boxes is None) == (masks is None):
            fail("energy pointing needs boxes or masks: pass one of them.")
        maps = check_raw_maps(maps, 3)
        counted: Tensor | None = None
        if boxes is not None:
            inside = boxes_to_masks(check_boxes(boxes, tuple(maps.shape)), (maps.shape[1], maps.shape[2]))
        else:
            values = torch.from_numpy(check_masks(to_tensor(masks), tuple(maps.shape)))
            inside, counted = values == OBJECT, (values != IGNORE).to(maps.device)
            empty = ~inside.flatten(1).any(dim=1)
            if bool(empty.any()):
                fail(f"mask {int(empty.nonzero()[0, 0])} has no object (value 1) to point at: leave its image out.")
        shares = energy_shares(maps, inside.to(maps.device), counted)
        self._add(shares, maps, True if counted is None else counted)

    def compute(self) -> dict[str, Tensor]:
        """Percentages ``energy_pointing``, and ``without_energy`` of the maps that have no positive energy."""
        return {
            "energy_pointing": _percentage(self.share, self.num_maps, self),
            "without_energy": _percentage(self.num_empty, self.num_maps, self),
        }


class GridPointingGame(_Shares):
    """The grid pointing game on grids of n x n images of different classes (Boehle et al. 2021; Rao et al. 2022).

    A map without positive attribution counts as 0, and ``without_energy`` says how many there are. A map that is
    the same everywhere scores 1 / n^2.

    Args:
        n: cells along each side.

    >>> metric = GridPointingGame(n=2)
    >>> metric.update(torch.ones(3, 4, 14, 14))
    >>> metric.compute()["grid_pointing"]
    tensor(25., dtype=torch.float64)
    """

    def __init__(self, n: int = 3, **kwargs: Any) -> None:
        check_grid_size(n)
        super().__init__({"n": n}, **kwargs)
        self.n = n

    def update(self, maps: Tensor) -> None:
        """Add raw maps (G, n*n, h, w): map m of a grid is that of the class in its cell m, row by row.

        Raises:
            SigcamError: for maps with NaN or infinity, or of a shape that does not fit.
        """
        maps = check_raw_maps(maps, 4)
        self._add(cell_shares(maps, self.n), maps)

    def compute(self) -> dict[str, Tensor]:
        """Percentages ``grid_pointing``, and ``without_energy`` of the maps that have no positive attribution."""
        return {
            "grid_pointing": _percentage(self.share, self.num_maps, self),
            "without_energy": _percentage(self.num_empty, self.num_maps, self),
        }


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
    """The boxes of all images in a row: image of each (B,), and corners (B, 4)."""
    counts = torch.tensor([len(image_boxes) for image_boxes in boxes])
    corners = torch.cat([torch.from_numpy(image_boxes) for image_boxes in boxes])
    return torch.arange(len(boxes)).repeat_interleave(counts).to(device), corners.to(device)


def _percentage(total: Tensor, count: Tensor, metric: Metric) -> Tensor:
    if count == 0:
        fail(f"{type(metric).__name__} has no images: call update first.")
    percentage: Tensor = 100 * total.double() / count
    return percentage
