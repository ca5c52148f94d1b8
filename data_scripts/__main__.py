"""Prepare a data set: ``python -m data_scripts NAME --root DIR`` writes ``DIR/NAME/manifest.parquet``."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from inspect import signature
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table

from data_scripts import boxes, cub, image_folder, imagenet, openimages, photos, shapes, stanford_cars, tiny_imagenet
from data_scripts.archive import ARCHIVES, ARCHIVES_VARIABLE, archive_folders, is_unchanged
from data_scripts.verify import missing_files, verify
from sigcam_core.common.errors import CommandLine, SigcamError, check_choice, fail, run_command_line
from sigcam_core.common.files import read_object
from sigcam_core.common.paths import refuse_overwriting, user_path
from sigcam_core.prepare.contents import replaced_files
from sigcam_core.prepare.manifest import Manifest, read_manifest

DATA_SETS: dict[str, ModuleType] = {
    "shapes": shapes,
    "photos": photos,
    "tiny_imagenet": tiny_imagenet,
    "stanford_cars": stanford_cars,
    "cub": cub,
    "openimages": openimages,
    "imagenet": imagenet,
    "boxes": boxes,
    "image_folder": image_folder,
}
"""Every data set. A module has ``add_options(parser)``, ``check_parameters(**options)``, which returns the parameters,
and ``prepare(folder, parameters)``; made from archives, ``prepare`` also takes the folders where they may lie. One
whose images are not there says ``HAS_IMAGES = False``; one that has more to say at the end than counts has
``summary(manifest)``, which returns lines and tables."""

REPLACED = ".replaced"
"""Folder within a data set's, of what is being replaced."""
MADE_FROM_DATA = ("checkpoints", "evidence")
"""Folders next to that of the data sets, for what later stages make; a record next to each file says from what."""


def is_archived(name: str) -> bool:
    """Say whether a data set is made from archives, that are downloaded or found in a folder."""
    return "archives" in signature(DATA_SETS[name].prepare).parameters


def _has_images(name: str) -> bool:
    return getattr(DATA_SETS[name], "HAS_IMAGES", True)


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
        command.add_argument(
            "--name",
            dest="folder",
            default="",
            help="folder of the data set within ROOT, for one of several with different parameters (default: NAME)",
        )
        command.add_argument(
            "--generated-only",
            action="store_true",
            help="refuse a data set that is made from archives and is not there",
        )
        command.add_argument("--force", action="store_true", help="prepare again what is there; archives are kept")
        command.add_argument("--verify", action="store_true", help="read every image and mask that is there")
        module.add_options(command)
        if is_archived(name):
            command.add_argument(
                "--archives",
                type=Path,
                nargs="+",
                default=[],
                metavar="DIR",
                help=f"folders where archives lie already; {ARCHIVES_VARIABLE} names further ones (default: none)",
            )
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and not given[0].startswith("-"):
        check_choice("data set", given[0], tuple(DATA_SETS))
    options = vars(parser.parse_args(given))
    name, root = options.pop("name"), options.pop("root")
    manifest = root / (options["folder"] or name) / "manifest.parquet"
    if options.pop("generated_only") and is_archived(name) and not manifest.exists():
        fail(f"{manifest} does not exist: run `python -m data_scripts {name} --root {root}` first.")
    if source := options.get("source"):
        refuse_overwriting(manifest.parent, user_path(str(source)), may_lie_within=True)
    is_verified = options.pop("verify")
    prepared = prepare(name, root, **options)
    if is_verified and _has_images(name):
        Console().print(f"{verify(prepared):,} images and masks can be read")


def prepare(
    name: str,
    root: Path,
    *,
    folder: str = "",
    archives: Sequence[Path] = (),
    force: bool = False,
    **options: object,
) -> Manifest:
    """Prepare data set ``name`` in a folder within ``root``, unless it is there already with the same parameters.

    A generated one of which a file is missing, or was replaced, is generated again. What is there is given up only when
    the new data set is whole.

    Args:
        name: one of :data:`DATA_SETS`.
        root: folder of the data sets.
        folder: name of the folder, of letters, digits and _; empty for that of the data set.
        archives: folders where archives lie already, for a data set that is made from them.
        force: prepare again what is there; archives that were downloaded are kept.
        options: those of the command line, by the same names; what is left out has the command line's default.

    Raises:
        SigcamError: if the options are wrong, a file cannot be read or written, or checkpoints or evidence were made
            from what is there, with other options.
    """
    if not re.fullmatch(r"\w*", folder):
        fail(f"--name {folder!r} is no name of a data set: give one of letters, digits and _.")
    module = DATA_SETS[name]
    parser = CommandLine()
    module.add_options(parser)
    parameters = module.check_parameters(**(vars(parser.parse_args([])) | options))
    place = user_path(root) / (folder or name)
    # Where archives lie is no property of the data set, so the manifest does not record it.
    places = [archive_folders([user_path(one) for one in archives], place)] if is_archived(name) else []
    console = Console(markup=False)  # brackets in the name of a folder are none
    manifest = None if force else _ready(place / "manifest.parquet", parameters, *places)
    if manifest and _has_images(name) and (wrong := _wrong_files(manifest)):
        if is_archived(name):
            fail(f"{wrong}: run the same command with --force.")
        manifest = None
    if manifest:
        console.print(f"{name} is already prepared in {place}, with the same parameters: nothing to do.")
        return manifest
    if not force:
        _refuse_to_orphan(place, parameters)
    try:
        # What was unpacked from an archive is used again; what is drawn or copied would be overwritten.
        with _set_aside(place, everything=force or not is_archived(name)):
            manifest = module.prepare(place, parameters, *places)
    except OSError as error:
        fail(f"cannot write to folder {place} ({error.strerror}): choose a --root that you may write to.")
    except SigcamError:
        with suppress(OSError):  # it is not empty: what was downloaded stays for the next run
            place.rmdir()
        raise
    assert isinstance(manifest, Manifest)
    parts = module.summary(manifest) if hasattr(module, "summary") else [_summary(manifest)]
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), highlight=False)
    return manifest


def _wrong_files(manifest: Manifest) -> str:
    """Say in half a sentence what is wrong with a data set's files; empty if they are unchanged."""
    for kind, files in (("are missing", missing_files(manifest)), ("were replaced", replaced_files(manifest.root))):
        if files:
            return f"{len(files)} files of {manifest.name} {kind}, first {files[0]}"
    return ""


def _refuse_to_orphan(place: Path, parameters: dict[str, object]) -> None:
    """Refuse other options for a data set from which checkpoints or evidence were made."""
    try:
        description = read_object(place / "manifest.json")
    except SigcamError:
        return
    recorded = {key: value for key, value in description.get("parameters", {}).items() if key != "archives"}
    if recorded == parameters or not (place / "manifest.parquet").exists():
        return
    records = [path for folder in MADE_FROM_DATA for path in sorted((place.parent.parent / folder).glob("*.json"))]
    for path in records:
        record = read_object(path)
        if (record.get("dataset"), record.get("manifest_checksum")) == (place.name, description.get("checksum")):
            options = recorded.keys() | parameters.keys()
            other = min(key for key in options if recorded.get(key) != parameters.get(key))
            fail(
                f"{place} was prepared with {other} {recorded.get(other)}, not {parameters.get(other)}, and "
                f"{path.with_suffix('').name} was made from it: choose another --name, or delete {place} first, and "
                "then what was made from it."
            )


@contextmanager
def _set_aside(place: Path, everything: bool) -> Iterator[None]:
    """Set the manifest of a data set aside, or all but its archives, and put it back if the block fails.

    Without a manifest a data set is not ready: a process that is killed in the block leaves none behind.
    """
    aside, manifest = place / REPLACED, "manifest.parquet"
    _remove(aside)  # what a killed process left
    is_ours = (place / manifest).exists() or (place / "manifest.json").exists()
    aside.mkdir(parents=True)
    names = [manifest] if (place / manifest).exists() else []
    if everything and is_ours:  # what is in another folder is not to be replaced
        names += sorted({entry.name for entry in place.iterdir()} - {ARCHIVES, REPLACED, manifest})
    for name in names:
        (place / name).rename(aside / name)
    try:
        yield
    except BaseException:
        for name in reversed(names):
            _remove(place / name)
            (aside / name).rename(place / name)
        raise
    finally:
        _remove(aside)


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _ready(path: Path, parameters: dict[str, object], archives: Sequence[Path] = ()) -> Manifest | None:
    try:
        manifest = read_manifest(path)
        recorded = read_object(path.with_suffix(".json")).get("parameters")
    except SigcamError:
        return None
    if not isinstance(recorded, dict):
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
