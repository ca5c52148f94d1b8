"""Profiles for one machine and for SLURM: each plans every job of the line, and leaves no need unsaid."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
NEEDS = ("mem_mb", "runtime", "gpu")


@pytest.mark.parametrize("name", ["local", "slurm"])
@pytest.mark.parametrize(("matrix", "least"), [("quick", 20), ("miniature", 20)])
def test_a_dry_run_plans_all_jobs_and_states_their_needs(name: str, matrix: str, least: int, tmp_path: Path) -> None:
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile")]
    snakemake += ["--directory", str(tmp_path), "--profile", str(PROJECT / "profiles" / name), "--dry-run"]
    done = subprocess.run(
        [*snakemake, "--config", f"profile={matrix}", f"work_dir={tmp_path / 'build'}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"COLUMNS": "500"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    jobs = re.split(r"^(?:local)?rule ", done.stdout + done.stderr, flags=re.M)[1:]
    stated = [job for job in jobs if not job.startswith("all:")]
    assert len(stated) >= least
    for job in stated:
        resources = re.search(r"^ *resources: (.*)$", job, flags=re.M)
        assert resources, job
        assert all(f"{need}=" in resources[1] for need in NEEDS), job
