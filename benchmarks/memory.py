"""Peak memory of an evaluation: it must not grow with the number of images.

``python -m benchmarks.memory N`` evaluates N images in a process of its own, and prints its peak in MiB.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from data_scripts.__main__ import prepare
from sigcam_core import DualBranch
from sigcam_core.backbones import passes
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.evaluate.evaluate import EvaluationOptions, evaluate

# How `make bench` has glibc keep freed memory, which is good for times and would inflate a peak.
MALLOC_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
PREPARED_IMAGES = 100  # shown again and again, as many times as it takes


def environment() -> dict[str, str]:
    """Say how freed memory is kept in this process, for the provenance of times."""
    return {name: os.environ[name] for name in MALLOC_VARIABLES if name in os.environ}


def without_kept_memory() -> dict[str, str]:
    """Return the environment for a process whose peak memory is measured."""
    return {name: value for name, value in os.environ.items() if name not in MALLOC_VARIABLES}


def peak_mebibytes(num_images: int) -> float:
    """Peak resident memory of evaluating ``num_images`` images of ``shapes``, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", str(num_images)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=without_kept_memory())
    if done.returncode != 0:
        fail(f"the memory of evaluating {num_images} images could not be measured: {done.stderr.strip()[-300:]}")
    return float(done.stdout.split()[-1])


def main() -> None:
    """Evaluate as many images as the command line says, with boxes and masks, and print the peak memory."""
    parser = CommandLine(prog="python -m benchmarks.memory", description="Print the peak memory of an evaluation.")
    parser.add_argument("num_images", type=int, help="images to evaluate")
    num_images = parser.parse_args().num_images
    if num_images < 1:
        fail(f"cannot evaluate {num_images} images: give at least 1.")
    with tempfile.TemporaryDirectory() as folder:
        manifest = prepare("shapes", Path(folder), train=8, val=8, test=PREPARED_IMAGES).split("test")
        tiled = manifest.take(np.arange(num_images) % PREPARED_IMAGES)
        dual = DualBranch.from_classifier(small_cnn(len(manifest.class_names)))
        options = EvaluationOptions(methods=["cam"])
        # A compiler's memory is the same for any number of images, and those of few are not compiled.
        passes.MANY_PASSES = sys.maxsize
        evaluate(dual, tiled, "memory", Path(folder) / "evidence.parquet", options, lambda _: None)
    print(own_peak_mebibytes())


def own_peak_mebibytes() -> float:
    """Peak resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts the parent's memory into the peak that getrusage gives
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # bytes on macOS


if __name__ == "__main__":
    run_command_line(main)
