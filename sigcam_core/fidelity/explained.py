"""Scores of explained images: what the network says of an image of which only what a map shows is kept.

What is float64 here is float32 on a device without float64, such as Apple's GPUs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..cams.distinct import distinct_maps
from ..cams.maps import MapOptions, maps_from_features
from ..cams.methods import CAM_METHODS
from ..cams.score_maps import normalize_maps
from ..common.checks import check_class_idx
from ..common.errors import fail
from ..common.floats import widest_float
from ..dual.branch import HEADS, DualBranch, dual_branch_of
from .scores import coherency_of_maps, explain_images, softmax_of_class


@dataclass(frozen=True, eq=False)
class MapsToScore:
    """R maps each of N images, and whose they are.

    Attributes:
        images: (N, 3, H, W) normalised.
        class_idx: (N,) explained classes, on the images' device.
        maps: (N, R, h, w).
        rows: head and method of each of the R.
        distinct: what :func:`sigcam_core.cams.distinct.distinct_maps` says of the maps.
    """

    images: Tensor
    class_idx: Tensor
    maps: Tensor
    rows: tuple[tuple[str, str], ...]
    distinct: tuple[Tensor, Tensor]


class ExplainedScores(NamedTuple):
    """What the network says of the explained images of N images x R maps."""

    scores: dict[str, Tensor]  #: by branch, (N, R) float64 probabilities of the explained class
    coverage: Tensor  #: (N, R) float64
    coherency: Tensor  #: (N, R) float64


def score_explained_images(
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
        SigcamError: if there are no maps, the counts differ, a class is out of range, or the batch size is below 1.
    """
    dual = dual_branch_of(dual)
    shapes = {tuple(values.shape) for values in maps.values()}
    counts = {shape[:1] for shape in shapes} | {tuple(class_idx.shape), tuple(images.shape[:1])}
    if len(shapes) != 1 or counts != {(max(1, len(images)),)}:
        given = f"images {tuple(images.shape)}, classes {tuple(class_idx.shape)}, maps {sorted(shapes)}"
        fail(f"give one map of each kind, all of one size, and one class for each of N >= 1 images; got {given}.")
    batch_size = len(images) if batch_size is None else batch_size
    if batch_size < 1:
        fail(f"batch size {batch_size} is not possible: give at least 1.")
    stacked = torch.stack(list(maps.values()), dim=1)  # (N, R, h, w)
    class_idx = class_idx.to(images.device)
    given_maps = MapsToScore(images, class_idx, stacked, tuple(maps), distinct_maps(stacked))
    return score_distinct_maps(dual, given_maps, batch_size, MapOptions(evidence_only=evidence_only))


@torch.no_grad()
def score_distinct_maps(dual: DualBranch, given: MapsToScore, batch_size: int, options: MapOptions) -> ExplainedScores:
    """:func:`score_explained_images` of maps that are stacked and compared already.

    Args:
        dual: the network.
        given: the maps.
        batch_size: explained images a forward pass.
        options: as the maps were made, save for methods and heads.

    Raises:
        SigcamError: if a class is out of range.
    """
    owners, rank = given.distinct  # (P, 2), (N, R)
    images, size = given.images, (given.images.shape[2], given.images.shape[3])
    kind = widest_float(images.device)
    scores = {head: images.new_zeros(len(owners), dtype=kind) for head in HEADS}
    coverages = images.new_zeros(len(owners), dtype=kind)
    coherencies = images.new_zeros(rank.shape, dtype=kind)
    for start in range(0, len(owners), batch_size):
        done = slice(start, start + batch_size)
        image, row = owners[done].unbind(1)  # (B,) each
        maps = given.maps[image, row]  # (B, h, w)
        score_maps = normalize_maps(maps, size)  # (B, H, W)
        explained = explain_images(images[image], score_maps)  # (B, 3, H, W)
        features = dual.extract(explained)
        for head in HEADS:
            logits = dual.head(head)(features)  # (B, C)
            if start == 0 and head == HEADS[0]:  # here the number of classes is first known
                check_class_idx(given.class_idx, logits.shape[1])
            scores[head][done] = softmax_of_class(logits, given.class_idx[image])
        coverages[done] = score_maps.mean(dim=(1, 2))
        # Which of the N x R maps share one of these B, and which: maps that coincide on an image may differ on the
        # explained one, so each has a coherency of its own.
        member, column = ((rank >= done.start) & (rank < done.stop)).nonzero().unbind(1)
        at = rank[member, column] - start
        own = _maps_of_explained(dual, given, explained, features, (member, column, at), options)
        coherencies[member, column] = coherency_of_maps(maps[at], own, size)
    return ExplainedScores({head: values[rank] for head, values in scores.items()}, coverages[rank], coherencies)


def _maps_of_explained(
    dual: DualBranch,
    given: MapsToScore,
    explained: Tensor,
    features: Tensor,
    places: tuple[Tensor, Tensor, Tensor],
    options: MapOptions,
) -> Tensor:
    """Compute maps (M, h, w) of explained images, each by the row that it belongs to, from existing features.

    Args:
        dual: the network.
        given: the maps of the images.
        explained: (B, 3, H, W).
        features: of the explained images.
        places: (M,) each: image, row, and which of the B explained images.
        options: see :func:`score_distinct_maps`.
    """
    member, column, at = places
    own = given.maps.new_empty((len(at), *given.maps.shape[2:]))
    for position, (head, method) in enumerate(given.rows):
        chosen = column == position
        if bool(chosen.any()):
            where, classes = at[chosen], given.class_idx[member[chosen]]
            seen = explained[where] if CAM_METHODS[method].needs == "passes" else None
            one = replace(options, methods=(method,), heads=(head,))
            own[chosen] = maps_from_features(dual, features[where], classes, one, seen)[head, method].to(own)
    return own
