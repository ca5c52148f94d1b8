"""Stations by hand: ``python -m sigcam_core STATION --dataset shapes --backbone small_cnn --head gap``."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from .common.errors import CommandLine, fail, run_command_line
from .publish.measure import PUBLISHED, PUBLISHED_RESULTS, publish
from .run import Run, default_work_dir
from .stations import ensure_classifier, ensure_evidence, ensure_manifest, ensure_sigmoid_head
from .summarise.saved import print_headline
from .train.checkpoints import SECONDS_BETWEEN_SAVINGS
from .train.recipes import (
    CLASSIFIER_RECIPES,
    FREEZINGS,
    ORIGINS,
    SIGMOID_RECIPES,
    Recipe,
    recipe_of_classifier,
    recipe_of_sigmoid_head,
)

STATIONS = {
    "classifier": "train the softmax classifier",
    "sigmoid-head": "train the sigmoid head on the frozen classifier",
    "evidence": "evaluate the test split",
    "publish": "measure a published result and write its tables to results/",
    "headline": "print the headline figures of the results that are there",
}


def main() -> None:
    """Run the station that the command line names."""
    parser = CommandLine(prog="python -m sigcam_core", description="Run one station; finished files are kept.")
    commands = parser.add_subparsers(dest="station", metavar="STATION", required=True, help=", ".join(STATIONS))
    for station, purpose in STATIONS.items():
        command = commands.add_parser(station, help=purpose, description=purpose)
        command.add_argument("--work-dir", type=Path, default=default_work_dir(), help="default: %(default)s")
        if station == "publish":
            command.add_argument("name", help=", ".join(PUBLISHED))
            command.add_argument("--results", type=Path, default=PUBLISHED_RESULTS, help="default: %(default)s")
        elif station != "headline":
            _add_run_options(command)
        if station in ("classifier", "sigmoid-head"):
            _add_training_options(command)
    arguments = parser.parse_args()
    if arguments.station == "headline":
        print_headline(arguments.work_dir)
        return
    if arguments.station == "publish":
        folder = publish(arguments.name, arguments.work_dir, arguments.results)
        print(f"saved to {folder}")
        return
    run = Run(
        arguments.dataset,
        arguments.backbone,
        arguments.seed,
        arguments.work_dir,
        arguments.origin,
        arguments.classifier_recipe,
        arguments.sigmoid_recipe,
    )
    if arguments.station == "evidence":
        ensure_evidence(run)
        return
    is_classifier = arguments.station == "classifier"
    usual = _usual_recipe(run, is_classifier)
    changes = _changes(arguments)
    if changes and usual is None:
        fail(f"origin {run.origin!r} trains no classifier: leave out --epochs and all that changes a recipe.")
    if is_classifier and run.origin != "probe" and {"views", "cached", "freezing"} & set(changes):
        fail("--views, --on-the-fly and --freezing are for heads on a frozen backbone: leave them out.")
    recipe = usual and replace(usual, **changes)
    from .train.fit import check_devices, check_shares, start_fabric

    # Before other processes are started, which would refuse the same again, or make the same data set.
    check_devices(arguments.accelerator, arguments.devices, arguments.precision)
    if recipe:
        check_shares(recipe, arguments.devices)
    ensure_manifest(run.dataset, run.work_dir)
    fabric = start_fabric(arguments.accelerator, arguments.devices, arguments.precision)
    ensure = ensure_classifier if is_classifier else ensure_sigmoid_head
    ensure(run, None if recipe == usual else recipe, fabric, arguments.checkpoint_seconds)


def _add_run_options(command: CommandLine) -> None:
    command.add_argument("--dataset", default="shapes", help="default: %(default)s")
    command.add_argument("--backbone", default="small_cnn", help="default: %(default)s")
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    command.add_argument(
        "--origin", default="scratch", help=f"of the classifier: {', '.join(ORIGINS)}; default: %(default)s"
    )
    command.add_argument(
        "--classifier-recipe", default="", help=f"{', '.join(CLASSIFIER_RECIPES)}; default: the usual one of the origin"
    )
    command.add_argument(
        "--sigmoid-recipe", default="", help=f"{', '.join(SIGMOID_RECIPES)}; default: the usual one of the network"
    )


def _add_training_options(command: CommandLine) -> None:
    command.add_argument("--epochs", type=int, help="default: the recipe's")
    command.add_argument("--batch-size", type=int, help="over all devices, default: the recipe's")
    command.add_argument("--views", type=int, help="of each image, for a frozen backbone; default: the recipe's")
    command.add_argument("--on-the-fly", action="store_true", help="run a frozen backbone in every epoch")
    command.add_argument("--freezing", help=f"{' or '.join(FREEZINGS)}, default: the recipe's")
    command.add_argument("--accelerator", default="auto", help="auto, cpu, cuda or mps, default: %(default)s")
    command.add_argument("--devices", type=int, default=1, help="how many, default: %(default)s")
    command.add_argument("--precision", default="32-true", help="16-mixed, bf16-mixed or the default, %(default)s")
    command.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=SECONDS_BETWEEN_SAVINGS,
        help="between two savings of an unfinished run, which the same command goes on with; default: %(default)s",
    )


def _usual_recipe(run: Run, is_classifier: bool) -> Recipe | None:
    if is_classifier:
        return recipe_of_classifier(run.classifier_recipe, run.origin, run.backbone)
    return recipe_of_sigmoid_head(run.sigmoid_recipe, run.backbone)


def _changes(arguments: Namespace) -> dict[str, Any]:
    """What the command line says otherwise than the recipe."""
    if arguments.epochs is not None and arguments.epochs < 1:
        fail(f"--epochs is {arguments.epochs}: train at least 1 epoch.")
    names = ("epochs", "batch_size", "views", "freezing")
    changes = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    return changes | ({"cached": False} if arguments.on_the_fly else {})


if __name__ == "__main__":
    run_command_line(main)
