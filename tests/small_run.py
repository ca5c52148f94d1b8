"""A whole run, tiny and hardly trained, for tests of what comes after training."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from once import made_once

from data_scripts.__main__ import prepare
from sigcam_core.run import Run
from sigcam_core.stations import ensure_classifier, ensure_evidence, ensure_sigmoid_head
from sigcam_core.train.recipes import SIGMOID_RECIPES, recipe_of_classifier

FIRST, SECOND = NETWORKS = ("small_cnn", "small_cnn_mlp")  # the second starts from the first


def shared(backbone: str, factory: pytest.TempPathFactory) -> Run:
    """The run of the session: manifest, checkpoints of one epoch and evidence; only a copy of it may be changed."""

    def make(work_dir: Path) -> None:
        if backbone == SECOND:
            shutil.copytree(shared(FIRST, factory).work_dir, work_dir)
        else:
            prepare("shapes", work_dir / "data", train=48, val=16, test=24)
        run = Run("shapes", backbone, 0, work_dir)
        recipe = recipe_of_classifier("", "scratch", backbone)
        assert recipe is not None
        ensure_classifier(run, replace(recipe, epochs=1))
        ensure_sigmoid_head(run, replace(SIGMOID_RECIPES["small"], epochs=1))
        ensure_evidence(run)

    return Run("shapes", backbone, 0, made_once(factory, f"run-{backbone}", make))


def copy_of(run: Run, work_dir: Path) -> Run:
    """The same run in a folder of its own, to change."""
    shutil.copytree(run.work_dir, work_dir)
    return replace(run, work_dir=work_dir)
