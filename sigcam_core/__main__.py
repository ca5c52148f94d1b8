"""Stations by hand: ``python -m sigcam_core STATION --dataset shapes --backbone small_cnn --head gap``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .errors import CommandLine, fail, run_command_line
from .stations import Run, default_work_dir, ensure_classifier, ensure_evidence, ensure_sigmoid_head
from .summary import print_headline
from .train import CLASSIFIER_RECIPES, SIGMOID_RECIPE

STATIONS = {
    "classifier": "train the softmax classifier",
    "sigmoid-head": "train the sigmoid head on the frozen classifier",
    "evidence": "evaluate the test split",
    "headline": "print the headline figures of the results that are there",
}


def main() -> None:
    """Run the station that the command line names."""
    parser = CommandLine(prog="python -m sigcam_core", description="Run one station; finished files are kept.")
    commands = parser.add_subparsers(dest="station", metavar="STATION", required=True, help=", ".join(STATIONS))
    for station, purpose in STATIONS.items():
        command = commands.add_parser(station, help=purpose, description=purpose)
        command.add_argument("--work-dir", type=Path, default=default_work_dir(), help="default: %(default)s")
        if station != "headline":
            command.add_argument("--dataset", default="shapes", help="default: %(default)s")
            command.add_argument("--backbone", default="small_cnn", help="default: %(default)s")
            command.add_argument("--head", default="gap", help="gap or mlp, default: %(default)s")
            command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
        if station in ("classifier", "sigmoid-head"):
            command.add_argument("--epochs", type=int, help="default: the recipe's")
    arguments = parser.parse_args()
    if arguments.station == "headline":
        print_headline(arguments.work_dir)
        return
    run = Run(arguments.dataset, arguments.backbone, arguments.head, arguments.seed, arguments.work_dir)
    epochs = getattr(arguments, "epochs", None)
    if epochs is not None and epochs < 1:
        fail(f"--epochs is {epochs}: train at least 1 epoch.")
    if arguments.station == "classifier":
        recipe = CLASSIFIER_RECIPES[run.head]
        ensure_classifier(run, replace(recipe, epochs=epochs or recipe.epochs))
    elif arguments.station == "sigmoid-head":
        ensure_sigmoid_head(run, replace(SIGMOID_RECIPE, epochs=epochs or SIGMOID_RECIPE.epochs))
    else:
        ensure_evidence(run)


if __name__ == "__main__":
    run_command_line(main)
