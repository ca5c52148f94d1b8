"""Training a sigmoid head: ``python -m benchmarks.head_training``.

First from image files, compared with a forward pass of the backbone and the official recipe. Then a head of ImageNet's
size on synthetic features: random numbers in a float16 cache on disk, read as those of a real network are. There the
training alone is measured; real features cost one pass of a backbone more.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.memory import environment
from benchmarks.training import measure_training
from companion.chapters.speed import BENCHMARKS
from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.common.files import write_json
from sigcam_core.common.provenance import best_device, provenance
from sigcam_core.dual.loss import unchecked_balanced_bce
from sigcam_core.evaluate.overhead import seconds_of
from sigcam_core.train.features import FeatureCache
from sigcam_core.train.fit import Session, Task, fit, start_fabric
from sigcam_core.train.recipes import SIGMOID_RECIPES

IMAGES, FEATURES, CLASSES = 1_281_167, 2048, 1000
ROWS_AT_A_TIME = 65_536


def main() -> None:
    """Measure as the command line says, print the result and write it as JSON."""
    parser = CommandLine(prog="python -m benchmarks.head_training", description="Measure the training of a head.")
    parser.add_argument("--device", default=best_device().type, help="default: %(default)s")
    parser.add_argument("--images", type=int, default=IMAGES, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of runs, default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where the cache of 5.2 GB goes for the time; default: temporary")
    parser.add_argument("--output", type=Path, help="JSON file, default: results/benchmarks/head/DEVICE.json")
    options = parser.parse_args()
    if options.device not in ("cpu", "cuda"):
        fail(f"unknown device {options.device!r}: choose cpu or cuda.")
    if min(options.images, options.epochs, options.repeats) < 1:
        counts = f"--images {options.images}, --epochs {options.epochs} and --repeats {options.repeats}"
        fail(f"{counts} must be at least 1.")
    if options.folder and not options.folder.is_dir():
        fail(f"folder {options.folder} of --folder does not exist: name one with room for the cache.")
    rows = [asdict(row) for row in measure_training(torch.device(options.device), options.repeats)]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        of_imagenet = measure(Path(folder), options.device, options.images, options.epochs)
    facts = {"seed": 0, "threads": torch.get_num_threads(), "repeats": options.repeats, "environment": environment()}
    result = {"rows": rows, "imagenet": of_imagenet, "provenance": provenance(device=options.device, **facts)}
    print(json.dumps(result, indent=2))
    write_json(options.output or BENCHMARKS / "head" / f"{options.device}.json", result)


def measure(folder: Path, device: str, num_images: int, epochs: int) -> dict[str, Any]:
    """Time ``epochs`` epochs, reading the cache included, and the products of matrices that they need."""
    cache = synthetic_cache(folder, num_images)
    fabric = start_fabric(device)
    torch.manual_seed(0)
    head = nn.Linear(FEATURES, CLASSES)
    recipe = replace(SIGMOID_RECIPES["cached-large"], epochs=epochs)
    loss = unchecked_balanced_bce(CLASSES, fabric.device)
    task = Task("head", head, loss, lambda _, rows: cache.batches(0, rows, fabric.device), num_images)
    seconds = seconds_of(lambda: fit(task, recipe, Session(fabric=fabric)), fabric.device)
    inputs = torch.randn(recipe.batch_size, FEATURES, device=fabric.device)
    gradient = torch.randn(recipe.batch_size, CLASSES, device=fabric.device)
    products = [seconds_of(lambda: (head(inputs), gradient.T @ inputs), fabric.device) for _ in range(6)]
    floor = float(np.median(products[1:])) * num_images / recipe.batch_size
    return {
        "images": num_images,
        "features": FEATURES,
        "classes": CLASSES,
        "batch_size": recipe.batch_size,
        "epochs": epochs,
        "seconds": seconds,
        "seconds_per_epoch": seconds / epochs,
        "seconds_per_epoch_of_products_alone": floor,
        "cache_gigabytes": cache.views[0].stat().st_size / 1e9,
    }


def synthetic_cache(folder: Path, num_images: int) -> FeatureCache:
    """Random non-negative float16 features (N, 2048) with labels of 1,000 classes, on disk.

    Raises:
        SigcamError: if there is no room for them.
    """
    size = 2 * num_images * FEATURES
    if shutil.disk_usage(folder).free < 1.1 * size:
        fail(f"{folder} has no room for {size / 1e9:.1f} GB: name another folder with --folder.")
    path = folder / "inputs.npy"
    file = np.lib.format.open_memmap(path, "w+", np.float16, (num_images, FEATURES))
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((min(ROWS_AT_A_TIME, num_images), FEATURES), dtype=np.float32)
    pattern = np.abs(rows).astype(np.float16)
    for start in range(0, num_images, len(pattern)):
        # Turned by a row each time: numbers cost time to draw, and training does not mind their coming back.
        part = np.roll(pattern, start // len(pattern), axis=1)
        file[start : start + len(part)] = part[: num_images - start]
    file.flush()
    return FeatureCache((path,), torch.from_numpy(generator.integers(0, CLASSES, num_images)))


if __name__ == "__main__":
    run_command_line(main)
