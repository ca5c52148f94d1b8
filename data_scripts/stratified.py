"""Seeded, stratified splits that every machine and every version draws alike."""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sigcam_core.common.errors import fail


def stratified_share(image_ids: Sequence[str], labels: Sequence[int], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Choose a share of every class.

    The rule: the n images of a class are ordered by the SHA-256 of ``seed:image_id``, and the first
    ``floor(n * share + 1/2)`` are chosen. An image's place in that order depends on nothing but the seed and its name.

    Args:
        image_ids: N unique names.
        labels: N class indices.
        share: part of each class, 0 to 1.
        seed: of the order.

    Returns:
        bool array (N,): whether each image is chosen.

    >>> stratified_share(["a", "b", "c", "d"], [0, 0, 1, 1], 0.5, seed=0).tolist()
    [True, False, False, True]
    """
    keys = np.array([hashlib.sha256(f"{seed}:{image_id}".encode()).hexdigest() for image_id in image_ids], dtype=str)
    classes = np.asarray(labels, dtype=np.int64)
    chosen = np.zeros(len(keys), dtype=np.bool_)
    order = np.lexsort((keys, classes))
    for rows in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
        chosen[rows[: math.floor(len(rows) * share + 0.5)]] = True
    return chosen


def add_split_options(parser: argparse.ArgumentParser, val_fraction: float) -> None:
    """Add the options that :func:`check_split_parameters` reads."""
    parser.add_argument("--seed", type=int, default=0, help="seed of the split (default: %(default)s)")
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=val_fraction,
        help="share of every class's training images that becomes the split val (default: %(default)s)",
    )


def check_split_parameters(*, seed: int, val_fraction: float) -> dict[str, Any]:
    """Return the parameters as the manifest records them.

    Raises:
        SigcamError: if one is out of range; the sentence names it.
    """
    if seed < 0:
        fail(f"--seed {seed} is out of range: give 0 or a positive whole number.")
    if not 0 <= val_fraction < 1:
        fail(f"--val-fraction {val_fraction} is out of range: give a number from 0 to below 1.")
    return {"seed": seed, "val_fraction": val_fraction}


def split_names(
    image_ids: Sequence[str], labels: Sequence[int], is_test: Sequence[bool], parameters: dict[str, Any]
) -> list[str]:
    """``test`` where said so; of all others a stratified share is ``val`` and the rest ``train``.

    Args:
        image_ids: N unique names.
        labels: N class indices.
        is_test: N, whether the image is in the test split.
        parameters: from :func:`check_split_parameters`.
    """
    names = np.where(is_test, "test", "train").astype("<U5")
    rest = np.flatnonzero(names == "train")
    chosen = stratified_share(
        np.asarray(image_ids)[rest].tolist(),
        np.asarray(labels)[rest].tolist(),
        parameters["val_fraction"],
        parameters["seed"],
    )
    names[rest[chosen]] = "val"
    return [str(name) for name in names]
