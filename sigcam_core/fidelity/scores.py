"""Fidelity of a map: how a class score changes when only what the map shows is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cams.maps import maps_from_features
from ..cams.score_maps import normalize_maps
from ..common.errors import fail
from ..dual.branch import HEADS, DualBranch
from ..dual.loss import check_class_idx
from ..localization.protocol import check_score_maps

SAME_MAP_TOLERANCE = 1e-5  # of a map's range; rounding in float32 leaves about 1e-6


def average_drop(image_scores: Tensor, explained_scores: Tensor) -> float:
    """Average drop: 100 mean(max(0, Y - O) / Y), lower is better (Chattopadhay et al. 2018).

    Args:
        image_scores: (N,) probabilities Y of the explained class on the image.
        explained_scores: (N,) probabilities O of the same class on the explained image.

    Returns:
        Percentage in [0, 100].

    Raises:
        SigcamError: if the shapes differ, nothing is given, or a score is not in [0, 1] (Y not in (0, 1]).

    >>> average_drop(torch.tensor([0.8, 0.5]), torch.tensor([0.4, 0.9]))
    25.0
    """
    y, o = _check(image_scores, explained_scores)
    return float(100 * ((y - o).clamp(min=0) / y).mean())


def increase_in_confidence(image_scores: Tensor, explained_scores: Tensor) -> float:
    """Increase in confidence: 100 mean(O > Y), higher is better (Chattopadhay et al. 2018).

    Args and errors as for :func:`average_drop`.

    >>> increase_in_confidence(torch.tensor([0.8, 0.5]), torch.tensor([0.4, 0.9]))
    50.0
    """
    y, o = _check(image_scores, explained_scores)
    return float(100 * (o > y).double().mean())


def coverage(score_maps: Tensor) -> Tensor:
    """The share of the image that each map keeps: its mean. Poppi et al. 2021 call it complexity.

    Args:
        score_maps: (N, H, W) in [0, 1].

    Returns:
        (N,) float64 fractions in [0, 1].

    Raises:
        SigcamError: if there is no map, or one is not (H, W), finite and within [0, 1].

    >>> coverage(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))
    tensor([0.2500], dtype=torch.float64)
    """
    if len(check_score_maps(score_maps)) == 0:
        fail("there are no score maps to average: give at least one.")
    return score_maps.double().mean(dim=(1, 2))


def coherency(score_maps: Tensor, explained_score_maps: Tensor) -> Tensor:
    """How alike the maps of an image and of its explained image are: (1 + correlation) / 2 (Poppi et al. 2021).

    Pearson's correlation over pixels does not change when a map is stretched. Where it is undefined, because one of
    the two maps is constant, coherency is 0: in the authors' code, too, a map that cannot be stretched gives 0.

    Args:
        score_maps: (N, H, W) in [0, 1], of the images.
        explained_score_maps: (N, H, W) in [0, 1], of the same class on the explained images.

    Returns:
        (N,) float64 in [0, 1].

    Raises:
        SigcamError: if the shapes differ, there is no map, or one is not (H, W), finite and within [0, 1].

    >>> halves = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    >>> coherency(torch.cat([halves, halves]), torch.cat([halves, 0 * halves]))
    tensor([1., 0.], dtype=torch.float64)
    """
    if score_maps.shape != explained_score_maps.shape or len(score_maps) == 0:
        shapes = f"{tuple(score_maps.shape)} and {tuple(explained_score_maps.shape)}"
        fail(f"the maps of images and of explained images must pair up, N >= 1 of one size, got {shapes}.")
    flat = [check_score_maps(maps).double().flatten(1) for maps in (score_maps, explained_score_maps)]
    constant = [maps.amax(dim=1) == maps.amin(dim=1) for maps in flat]
    a, b = (maps - maps.mean(dim=1, keepdim=True) for maps in flat)
    correlation = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
    return torch.where(constant[0] | constant[1], 0.0, (1 + correlation.clamp(-1, 1)) / 2)


def adcc(coherency: Tensor, complexity: Tensor, average_drop: Tensor) -> Tensor:
    """ADCC: the harmonic mean of coherency, 1 - complexity and 1 - average drop (Poppi et al. 2021).

    The definition is of one image. For a data set, put in the means over its images, as our tables do: the harmonic
    mean of an image is 0 as soon as one term is, and the mean of such figures is mostly a count of those images.

    Args:
        coherency: (...) fractions in [0, 1], higher is better.
        complexity: (...) coverage of the maps, a fraction in [0, 1].
        average_drop: (...) a fraction in [0, 1], not a percentage.

    Returns:
        (...) float64 percentages, higher is better; 0 where one of the three terms is 0.

    Raises:
        SigcamError: if the shapes differ, nothing is given, or a value is not in [0, 1].

    >>> adcc(torch.tensor(0.9), torch.tensor(0.4), torch.tensor(0.2))
    tensor(74.4828, dtype=torch.float64)
    """
    given = [torch.as_tensor(term).double() for term in (coherency, complexity, average_drop)]
    if len({term.shape for term in given}) > 1 or given[0].numel() == 0:
        fail(f"the terms of ADCC must have one shape, got {', '.join(str(tuple(term.shape)) for term in given)}.")
    if not all(bool(((term >= 0) & (term <= 1)).all()) for term in given):
        fail("the terms of ADCC must be fractions in [0, 1]: divide percentages by 100, and leave out what is NaN.")
    terms = torch.stack([given[0], 1 - given[1], 1 - given[2]])
    return 100 * 3 / (1 / terms).sum(dim=0)  # a zero gives 3 / infinity = 0


def explain_images(images: Tensor, score_maps: Tensor) -> Tensor:
    """Explained images: normalised images times their score maps, so that what is dropped takes the mean colour.

    Args:
        images: (N, 3, H, W) normalised images, for which zero is the mean colour.
        score_maps: (N, H, W) in [0, 1].

    Returns:
        (N, 3, H, W) in the type of the images.

    Raises:
        SigcamError: if the shapes do not fit, or maps hold NaN or values outside [0, 1].
    """
    if images.ndim != 4 or score_maps.shape != (images.shape[0], *images.shape[2:]):
        fail(f"score maps {tuple(score_maps.shape)} do not fit images {tuple(images.shape)}: one map a pixel.")
    return images * check_score_maps(score_maps)[:, None].to(images.dtype)


class ExplainedScores(NamedTuple):
    """What the network says of the explained images of N images x R maps."""

    scores: dict[str, Tensor]  #: by branch, (N, R) float64 probabilities of the explained class
    coverage: Tensor  #: (N, R) float64
    coherency: Tensor  #: (N, R) float64


@torch.no_grad()
def explained_scores(
    dual: DualBranch,
    images: Tensor,
    class_idx: Tensor,
    maps: Mapping[tuple[str, str], Tensor],
    batch_size: int | None = None,
    evidence_only: bool | str = "paper",
) -> ExplainedScores:
    """Score the explained images of all maps by both branches: one forward pass a *distinct* map, in full batches.

    With the pass that made the maps, M distinct maps cost 1 + M passes. The explained images' own maps, for
    coherency, come from the features of these passes and cost the head alone. They are made for every head and
    method, also where two share an explained image: maps that coincide on an image may differ on the explained one.

    Args:
        dual: the network.
        images: (N, 3, H, W) normalised images.
        class_idx: (N,) explained classes.
        maps: ``{(head, method): (N, h, w)}``, what :func:`sigcam_core.cams.maps.cam_maps` returns.
        batch_size: explained images a forward pass; as many as there are images by default.
        evidence_only: as the maps were made.

    Raises:
        SigcamError: if there are no maps, the counts differ, or the batch size is below 1.
    """
    shapes = {tuple(values.shape) for values in maps.values()}
    counts = {shape[:1] for shape in shapes} | {tuple(class_idx.shape), tuple(images.shape[:1])}
    if len(shapes) != 1 or counts != {(max(1, len(images)),)}:
        given = f"images {tuple(images.shape)}, classes {tuple(class_idx.shape)}, maps {sorted(shapes)}"
        fail(f"give one map of each kind, all of one size, and one class for each of N >= 1 images; got {given}.")
    batch_size = len(images) if batch_size is None else batch_size
    if batch_size < 1:
        fail(f"batch size {batch_size} is not possible: give at least 1.")
    stacked, size = torch.stack(list(maps.values()), dim=1), (images.shape[2], images.shape[3])
    class_idx = class_idx.to(images.device)
    owners, rank = distinct_maps(stacked)
    scores = {head: images.new_zeros(len(owners), dtype=torch.float64) for head in HEADS}
    coverages = images.new_zeros(len(owners), dtype=torch.float64)
    coherencies = images.new_zeros(rank.shape, dtype=torch.float64)
    for start in range(0, len(owners), batch_size):
        done = slice(start, start + batch_size)
        image, row = owners[done].unbind(1)
        score_maps = normalize_maps(stacked[image, row], size)
        explained = explain_images(images[image], score_maps)
        features = dual.extract(explained)
        for head in HEADS:
            scores[head][done] = class_scores(dual.head(head)(features), class_idx[image])
        coverages[done] = score_maps.mean(dim=(1, 2))
        member, column = ((rank >= done.start) & (rank < done.stop)).nonzero().unbind(1)
        at = rank[member, column] - start
        own = stacked.new_empty((len(at), *stacked.shape[2:]))
        for position, (head, method) in enumerate(maps):
            chosen = column == position
            if bool(chosen.any()):
                where, classes = at[chosen], class_idx[member[chosen]]
                seen = explained[where] if method == "scorecam" else None  # features are enough for all others
                own[chosen] = maps_from_features(
                    dual, features[where], classes, [method], [head], evidence_only, images=seen
                )[head, method].to(own)
        coherencies[member, column] = coherency(score_maps[at], normalize_maps(own, size))
    return ExplainedScores({head: values[rank] for head, values in scores.items()}, coverages[rank], coherencies)


def class_scores(logits: Tensor, class_idx: Tensor) -> Tensor:
    """Softmax probabilities (N,) of one class an image, in float64, from logits (N, C).

    Raises:
        SigcamError: if a class is out of range or not a whole number.
    """
    check_class_idx(class_idx, logits.shape[1])
    return logits.double().softmax(dim=1).gather(1, class_idx[:, None])[:, 0]


def distinct_maps(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The P distinct maps among N x R, by :func:`same_as_earlier`, on the device of the maps.

    Args:
        maps: (N, R, h, w), before normalisation.

    Returns:
        (P, 2) image and row of each distinct map, image by image, and (N, R) which of the P a map is.
    """
    source = torch.from_numpy(same_as_earlier(maps))
    owners = (source == torch.arange(source.shape[1])).nonzero()
    rank = torch.zeros_like(source)
    rank[owners[:, 0], owners[:, 1]] = torch.arange(len(owners))
    return owners.to(maps.device), rank.gather(1, source).to(maps.device)


def same_as_earlier(maps: Tensor) -> NDArray[np.int64]:
    """For each of R maps of an image, the first of them that is the same map once stretched to [0, 1].

    On a head of global average pooling and one linear layer most methods coincide (up to rounding), and there is
    no need to score one map twice.

    Args:
        maps: (N, R, h, w), before normalisation.

    Returns:
        (N, R) indices into the R maps.
    """
    flat = maps.flatten(2).double()
    low = flat.amin(dim=2, keepdim=True)
    span = flat.amax(dim=2, keepdim=True) - low
    flat = torch.where(span > 0, (flat - low) / span, 0.0)
    # A row at a time: all R x R differences at once would be the largest tensor of an evaluation.
    rows = [(flat - flat[:, row, None]).abs().amax(dim=2) <= SAME_MAP_TOLERANCE for row in range(flat.shape[1])]
    same = torch.stack(rows, dim=1).cpu().numpy()
    source = np.tile(np.arange(same.shape[1]), (len(same), 1))
    for row in range(1, same.shape[1]):
        # Only maps that stand for themselves qualify: closeness within a tolerance is not transitive.
        earlier = same[:, row, :row] & (source[:, :row] == np.arange(row))
        source[:, row] = np.where(earlier.any(axis=1), earlier.argmax(axis=1), row)
    return source


def _check(image_scores: Tensor, explained_scores: Tensor) -> tuple[Tensor, Tensor]:
    y, o = torch.as_tensor(image_scores).double(), torch.as_tensor(explained_scores).double()
    if y.ndim != 1 or y.shape != o.shape or len(y) == 0:
        fail(f"scores must be two vectors of equal length N >= 1, got {tuple(y.shape)} and {tuple(o.shape)}.")
    if not bool(((y > 0) & (y <= 1) & (o >= 0) & (o <= 1)).all()):
        fail("scores must be probabilities: Y in (0, 1] and O in [0, 1].")
    return y, o
