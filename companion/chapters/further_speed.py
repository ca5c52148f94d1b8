"""Speed of whole evaluations, of evidence at ImageNet's size, and how both grow: what was measured, as tables.

Each file under ``results/`` has its own command of ``benchmarks``; a table is empty where one was not run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json
from sigcam_core.summarise.style import OURS, PEER, in_style

from ..show.names import network_title
from ..show.results import MEASURED
from ..show.saved import Value

GROWTH = MEASURED / "growth"
"""Where ``python -m benchmarks.growth`` leaves what it measured, in a checkout of the project."""
MET, MISSED = "met", "MISSED"
QUANTITIES = {
    "megabytes": "size of the file, MB",
    "seconds_to_load": "loading it, seconds",
    "seconds_of_tables": "all tables with their intervals, seconds",
    "peak_mebibytes": "peak memory of both, MiB",
}


def read_further(folder: Path, name: str) -> dict[str, Any]:
    """Read what a benchmark command measured on the CPU.

    Args:
        folder: of the benchmarks, such as :data:`~companion.chapters.speed.BENCHMARKS`.
        name: of the folder in it: ``"whole_line"``, ``"evidence"`` or ``"published"``.

    Returns:
        The result, empty where it was not measured.
    """
    path = folder / name / "cpu.json"
    return dict(read_json(path)) if path.exists() else {}


def read_growth(folder: Path) -> dict[str, Any]:
    """Read what ``python -m benchmarks.growth`` measured.

    Args:
        folder: such as :data:`GROWTH`.

    Raises:
        SigcamError: if it was not run.
    """
    path = folder / "cpu.json"
    if not path.exists():
        fail(f"there is no measurement of growth in {folder}: run `python -m benchmarks.growth` first.")
    return dict(read_json(path))


def rows_of(whole_line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All rows with a goal, as those of other benchmarks.

    Args:
        whole_line: of ``"whole_line"``, from :func:`read_further`.
    """
    return [row for network in whole_line.get("networks", []) for row in network["rows"]]


def records_of(**results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of each available result, by its name."""
    return {name: result["provenance"] for name, result in results.items() if result}


def whole_line_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Compare whole evaluations with the peer's, one row per network, kind of labels and kind of pass.

    Args:
        result: of ``"whole_line"``, from :func:`read_further`.

    Returns:
        Times faster by the clock and by the seconds that processors computed, the goal, whether it is met, the passes
        of both, the share of our time that is passes, and the greatest difference between figures in points.
    """
    rows = []
    for network in result.get("networks", []):
        made, used = network["passes"], network["processor_seconds_per_image"]
        for kind, row in zip(network["shares"], network["rows"], strict=True):
            rows.append(
                {
                    "network": network_title(network["network"]),
                    "labels": network["labels"],
                    "passes": row["setting"].rpartition("passes ")[2],  # as made, not as asked for
                    "times faster": row["speed_up"],
                    "in processor seconds": used["peer"] / used[kind],
                    "goal": row["goal"],
                    "verdict": verdict(row["speed_up"] >= row["goal"]),
                    "passes per image, ours": made["ours"],
                    "peer's": f"{made['peer_forward']} forward, {made['peer_backward']} backward",
                    "our time in passes, %": 100 * network["shares"][kind],
                    "difference": row["max_difference"],
                }
            )
    return pd.DataFrame(rows)


def first_turns(result: Mapping[str, Any]) -> list[str]:
    """Say how long each first turn took, which compiles passes and fills caches; one line per network.

    Args:
        result: of ``"whole_line"``, from :func:`read_further`.
    """
    lines = []
    for network in result.get("networks", []):
        seconds = ", ".join(f"{name} {value:.0f} s" for name, value in network["seconds_of_first_turn"].items())
        lines.append(f"{network_title(network['network'])}, labels {network['labels']}: {seconds}")
    return lines


def evidence_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Compare the evidence of many images with the targets: one row per quantity.

    Args:
        result: of ``"evidence"``, from :func:`read_further`.

    Returns:
        Columns ``quantity, measured, target, verdict``; a target is the most that was aimed at.
    """
    rows = [
        {
            "quantity": title,
            "measured": result[name],
            "target": float(result["targets"][name]),
            "verdict": verdict(result[name] <= result["targets"][name]),
        }
        for name, title in QUANTITIES.items()
        if result
    ]
    return pd.DataFrame(rows, columns=["quantity", "measured", "target", "verdict"])


def published_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate evaluations of published experiments, as committed and as measured once more.

    Args:
        result: of ``"published"``, from :func:`read_further`.

    Returns:
        Seconds before and now, the share that is left, the goal, and the largest difference between two values
        of localisation or fidelity in percentage points.
    """
    rows = [
        {
            "experiment": one["name"],
            "images": one["images"],
            "before, s": one["before"]["seconds"],
            "now, s": one["now"]["seconds"],
            "passes now": one["now"]["passes"],
            "share of the time": one["share"],
            "goal": result["goal"],
            "verdict": verdict(one["share"] <= result["goal"]),
            "difference": one["max_difference"],
        }
        for one in result.get("experiments", [])
    ]
    return pd.DataFrame(rows)


def verdict(is_met: bool) -> str:
    """Say whether a target is met, as tables say it."""
    return MET if is_met else MISSED


def runs_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Measured evaluations by number of images and of processes.

    Args:
        result: from :func:`read_growth`.
    """
    table = pd.DataFrame(result["runs"], columns=["asked", "images", "workers", "seconds", "processor_seconds"])
    each = {
        "images per second": table["images"] / table["seconds"],
        "images a processor second": table["images"] / table["processor_seconds"],
    }
    names = {"asked": "images asked for", "processor_seconds": "processor seconds"}
    return table.assign(**each).rename(columns=names)


def laws_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate the fitted laws: the constant part and the part per image, by number of processes.

    Args:
        result: from :func:`read_growth`.
    """
    rows = [
        {
            "workers": int(workers),
            "fixed, s": law["fixed_seconds"],
            "an image, s": law["seconds_per_image"],
            "fixed, processor s": law["fixed_processor_seconds"],
            "an image, processor s": law["processor_seconds_per_image"],
        }
        for workers, law in result["laws"].items()
    ]
    return pd.DataFrame(rows)


def machines_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate what the profile would cost on machines that were not measured, and what limits each.

    Args:
        result: from :func:`read_growth`.
    """
    rows = [
        {
            "machine (assumed)": machine["name"],
            "passes, h": machine["hours_of_passes"],
            "maps localised, h": machine["hours_of_localisation"],
            "longest training, h": machine["hours_of_longest_training"],
            "together, h": machine["hours"],
            "waits for": machine["bottleneck"],
        }
        for machine in result["profile"]["machines"]
    ]
    return pd.DataFrame(rows)


def growth_values(result: Mapping[str, Any]) -> dict[str, Value]:
    """Hours of the profile on each assumed machine, for the prose.

    Args:
        result: from :func:`read_growth`.
    """
    return {f"hours_{one['name'].replace(' ', '_')}": one["hours"] for one in result["profile"]["machines"]}


def growth_sources(result: Mapping[str, Any]) -> str:
    """List the assumptions about the machines and the sources of the measured numbers, one per line.

    Args:
        result: from :func:`read_growth`.
    """
    record, load = result["provenance"], result["load_of_the_machine"]
    lines = [f"assumed: {line}" for line in result["profile"]["assumptions"]]
    lines.append(f"{record['device']}, {record['date']}, commit {record['commit'][:12]}")
    waited = "processes that waited for a core, before and after"
    return "\n".join([*lines, f"{waited}: {load['before']:.1f} and {load['after']:.1f}"])


def opening_of_growth(result: Mapping[str, Any]) -> str:
    """Write the sentence that opens the page from its numbers.

    Args:
        result: from :func:`read_growth`.
    """
    hours = {machine["name"]: machine["hours"] for machine in result["profile"]["machines"]}
    told = ", ".join(f"{_hours(value)} on {name}" for name, value in hours.items())
    costs = f"under stated assumptions the profile {result['profile']['name']} would take {told}."
    if not result["laws"]:
        return f"The growth of an evaluation was not measured yet; {costs}"
    one, two = (result["laws"][workers] for workers in ("1", "2"))
    gain = one["seconds_per_image"] / two["seconds_per_image"]
    return (
        f"An image takes {one['processor_seconds_per_image']:.2f} seconds of one core, on top of a fixed "
        f"{one['fixed_processor_seconds']:.0f}, and two processes are {gain:.1f} times as fast as one; {costs}"
    )


def _hours(hours: float) -> str:
    return f"{hours:,.0f} hours" if hours >= 10 else f"{hours:.1f} hours"


@in_style
def growth_figure(result: Mapping[str, Any]) -> Figure:
    """Seconds against images for each number of processes, with the fitted lines.

    Args:
        result: from :func:`read_growth`.
    """
    figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    if not result["runs"]:
        ax.text(0.5, 0.5, "not measured", ha="center", va="center", transform=ax.transAxes)
        return figure
    for (workers, law), colour in zip(result["laws"].items(), (PEER, OURS), strict=True):
        own: Sequence[Mapping[str, Any]] = [run for run in result["runs"] if run["workers"] == int(workers)]
        images = [run["images"] for run in own]
        label = f"{workers} process{'es' * (workers != '1')}"
        ax.plot(images, [run["seconds"] for run in own], "o", color=colour, label=label)
        line = [law["fixed_seconds"] + law["seconds_per_image"] * count for count in images]
        ax.plot(images, line, color=colour, linewidth=1)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("images")
    ax.set_ylabel("seconds")
    ax.legend()
    return figure
