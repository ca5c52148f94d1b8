"""The line through a real SLURM of this machine: one job killed, started again, equal evidence at the end."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from small_slurm import missing_programs, slurm

PROJECT = Path(__file__).parent.parent.parent
RUN = "shapes-small_cnn-gap-seed0"
TIMEOUT = 600  # seconds; far beyond what is needed, to end a run that hangs


def command(work_dir: Path, *options: str) -> list[str]:
    """Snakemake up to the evidence of one small network."""
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile")]
    config = [f"work_dir={work_dir}", "train=80", "val=24", "test=24", "epochs=1"]
    target = str(work_dir / "evidence" / f"{RUN}.parquet")
    return [*snakemake, "--directory", str(work_dir.parent), *options, "--config", *config, "--", target]


def through_slurm(work_dir: Path) -> list[str]:
    """The profile as it is, but for what waits for a large cluster."""
    profile = ["--profile", str(PROJECT / "profiles" / "slurm")]
    return command(
        work_dir, *profile, "--slurm-init-seconds-before-status-checks", "3", "--seconds-between-status-checks", "3"
    )


def start_and_cancel_a_training(work_dir: Path, environment: dict[str, str]) -> str:
    """Start the line, cancel the classifier's job while it runs; gives what Snakemake said."""
    process = subprocess.Popen(
        through_slurm(work_dir), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + TIMEOUT
    running: list[str] = []
    try:
        while not running and process.poll() is None and time.monotonic() < deadline:
            listed = ["squeue", "--noheader", "--states=RUNNING", "--format=%i %k"]
            lines = subprocess.run(listed, env=environment, capture_output=True, text=True, check=True).stdout
            running = [line.split()[0] for line in lines.splitlines() if "classifier_small_cnn" in line]
            time.sleep(0.2)
        assert running, f"the classifier was never seen in the queue: {process.communicate(timeout=60)[0][-3000:]}"
        subprocess.run(["scancel", *running], env=environment, check=True)
        said, _ = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0, "the killed job was not noticed:\n" + said[-3000:]
    return said


def run(arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


@pytest.mark.skipif(
    bool(missing_programs()) and os.environ.get("SIGCAM_REQUIRE_SLURM") != "1",
    reason=f"SLURM is not installed: no {', '.join(missing_programs())}",
)
def test_a_line_through_slurm_outlives_a_killed_job_and_ends_with_equal_evidence(tmp_path: Path) -> None:
    assert not missing_programs(), "SIGCAM_REQUIRE_SLURM=1, but SLURM is not installed"
    clustered, alone = tmp_path / "clustered" / "build", tmp_path / "alone" / "build"
    for work_dir in (clustered, alone):
        work_dir.parent.mkdir()
    with slurm() as environment:
        start_and_cancel_a_training(clustered, environment)
        manifest = clustered / "data" / "shapes" / "manifest.parquet"
        made = manifest.stat().st_mtime_ns
        assert not (clustered / "evidence" / f"{RUN}.parquet").exists()
        said = run(through_slurm(clustered), environment)
        assert said.count("has been submitted with SLURM jobid") == 3, said[-6000:]
        assert manifest.stat().st_mtime_ns == made, "what was complete was made again"

    local = ["--profile", str(PROJECT / "profiles" / "local"), "--cores", "2"]
    run(command(alone, *local), dict(os.environ))
    through, directly = (pd.read_parquet(work_dir / "evidence" / f"{RUN}.parquet") for work_dir in (clustered, alone))
    assert len(directly) > 0
    pd.testing.assert_frame_equal(through, directly, check_exact=True)
    for kind in ("classifier", "sigmoid_head"):
        name = f"checkpoints/{RUN}.{kind}.safetensors"
        assert (clustered / name).read_bytes() == (alone / name).read_bytes(), name
