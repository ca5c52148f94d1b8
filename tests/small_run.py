"""A whole run, tiny and untrained, for tests of what comes after training."""

from dataclasses import replace
from pathlib import Path

from data_scripts.__main__ import prepare
from sigcam_core.stations import Run, ensure_classifier, ensure_evidence, ensure_sigmoid_head
from sigcam_core.train.recipes import CLASSIFIER_RECIPES, SIGMOID_RECIPES

HEADS = ("gap", "mlp")


def make(work_dir: Path, head: str) -> Run:
    """Manifest, checkpoints of one epoch and evidence of a few generated images."""
    run = Run("shapes", "small_cnn", head, 0, work_dir)
    if not run.manifest.exists():
        prepare("shapes", work_dir / "data", train=48, val=16, test=24)
    for run_of_head in (replace(run, head="gap"), run):  # the MLP network starts from the GAP network
        ensure_classifier(run_of_head, replace(CLASSIFIER_RECIPES[f"small-{run_of_head.head}"], epochs=1))
    ensure_sigmoid_head(run, replace(SIGMOID_RECIPES["small"], epochs=1))
    ensure_evidence(run)
    return run
