"""The record beside each file that a stage makes: what it was made from, and whether it still is that file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common.errors import fail
from ..common.files import read_object, sha256_of_file
from ..common.provenance import provenance
from ..prepare.manifest import Manifest
from ..run import Run

CONTENTS = "image_set_checksum"  # in a record; those of earlier versions have none


def record_of(path: Path) -> Any:
    """Read the provenance next to a stage's file."""
    return read_object(path.with_suffix(".json"))


def data_of(manifest: Manifest) -> dict[str, str]:
    """Describe the data for a record: the rows of the manifest, and what the files hold where that is known."""
    contents = {CONTENTS: manifest.contents} if manifest.contents else {}
    return {"manifest_checksum": manifest.checksum, **contents}


def checked(path: Path, **made_from: str) -> Path:
    """Return a stage's file, if it matches its record and was made from the current inputs.

    Args:
        path: of the file.
        made_from: entries of the record, such as the checksum of the manifest, and what they must be.

    Raises:
        SigcamError: if it is not.
    """
    if not path.with_suffix(".json").exists():
        fail(f"{path} has lost its record {path.with_suffix('.json').name}: delete it, and it is made again.")
    record = record_of(path)
    if record.get("sha256") != sha256_of_file(path):
        fail(f"{path} is not the file that its record tells of: delete it, and it is made again.")
    known = {name: value for name, value in made_from.items() if name != CONTENTS or name in record}
    if other := [name for name, value in known.items() if record.get(name) != value]:
        source = other[0].removesuffix("_sha256").removesuffix("_checksum").replace("_", " ")
        fail(f"{path} was made from another {source} than is there now: delete it, and it is made again.")
    return path


def checksum_of(path: Path) -> str:
    """Return the checksum of a stage's file that was just loaded, and compared with its record, or written with it."""
    checksum: str = record_of(path)["sha256"]
    return checksum


def record(run: Run, sha256: str, **facts: Any) -> dict[str, Any]:
    """Build the record of a file that a stage of a run made, whose checksum is ``sha256``."""
    names = {"dataset": run.dataset, "network": run.network, "seed": run.seed, "sha256": sha256}
    return provenance(**names, **facts)
