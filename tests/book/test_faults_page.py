"""The page of faults says what the records say, and adds up."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from faults.kinds import KINDS, MOMENTS
from fuzz.readers import READERS

from dependencies import PROJECT
from faults_page import FAULTS, FOLDER, FUZZ, FUZZ_BEFORE, MOST_MOMENTS, write_faults_page
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import write_json

MADE = {"provenance": {"commit": "abcdef0123456789", "versions": {"torch": "2.9"}, "date": "2026-01-02T03:04:05"}}


def count(group: str, *numbers: int) -> dict[str, object]:
    names = ("injected", "took_hold", "refusals", "lost", "redone", "wrong")
    return {"group": group, **dict(zip(names, numbers, strict=True)), "findings": []}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    kinds = {"kill": count("stopped", 1500, 1200, 0, 0, 1, 0), "power": count("stopped", 20, 20, 3, 2, 0, 4)}
    kinds["flip"] = count("altered", 30, 29, 30, 0, 0, 0) | {"commit": "0123456789abcdef"}
    earlier = [{"kind": "flip, moment 3", "commit": "fedcba9876543210", "found": "it stayed", "done": "tried anew"}]
    write_json(tmp_path / FOLDER / FAULTS, {"seconds": 120.0, "kinds": kinds, "earlier": earlier} | MADE)
    reader = {"cases": 5000, "valid": 3000, "refused": 1990, "findings": {"KeyError in x.py, read": "case 7"}}
    coverage = {"a.b": {"lines": 40, "reached": 30}}
    fuzz = {"seconds": 600.0, "readers": {"masks": reader}, "coverage": coverage} | MADE
    write_json(tmp_path / FOLDER / FUZZ, fuzz)
    write_json(tmp_path / FOLDER / FUZZ_BEFORE, fuzz)
    return tmp_path


def test_every_count_of_the_records_is_on_the_page(project: Path) -> None:
    write_faults_page(project, project)
    text = (project / "faults.md").read_text()
    assert "1,550 faults of 3 kinds were injected, of which 1,249 took hold: 2 finished files were lost" in text
    assert "1 was made again in vain, and 4 runs did not end as an undisturbed one." in text
    for row in (
        "| kill | 1,500 | 1,200 | 0 | 0 | 1 | 0 |",
        "| stopped | 2 | 1,520 | 1,220 | 3 | 2 | 1 | 4 |",
        "| altered | 1 | 30 | 29 | 30 | 0 | 0 | 0 |",
        "| masks | 5,000 | 3,000 | 1,990 | 1 |",
        "| `a.b` | 40 | 30 | 75 % |",
        "| masks | `KeyError in x.py, read` |",
        "| flip, moment 3 | `fedcba987654` | it stayed | tried anew |",
        "commit `abcdef012345`, torch 2.9, 2026-01-02 (some kinds with `0123456789ab`)",
    ):
        assert row in text
    assert "in 2 minutes, at 20 to 1500 moments of each kind" in text
    assert "5,000 cases in 10 minutes, with commit `abcdef012345`" in text
    assert not re.search(r"[{}]", re.sub(r"\{(doc|dropdown)\}", "", text))
    (project / FOLDER / FUZZ_BEFORE).unlink()
    write_faults_page(project, project)
    assert "They were fixed" not in (project / "faults.md").read_text()
    (project / FOLDER / FAULTS).unlink()
    with pytest.raises(SigcamError, match="does not exist"):
        write_faults_page(project, project)


def test_the_records_are_of_the_kinds_and_readers_that_there_are() -> None:
    faults, fuzz = (json.loads((PROJECT / FOLDER / name).read_text()) for name in (FAULTS, FUZZ))
    assert list(faults["kinds"]) == list(KINDS)
    assert MOST_MOMENTS == MOMENTS
    assert all(one["injected"] for one in faults["kinds"].values())
    assert list(fuzz["readers"]) == list(READERS)
    assert not [one["findings"] for one in fuzz["readers"].values() if one["findings"]]
