"""Measure everything side by side: ``python -m benchmarks`` prints the table and writes it as JSON."""

from __future__ import annotations

import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torchvision.models import resnet50

from benchmarks.case import make_case
from benchmarks.fidelity import measure_fidelity
from benchmarks.localization import measure_localization
from benchmarks.maps import measure_maps
from benchmarks.memory import environment, peak_mebibytes
from benchmarks.timing import Row
from companion.chapters.further_speed import verdict
from companion.chapters.speed import BENCHMARKS
from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.common.files import write_json
from sigcam_core.common.provenance import best_device, provenance

NETWORK, IMAGE_SIZE = "ResNet-50", 224
MEMORY_IMAGES = (1_000, 10_000)
PEERS = ("grad-cam", "torchcam", "captum", "opencv-python-headless", "numpy")


def main() -> None:
    """Run the benchmarks that the command line asks for."""
    parser = CommandLine(prog="python -m benchmarks", description="Measure ours and its peers side by side.")
    parser.add_argument("--device", default=best_device().type, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of runs, default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=16, help="images per batch, default: %(default)s")
    parser.add_argument("--output", type=Path, help="JSON file, default: results/benchmarks/DEVICE.json")
    options = parser.parse_args()
    if options.device not in ("cpu", "cuda"):
        fail(f"unknown device {options.device!r}: choose cpu or cuda.")
    if options.device == "cuda" and not torch.cuda.is_available():
        fail("there is no CUDA device here: use --device cpu.")
    if options.repeats < 1 or options.batch_size < 1:
        fail(f"--repeats {options.repeats} and --batch-size {options.batch_size} must be at least 1.")
    result = measure(torch.device(options.device), options.repeats, options.batch_size)
    print_table(result)
    path = write_json(options.output or BENCHMARKS / f"{options.device}.json", result)
    print(f"saved to {path}")


def measure(device: torch.device, repeats: int, batch_size: int) -> dict[str, Any]:
    """All rows, and the peak memories, with provenance."""
    torch.manual_seed(0)
    case = make_case(resnet50().eval(), NETWORK, batch_size, IMAGE_SIZE, device)
    _say(f"maps of {NETWORK}")
    rows = measure_maps(case, repeats)
    _say(f"fidelity of {NETWORK}")
    rows += measure_fidelity(case, repeats)
    memory = {}
    if device.type == "cpu":  # where these are done, whatever device makes the maps
        _say("localisation")
        rows += measure_localization(64, repeats, case.forward)
        _say(f"memory of evaluating {' and '.join(f'{n:,}' for n in MEMORY_IMAGES)} images")
        memory = {str(count): peak_mebibytes(count) for count in MEMORY_IMAGES}
    return {
        "network": NETWORK,
        "rows": [asdict(row) for row in rows],
        "peak_memory_mebibytes": memory,
        "provenance": provenance(
            device=device,
            parameters={"repeats": repeats, "batch_size": batch_size, "image_size": IMAGE_SIZE},
            threads=torch.get_num_threads(),
            environment=environment(),
            peers={name: version(name) for name in PEERS},
        ),
    }


def print_table(result: dict[str, Any]) -> None:
    """Print the rows: ratios first, whether goals are met, and how far results differ."""
    table = Table(title=f"Ours against peers, side by side, on {result['provenance']['device']}")
    for column in ("task", "setting", "peer"):
        table.add_column(column)
    for column in ("times faster", "goal", "forward passes, ours", "peer's", "difference"):
        table.add_column(column, justify="right")
    for values in result["rows"]:
        row = Row(**values)
        goal = "" if row.goal is None else f"{row.goal:.2f} {verdict(bool(row.is_met))}"
        difference = "" if row.max_difference is None else f"{row.max_difference:.1e}"
        passes = (f"{count:.3f}" for count in (row.passes, row.peer_passes))
        table.add_row(row.task, row.setting, row.peer, f"{row.speed_up:.2f}", goal, *passes, difference)
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table)
    peaks = ", ".join(f"{peak:.0f} MiB for {int(n):,}" for n, peak in result["peak_memory_mebibytes"].items())
    if peaks:
        console.print(f"Peak memory of an evaluation, by number of images: {peaks}.")


def _say(what: str) -> None:
    print(f"measuring {what} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_command_line(main)
