"""Injecting kinds at seeded moments, and counting what came of them."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .kinds import KINDS
from .line import Undisturbed
from .outcome import Outcome, Place

MOST_FINDINGS = 20  # of a kind, that are kept


@dataclass
class Count:
    """What came of all injections of a kind."""

    group: str
    injected: int = 0
    took_hold: int = 0
    lost: int = 0
    redone: int = 0
    refusals: int = 0
    wrong: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, seed: int, outcome: Outcome) -> None:
        """Count one more."""
        self.injected += 1
        self.took_hold += outcome.took_hold
        self.lost += outcome.lost
        self.redone += outcome.redone
        self.refusals += outcome.refusals
        self.wrong += bool(outcome.wrong)
        if (outcome.wrong or outcome.lost or outcome.redone) and len(self.findings) < MOST_FINDINGS:
            self.findings.append(f"moment {seed}: {outcome.wrong or asdict(outcome)}")


def inject(name: str, moment: int, line: Undisturbed) -> Outcome:
    """One fault.

    Args:
        name: of :data:`KINDS`.
        moment: seed of all that is drawn.
        line: that is disturbed.
    """
    with tempfile.TemporaryDirectory(dir=line.folder) as folder:
        return KINDS[name].inject(Place(line, Path(folder), random.Random(f"{name} {moment}")))


def inject_all(
    line: Undisturbed, names: list[str], moments: int, is_over: Callable[[], bool], seed: int = 0
) -> dict[str, Count]:
    """Every kind at its moments, one of each in turn, until all are done or the time is over.

    Args:
        line: that is disturbed.
        names: of the kinds.
        moments: of each at most; a kind may have fewer.
        is_over: whether to stop.
        seed: of the first moment.
    """
    counts = {name: Count(KINDS[name].group) for name in names}
    for number in range(moments):
        for name in names:
            if is_over():
                return counts
            if number < KINDS[name].moments:
                begin = time.monotonic()
                outcome = inject(name, seed + number, line)
                counts[name].add(seed + number, outcome)
                print(f"{name}, moment {seed + number}: {time.monotonic() - begin:.1f} s", flush=True)
                if outcome.wrong or outcome.lost or outcome.redone:
                    print(f"{name}, {counts[name].findings[-1]}", flush=True)
    return counts


def as_record(counts: dict[str, Count]) -> dict[str, Any]:
    """The counts as JSON."""
    return {name: asdict(count) for name, count in counts.items()}


def added(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The counts of two runs together, by kind."""
    whole = dict(known)
    for name, count in more.items():
        before = known.get(name, {})
        sums = {key: value + before.get(key, type(value)()) for key, value in count.items() if key != "group"}
        whole[name] = count | sums
    return whole
