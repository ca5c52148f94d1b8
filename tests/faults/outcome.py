"""What came of a fault, and the common part of all kinds: run again, and compare."""

from __future__ import annotations

import random
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data_scripts.__main__ import main as data_scripts

from .line import OPTIONS, Ended, Undisturbed, digests, in_process, made_once, up_to

MOST_ADVICE = 4  # sentences that are followed one after the other


class Place(NamedTuple):
    """Where a fault is injected: the undisturbed line, an empty folder, and seeded random numbers."""

    line: Undisturbed
    folder: Path
    rng: random.Random


@dataclass
class Outcome:
    """What came of one fault.

    Attributes:
        took_hold: whether it changed the course of things; a process may end before its moment comes.
        lost: finished files that were gone or altered afterwards, those apart that the fault itself altered.
        redone: finished files that were made a second time although nothing was wrong with them.
        refusals: sentences by which it was noticed.
        wrong: what was not as it should be; empty if all was.
    """

    took_hold: bool = True
    lost: int = 0
    redone: int = 0
    refusals: int = 0
    wrong: str = ""


def run_again(place: Place, work_dir: Path, stage: str, outcome: Outcome, altered_file: Path | None = None) -> Outcome:
    """Run the line up to a stage, follow the advice of sentences that refuse, and compare with the undisturbed one.

    Args:
        place: where.
        work_dir: of the line.
        stage: the last.
        outcome: so far.
        altered_file: what the fault has altered, which may be made a second time with its record.
    """
    kept = made_once(work_dir)
    if altered_file:
        own = altered_file.relative_to(work_dir).with_suffix("")
        kept = {name: state for name, state in kept.items() if Path(name).with_suffix("") != own}
    altered = False
    for _ in range(MOST_ADVICE):
        ended = in_process(up_to(stage), work_dir)
        if ended.code == 0:
            break
        if ended.code != 2 or not ended.sentence.startswith("error: "):
            outcome.wrong = f"exit code {ended.code}: {ended.sentence}"
            return outcome
        outcome.refusals += 1
        altered = True
        if not follow(ended.sentence, work_dir):
            outcome.wrong = f"no advice to follow: {ended.sentence}"
            return outcome
    else:
        outcome.wrong = f"refused {MOST_ADVICE} times, last: {ended.sentence}"
        return outcome
    now = made_once(work_dir)
    if not altered:
        outcome.redone = sum(now.get(name) != state for name, state in kept.items())
    expected, found = place.line.digests[stage], digests(work_dir)
    different = [name for name in expected if found.get(name) != expected[name]]
    different += [name for name in found if name not in expected]
    if different:
        outcome.wrong = f"{len(different)} files differ from those of an undisturbed run, first {different[0]}"
    return outcome


def follow(sentence: str, work_dir: Path) -> bool:
    """Do what a sentence advises: prepare again with ``--force``, or delete the file or folder that it names."""
    if "--force" in sentence or "prepare the data" in sentence:
        options = [part for name, value in OPTIONS.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        arguments = ["shapes", "--root", str(work_dir / "data"), *options, "--force"]
        return in_process(lambda _: data_scripts(arguments), work_dir).code == 0
    if "same command again" in sentence:
        return True
    named = [Path(name.rstrip(".:,;")) for name in re.findall(rf"{re.escape(str(work_dir))}[^\s]*", sentence)]
    there = [path for path in named if path.exists() and path != work_dir]
    if "delete" not in sentence or not there:
        return False
    path = there[-1] if "delete /" in sentence else there[0]
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return True


def lost_files(before: dict[str, str], work_dir: Path) -> int:
    """How many files that had been finished are gone, or say something else."""
    now = digests(work_dir) if before else {}
    return sum(now.get(name) != value for name, value in before.items())


def ended_by_signal(ended: Ended) -> bool:
    """Whether a process was killed."""
    return ended.code < 0
