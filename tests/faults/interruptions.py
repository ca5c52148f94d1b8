"""Processes that are stopped: by a kill, a power cut, a full or read-only disk, or too little memory."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from sigcam_core.stations import ensure_classifier
from sigcam_core.train import heads
from sigcam_core.train.recipes import recipe_of_classifier

from . import moments
from .line import STAGES, digests, in_process, run_of, stage_before, start, wait
from .outcome import Outcome, Place, ended_by_signal, lost_files, run_again

_counts: dict[tuple[str, str], int] = {}  # of lines and of file operations of each stage


def count_of(place: Place, stage: str, what: str) -> int:
    """How many moments of a kind an undisturbed stage has."""
    if (stage, what) not in _counts:
        work_dir = place.line.copy(stage_before(stage), place.folder / f"count-{what}")
        answer = place.folder / f"{what}.count"
        count, write = moments.tell(answer)

        def run(work_dir: Path) -> None:
            STAGES[stage](work_dir)
            write()

        arm = (lambda: moments.at_lines(count)) if what == "lines" else (lambda: moments.at_files(count, work_dir))
        ended = in_process(run, work_dir, arm)
        assert ended.code == 0, ended.sentence
        _counts[stage, what] = int(answer.read_text())
        shutil.rmtree(work_dir)
    return _counts[stage, what]


def killed(stage: str) -> Callable[[Place], Outcome]:
    """A stage is killed at one of its lines, or before one of its operations on files."""

    def inject(place: Place) -> Outcome:
        what = place.rng.choice(("lines", "files"))
        number = place.rng.randrange(count_of(place, stage, what))
        work_dir = place.line.copy(stage_before(stage), place.folder / "work")
        before = digests(work_dir)
        count = moments.kill_at(number)
        arm = (lambda: moments.at_lines(count)) if what == "lines" else (lambda: moments.at_files(count, work_dir))
        ended = in_process(STAGES[stage], work_dir, arm)
        outcome = Outcome(ended_by_signal(ended), lost_files(before, work_dir))
        return run_again(place, work_dir, stage, outcome)

    return inject


def killed_by_the_clock(place: Place) -> Outcome:
    """All stations in a row are killed from outside, whatever they are doing."""
    work_dir = place.line.copy("", place.folder / "work")
    begin = time.monotonic()
    seconds = place.rng.uniform(0.0, 3.0)
    stages = list(STAGES)

    def run(work_dir: Path) -> None:
        for name in stages:
            STAGES[name](work_dir)

    child, log = start(run, work_dir, lambda: None)
    while time.monotonic() - begin < seconds:
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return run_again(place, work_dir, stages[-1], Outcome(ended_by_signal(wait(child, log))))


def without_power(stage: str) -> Callable[[Place], Outcome]:
    """The power goes at an operation on files: what was not on the disk is gone, torn, or zeros."""

    def inject(place: Place) -> Outcome:
        number = place.rng.randrange(count_of(place, stage, "files"))
        work_dir = place.line.copy(stage_before(stage), place.folder / "work")
        before = digests(work_dir)
        disk = moments.Disk(work_dir, place.folder / "disk.log")

        def arm() -> None:
            disk.watch()
            moments.at_files(moments.kill_at(number), work_dir)

        ended = in_process(STAGES[stage], work_dir, arm)
        disk.lose(place.rng)
        return run_again(place, work_dir, stage, Outcome(ended_by_signal(ended), lost_files(before, work_dir)))

    return inject


def refused_by_the_disk(code: int) -> Callable[[Place], Outcome]:
    """From some operation on, the disk refuses to write; later it takes everything again."""

    def inject(place: Place) -> Outcome:
        stage = place.rng.choice(list(STAGES))
        number = place.rng.randrange(count_of(place, stage, "files"))
        work_dir = place.line.copy(stage_before(stage), place.folder / "work")
        before = digests(work_dir)
        removals = code != moments.FULL
        count = moments.refuse_from(number, code)
        ended = in_process(STAGES[stage], work_dir, lambda: moments.at_files(count, work_dir, removals))
        outcome = Outcome(ended.code != 0, lost_files(before, work_dir))
        if ended.code not in (0, 2):
            outcome.wrong = f"no sentence, but exit code {ended.code}: {ended.sentence}"
            return outcome
        outcome.refusals = int(ended.code == 2)
        return run_again(place, work_dir, stage, outcome)

    return inject


def on_a_small_disk(place: Place) -> Outcome:
    """A real disk of memory that is too small: needs the right to mount one."""
    mounted = place.folder / "disk"
    mounted.mkdir()
    kilobytes = place.rng.randrange(40, 700)
    if os.system(f"mount -t tmpfs -o size={kilobytes}k none {mounted} 2>/dev/null"):
        return Outcome(took_hold=False)
    try:
        stages = list(STAGES)
        codes = []
        for name in stages:
            ended = in_process(STAGES[name], mounted / "work")
            codes.append(ended.code)
            if ended.code:
                break
        outcome = Outcome(codes[-1] != 0, refusals=int(codes[-1] == 2))
        if codes[-1] not in (0, 2):
            outcome.wrong = f"no sentence, but exit code {codes[-1]}: {ended.sentence}"
            return outcome
        os.system(f"mount -o remount,size=200m {mounted}")
        return run_again(place, mounted / "work", stages[-1], outcome)
    finally:
        os.system(f"umount {mounted}")


def in_a_folder_of_others(place: Place) -> Outcome:
    """A folder that somebody else owns: one sentence, and nothing is changed."""
    stage = place.rng.choice(list(STAGES))
    work_dir = place.line.copy(stage_before(stage), place.folder / "work")
    before = digests(work_dir)

    def arm() -> None:
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        else:
            for folder in [work_dir, *(path for path in work_dir.rglob("*") if path.is_dir())]:
                folder.chmod(0o555)

    for path in (place.folder, *place.folder.parents):
        if path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o055)
    ended = in_process(STAGES[stage], work_dir, arm)
    for folder in (path for path in work_dir.rglob("*") if path.is_dir()):
        folder.chmod(0o755)
    outcome = Outcome(ended.code == 2, lost_files(before, work_dir), refusals=int(ended.code == 2))
    if ended.code != 2:
        outcome.wrong = f"no sentence, but exit code {ended.code}: {ended.sentence}"
        return outcome
    return run_again(place, work_dir, stage, outcome)


def with_little_memory(place: Place) -> Outcome:
    """A process that gets no more memory from some moment on: it says so, or is stopped, and the next one goes on."""
    stage = place.rng.choice(list(STAGES))
    work_dir = place.line.copy(stage_before(stage), place.folder / "work")
    before = digests(work_dir)
    seed = place.rng.random()
    ended = in_process(STAGES[stage], work_dir, lambda: moments.limit_memory(random.Random(seed)))
    outcome = Outcome(ended.code != 0, lost_files(before, work_dir), refusals=int(ended.code == 2))
    return run_again(place, work_dir, stage, outcome)


def with_a_loss_that_is_no_number(place: Place) -> Outcome:
    """The loss becomes NaN at some step: one sentence, and no classifier."""
    work_dir = place.line.copy("prepare", place.folder / "work")
    before = digests(work_dir)
    step = place.rng.randrange(1, 4)

    def train(work_dir: Path) -> None:
        run, left = run_of(work_dir), [step]
        usual = heads.cross_entropy

        def broken(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            left[0] -= 1
            return usual(logits, labels) * (float("nan") if left[0] <= 0 else 1.0)

        heads.cross_entropy = broken
        recipe = recipe_of_classifier("", "scratch", run.backbone)
        assert recipe is not None
        ensure_classifier(run, replace(recipe, epochs=2, batch_size=8), checkpoint_seconds=1000.0)

    ended = in_process(train, work_dir)
    outcome = Outcome(ended.code == 2, lost_files(before, work_dir), refusals=int(ended.code == 2))
    if ended.code != 2 or "the loss became nan" not in ended.sentence or run_of(work_dir).classifier.exists():
        outcome.wrong = f"exit code {ended.code}: {ended.sentence}"
        return outcome
    return run_again(place, work_dir, "classifier", outcome)
