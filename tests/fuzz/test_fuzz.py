"""Some mutated files of every reader: each is read, or refused in one sentence."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz.cases import Tally, lines_of, run_batch, run_cases
from fuzz.mutate import mutate_bytes, mutate_json
from fuzz.readers import MODULES, READERS
from sigcam_core.common.errors import fail

CASES = 15


@pytest.mark.parametrize("name", READERS)
def test_every_mutated_file_is_read_or_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    tally = run_batch(name, range(CASES), 1, tmp_path / "cases")
    assert tally.findings == {}
    assert tally.valid + tally.refused == tally.cases == CASES


def test_what_is_raised_otherwise_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: Path, content: bytes) -> object:
        if content[0] % 3 == 0:
            fail("this is refused.")
        return 1 // (content[0] % 3 - 1)

    reader = READERS["masks"]
    monkeypatch.setitem(READERS, "masks", type(reader)(lambda _: [b"0"], read, lambda _, __, rng: rng.randbytes(1)))
    tally = run_cases("masks", range(60), 0, tmp_path)
    assert min(tally.valid, tally.refused, 60 - tally.valid - tally.refused) > 5
    assert list(tally.findings) == ["ZeroDivisionError in the reader's own check"]


def test_the_same_seed_gives_the_same_case() -> None:
    seeds = [bytes(range(200)), b"abc" * 50]
    first, again, other = (mutate_bytes(seeds[0], seeds, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other
    value = {"a": [1, {"b": "c"}], "d": None}
    changed = [mutate_json(value, random.Random(seed)) for seed in range(20)]
    assert changed == [mutate_json(value, random.Random(seed)) for seed in range(20)]
    assert value == {"a": [1, {"b": "c"}], "d": None}
    assert sum(one != value for one in changed) > 10


def test_lines_that_are_reached_are_lines_of_functions(tmp_path: Path) -> None:
    tally = run_cases("masks", range(3), 0, tmp_path)
    reached = tally.reached["sigcam_core.prepare.decode"]
    assert reached
    assert reached <= lines_of("sigcam_core.prepare.decode")
    assert all(len(lines_of(module)) > 5 for module in MODULES)
    whole = Tally.from_json(tally.to_json())
    whole.add(tally)
    assert (whole.cases, whole.reached) == (6, tally.reached)
