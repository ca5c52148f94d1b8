"""Images of your own: both heads trained on one frozen network, and their maps measured, in one call.

``python -m sigcam_core report FOLDER`` does what :func:`report_on_folder` does.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ..backbones.formats import input_format
from ..backbones.networks import build
from ..cams.methods import METHODS
from ..common.errors import SigcamError, fail
from ..common.files import read_object
from ..common.paths import refuse_overwriting, user_path
from ..common.progress import print_to_stderr
from ..common.provenance import best_device
from ..dual.branch import HEADS
from ..evaluate.schema import read_evidence
from ..prepare.command import run_first_station
from ..prepare.manifest import Manifest, read_manifest
from ..run import Extent, Run
from ..stations import ensure_evidence, record_of
from ..summarise.csv import write_csv
from ..summarise.tables import tables_of

RESAMPLES = 1000  # of the bootstrap over images
TIMED = 8  # images of the pass that is timed
BOX_OPTIONS = ("boxes", "box_format", "box_classes", "boxes_of")
"""Of ``python -m sigcam_core prepare image_folder``, and of a report."""


def report_on_folder(
    folder: Path,
    model: str,
    work_dir: Path,
    seed: int = 0,
    name: str = "",
    perturbed_images: int | None = None,
    **boxes: str,
) -> dict[str, pd.DataFrame]:
    """Train a softmax and a sigmoid head on a frozen network's features of a folder of images, and measure their maps.

    What is there is not made again, so that a stopped call goes on, and a second returns at once. What the rest will
    cost is said before it begins.

    Args:
        folder: with one folder of images per class, or such in folders ``train``, ``val`` and ``test``; only read.
        model: a network with ImageNet weights, by a name that :func:`sigcam_core.backbones.networks.build` knows.
        work_dir: folder of everything that is made; the tables go into its ``reports``.
        seed: of the split and of training.
        name: of the data set and of all that is made from it, of letters, digits and _. Empty for the folder's name,
            with the seed where it is not 0, with ``boxes`` where there are some, and with a digest of the whole path
            where another folder has that name.
        perturbed_images: how many test images get insertion and deletion, which take nineteen passes per map where all
            else takes one; ``None`` for none, or for as many as were measured already.
        boxes: boxes of one's own, by the options of ``python -m sigcam_core prepare image_folder``: ``boxes``, a file
            or a folder, and ``box_format``, and where they need it ``box_classes`` and ``boxes_of``. Without them those
            are taken with which a data set of that name was prepared from this folder.

    Returns:
        Tables by name, with 95 % bootstrap intervals over images: accuracy, the fidelity of every method and head, and
        where there are boxes their localisation and pointing.

    Raises:
        SigcamError: for a folder without images of two classes, an image that cannot be read, an unknown network,
            weights that cannot be downloaded, a folder or number that another report of this name has, or boxes whose
            convention is not named, that contradict their images, or of which no test image has one.
    """
    folder, work_dir = user_path(folder), user_path(work_dir)
    if not folder.is_dir():
        fail(f"{folder} is no folder: give one that holds one folder of images per class.")
    if perturbed_images is not None and perturbed_images < 0:
        fail(f"cannot perturb {perturbed_images} images: give 0 or more.")
    given = {option: text for option, text in boxes.items() if text}
    run = Run(name or _free_name(folder, work_dir, seed, bool(given.get("boxes"))), model, seed, work_dir, "probe")
    place = run.manifest.parent
    refuse_overwriting(place, folder)
    if _is_of_another(place, folder):
        fail(f"{place} is a data set of other images than {folder}: choose another --name.")
    given = given or _boxes_of_before(place)
    names = ["--root", str(place.parent), "--name", place.name]
    options = [f"--{option.replace('_', '-')}={text}" for option, text in given.items()]
    run_first_station(["image_folder", *names, "--source", str(folder), "--seed", str(seed), *options])
    manifest = read_manifest(run.manifest)
    if given.get("boxes") and not manifest.split("test").table["boxes"].map(len).any():
        fail(f"no test image of {manifest.name} has a box, so no map can be located: give such boxes, or no --boxes.")
    if run.evidence.exists():
        _refuse_another_number(run, perturbed_images)
    else:
        print_to_stderr(cost_of(run, manifest, perturbed_images or 0))
    tables = tables_of(read_evidence(ensure_evidence(run, Extent(perturbed_images=perturbed_images or 0))), RESAMPLES)
    for table_name, table in tables.items():
        write_csv(work_dir / "reports" / run.full_name.replace("/", "-") / f"{table_name}.csv", table)
    return tables


def cost_of(run: Run, manifest: Manifest, perturbed_images: int) -> str:
    """Say what a report costs: passes of the network, and how long they take on this machine.

    Args:
        run: whose network it is.
        manifest: the images, with their splits.
        perturbed_images: that get insertion and deletion.
    """
    train, val, test = (int((manifest.table["split"] == split).sum()) for split in ("train", "val", "test"))
    maps, steps = len(METHODS) * len(HEADS), Extent().perturbation_steps
    perturbations = (2 * steps - 1) * maps * min(perturbed_images, test)
    passes = train + val + test * (1 + maps) + perturbations
    seconds = passes * seconds_of_a_pass(run.backbone, manifest.num_classes)
    duration = f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"
    split = f"{manifest.name}: {train} images to train on, {val} held out, {test} to test"
    part = f"{perturbations:,} of them for" if perturbations else "without"
    cost = f"at most {passes:,} passes of {run.backbone}, {part} insertion and deletion"
    return f"{split}; {cost}: about {duration} here and now, and some for loading."


@torch.no_grad()
def seconds_of_a_pass(model: str, num_classes: int) -> float:
    """Measure the seconds a network takes for one image of a batch, on this machine under its present load."""
    form, device = input_format(model), best_device()
    network = build(model, num_classes).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.zeros(TIMED, form.channels, form.size, form.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    float(network(images).sum())  # the first pass allocates
    start = time.perf_counter()
    float(network(images).sum())  # a number, for which a GPU is waited for
    return (time.perf_counter() - start) / TIMED


def _free_name(folder: Path, work_dir: Path, seed: int, has_boxes: bool) -> str:
    """Choose a name that no other folder and seed has, nor the same data set without boxes where it has some."""
    source = folder.resolve()
    name = re.sub(r"\W+", "_", source.name).strip("_") or "images"
    name = "_".join([name, *([f"seed{seed}"] if seed else []), *(["boxes"] if has_boxes else [])])
    if not _is_of_another(work_dir / "data" / name, folder):
        return name
    return f"{name}_{hashlib.sha256(str(source).encode()).hexdigest()[:8]}"


def _is_of_another(place: Path, folder: Path) -> bool:
    """Say whether a data set is there that was made from anything but the folder."""
    parameters = _recorded(place)
    return parameters is not None and bool(parameters.get("source") != str(folder.resolve()))


def _boxes_of_before(place: Path) -> dict[str, str]:
    """Find and report the options of the boxes with which a data set was prepared; none where it has none."""
    parameters = _recorded(place) or {}
    if not parameters.get("boxes"):
        return {}
    print_to_stderr(f"{place} was prepared with the boxes of {parameters['boxes']}: maps are measured against them")
    return {option: parameters[option] for option in BOX_OPTIONS if parameters.get(option)}


def _recorded(place: Path) -> dict[str, Any] | None:
    """Read what a data set was prepared with; ``None`` where there is none, or its record is damaged."""
    if not (place / "manifest.parquet").exists():
        return None
    try:
        parameters = read_object(place / "manifest.json").get("parameters", {})
    except SigcamError:  # it is prepared again
        return None
    return parameters if isinstance(parameters, dict) else None


def _refuse_another_number(run: Run, perturbed_images: int | None) -> None:
    measured = record_of(run.evidence).get("perturbation_images")
    if perturbed_images not in (None, measured):
        fail(
            f"{run.evidence} has insertion and deletion of {measured} images, not {perturbed_images}: leave out "
            "--perturbed-images, or choose another --name."
        )
