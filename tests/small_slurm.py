"""A SLURM of one node that counts four cores, as processes of the test: own folder, own ports, nothing left behind."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # where the daemons lie
CONFIGURATION = """\
ClusterName=small
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=64000 State=UNKNOWN
PartitionName=small Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """The programs of SLURM that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens, each another one."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End the daemons, the last first."""
    for process in reversed(processes):
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_idle(environment: dict[str, str], folder: Path, seconds: float = 60) -> None:
    """Wait for the node to take jobs; the daemons' logs tell why it does not."""
    deadline = time.monotonic() + seconds
    asked = subprocess.CompletedProcess[str]([], 1, "", "")
    while time.monotonic() < deadline:
        asked = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True, check=False
        )
        if asked.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
    raise AssertionError(f"SLURM did not start: {asked.stdout}{asked.stderr}\n{logs}")


@contextlib.contextmanager
def slurm() -> Iterator[dict[str, str]]:
    """Run SLURM; gives the environment in which its commands find it."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short, as the path of a socket must be
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    controller_port, node_port = free_ports(2)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
    environment |= {"PATH": f"{folder}:{PATH}", "SLURM_CONF": str(folder / "slurm.conf")}
    # Snakemake's job step takes SLURM_CONF away from srun, because a cluster's configuration lies where SLURM looks.
    (folder / "srun").write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    (folder / "srun").chmod(0o755)
    host = socket.gethostname().split(".")[0]
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(folder=folder, host=host, user=user, controller_port=controller_port, node_port=node_port)
    )
    # SLURM reads this file whatever it tracks processes with.
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    munge = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "seed-file": "munge.seed"}
    munge["log-file"] = "munge.log"
    daemons = [
        ["munged", "--foreground", "--force", *(f"--{name}={folder / file}" for name, file in munge.items())],
        ["slurmctld", "-D", "-f", str(folder / "slurm.conf")],
        ["slurmd", "-D", "-N", host, "-f", str(folder / "slurm.conf")],
    ]
    started: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "output.log").open("ab") as output:
            for daemon in daemons:
                started.append(subprocess.Popen(daemon, env=environment, stdout=output, stderr=output))
                deadline = time.monotonic() + 20
                while not (folder / "munge.socket").exists() and time.monotonic() < deadline:
                    time.sleep(0.1)
            wait_until_idle(environment, folder)
            yield environment
            subprocess.run(["scancel", "--user", user], env=environment, check=False, timeout=30)
    finally:
        stop(started)
        shutil.rmtree(folder, ignore_errors=True)
