"""Seeded mutations of bytes, texts and tables."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

GARBAGE: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63 - 1, -(2**63), 1.5, float("nan"), float("inf"), "", " ", "a", "../x", "/etc/passwd",
    "\0", "\ud800", "x" * 5000, "🙂", "<script>", "=1+1", b"\xff", [], [[]], [[1, 2, 3]], [[0, 0, 2, 2]], [[5, 5, 1]],
    [["a", 0, 0, 0]], [[0, 0, float("nan"), 1]], [[0.0, 0.0, 1.0, 1.0]], {}, {"a": 1}, [[10**12] * 4], [None],
)  # fmt: skip
"""Values that no cell should have, and some that it may have."""
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def _flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _number(data: bytearray, rng: random.Random) -> None:
    width = rng.choice((1, 2, 4, 8))
    place = rng.randrange(len(data))
    number = rng.choice(NUMBERS) & (256**width - 1)
    data[place : place + width] = number.to_bytes(width, rng.choice(("little", "big")))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 64)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    block = bytes(data[start : start + rng.randint(1, 64)])
    data[start:start] = block * rng.randint(1, 4)


def _zero(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    length = min(rng.choice((4, 64, 512)), len(data) - start)
    data[start : start + length] = bytes(length)


def _insert(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.randint(1, 16))


def _digit(data: bytearray, rng: random.Random) -> None:
    """One letter or digit of a text for another."""
    places = [place for place, byte in enumerate(data[:4096]) if 32 <= byte < 127]
    if places:
        data[rng.choice(places)] = rng.choice(b'0123456789-+.,:[]{}"eE\n\t /\\x')


WAYS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _number, _cut, _remove, _repeat, _zero, _insert, _digit,
)  # fmt: skip


def mutate_bytes(seed: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """One to four changes of a seed; now and then the beginning of it with the end of another."""
    data = bytearray(seed)
    if others and rng.random() < 0.1:
        other = rng.choice(others)
        data[rng.randrange(len(data) + 1) :] = other[rng.randrange(len(other) + 1) :]
    for _ in range(rng.choice((1, 1, 2, 4))):
        if data:
            rng.choice(WAYS)(data, rng)
    return bytes(data)


def mutate_json(value: Any, rng: random.Random) -> Any:
    """A JSON value of which one part, however deep, is garbage, gone or doubled."""
    value = json.loads(json.dumps(value))
    place = value
    while isinstance(place, dict | list) and place:
        key: Any = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.6:
            place = place[key]
            continue
        if rng.random() < 0.2:
            del place[key]
        else:
            place[key] = plain(rng.choice(GARBAGE))
        break
    return value


def plain(value: Any) -> Any:
    """Garbage as far as JSON has it."""
    if isinstance(value, bytes) or (isinstance(value, float) and not np.isfinite(value)) or value == "\ud800":
        return str(value)[:3]
    return json.loads(json.dumps(value, default=str).replace("NaN", "null"))
