"""Grids of images of different classes, and how much of each class's map falls into its own cell.

The grid pointing game of Boehle et al. 2021 and Rao et al. 2022 (GridPG): images that the network is sure of are put
side by side, n x n of different classes, and the network sees the grid as one image. The boxes are exact and small,
no other cell holds the class, and a map that knows no class scores 1 / n^2.

The backbone runs once per grid; any number of heads and weights is scored from what it gives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cams.maps import MapOptions, maps_from_features
from ..common.checks import Array, check_class_idx, to_tensor
from ..common.errors import SigcamError, fail
from ..dual.branch import DualBranch, dual_branch_of
from .scores import cell_shares, check_grid_size


class GridBatch(NamedTuple):
    """G grids of n x n images, cells counted row by row."""

    rows: Tensor  #: (G, n*n) int64, which image is in each cell
    images: Tensor  #: (G, 3, n*S, n*S) normalised
    classes: Tensor  #: (G, n*n) int64, class of each cell


def choose_grids(
    probabilities: Array, labels: Array, n: int, num_grids: int, threshold: float = 0.5, seed: int = 0
) -> Tensor:
    """Draw grids of images that the network classifies correctly and confidently, n*n different classes in each.

    Each grid draws its classes, every class that has such an image being as likely, and puts them into the cells in
    random order. Each class deals its images like shuffled cards: none comes twice before all have come once.

    Args:
        probabilities: (N, C) of the softmax branch.
        labels: (N,) int64 classes.
        n: cells along each side.
        num_grids: G, how many grids.
        threshold: an image counts if its label is the class of highest probability, and the probability is above this.
        seed: of the draws; the same seed gives the same grids.

    Returns:
        (G, n*n) int64 indices of images on the CPU, cells row by row.

    Raises:
        SigcamError: if too few classes have an image that counts, shapes differ, or a number is out of range.

    >>> probabilities, labels = torch.eye(8), torch.arange(8)
    >>> grids = choose_grids(probabilities, labels, n=2, num_grids=3, threshold=0.9)
    >>> grids.shape, [len(set(labels[grid].tolist())) for grid in grids]
    (torch.Size([3, 4]), [4, 4, 4])
    """
    check_grid_size(n)
    probabilities, labels = to_tensor(probabilities), to_tensor(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        shapes = f"{tuple(probabilities.shape)} and {tuple(labels.shape)}"
        fail(f"probabilities and labels must have shapes (N, C) and (N,), got {shapes}.")
    if num_grids < 1:
        fail(f"cannot choose {num_grids} grids: give at least 1.")
    check_class_idx(labels, probabilities.shape[1])
    labels = labels.to(probabilities.device)
    own = probabilities.gather(1, labels[:, None])[:, 0]  # (N,)
    chosen = ((probabilities.argmax(dim=1) == labels) & (own > threshold)).cpu().numpy()
    classes_of_images = labels.cpu().numpy()
    classes = np.unique(classes_of_images[chosen])
    if len(classes) < n * n:
        fail(
            f"only {len(classes)} classes have an image that is classified correctly with a probability above "
            f"{threshold}, but a grid of {n} x {n} needs {n * n}: lower the threshold, or take smaller grids."
        )
    generator = np.random.default_rng(seed)
    decks = {int(one): _Deck(np.flatnonzero(chosen & (classes_of_images == one)), generator) for one in classes}
    grids = [
        [decks[int(one)].deal() for one in generator.choice(classes, n * n, replace=False)] for _ in range(num_grids)
    ]
    return torch.tensor(grids, dtype=torch.int64)


class _Deck:
    """Images that are dealt in random order, and shuffled again when all have been dealt."""

    def __init__(self, images: NDArray[np.int64], generator: np.random.Generator) -> None:
        self.images = images
        self.generator = generator
        self.left: list[int] = []

    def deal(self) -> int:
        if not self.left:
            self.left = self.generator.permutation(self.images).tolist()
        return self.left.pop()


def compose_grids(images: Array, n: int) -> Tensor:
    """Put images side by side, at full resolution.

    Args:
        images: (G * n*n, 3, H, W), the cells of each grid row by row.
        n: cells along each side.

    Returns:
        (G, 3, n*H, n*W).

    Raises:
        SigcamError: if the images do not fill whole grids.

    >>> compose_grids(torch.arange(4.0).view(4, 1, 1, 1), n=2)
    tensor([[[[0., 1.],
              [2., 3.]]]])
    """
    check_grid_size(n)
    images = to_tensor(images)
    if images.ndim != 4 or len(images) % (n * n):
        fail(f"images of shape {tuple(images.shape)} do not fill grids: give n*n = {n * n} images (3, H, W) for each.")
    channels, height, width = images.shape[1:]
    cells = images.view(-1, n, n, channels, height, width)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, n * height, n * width)


def batches_of_rows(grids: Tensor, batch_size: int) -> list[Tensor]:
    """Say which images each batch of grids takes, as :func:`sigcam_core.prepare.images.image_batches` wants to know.

    Args:
        grids: (G, n*n) rows of a manifest, as :func:`choose_grids` gives them.
        batch_size: grids a batch.

    Returns:
        (B * n*n,) int64 each.

    Raises:
        SigcamError: if a batch holds no grid.
    """
    if batch_size < 1:
        fail(f"a batch of {batch_size} grids is not possible: give at least 1.")
    return [part.flatten() for part in torch.split(grids, batch_size)]


def grid_batches(batches: Iterable[tuple[Tensor, Tensor, Tensor]], n: int) -> Iterator[GridBatch]:
    """Compose the images of each batch into grids, one batch in memory at a time.

    Args:
        batches: rows, normalised images and labels of whole grids, such as
            ``image_batches(manifest, 1, dual.input_format, batches=batches_of_rows(grids, batch_size))``.
        n: cells along each side.

    Yields:
        The grids.
    """
    for rows, images, labels in batches:
        yield GridBatch(rows.view(-1, n * n), compose_grids(images, n), labels.view(-1, n * n))


@torch.no_grad()
def grid_features(dual: DualBranch, images: Tensor) -> Tensor:
    """Run the backbone on grids in one pass, if the network takes images of that size.

    Args:
        dual: the network.
        images: (G, 3, H, W) grids.

    Returns:
        Features as ``dual.extract`` gives them.

    Raises:
        SigcamError: if the network takes images of one size only.
    """
    dual = dual_branch_of(dual)
    try:
        features = dual.extract(images)
        dual.feature_maps(features)
        dual.softmax_head(features)
    except (SigcamError, torch.OutOfMemoryError):  # the first is one sentence already
        raise
    except (RuntimeError, ValueError) as error:  # so layers complain of a size
        fail(
            f"the network does not take grids of {images.shape[2]} x {images.shape[3]} pixels "
            f"({str(error).splitlines()[0]}): grid pointing needs a fully convolutional network with global pooling."
        )
    return features


@torch.no_grad()
def grid_shares(
    features: Array, weight_rows: Sequence[Array] | Array, classes: Array, truncated: Sequence[bool] | Array
) -> Tensor:
    """Play the grid pointing game with class activation maps, for any number of linear heads from one pass.

    Args:
        features: (G, K, h, w) feature maps of grids; h and w are multiples of n.
        weight_rows: R weight matrices (C, K), or one tensor (R, C, K); they are taken one after the other.
        classes: (G, n*n) int64 class of each cell.
        truncated: (R,) whether negative weights are cut to zero.

    Returns:
        (G, n*n, R) float64 on the CPU, as ``cell_shares``: share of the positive attribution of each cell's class
        in its cell, 0 where there is none.

    Raises:
        SigcamError: if shapes do not fit.
    """
    features, classes = to_tensor(features), to_tensor(classes)
    n = _side(classes)
    if len(weight_rows) == 0 or len(weight_rows) != len(truncated):
        fail(
            f"there are {len(weight_rows)} weight matrices but {len(truncated)} entries in `truncated`: give one each."
        )
    places, classes = features.flatten(2), classes.to(features.device)  # (G, K, h w)
    shares = []
    for rows, is_cut in zip(weight_rows, truncated, strict=True):
        weight = to_tensor(rows)
        if weight.ndim != 2 or weight.shape[1] != features.shape[1]:
            fail(f"weights must have shape (C, {features.shape[1]}), got {tuple(weight.shape)}.")
        of_cells = weight.to(features)[classes]  # (G, n*n, K)
        of_cells = of_cells.clamp(min=0) if is_cut else of_cells
        maps = (of_cells @ places).view(*of_cells.shape[:2], *features.shape[2:])  # (G, n*n, h, w)
        shares.append(cell_shares(maps, n).cpu())
    return torch.stack(shares, dim=2)


def grid_shares_of_maps(dual: DualBranch, features: Tensor, classes: Tensor, options: MapOptions) -> Tensor:
    """Play the grid pointing game with any head and method that needs no further pass of the backbone.

    Args:
        dual: the network.
        features: of G grids, as :func:`grid_features` gives them.
        classes: (G, n*n) int64 class of each cell, taken as checked.
        options: which maps; ``options.rows`` names the R.

    Returns:
        (G, n*n, R) float64 on the CPU, as :func:`grid_shares`.

    Raises:
        SigcamError: if shapes do not fit, or a method does not.
    """
    n = _side(classes)
    classes = classes.to(features.device)
    # A cell at a time, so that features are not repeated for each of the n*n classes.
    by_cell = [maps_from_features(dual, features, class_idx, options) for class_idx in classes.unbind(1)]
    shares = [cell_shares(torch.stack([maps[row] for maps in by_cell], dim=1), n).cpu() for row in options.rows]
    return torch.stack(shares, dim=2)


def _side(classes: Tensor) -> int:
    """n, of classes (G, n*n)."""
    n = math.isqrt(classes.shape[-1])
    if classes.ndim != 2 or n * n != classes.shape[1]:
        fail(f"classes of grids must have shape (G, n*n), one per cell, got {tuple(classes.shape)}.")
    check_grid_size(n)
    return n
