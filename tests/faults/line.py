"""The line that is broken: five stations on a few small images, each run in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning_fabric  # noqa: F401  # now, since a process that becomes another user may not read the library
import numpy as np
import pandas as pd
import torch

from companion.show.saved import save_table, save_values
from companion.studies.centre import publish_centre
from data_scripts.__main__ import prepare
from sigcam_core.common.errors import run_command_line
from sigcam_core.common.packed import PARQUET_DAMAGE
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.prepare.contents import FILES
from sigcam_core.prepare.manifest import write_manifest
from sigcam_core.run import Extent, Run
from sigcam_core.stations import ensure_classifier, ensure_evidence, ensure_sigmoid_head
from sigcam_core.summarise.tables import table_with_intervals
from sigcam_core.train.recipes import SIGMOID_RECIPES, recipe_of_classifier

OPTIONS = {"train": 16, "val": 8, "test": 4, "image_size": 32}
TIMEOUT = 300  # seconds, to end a process that hangs
OF_THE_MOMENT = ("date", "seconds", "images_per_second", "commit")
"""Entries of records that no two runs share."""
STATIONS = ("*/*/manifest.parquet", "checkpoints/*.safetensors", "evidence/*.parquet")
"""Files that a station makes once, and finds from then on."""
PASSING = (".shards", ".unfinished", "lock", ".partial.npy", ".done.npy", ".lock")
"""What lies there only while something is made."""


def run_of(work_dir: Path) -> Run:
    """The run of the small line."""
    return Run("shapes", "small_cnn", 0, work_dir)


def prepare_images(work_dir: Path) -> None:
    """Stage 1."""
    prepare("shapes", work_dir / "data", **OPTIONS)


def train_classifier(work_dir: Path) -> None:
    """Second station, first half."""
    run = run_of(work_dir)
    recipe = recipe_of_classifier("", "scratch", run.backbone)
    assert recipe is not None
    ensure_classifier(run, replace(recipe, epochs=2, batch_size=8), checkpoint_seconds=0.0)


def train_head(work_dir: Path) -> None:
    """Second station, second half: cached features, and a head on them."""
    recipe = replace(SIGMOID_RECIPES["small"], epochs=2, views=1, batch_size=8)
    ensure_sigmoid_head(run_of(work_dir), recipe, checkpoint_seconds=0.0)


def evaluate(work_dir: Path) -> None:
    """Third station."""
    ensure_evidence(run_of(work_dir), Extent(False, 0))


def summarise(work_dir: Path) -> None:
    """Fourth station."""
    evidence = read_evidence(run_of(work_dir).evidence)
    table = table_with_intervals(evidence, wsol_statistics, resamples=20)
    save_table(work_dir, "wsol", table)
    save_values(work_dir, "table1", {"rows": len(table), "mean": float(table["value"].mean())}, parameters={"seed": 0})


def publish(work_dir: Path) -> None:
    """Stage 5: what a centred square scores on the boxes of two data sets."""
    corners = np.random.default_rng(0).integers([0, 0, 20, 20], [20, 20, 40, 40], (6, 4)).tolist()
    same = {"path": "", "label": 0, "split": "test", "width": 50, "height": 50, "mask": None, "collection": "small"}
    for dataset in ("boxes", "tiny_imagenet"):
        path = work_dir / "data" / dataset / "manifest.parquet"
        if not path.exists():
            rows = [{"image_id": str(number), "boxes": [box], **same} for number, box in enumerate(corners)]
            write_manifest(path, pd.DataFrame(rows), name=dataset, class_names=["object"])
    publish_centre(work_dir / "results" / "centre", work_dir, 20, lambda _: None)


STAGES: dict[str, Callable[[Path], None]] = {
    "prepare": prepare_images,
    "classifier": train_classifier,
    "head": train_head,
    "evaluate": evaluate,
    "summarise": summarise,
    "publish": publish,
}


def up_to(stage: str) -> Callable[[Path], None]:
    """The stations up to one, each of which finds its file if it is there."""
    names = list(STAGES)[: list(STAGES).index(stage) + 1]

    def run(work_dir: Path) -> None:
        for name in names:
            STAGES[name](work_dir)

    return run


class Ended(NamedTuple):
    """How a process ended: its exit code, negative for a signal, and the last line that it wrote."""

    code: int
    sentence: str


def in_process(run: Callable[[Path], None], work_dir: Path, before: Callable[[], None] = lambda: None) -> Ended:
    """Run part of the line in a child process, as its command line does.

    Args:
        run: what is run.
        work_dir: where.
        before: what arms the fault, in the child.
    """
    child, log = start(run, work_dir, before)
    return wait(child, log)


def start(run: Callable[[Path], None], work_dir: Path, before: Callable[[], None]) -> tuple[int, Path]:
    """Start a child process; returns its number, and the file of what it writes."""
    log = Path(tempfile.gettempdir()) / f"faults-{os.getpid()}-{time.monotonic_ns()}.log"  # not on a disk that is full
    child = os.fork()
    if child:
        return child, log
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
        os.dup2(2, 1)
        # Where tests run, these are files of pytest's own.
        sys.stdout = sys.stderr = open(2, "w", buffering=1, errors="replace", closefd=False)  # noqa: SIM115
        torch.set_num_threads(1)

        def main() -> None:
            before()
            run(work_dir)

        run_command_line(main)
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def wait(child: int, log: Path) -> Ended:
    """Wait for a child process; one that hangs is killed."""
    deadline = time.monotonic() + TIMEOUT
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    # A child that was killed at once has written nothing.
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    code = os.waitstatus_to_exitcode(done[1])
    kept = "\n".join(lines[-30:]) if code == 1 else lines[-1] if lines else ""
    return Ended(code, kept)


def files_of(work_dir: Path) -> dict[str, Path]:
    """All files that last, by their path in the work dir."""
    found = {path.relative_to(work_dir).as_posix(): path for path in sorted(work_dir.rglob("*")) if path.is_file()}
    return {
        name: path
        for name, path in found.items()
        if not path.name.startswith(".") and not any(part.endswith(PASSING) for part in Path(name).parts)
    }


def digest(path: Path) -> str:
    """A checksum of what a file says, dates and times apart.

    Of a data set's tables that is their rows: a changed bit of what Parquet writes beside them, such as the name of the
    program, says nothing, and the checksums by which such tables are known are of their rows.
    """
    content = path.read_bytes()
    if path.name in (FILES, "manifest.parquet"):
        with suppress(*PARQUET_DAMAGE):
            content = pd.read_parquet(path).drop(columns="date", errors="ignore").to_csv().encode()
    elif path.suffix == ".json":
        content = json.dumps(_timeless(json.loads(content)), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key not in OF_THE_MOMENT}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def digests(work_dir: Path) -> dict[str, str]:
    """What all files that last say."""
    return {name: digest(path) for name, path in files_of(work_dir).items()}


def made_once(work_dir: Path) -> dict[str, tuple[int, int]]:
    """The files of stations with inode and date, which a second making changes."""
    paths = [path for pattern in STATIONS for path in work_dir.glob(pattern)]
    return {path.relative_to(work_dir).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


class Undisturbed:
    """The work dir after each station of a run that nothing disturbed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digests: dict[str, dict[str, str]] = {"": {}}
        work_dir = folder / "line"
        work_dir.mkdir(parents=True)
        (folder / "after").mkdir()
        for name, stage in STAGES.items():
            ended = in_process(stage, work_dir)
            assert ended.code == 0, ended.sentence
            shutil.copytree(work_dir, folder / "after" / name)
            self.digests[name] = digests(work_dir)

    def copy(self, stage: str, work_dir: Path) -> Path:
        """A work dir in which the stations up to one are done; none for an empty name."""
        if stage:
            shutil.copytree(self.folder / "after" / stage, work_dir)
        else:
            work_dir.mkdir(parents=True)
        return work_dir


def stage_before(stage: str) -> str:
    """The station before one; empty before the first."""
    names = list(STAGES)
    place = names.index(stage)
    return names[place - 1] if place else ""
