"""Jobs for Kubernetes, with a kubectl that writes down what it is asked and answers as told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kubernetes_jobs
from sigcam_core.common.errors import SigcamError

SCRIPT = Path(kubernetes_jobs.__file__)


@pytest.fixture
def volume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGCAM_CLAIM", "papers")
    monkeypatch.setenv("SIGCAM_FOLDER", "/srv/papers")


def call(folder: Path, answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    kubectl = folder / "kubectl"
    kubectl.write_text(f"#!/bin/sh\n[ $1 = create ] && cat > {folder}/asked.json\ncat {folder}/answer\n")
    kubectl.chmod(0o755)
    (folder / "answer").write_text(answer)
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("volume")
def test_a_job_asks_for_what_its_rule_states(tmp_path: Path) -> None:
    needs = ["--cpus", "8", "--megabytes", "24000", "--minutes", "30", "--gpus", "1"]
    done = call(tmp_path, "job.batch/sigcam-abc\n", "submit", *needs, str(tmp_path / "step.sh"))
    assert done.stdout == "job.batch/sigcam-abc\n", done.stderr
    spec = json.loads((tmp_path / "asked.json").read_text())["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"cpu": "8", "memory": "24000M", "nvidia.com/gpu": "1"}
    assert container["command"] == ["bash", str(tmp_path / "step.sh")]
    assert (spec["activeDeadlineSeconds"], spec["backoffLimit"]) == (1800, 0)
    assert container["volumeMounts"][0]["mountPath"] == "/srv/papers"
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "papers"


@pytest.mark.usefixtures("volume")
def test_a_job_without_a_gpu_asks_for_none() -> None:
    job = kubernetes_jobs.job_of(SCRIPT, 1, 2000, 10, 0)
    assert "nvidia.com/gpu" not in json.dumps(job)


def test_a_volume_that_nobody_named_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGCAM_CLAIM", raising=False)
    monkeypatch.setenv("SIGCAM_FOLDER", "/srv/papers")
    with pytest.raises(SigcamError, match="set SIGCAM_CLAIM: "):
        kubernetes_jobs.job_of(SCRIPT, 1, 2000, 10, 0)


@pytest.mark.parametrize(
    ("stands", "said"),
    [
        ({}, "running"),
        ({"active": 1}, "running"),
        ({"succeeded": 1}, "success"),
        ({"failed": 1, "conditions": [{"type": "Failed", "status": "True"}]}, "failed"),
    ],
)
def test_how_a_job_stands_is_said_in_the_words_of_snakemake(
    stands: dict[str, object], said: str, tmp_path: Path
) -> None:
    assert call(tmp_path, json.dumps({"status": stands}), "status", "job.batch/sigcam-abc").stdout == f"{said}\n"
