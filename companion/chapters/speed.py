"""How fast the evaluation is: what ``make bench`` measured, as a table and a figure for the book."""

from __future__ import annotations

import re
import textwrap
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

DEVICES = {"cpu": "CPU", "cuda": "GPU"}
NOT_MEASURED = "not measured"
BENCHMARKS = MEASURED / "benchmarks"
"""Where ``make bench`` leaves what it measured, in a checkout of the project."""


def read_benchmarks(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what was measured per device, ``"cpu"`` and ``"cuda"``, where it exists.

    Args:
        folder: of the JSON files that ``python -m benchmarks`` writes, such as :data:`BENCHMARKS`.

    Returns:
        ``rows`` (a task and peer each, times in forward passes of one image), ``network``, peak memory in MiB, and
        ``provenance``.

    Raises:
        SigcamError: if there are none, or one is not such a file.
    """
    results = {name: read_json(folder / f"{name}.json") for name in DEVICES if (folder / f"{name}.json").exists()}
    if not results:
        fail(f"there are no benchmark results in {folder}: run `make bench` first.")
    for name, result in results.items():
        if not isinstance(result, dict) or not {"rows", "network", "provenance"} <= set(result):
            fail(f"{folder / name}.json is not a benchmark result: delete it and run `make bench`.")
    return results


def read_head_training(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what ``python -m benchmarks.head_training`` measured per device, where it exists.

    Args:
        folder: of the benchmarks, such as :data:`BENCHMARKS`.
    """
    paths = {name: folder / "head" / f"{name}.json" for name in DEVICES}
    return {name: read_json(path) for name, path in paths.items() if path.exists()}


def head_training_table(results: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Tabulate what training a sigmoid head costs, one row per quantity, one column per device.

    Args:
        results: what :func:`read_head_training` returns.

    Returns:
        Columns ``quantity, CPU, GPU``, all text: passes of the backbone, ratios and seconds, as each quantity says.
    """
    columns: dict[str, dict[str, str]] = {}
    for name, device in DEVICES.items():
        if name not in results:
            columns[device] = {}
            continue
        (whole, on_the_fly), imagenet = results[name]["rows"], results[name]["imagenet"]
        size = f"{imagenet['images']:,} x {imagenet['features']:,} features, {imagenet['classes']:,} classes"
        seconds, floor = (imagenet[f"seconds_per_epoch{part}"] for part in ("", "_of_products_alone"))
        columns[device] = {
            f"{whole['task']}, in passes of the backbone (goal: at most 1.20)": f"{1 / whole['speed_up']:.2f}",
            "times faster than with a forward pass per epoch": f"{on_the_fly['speed_up']:.1f}",
            f"seconds per epoch at ImageNet's size: {size}": f"{seconds:.1f}",
            "of which its products of matrices need": f"{floor:.1f}",
        }
    table = pd.DataFrame(columns, dtype=object).fillna(NOT_MEASURED)
    return table.rename_axis("quantity").reset_index()


def speed_table(results: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """One row a task and peer; for each device how many times faster ours is, or ``"not measured"``.

    Args:
        results: what :func:`read_benchmarks` returns.

    Returns:
        Columns ``task, peer, CPU, GPU, goal, difference, setting``: times faster, the least that was aimed at, and
        the greatest difference between the results on any device.
    """
    frames = [pd.DataFrame(result["rows"]).assign(device=DEVICES[name]) for name, result in results.items()]
    rows = pd.concat(frames, ignore_index=True)
    keys = ["task", "setting", "peer"]
    speed_up = rows.pivot_table(index=keys, columns="device", values="speed_up", sort=False)
    table = rows.groupby(keys, sort=False).agg(goal=("goal", "max"), difference=("max_difference", "max"))
    for device in DEVICES.values():
        measured = speed_up[device] if device in speed_up else pd.Series(dtype=float)
        shown = measured.reindex(table.index).map("{:.2f} ×".format, na_action="ignore")
        table[device] = shown.astype(object).where(shown.notna(), NOT_MEASURED)
    return table.reset_index()[["task", "peer", *DEVICES.values(), "goal", "difference", "setting"]]


def written_speeds(table: pd.DataFrame) -> pd.DataFrame:
    """Format :func:`speed_table` for a page: differences with one digit, and headings that say what is faster.

    Args:
        table: of :func:`speed_table`.
    """
    difference = table["difference"].map("{:.0e}".format, na_action="ignore").replace("0e+00", "0")
    return table.assign(difference=difference).rename(
        columns={name: f"times faster, {name}" for name in DEVICES.values()}
    )


def speed_values(results: dict[str, dict[str, Any]]) -> dict[str, Value]:
    """Say how many times faster ours is, under flat names such as ``cpu_maps_one_image_grad_cam``, for the prose.

    Args:
        results: what :func:`read_benchmarks` returns.
    """
    values: dict[str, Value] = {}
    for name, result in results.items():
        for row in result["rows"]:
            words = f"{name} {row['task']} {row['setting']} {row['peer']}".lower()
            values["_".join(re.findall(r"[a-z0-9]+", words))] = row["speed_up"]
    return values


def sources(results: dict[str, dict[str, Any]]) -> str:
    """Where the numbers come from, by device: machine, date, commit, versions and environment.

    Args:
        results: what :func:`read_benchmarks` returns.
    """
    lines = []
    for name, result in results.items():
        record = result["provenance"]
        versions = {**record["peers"], "torch": record["versions"]["torch"], **record["environment"]}
        lines.append(f"{name}: {record['device']}, {record['date']}, commit {record['commit'][:12]}")
        lines.append(textwrap.fill(", ".join(f"{package} {version}" for package, version in versions.items()), 70))
    return "\n".join(lines)


def peak_memories(results: dict[str, dict[str, Any]]) -> list[str]:
    """Say how much memory an evaluation needs at its peak by number of images, one line per measured device.

    Args:
        results: what :func:`read_benchmarks` returns.
    """
    peaks = {name: result["peak_memory_mebibytes"] for name, result in results.items()}
    return [
        f"{DEVICES[name]}: " + ", ".join(f"{peak:,.0f} MiB at {int(images):,} images" for images, peak in own.items())
        for name, own in peaks.items()
        if own
    ]


@in_style
def speed_figure(result: dict[str, Any]) -> Figure:
    """Time of ours and of the peer for each task, in forward passes of one image.

    Args:
        result: of one device, from :func:`read_benchmarks`.
    """
    rows = result["rows"][::-1]
    figure, ax = plt.subplots(figsize=(7.6, 0.46 * len(rows) + 1.3), layout="constrained")
    for place, row in enumerate(rows):
        ours, peer = row["passes"], row["peer_passes"]
        ax.plot([ours, peer], [place, place], color="lightgray", linewidth=3, zorder=1)
        ax.plot(peer, place, "s", color=PEER, markersize=8, label="peer" if place == 0 else None)
        ax.plot(ours, place, "o", color=OURS, markersize=8, label="ours" if place == 0 else None)
        ratio = f"{row['speed_up']:.{1 if row['speed_up'] < 10 else 0}f} ×"
        ax.annotate(ratio, (max(ours, peer), place), (9, 0), textcoords="offset points", va="center", fontsize=9)
    ax.axvline(1, color="gray", linewidth=1, linestyle=":")
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.set_xlim(low, 6 * high)  # room for the ratios
    labels = [f"{row['task']}\nagainst {row['peer']}" for row in rows]
    ax.set_yticks(range(len(rows)), labels, fontsize=8.5)
    ax.set_xlabel(
        f"time per image or map, in forward passes of one {network_title(result['network'])} image (log scale)",
        fontsize=9,
    )
    ax.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=2, fontsize=9)
    return figure


def speed_sentence(rows: Sequence[Mapping[str, Any]], head: Sequence[Mapping[str, Any]] = ()) -> str:
    """Say how many goals of speed are met, and which are not.

    Args:
        rows: of the benchmarks, each with ``task, peer, speed_up, goal``; without a goal where ``None``.
        head: of the training of a head, the same.
    """
    with_goal = [row for row in [*rows, *head] if row["goal"] is not None]
    missed = [row for row in with_goal if row["speed_up"] < row["goal"]]
    best = max(rows, key=lambda row: float(row["speed_up"]))
    text = (
        f"{len(with_goal) - len(missed)} of {len(with_goal)} goals of speed are met; the largest gain is "
        f"{best['speed_up']:.0f} times ({best['task']}, against {best['peer']})"
    )
    tasks = {row["task"]: [other for other in missed if other["task"] == row["task"]] for row in missed}
    names = [
        f"{task}, {_from_to(own, 'speed_up')} times where {_from_to(own, 'goal')} {'was' if len(own) == 1 else 'were'} "
        "aimed at"
        for task, own in tasks.items()
    ]
    return text + (f"; missed: {'; '.join(names)}." if names else ".")


def _from_to(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    """Write the range of a value over some rows.

    >>> _from_to([{"goal": 12.0}, {"goal": 20.0}], "goal"), _from_to([{"goal": 0.83}], "goal")
    ('12 to 20', '0.83')
    """
    ends = [f"{value:.3g}" for value in (min(row[key] for row in rows), max(row[key] for row in rows))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)
