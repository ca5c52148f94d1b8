"""An experiment of a few generated images, for tests of what measures it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from once import made_once

from companion import measure
from companion.experiments import OVERHEAD, Experiment
from companion.heads import run_of
from companion.measure import publish
from data_scripts.__main__ import prepare
from sigcam_core.backbones import input_format
from sigcam_core.prepare.images import image_batches
from sigcam_core.prepare.manifest import read_manifest
from sigcam_core.run import Extent, Run
from sigcam_core.stations import ensure_sigmoid_head

TINY = Experiment("shapes", "small_cnn", "scratch", epochs=1, seeds=(1, 0), controls=("freezing",))
KEYS = ["network", "method", "head"]


class Made(NamedTuple):
    work_dir: Path
    folder: Path

    def run(self, **changes: Any) -> Run:
        return replace(run_of(TINY, self.work_dir, TINY.seeds[0]), **changes)

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"{name}.csv")


def know(experiment: Experiment, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(measure, "EXPERIMENTS", {experiment.name: experiment})
    patch.setattr(measure, "MEASUREMENTS", (experiment.name, OVERHEAD))
    patch.setattr("sigcam_core.stations.evidence.EVERYTHING", Extent(perturbed_images=1))


def shared(factory: pytest.TempPathFactory) -> Made:
    """Everything that is made for the experiment, and its tables: made once in a session."""

    def make(folder: Path) -> None:
        prepare("shapes", folder / "work" / "data", train=48, val=16, test=24)
        with pytest.MonkeyPatch.context() as patch:
            know(TINY, patch)
            publish(TINY.name, folder / "work", folder / "results")

    folder = made_once(factory, "measurement", make)
    return Made(folder / "work", folder / "results" / TINY.name)


def sigmoid_top1(run: Run) -> float:
    """Accuracy of the sigmoid branch on the test split in %, by one plain pass."""
    test = read_manifest(run.manifest).split("test")
    ((_, images, labels),) = image_batches(test, len(test), input_format(run.backbone))
    return 100 * (ensure_sigmoid_head(run)(images).sigmoid_logits.argmax(1) == labels).double().mean().item()


def copy_of(made: Made, tmp_path: Path, *folders: str) -> Path:
    """A work dir whose files, but those of the folders named, are the other's."""
    for folder in made.work_dir.iterdir():
        if folder.name not in folders:
            (tmp_path / folder.name).symlink_to(folder)
    return tmp_path
