"""Numbers that are one: equal by a theorem, or since two measurements share images and heads. Each counts once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .family import Number

SAME = 1e-6
"""Points by which the value and both ends of the interval of one number differ at most."""


@dataclass(frozen=True)
class Reason:
    """Why two tests have the same number.

    Attributes:
        differs: what the two differ in, ``experiment`` or a column of their rows, such as ``method``.
        values: between which it makes no difference.
        words: why, as a sentence.
        theorem: page and label in the book of what proves it; empty where the numbers share images and heads.
    """

    differs: str
    values: tuple[str, ...]
    words: str
    theorem: str = ""

    def explains(self, one: Mapping[str, str], other: Mapping[str, str]) -> bool:
        """Whether two rows, as columns and values with their ``experiment``, are the same for this reason."""
        pair = (one.get(self.differs), other.get(self.differs))
        return pair[0] != pair[1] and set(pair) <= set(self.values)


def first_same(numbers: Sequence[Number | None], sources: Sequence[str]) -> list[int | None]:
    """For each number the place of the first that is the same, ``None`` for a number that is met first or missing.

    Args:
        numbers: with the intervals of one number alone, which depend on images and maps only.
        sources: their data sets: equal numbers of two data sets are two numbers.

    >>> one, other = Number(0.5, 0.1, 0.9, 1000), Number(0.5, 0.2, 0.9, 1000)
    >>> first_same([one, other, None, one], ["Cars", "Cars", "Cars", "Cars"])
    [None, None, None, 0]
    """
    found: list[int | None] = []
    for place, (number, source) in enumerate(zip(numbers, sources, strict=True)):
        earlier = (
            before
            for before in range(place)
            if found[before] is None and sources[before] == source and _are_same(numbers[before], number)
        )
        found.append(next(earlier, None))
    return found


def why_same(one: Mapping[str, str], other: Mapping[str, str], reasons: Sequence[Reason]) -> Reason:
    """Find the first reason that explains why two rows are the same; one that names none where no reason does.

    Args:
        one: columns and values that name a row, with its ``experiment``.
        other: of the other row.
        reasons: to choose from.
    """
    nameless = Reason("", (), "The same images, heads and maps, as value and interval show.")
    return next((reason for reason in reasons if reason.explains(one, other)), nameless)


def _are_same(one: Number | None, other: Number | None) -> bool:
    if one is None or other is None:
        return False
    pairs = ((one.value, other.value), (one.low, other.low), (one.high, other.high))
    return all(abs(a - b) < SAME for a, b in pairs)
