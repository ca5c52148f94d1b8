"""Published experiments, measured once more: ``python -m benchmarks.published``.

Two folders of results of ``python -m companion publish`` are compared: what is committed, and what was measured again.
Of each experiment that both hold: what its evaluation took, and how far its values are apart. Nothing is measured
here, so the times are those of whole evaluations as a user makes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from companion.chapters.speed import BENCHMARKS
from companion.show.results import MEASURED
from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.common.files import read_json, write_json
from sigcam_core.common.provenance import provenance

GOAL = 0.5
"""The greatest share of the time before that was aimed at."""
TABLES = ("wsol", "fidelity")
KEYS = ["method", "head", "metric"]
FACTS = ("seconds", "passes", "date", "commit", "device", "sigmoid_head_sha256")
"""Entries of an evaluation's record that are kept; before there was a choice of passes, none was recorded."""


def main() -> None:
    """Compare as the command line says, print the result and write it as JSON."""
    parser = CommandLine(prog="python -m benchmarks.published", description="Compare the times of two publications.")
    parser.add_argument("--before", type=Path, default=MEASURED, help="folder of results, default: results")
    parser.add_argument("--now", type=Path, default=Path("build/results"), help="the same, default: %(default)s")
    parser.add_argument("--output", type=Path, help="JSON file, default: results/benchmarks/published/cpu.json")
    options = parser.parse_args()
    result = {"goal": GOAL, "experiments": compare(options.before, options.now), "provenance": provenance()}
    print(json.dumps(result, indent=2))
    write_json(options.output or BENCHMARKS / "published" / "cpu.json", result)


def compare(before: Path, now: Path) -> list[dict[str, Any]]:
    """List how long each experiment's evaluation took, before and now.

    Args:
        before: folder with a folder for each experiment.
        now: the same.

    Returns:
        By experiment in both, ``name, images``, the facts ``before`` and ``now``, ``share`` (seconds now over seconds
        before) and ``max_difference`` between two values of localisation or fidelity, in percentage points.

    Raises:
        SigcamError: if the folders have no experiment in common.
    """
    names = sorted(path.parent.name for path in now.glob("*/record.json") if (before / path.parent.name).is_dir())
    pairs = {name: [read_json(folder / name / "record.json") for folder in (before, now)] for name in names}
    pairs = {name: pair for name, pair in pairs.items() if all("evidence" in record for record in pair)}
    if not pairs:
        fail(f"{now} has no experiment that {before} has: run `python -m companion publish NAME` first.")
    return [
        {
            "name": name,
            "images": new["test_images"],
            "before": _facts(old),
            "now": _facts(new),
            "share": new["evidence"]["seconds"] / old["evidence"]["seconds"],
            "max_difference": max(_difference(before / name, now / name, table) for table in TABLES),
        }
        for name, (old, new) in pairs.items()
    ]


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record["evidence"].get(name) for name in FACTS}


def _difference(before: Path, now: Path, name: str) -> float:
    """Find the largest difference between the values of a table, over rows that both have."""
    frames = []
    for folder in (before, now):
        table = pd.read_csv(folder / f"{name}.csv")
        variants = [column for column in ("protocol", "scorer") if column in table]
        frames.append(table.set_index([*KEYS, *variants])["value"])
    one, other = frames[0].align(frames[1], join="inner")
    return float((one - other).abs().max())


if __name__ == "__main__":
    run_command_line(main)
