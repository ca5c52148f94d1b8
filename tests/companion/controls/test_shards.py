"""A measurement in shards equals the whole, and a run that was stopped does one shard again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing import Queue, get_context
from pathlib import Path

import numpy as np
import pytest

from companion.controls import shards
from companion.controls.shards import Arrays, in_shards, seconds_of


class Counter:
    """Squares of the items, with a note of what was asked for."""

    def __init__(self, fails_at: int = -1) -> None:
        self.asked: list[int] = []
        self.fails_at = fails_at

    def __call__(self, items: slice) -> Arrays:
        if items.start == self.fails_at:
            raise KeyboardInterrupt
        self.asked.append(items.start)
        numbers = np.arange(items.start, items.stop)
        return {"squares": numbers**2, "bits": (numbers % 2 == 0)}


def test_shards_are_gathered_in_order(tmp_path: Path) -> None:
    arrays = in_shards(tmp_path / "a.safetensors", 10, Counter(), {}, shard_size=3)
    assert arrays["squares"].tolist() == [n**2 for n in range(10)]
    assert arrays["bits"].dtype == np.bool_
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.lock", "a.safetensors"]


def test_what_is_there_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    first = in_shards(path, 10, Counter(), {"seed": 0}, shard_size=3)
    again = Counter()
    second = in_shards(path, 10, again, {"seed": 0}, shard_size=3)
    assert again.asked == []
    assert np.array_equal(first["squares"], second["squares"])


def test_a_second_process_waits_and_finds_it_done(tmp_path: Path) -> None:
    path, context = tmp_path / "a.safetensors", get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=square_slowly, args=(path, results)) for _ in range(2)]
    for process in processes:
        process.start()
    asked = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(asked) == [[], [0, 3, 6, 9]]


def square_slowly(path: Path, results: Queue[list[int]]) -> None:
    """Measure with a pause in each shard, in which the other process gets there too."""
    counter = Counter()

    def measure(items: slice) -> Arrays:
        time.sleep(0.1)
        return counter(items)

    in_shards(path, 10, measure, {}, shard_size=3)
    results.put(counter.asked)


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        in_shards(path, 10, Counter(fails_at=6), {}, shard_size=3)
    again = Counter()
    arrays = in_shards(path, 10, again, {}, shard_size=3)
    assert again.asked == [6, 9]
    assert arrays["squares"].tolist() == [n**2 for n in range(10)]


def test_shards_of_another_measurement_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        in_shards(path, 10, Counter(fails_at=6), {"seed": 0}, shard_size=3)
    other = Counter()
    in_shards(path, 10, other, {"seed": 1}, shard_size=3)
    assert other.asked == [0, 3, 6, 9]
    third = Counter()
    in_shards(path, 10, third, {"seed": 1}, shard_size=5)
    assert third.asked == [0, 5]


def test_more_items_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    in_shards(path, 7, Counter(), {}, shard_size=3)
    fewer, more = Counter(), Counter()
    assert in_shards(path, 4, fewer, {}, shard_size=3)["squares"].tolist() == [0, 1, 4, 9]
    assert fewer.asked == []
    arrays = in_shards(path, 10, more, {}, shard_size=3)
    assert more.asked == [6, 9]  # the last shard had one item only
    assert arrays["squares"].tolist() == [n**2 for n in range(10)]


@pytest.mark.parametrize("damage", [lambda content: content[:40], lambda content: content[:-1] + b"\x01"])
def test_a_damaged_file_is_measured_again(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    in_shards(path, 4, Counter(), {}, shard_size=3)
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    again = Counter()
    assert in_shards(path, 4, again, {}, shard_size=3)["squares"].tolist() == [0, 1, 4, 9]
    assert again.asked == [0, 3]


def test_seconds_are_those_of_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(shards.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(shards, "progress_bar", lambda *_: nullcontext(lambda _: None))
    path = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        in_shards(path, 10, Counter(fails_at=6), {}, shard_size=3)
    in_shards(path, 10, Counter(), {}, shard_size=3)
    assert seconds_of(path) == 4  # one a shard, in whichever run it was measured
    in_shards(path, 10, Counter(), {}, shard_size=3)
    assert seconds_of(path) == 4
