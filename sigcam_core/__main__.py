"""The stages by hand, and commands for photos of the user's own: ``python -m sigcam_core VERB``.

What a verb needs is imported when it runs, so that help is there at once.
"""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .common.errors import CommandLine, fail, run_command_line
from .prepare.command import command_of
from .run import Extent, Run, default_work_dir
from .train.recipes import (
    CLASSIFIER_RECIPES,
    FREEZINGS,
    ORIGINS,
    SIGMOID_RECIPES,
    recipe_of_classifier,
    recipe_of_sigmoid_head,
)

STATIONS = {
    "prepare": "prepare a data set and its manifest, as `python -m data_scripts` does",
    "train": "train the softmax classifier, or the sigmoid head on the frozen classifier",
    "evaluate": "evaluate the test split",
}
OF_ONES_OWN = {
    "explain": "draw the map of a class on a photo of your own",
    "report": "train both heads on your own folders of images, and measure their maps",
}
"""Verbs for photos and folders of one's own."""
VERBS = STATIONS | OF_ONES_OWN
OF_COMPANION = ("plan", "summarise", "publish")
"""Verbs of ``python -m companion``, to which they are handed on."""
TRAINED = {
    "classifier": "train the softmax classifier",
    "sigmoid-head": "train the sigmoid head on the frozen classifier",
}


def main() -> None:
    """Run the stage that the command line names; finished files are kept."""
    given = sys.argv[1:]
    # Ahead of the parser, which would take the other programs' options for its own.
    if given[:1] == ["prepare"]:
        hand_on("data_scripts", given[1:])
    elif given and given[0] in OF_COMPANION:
        hand_on("companion", given)
    else:
        options = _parser().parse_args(given)
        options.run(options)


def hand_on(package: str, arguments: Sequence[str]) -> None:
    """Hand the arguments on to the command of a package next to this one, whose exit code becomes ours.

    Raises:
        SigcamError: if the package is not there.
    """
    command, environment = command_of(package, arguments)
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def train(options: Namespace) -> None:
    """Train a classifier or a sigmoid head.

    Raises:
        SigcamError: for a name or a number that is out of range, or options that contradict each other.
    """
    from .stations import ensure_classifier, ensure_manifest, ensure_sigmoid_head
    from .train.checkpoints import SECONDS_BETWEEN_SAVINGS
    from .train.fit import check_devices, check_shares, start_fabric

    run = _run(options)
    is_classifier = options.what == "classifier"
    if is_classifier:
        usual = recipe_of_classifier(run.classifier_recipe, run.origin, run.backbone)
    else:
        usual = recipe_of_sigmoid_head(run.sigmoid_recipe, run.backbone)
    changes = _changes(options)
    if changes and usual is None:
        fail(f"origin {run.origin!r} trains no classifier: leave out --epochs and all that changes a recipe.")
    if is_classifier and run.origin != "probe" and {"views", "cached", "freezing"} & set(changes):
        fail("--views, --on-the-fly and --freezing are for heads on a frozen backbone: leave them out.")
    recipe = usual and replace(usual, **changes)
    # Before other processes are started, which would refuse the same again, or make the same data set.
    check_devices(options.accelerator, options.devices, options.precision)
    if recipe:
        check_shares(recipe, options.devices)
    ensure_manifest(run.dataset, run.work_dir)
    fabric = start_fabric(options.accelerator, options.devices, options.precision)
    ensure = ensure_classifier if is_classifier else ensure_sigmoid_head
    seconds = SECONDS_BETWEEN_SAVINGS if options.checkpoint_seconds is None else options.checkpoint_seconds
    ensure(run, None if recipe == usual else recipe, fabric, seconds)


def evaluate(options: Namespace) -> None:
    """Make the evidence of the test split, or a part of its shards."""
    from .evaluate.shards import Part
    from .stations import ensure_evidence

    measured = Extent(not options.without_fidelity, options.perturbed_images, options.perturbation_steps)
    ensure_evidence(_run(options), measured, Part.parse(options.part))


def explain(options: Namespace) -> None:
    """Draw the map of a class next to a photo, and print the likeliest classes."""
    from .ask.explain import Question, explain_photo

    names = ("model", "class_name", "method", "head", "scalar", "truncated")
    question = Question(**{name: getattr(options, name) for name in names})
    answer = explain_photo(options.photo, options.out or Path(f"{options.photo.stem}-map.png"), question)
    for name, probability in answer.likeliest:
        print(f"{100 * probability:5.1f} %  {name}")
    print(f"saved the map of {answer.class_name} to {answer.picture}")


def report(options: Namespace) -> None:
    """Measure maps on folders of images, and print the tables."""
    from .ask.report import BOX_OPTIONS, report_on_folder

    names = ("folder", "model", "work_dir", "seed", "name", "perturbed_images", *BOX_OPTIONS)
    for name, table in report_on_folder(**{name: getattr(options, name) for name in names}).items():
        print(f"\n{name}\n{table.to_string(index=False)}")


def _parser() -> CommandLine:
    others = "Verbs of `python -m companion`, in a checkout of the project: " + ", ".join(OF_COMPANION)
    parser = CommandLine(
        prog="python -m sigcam_core", description="Run one stage; finished files are kept.", epilog=others
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, help=", ".join(VERBS))
    verbs.add_parser("prepare", help=VERBS["prepare"])  # for the list; see main()
    trained = verbs.add_parser("train", help=VERBS["train"], description=VERBS["train"])
    commands = trained.add_subparsers(dest="what", metavar="WHAT", required=True, help=", ".join(TRAINED))
    for what, purpose in TRAINED.items():
        command = commands.add_parser(what, help=purpose, description=purpose)
        command.set_defaults(run=train)
        _add_run_options(command)
        _add_training_options(command)
    command = verbs.add_parser("evaluate", help=VERBS["evaluate"], description=VERBS["evaluate"])
    command.set_defaults(run=evaluate)
    _add_run_options(command)
    _add_evaluation_options(command)
    _add_explain(verbs.add_parser("explain", help=VERBS["explain"], description=VERBS["explain"]))
    command = verbs.add_parser("report", help=VERBS["report"], description=VERBS["report"])
    command.set_defaults(run=report)
    _add_work_dir(command)
    command.add_argument("folder", type=Path, help="one folder of images per class, also below train, val and test")
    command.add_argument("--model", default="efficientnet_lite0", help="with ImageNet weights, default: %(default)s")
    command.add_argument("--seed", type=int, default=0, help="of split and training, default: %(default)s")
    help_ = "of the data set and of what is made from it, default: the folder's, with what tells it from others"
    command.add_argument("--name", default="", help=help_)
    help_ = "how many images get insertion and deletion, by far the most passes; default: none"
    command.add_argument("--perturbed-images", type=int, help=help_)
    _add_boxes(command)
    return parser


def _add_boxes(command: CommandLine) -> None:
    """Options that are handed on to the data set of a folder, which knows the formats."""
    help_ = "file or folder of boxes of your own, for localisation; default: those that were prepared, or none"
    command.add_argument("--boxes", default="", help=help_)
    help_ = "what they are, never guessed: coco, voc, yolo, xyxy, ...; `prepare image_folder --help` lists all"
    command.add_argument("--box-format", default="", help=help_)
    command.add_argument("--box-classes", default="", help="file with the names of YOLO's classes, one a line")
    command.add_argument("--boxes-of", default="", help="own: boxes of the image's class (the default); any: all boxes")


def _add_explain(command: CommandLine) -> None:
    command.set_defaults(run=explain)
    command.add_argument("photo", type=Path, help="an image file")
    command.add_argument("--model", default="efficientnet_lite0", help="with ImageNet weights, default: %(default)s")
    command.add_argument("--class", dest="class_name", default="", help="name, or index; default: the likeliest")
    command.add_argument("--method", default="", help="cam, gradcam, ...; default: the first that the network allows")
    command.add_argument("--head", default="softmax", help="softmax or sigmoid, default: %(default)s")
    command.add_argument("--scalar", default="logit", help="what is explained: logit, log_odds, ...; default: logit")
    command.add_argument("--truncated", action="store_true", help="cut negative weights to zero")
    command.add_argument("--out", type=Path, help="picture to write, default: the photo's name with -map.png, here")


def _add_evaluation_options(command: CommandLine) -> None:
    usual = Extent()
    command.add_argument("--without-fidelity", action="store_true", help="localisation and pointing alone")
    help_ = "how many images get insertion and deletion, default: %(default)s"
    command.add_argument("--perturbed-images", type=int, default=usual.perturbed_images, help=help_)
    help_ = "of insertion and deletion, default: %(default)s"
    command.add_argument("--perturbation-steps", type=int, default=usual.perturbation_steps, help=help_)
    help_ = "which of several processes this is, such as 2/4; then the same without it gathers what they measured"
    command.add_argument("--part", default="1/1", help=help_)


def _add_work_dir(command: CommandLine) -> None:
    help_ = "folder of everything that is made, default: SIGCAM_WORK_DIR, or build in the enclosing project"
    command.add_argument("--work-dir", type=Path, default=default_work_dir(), help=help_)


def _add_run_options(command: CommandLine) -> None:
    _add_work_dir(command)
    command.add_argument("--dataset", default="shapes", help="default: %(default)s")
    command.add_argument("--backbone", default="small_cnn", help="default: %(default)s")
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    origins, usual = ", ".join(ORIGINS), "default: the usual one of the"
    command.add_argument("--origin", default="scratch", help=f"of the classifier: {origins}; default: %(default)s")
    command.add_argument("--classifier-recipe", default="", help=f"{', '.join(CLASSIFIER_RECIPES)}; {usual} origin")
    command.add_argument("--sigmoid-recipe", default="", help=f"{', '.join(SIGMOID_RECIPES)}; {usual} network")


def _add_training_options(command: CommandLine) -> None:
    command.add_argument("--epochs", type=int, help="default: the recipe's")
    command.add_argument("--batch-size", type=int, help="over all devices, default: the recipe's")
    command.add_argument("--views", type=int, help="of each image, for a frozen backbone; default: the recipe's")
    command.add_argument("--on-the-fly", action="store_true", help="run a frozen backbone in every epoch")
    command.add_argument("--freezing", help=f"{' or '.join(FREEZINGS)}, default: the recipe's")
    command.add_argument("--accelerator", default="auto", help="auto, cpu, cuda or mps, default: %(default)s")
    command.add_argument("--devices", type=int, default=1, help="how many, default: %(default)s")
    command.add_argument("--precision", default="32-true", help="16-mixed, bf16-mixed or the default, %(default)s")
    help_ = "between two savings of an unfinished run, which the same command goes on with; default: two minutes"
    command.add_argument("--checkpoint-seconds", type=float, help=help_)


def _run(options: Namespace) -> Run:
    return Run(
        options.dataset,
        options.backbone,
        options.seed,
        options.work_dir,
        options.origin,
        options.classifier_recipe,
        options.sigmoid_recipe,
    )


def _changes(options: Namespace) -> dict[str, Any]:
    """Collect the options of the command line that override the recipe."""
    if options.epochs is not None and options.epochs < 1:
        fail(f"--epochs is {options.epochs}: train at least 1 epoch.")
    names = ("epochs", "batch_size", "views", "freezing")
    changes = {name: value for name in names if (value := getattr(options, name)) is not None}
    return changes | ({"cached": False} if options.on_the_fly else {})


if __name__ == "__main__":
    run_command_line(main)
