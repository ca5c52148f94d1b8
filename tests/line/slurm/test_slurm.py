"""The line through a real SLURM of this machine: one job killed, started again, equal results at the end."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_slurm import missing_programs, slurm

from companion.matrix import PROFILES
from sigcam_core.run import Run

PROJECT = Path(__file__).parents[3]
TRIAL = "trial"  # the piece of the matrix that passes every station
# The plugin asks how jobs stand later and later, by ten seconds each time: most of the time, where all is small.
ASK_OFTEN = """\
from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor
Executor.next_seconds_between_status_checks = property(lambda self: 2, lambda self, seconds: None)
main()
"""
TIMEOUT = 900  # seconds; far beyond what is needed, to end a run that hangs


def command(work_dir: Path, profile: str, config: list[str], targets: list[Path]) -> list[str]:
    """Snakemake with a profile for a place, and the options of this test."""
    given = [sys.executable, *(["-c", ASK_OFTEN] if profile == "slurm" else ["-m", "snakemake"])]
    given += ["--snakefile", str(PROJECT / "Snakefile")]
    given += ["--directory", str(work_dir.parent), "--profile", str(PROJECT / "profiles" / profile)]
    given += [] if profile == "slurm" else ["--cores", "2"]
    return [*given, "--config", f"work_dir={work_dir}", *config, "--", *map(str, targets)]


def start(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def end(process: subprocess.Popen[str]) -> str:
    """Wait for what was started; gives what it said."""
    try:
        said, _ = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()
    return said


def succeeded(process: subprocess.Popen[str]) -> str:
    said = end(process)
    assert process.returncode == 0, said[-6000:]
    return said


def cancel(job: str, process: subprocess.Popen[str], environment: dict[str, str]) -> None:
    """Cancel the job of a rule while it runs."""
    listed = ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"]
    deadline = time.monotonic() + TIMEOUT
    running: list[str] = []
    while not running and process.poll() is None and time.monotonic() < deadline:
        lines = subprocess.run(listed, env=environment, capture_output=True, text=True, check=True).stdout
        running = [line.split()[0] for line in lines.splitlines() if job in line]
        time.sleep(0.2)
    assert running, f"{job} was never seen in the queue: {end(process)[-3000:]}"
    subprocess.run(["scancel", *running], env=environment, check=True)


def files_of(run: Run) -> list[Path]:
    """What must be equal byte for byte wherever it is made."""
    return [run.classifier, run.sigmoid_head, run.evidence]


needs_slurm = pytest.mark.skipif(
    bool(missing_programs()) and os.environ.get("SIGCAM_REQUIRE_SLURM") != "1",
    reason=f"SLURM is not installed: no {', '.join(missing_programs())}",
)


@needs_slurm
def test_a_piece_of_the_matrix_through_slurm_outlives_a_killed_job_and_ends_with_equal_results(tmp_path: Path) -> None:
    assert not missing_programs(), f"SIGCAM_REQUIRE_SLURM=1, but there is no {', '.join(missing_programs())}"
    clustered, alone = tmp_path / "clustered" / "build", tmp_path / "alone" / "build"
    for work_dir in (clustered, alone):
        work_dir.parent.mkdir()
    runs = PROFILES[TRIAL].runs(alone)
    book = clustered / "book" / "_build" / "html" / "index.html"
    through_slurm = command(clustered, "slurm", [f"profile={TRIAL}"], [book])
    evidence = [run.evidence for run in runs]
    with slurm() as environment:
        # SLURM is asked every few seconds; meanwhile the same is made without it.
        local = start(command(alone, "local", [f"profile={TRIAL}"], evidence), dict(os.environ))
        try:
            first = start(through_slurm, environment)
            killed = runs[0]
            cancel(f"run_{killed.full_name}", first, environment)
            said = end(first)
            assert first.returncode != 0, "the killed job was not noticed:\n" + said[-3000:]
            assert not (clustered / killed.evidence.relative_to(alone)).exists()
            manifest = clustered / killed.manifest.relative_to(alone)
            made = manifest.stat().st_mtime_ns
            said = succeeded(start(through_slurm, environment))
        finally:
            directly = end(local)
    # The killed run, three notebooks and the book; the other run and the data were complete.
    assert said.count("has been submitted with SLURM jobid") == 5, said[-6000:]
    assert manifest.stat().st_mtime_ns == made, "what was complete was made again"
    assert book.exists()
    assert local.returncode == 0, directly[-6000:]
    for path in [killed.manifest, *(file for run in runs for file in files_of(run))]:
        assert path.read_bytes() == (clustered / path.relative_to(alone)).read_bytes(), path.name


@needs_slurm
def test_two_processes_of_one_job_train_what_the_command_trains(tmp_path: Path) -> None:
    clustered, alone = Run("shapes", "small_cnn", 0, tmp_path / "clustered"), Run("shapes", "small_cnn", 0, tmp_path)
    config = ["train=80", "val=24", "test=24", "epochs=1", "devices=2"]
    with slurm() as environment:
        succeeded(start(command(clustered.work_dir, "slurm", config, [clustered.classifier]), environment))
    options = f"--work-dir {alone.work_dir} --epochs 1 --devices 2"
    alone.manifest.parent.parent.mkdir(parents=True)
    (clustered.manifest.parent).rename(alone.manifest.parent)
    train = [sys.executable, "-m", "sigcam_core", "train", "classifier", *options.split()]
    succeeded(start(train, os.environ | {"OMP_NUM_THREADS": "2"}))
    assert clustered.classifier.read_bytes() == alone.classifier.read_bytes()
