"""The split of each image of a folder: given by its folders, or a seeded share of every class."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any

from data_scripts.stratified import stratified_share
from sigcam_core.common.errors import fail

SPLITS = ("train", "val", "test")
DRAWN = ("test", "val")
"""Splits that are drawn from ``train`` where no folder gives them, in this order."""


def drawn_splits(given: Sequence[str]) -> list[str]:
    """List the splits that no folder gives.

    >>> drawn_splits(["train", "val"])
    ['test']
    """
    return [name for name in DRAWN if name not in given]


def assign_splits(
    given: Sequence[str], ids: Sequence[str], class_names: Sequence[str], parameters: dict[str, Any]
) -> list[str]:
    """Draw the splits that no folder gives from ``train``, and refuse a data set in which one is missing.

    Args:
        given: of each of N images, ``train``, ``val`` or ``test``; all are empty where no folder is a split.
        ids: N unique names.
        class_names: N.
        parameters: ``seed``, ``test_fraction`` and ``val_fraction``.

    Raises:
        SigcamError: if a class has no image to train on, or a split would be empty.
    """
    splits = [split or "train" for split in given]
    _refuse_untrained(splits, class_names, "folder")
    numbers = {name: number for number, name in enumerate(sorted(set(class_names)))}
    for name in drawn_splits(given):
        rest = [row for row, split in enumerate(splits) if split == "train"]
        labels = [numbers[class_names[row]] for row in rest]
        chosen = stratified_share([ids[row] for row in rest], labels, _fraction(name, parameters), parameters["seed"])
        if not chosen.any():
            _refuse_empty(name, given, class_names, parameters)
        for row in (row for row, is_chosen in zip(rest, chosen, strict=True) if is_chosen):
            splits[row] = name
    _refuse_untrained(splits, class_names, "share")
    return splits


def _fraction(name: str, parameters: dict[str, Any]) -> float:
    return float(parameters[f"{name}_fraction"])


def _refuse_untrained(splits: Sequence[str], class_names: Sequence[str], cause: str) -> None:
    trained = {name for name, split in zip(class_names, splits, strict=True) if split == "train"}
    lacking = sorted(set(class_names) - trained)
    if not lacking:
        return
    where = sorted({split for split, name in zip(splits, class_names, strict=True) if name == lacking[0]})
    remedy = {
        "folder": "add images of it to train, or move it out of the folder",
        "share": "add images of it, or lower --test-fraction or --val-fraction",
    }[cause]
    fail(
        f"{len(lacking)} of {len(set(class_names))} classes have images in {' and '.join(where)} and none in train, "
        f"first {lacking[0]!r}: {remedy}."
    )


def _refuse_empty(name: str, given: Sequence[str], class_names: Sequence[str], parameters: dict[str, Any]) -> None:
    """Say how many images a class needs, and which shares of the largest class suffice."""
    drawn = drawn_splits(given)
    in_train = [one for one, split in zip(class_names, given, strict=True) if split in ("", "train")]
    largest = max(Counter(in_train).values())
    remedies = []
    if all(_fraction(one, parameters) for one in drawn):
        enough = next(size for size in count(len(drawn) + 1) if all(_counts(size, drawn, parameters)))
        remedies.append(f"give a class {enough} images or more")
    if largest > len(drawn):  # one for each drawn split, and one to train on
        remedies.append("give " + " ".join(_sufficient_fractions(largest, drawn, parameters)))
    advice = ", or ".join(remedies) or f"give a class {len(drawn) + 1} images or more, and a --val-fraction above 0"
    fail(
        f"no image is left for the split {name}, which takes {_fraction(name, parameters):g} of every class, and the "
        f"largest class has {largest} images: {advice}."
    )


def _counts(size: int, drawn: Sequence[str], parameters: dict[str, Any]) -> list[int]:
    """Say how many images of a class of that size each drawn split gets, and ``train``."""
    counts = []
    for name in drawn:
        counts.append(_share(size, _fraction(name, parameters)))
        size -= counts[-1]
    return [*counts, size]


def _sufficient_fractions(size: int, drawn: Sequence[str], parameters: dict[str, Any]) -> list[str]:
    """List the options that leave an image of a class of that size for each drawn split, where the present do not."""
    options = []
    for name in drawn:
        fraction = max(_fraction(name, parameters), math.ceil(50 / size) / 100)
        if fraction > _fraction(name, parameters):
            options.append(f"--{name}-fraction {fraction:g}")
        size -= _share(size, fraction)
    return options


def _share(size: int, fraction: float) -> int:
    """As :func:`data_scripts.stratified.stratified_share` rounds."""
    return math.floor(size * fraction + 0.5)
