"""The steps of a finished run, read from the records that Snakemake keeps of every file that it made.

``python workflow/run_records.py --work-dir build`` says how many there were, or that the run is not finished.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.common.files import read_json, sha256_of_file

RECORDS = Path(".snakemake", "metadata")
"""Where Snakemake keeps a record of each file, in the folder that it was started in."""
PAGE = Path("book", "_build", "html", "index.html")
"""What the last step of a run makes, below its work dir."""
TAKEN_AWAY = re.compile(r"\.part\d+of\d+$")  # marks that Snakemake removes when the last step has read them


@dataclass(frozen=True)
class Step:
    """A job that was done.

    Attributes:
        rule: its name.
        command: as the shell got it.
        inputs: files that it read and that are there.
        outputs: files that it made and that are there.
        started: when.
        ended: when.
    """

    rule: str
    command: str
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    started: datetime
    ended: datetime


def finished_steps(folder: Path, work_dir: Path) -> list[Step]:
    """List the steps that led to a run's last page, the earliest first, without those of other runs.

    Args:
        folder: in which Snakemake was started.
        work_dir: of the run.

    Raises:
        SigcamError: if the run is not finished, or a file is gone or is another than a later step read.
    """
    records = _records(folder)
    last = (work_dir / PAGE).resolve()
    if last not in records or records[last]["incomplete"] or not last.is_file():
        fail(f"no finished run in {work_dir}: run `make reproduce`, of the same profile, first.")
    steps, todo, seen = dict[str, Step](), [last], set[Path]()
    while todo:
        path = todo.pop()
        if path in seen or path not in records:
            continue
        seen.add(path)
        record = records[path]
        key = f"{record['rule']} {record['shellcmd']}"
        if key not in steps:
            made = [one for one, other in records.items() if f"{other['rule']} {other['shellcmd']}" == key]
            steps[key] = _step(record, folder, sorted(made))
            todo += steps[key].inputs
    return sorted(steps.values(), key=lambda step: (step.started, step.rule))


def _records(folder: Path) -> dict[Path, Mapping[str, Any]]:
    """Read the record of each file that was made; long names are split among folders, each with an @ before it."""
    top = folder / RECORDS
    names = {path: path.relative_to(top).parts for path in top.rglob("*") if path.is_file()}
    encoded = {path: "".join(part.removeprefix("@") for part in parts) for path, parts in names.items()}
    return {
        (folder / base64.urlsafe_b64decode(name).decode()).resolve(): read_json(path) for path, name in encoded.items()
    }


def _step(record: Mapping[str, Any], folder: Path, made: list[Path]) -> Step:
    rule = record["rule"]
    given = dict.fromkeys((folder / name).resolve() for name in record["input"])
    read = [path for path in given if not TAKEN_AWAY.search(path.name)]
    made = [path for path in made if not TAKEN_AWAY.search(path.name)]
    if gone := [path for path in (*read, *made) if not path.is_file()]:
        fail(f"{gone[0]} is gone, a file of step {rule}: run `make reproduce`, of the same profile, again.")
    for name, checksum in record["input_checksums"].items():
        path = (folder / name).resolve()
        if path in read and checksum.removeprefix("sha256:") != sha256_of_file(path):
            fail(f"{path} was changed after step {rule} read it: run `make reproduce`, of the same profile, again.")
    started, ended = (datetime.fromtimestamp(record[name], UTC) for name in ("starttime", "endtime"))
    return Step(rule, record["shellcmd"], tuple(read), tuple(made), started, ended)


def main() -> None:
    """Say how many steps a finished run had, and when."""
    parser = CommandLine(description=main.__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build"))
    steps = finished_steps(Path.cwd(), parser.parse_args().work_dir.resolve())
    ended = max(step.ended for step in steps)
    print(f"{len(steps)} steps, from {steps[0].started:%Y-%m-%d %H:%M:%S} to {ended:%Y-%m-%d %H:%M:%S} UTC")


if __name__ == "__main__":
    run_command_line(main)
