"""Submit a job script of Snakemake to Kubernetes by `kubectl`, and say how it stands.

Pods see the project's folder on a volume, at the path that it has here. The environment names the volume's claim
(`SIGCAM_CLAIM`), the path where it is mounted (`SIGCAM_FOLDER`) and the image of the pods (`SIGCAM_IMAGE`).
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sigcam_core.common.errors import SigcamError

IMAGE = "python:3.11"


def job_of(script: Path, cpus: int, megabytes: int, minutes: int, gpus: int) -> dict[str, Any]:
    """The Kubernetes job that runs a script, once and no longer than its minutes.

    Raises:
        SigcamError: Where the environment does not name the volume.
    """
    missing = [name for name in ("SIGCAM_CLAIM", "SIGCAM_FOLDER") if not os.environ.get(name)]
    if missing:
        raise SigcamError(f"set {' and '.join(missing)}: the claim of the shared volume, and where it is mounted.")
    amounts = {"cpu": str(cpus), "memory": f"{megabytes}M"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    container = {
        "name": "step",
        "image": os.environ.get("SIGCAM_IMAGE", IMAGE),
        "command": ["bash", str(script.resolve())],
        "resources": {"requests": amounts, "limits": amounts},
        "volumeMounts": [{"name": "shared", "mountPath": os.environ["SIGCAM_FOLDER"]}],
    }
    volume = {"name": "shared", "persistentVolumeClaim": {"claimName": os.environ["SIGCAM_CLAIM"]}}
    pod = {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "sigcam-", "labels": {"app": "sigcam"}},
        "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 60 * minutes, "template": {"spec": pod}},
    }


def submit(job: dict[str, Any]) -> str:
    """Create a job; gives its name."""
    command = ["kubectl", "create", "--filename", "-", "--output", "name"]
    done = subprocess.run(command, input=json.dumps(job), stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def status(name: str) -> str:
    """How a job stands, in Snakemake's words."""
    command = ["kubectl", "get", name, "--output", "json"]
    counts = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["status"]
    if counts.get("succeeded"):
        return "success"
    ended = any(one["type"] == "Failed" and one["status"] == "True" for one in counts.get("conditions", []))
    return "failed" if ended else "running"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    submitting = commands.add_parser("submit", help="submit a script, print the job's name")
    for name in ("cpus", "megabytes", "minutes", "gpus"):
        submitting.add_argument(f"--{name}", type=int, required=True)
    submitting.add_argument("script", type=Path)
    commands.add_parser("status", help="print running, success or failed").add_argument("name")
    given = parser.parse_args()
    try:
        if given.command == "status":
            print(status(given.name))
        else:
            print(submit(job_of(given.script, given.cpus, given.megabytes, given.minutes, given.gpus)))
    except SigcamError as error:
        sys.exit(f"error: {error}")
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: kubectl did not answer: {error}")


if __name__ == "__main__":
    main()
