"""Prepare a data set: ``python -m data_scripts NAME --root DIR`` writes ``DIR/NAME/manifest.parquet``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table

from data_scripts import cub, imagenet, openimages, photos, shapes, stanford_cars, tiny_imagenet
from data_scripts.archive import ARCHIVES_VARIABLE, archive_folders, is_unchanged
from sigcam_core.common.errors import CommandLine, SigcamError, fail, run_command_line
from sigcam_core.common.provenance import read_json
from sigcam_core.prepare.images import Manifest, read_manifest

# Each module has add_options(parser), check_parameters(**options) -> parameters, prepare(folder, parameters).
DATA_SETS: dict[str, ModuleType] = {"shapes": shapes, "photos": photos}
# These are made from archives; their prepare() also takes the folders where archives may lie.
ARCHIVED: dict[str, ModuleType] = {
    "tiny_imagenet": tiny_imagenet,
    "stanford_cars": stanford_cars,
    "cub": cub,
    "openimages": openimages,
    "imagenet": imagenet,
}
DATA_SETS |= ARCHIVED


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the data set that the command line names.

    Raises:
        SigcamError: on an unknown data set or option, a parameter out of range, or a folder that cannot be written.
    """
    parser = CommandLine(prog="python -m data_scripts", description="Prepare a data set and its manifest.")
    commands = parser.add_subparsers(dest="name", metavar="NAME", required=True, help=", ".join(DATA_SETS))
    for name, module in DATA_SETS.items():
        command = commands.add_parser(name, help=(module.__doc__ or "").split("\n")[0])
        command.add_argument(
            "--root", type=Path, default=Path("build/data"), help="folder of the data sets (default: %(default)s)"
        )
        module.add_options(command)
        if name in ARCHIVED:
            command.add_argument(
                "--archives",
                type=Path,
                nargs="+",
                default=[],
                metavar="DIR",
                help=f"folders where archives lie already; {ARCHIVES_VARIABLE} names further ones (default: none)",
            )
    options = vars(parser.parse_args(arguments))
    name, root = options.pop("name"), options.pop("root")
    prepare(name, root, **options)


def prepare(name: str, root: Path, *, archives: Sequence[Path] = (), **options: object) -> Manifest:
    """Prepare data set ``name`` in ``root/name``, unless it is there already with the same parameters.

    Args:
        name: one of :data:`DATA_SETS`.
        root: folder of the data sets.
        archives: folders where archives lie already, for a data set that is made from them.
        options: those of the command line, by the same names; what is left out has the command line's default.
    """
    module = DATA_SETS[name]
    parser = CommandLine()
    module.add_options(parser)
    parameters = module.check_parameters(**(vars(parser.parse_args([])) | options))
    folder = root / name
    # Where archives lie is no property of the data set, so the manifest does not record it.
    places = [archive_folders(archives, folder)] if name in ARCHIVED else []
    console = Console()
    manifest = _ready(folder / "manifest.parquet", parameters, *places)
    if manifest:
        console.print(f"{name} is already prepared in {folder}, with the same parameters: nothing to do.")
        return manifest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Without a manifest a data set is not ready: a run that is killed from here on leaves none behind.
        (folder / "manifest.parquet").unlink(missing_ok=True)
        manifest = module.prepare(folder, parameters, *places)
    except OSError as error:
        fail(f"cannot write to folder {folder} ({error.strerror}): choose a --root that you may write to.")
    assert isinstance(manifest, Manifest)
    console.print(_summary(manifest))
    return manifest


def _ready(path: Path, parameters: dict[str, object], archives: Sequence[Path] = ()) -> Manifest | None:
    try:
        manifest = read_manifest(path)
        recorded = read_json(path.with_suffix(".json"))["parameters"]
    except SigcamError:
        return None
    unchanged = all(is_unchanged(record, archives) for record in recorded.pop("archives", []))
    return manifest if unchanged and recorded == parameters else None


def _summary(manifest: Manifest) -> Table:
    table = Table(title=f"{manifest.name}: {manifest.num_classes} classes, checksum {manifest.checksum[:12]}")
    for column in ("split", "images", "boxes", "masks"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split, rows in manifest.table.groupby("split", sort=False):
        table.add_row(str(split), f"{len(rows)}", f"{rows['boxes'].map(len).sum()}", f"{rows['mask'].notna().sum()}")
    return table


if __name__ == "__main__":
    run_command_line(main)
