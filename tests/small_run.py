"""A whole run, tiny and untrained, for tests of what comes after training."""

from dataclasses import replace
from pathlib import Path

from data_scripts.__main__ import prepare
from sigcam_core.run import Run
from sigcam_core.stations import ensure_classifier, ensure_evidence, ensure_sigmoid_head
from sigcam_core.train.recipes import SIGMOID_RECIPES, recipe_of_classifier

NETWORKS = ("small_cnn", "small_cnn_mlp")


def make(work_dir: Path, backbone: str) -> Run:
    """Manifest, checkpoints of one epoch and evidence of a few generated images."""
    run = Run("shapes", backbone, 0, work_dir)
    if not run.manifest.exists():
        prepare("shapes", work_dir / "data", train=48, val=16, test=24)
    for one in (replace(run, backbone="small_cnn"), run):  # the MLP network starts from the GAP network
        recipe = recipe_of_classifier("", "scratch", one.backbone)
        assert recipe is not None
        ensure_classifier(one, replace(recipe, epochs=1))
    ensure_sigmoid_head(run, replace(SIGMOID_RECIPES["small"], epochs=1))
    ensure_evidence(run)
    return run
