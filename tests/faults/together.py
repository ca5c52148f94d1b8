"""Two processes at once, the clock, the workflow and its notebooks."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sigcam_core.common.files import read_json, sha256_of_file
from upkeep import named_files

from .line import STAGES, run_of, start, train_head, up_to, wait
from .moments import PROJECT
from .outcome import Outcome, Place, run_again

SECONDS = 1200  # of a workflow that hangs


def both_at_once(stage: str, run: Callable[[Path], None], after: str) -> Callable[[Place], Outcome]:
    """Two processes do the same in one folder; the second starts some moments later.

    Args:
        stage: up to which the line is done before.
        run: what both do.
        after: the stage that is done then.
    """

    def inject(place: Place) -> Outcome:
        work_dir = place.line.copy(stage, place.folder / "work")
        first = start(run, work_dir, lambda: None)
        time.sleep(place.rng.uniform(0, 0.5))
        second = start(run, work_dir, lambda: None)
        ends = [wait(*first), wait(*second)]
        outcome = Outcome(refusals=sum(ended.code == 2 for ended in ends))
        if not all(ended.code in (0, 2) for ended in ends) or all(ended.code for ended in ends):
            outcome.wrong = "; ".join(f"exit code {ended.code}: {ended.sentence}" for ended in ends)
            return outcome
        return run_again(place, work_dir, after, outcome)

    return inject


def one_of_two_is_killed(place: Place) -> Outcome:
    """One of two processes that fill the cached features is killed while the other waits or works."""
    work_dir = place.line.copy("classifier", place.folder / "work")
    processes = [start(train_head, work_dir, lambda: None) for _ in range(2)]
    time.sleep(place.rng.uniform(0.05, 0.8))
    victim = place.rng.randrange(2)
    os.kill(processes[victim][0], signal.SIGKILL)
    ends = [wait(*one) for one in processes]
    outcome = Outcome(took_hold=ends[victim].code < 0)
    if ends[1 - victim].code != 0:
        outcome.wrong = f"the other ended with {ends[1 - victim].code}: {ends[1 - victim].sentence}"
        return outcome
    return run_again(place, work_dir, "head", outcome)


def clock_set_back(place: Place) -> Outcome:
    """Everything was made while the clock was ahead: nothing is made again."""
    work_dir = place.line.copy("evaluate", place.folder / "work")
    ahead = place.rng.uniform(60, 10_000_000)
    for path in named_files(work_dir):
        date = path.stat().st_mtime_ns + int(ahead * 1e9)
        os.utime(path, ns=(date, date))
    return run_again(place, work_dir, "evaluate", Outcome())


def _snakemake(work_dir: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile"), "--cores", "1", "--nolock"]
    command += ["--directory", str(work_dir.parent), "--rerun-incomplete", *options]
    config = [f"work_dir={work_dir}", "train=16", "val=8", "test=8", "epochs=1", "repeats=1"]
    return [*command, "--config", *config]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def _killed(command: list[str], seconds: float) -> bool:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode < 0


def killed_workflow(place: Place) -> Outcome:
    """The workflow with all that it has started is killed; the next run ends it, and a third has nothing to do."""
    work_dir = place.folder / "work" / "build"
    work_dir.parent.mkdir()
    until = ("--until", "sigmoid_head_small_cnn-gap")
    outcome = Outcome(_killed(_snakemake(work_dir, *until), place.rng.uniform(2, 25)))
    run = run_of(work_dir)
    kept = {path: path.stat().st_ino for path in (run.manifest, run.classifier) if path.with_suffix(".json").exists()}
    done = _run(_snakemake(work_dir, *until))
    if done.returncode:
        outcome.wrong = done.stderr[-500:]
        return outcome
    record = read_json(run.sigmoid_head.with_suffix(".json"))
    outcome.redone = sum(path.stat().st_ino != inode for path, inode in kept.items())
    again = _run(_snakemake(work_dir, *until))
    if re.search("^(local)?rule ", again.stderr, re.MULTILINE) or record["sha256"] != sha256_of_file(run.sigmoid_head):
        outcome.wrong = f"something was still to be done: {again.stderr[-500:]}"
    return outcome


def deleted_summary(place: Place) -> Outcome:
    """What a step of the workflow made beside the file of its rule is deleted: the step is due, and no other."""
    work_dir = place.folder / "work" / "build"
    work_dir.parent.mkdir()
    until = ("--until", "shapes")
    if (done := _run(_snakemake(work_dir, *until))).returncode:
        return Outcome(wrong=done.stderr[-500:])
    folder = work_dir / "data" / "shapes"
    manifest, images = (folder / "manifest.parquet").read_bytes(), sorted(folder.rglob("*.png"))
    victim = place.rng.choice([*images, folder / "images", folder / "masks"])
    content = victim.read_bytes() if victim.is_file() else None
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    done = _run(_snakemake(work_dir, *until))
    outcome = Outcome()
    if done.returncode or not victim.exists() or (folder / "manifest.parquet").read_bytes() != manifest:
        outcome.wrong = f"{victim} was not made again: {done.stderr[-500:]}"
    elif content is not None and victim.read_bytes() != content:
        outcome.wrong = f"{victim} is another"
    return outcome


def killed_notebook(place: Place) -> Outcome:
    """A notebook is killed while papermill executes it; what it shares with others is whole, and it runs to its end."""
    work_dir = place.line.copy("", place.folder / "work")
    target = place.folder / "executed.ipynb"
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-level", "ERROR", "-r", "work_dir"]
    command += [str(work_dir), str(PROJECT / "notebooks" / "01_invariance.ipynb"), str(target)]
    outcome = Outcome(_killed(command, place.rng.uniform(4, 20)))
    for path in (work_dir / "summary").glob("*.json"):
        read_json(path)
    done = _run(command)
    if done.returncode or "values" not in read_json(work_dir / "summary" / "invariance.json"):
        outcome.wrong = done.stderr[-500:]
    return outcome


def whole_line(work_dir: Path) -> None:
    """All stations."""
    up_to(list(STAGES)[-1])(work_dir)
