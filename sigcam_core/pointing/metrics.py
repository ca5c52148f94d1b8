"""Class specificity as metrics: the pointing game, energy pointing, and the grid pointing game.

They judge *raw* maps, resized by :func:`sigcam_core.cams.score_maps.resize_maps` and not stretched: only what is
positive speaks for the class. They follow the interface of torchmetrics, so that distributed runs add up, and keep
sums only, so that memory does not grow with the data set. What :mod:`sigcam_core.localization.metrics` says of the
wrappers of torchmetrics holds for them too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ..common.checks import IGNORE, OBJECT, to_tensor
from ..common.errors import fail
from ..common.floats import widened
from ..common.metric_wrappers import check_redrawn, set_apart
from ..localization.protocol import Boxes, check_boxes, check_masks
from .scores import (
    TOLERANCE,
    boxes_to_masks,
    cell_shares,
    check_grid_size,
    check_raw_maps,
    energy_shares,
    pointing_hits,
)


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


UNITS = 2**40
"""In which shares are added up as whole numbers, exact in any order, on devices without float64 too."""


class _Shares(Metric):
    """A sum of shares in units, how many there are, and how many maps had no positive energy."""

    full_state_update = False
    share: Tensor
    num_empty: Tensor
    num_maps: Tensor

    def __init__(self, options: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        set_apart(self, **options)
        for name in ("share", "num_empty", "num_maps"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def _add(self, shares: Tensor, maps: Tensor, counted: Tensor | bool = True) -> None:
        has_energy = ((maps > 0) & counted).flatten(-2).any(dim=-1)
        self.share += (UNITS * shares).round().long().sum().to(self.share.device)
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
            "energy_pointing": _percentage(self.share, UNITS * self.num_maps, self),
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
            "grid_pointing": _percentage(self.share, UNITS * self.num_maps, self),
            "without_energy": _percentage(self.num_empty, self.num_maps, self),
        }


def _percentage(total: Tensor, count: Tensor, metric: Metric) -> Tensor:
    if count == 0:
        fail(f"{type(metric).__name__} has no images: call update first.")
    percentage: Tensor = 100 * widened(total) / count
    return percentage
