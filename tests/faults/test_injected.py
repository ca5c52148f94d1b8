"""Some moments of every fault: nothing that was finished is lost or made again, and the end is the same.

``python -m tests.faults`` tries up to fifty of each.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from faults.injections import Count, added, as_record, inject, inject_all
from faults.kinds import KINDS, MOMENTS, SLOW
from faults.line import Undisturbed, digests, in_process
from faults.moments import Disk, kill_at
from faults.outcome import Outcome

QUICK = [name for name in KINDS if name not in SLOW]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("name", QUICK)
def test_nothing_is_lost_and_the_end_is_the_same(name: str, line: Undisturbed) -> None:
    outcome = inject(name, MOMENTS, line)  # a moment that the full run does not try
    assert (outcome.wrong, outcome.lost, outcome.redone) == ("", 0, 0)


def test_there_are_over_twenty_kinds_and_each_is_counted(line: Undisturbed) -> None:
    assert len(KINDS) > 20
    count = Count("group")
    for outcome in (Outcome(), Outcome(False, refusals=1), Outcome(wrong="other bytes"), Outcome(redone=2)):
        count.add(3, outcome)
    assert (count.injected, count.took_hold, count.refusals, count.wrong, count.redone) == (4, 3, 1, 1, 2)
    assert count.findings[0] == "moment 3: other bytes"
    assert len(count.findings) == 2
    assert inject_all(line, QUICK[:2], 5, lambda: True)[QUICK[0]].injected == 0
    record = as_record({"kill": count})
    twice = added(record, record | {"flip": asdict(Count("other", injected=1))})
    assert (twice["kill"]["injected"], twice["kill"]["findings"]) == (8, 2 * count.findings)
    assert (twice["flip"]["injected"], twice["kill"]["group"]) == (1, "group")


def test_what_was_not_synced_is_torn_by_a_power_cut(tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    (work_dir / "old").write_bytes(b"old" * 100)
    disk = Disk(work_dir, tmp_path / "disk.log")

    def write(folder: Path) -> None:
        disk.watch()
        for name in ("safe", "torn"):
            with (folder / f"{name}.part").open("wb") as file:
                file.write(name.encode() * 100)
                file.flush()
                if name == "safe":
                    os.fsync(file.fileno())
            (folder / f"{name}.part").rename(folder / name)
        kill_at(0)()

    assert in_process(write, work_dir).code == -9
    states = set()
    shutil.copytree(work_dir, tmp_path / "before")
    assert disk.lose(random.Random(1)) == 1
    for path in work_dir.iterdir():
        states.add(path.name.removesuffix(".part"))
        content = path.read_bytes()
        whole = path.name.removesuffix(".part").encode() * 100
        assert (content == whole) == (not path.name.startswith("torn")), path.name
    assert states == {"old", "safe", "torn"}


def test_the_line_is_the_same_twice(line: Undisturbed, tmp_path: Path) -> None:
    again = Undisturbed(tmp_path / "again")
    assert again.digests == line.digests
    assert digests(line.folder / "after" / "publish") == line.digests["publish"]
    assert np.all([len(found) > 10 for name, found in line.digests.items() if name])
