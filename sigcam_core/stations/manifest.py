"""The first stage's file, a data set's manifest, made where it is generated and there is none."""

from __future__ import annotations

from pathlib import Path

from ..prepare.command import run_first_station
from ..prepare.contents import refuse_replaced
from ..prepare.manifest import Manifest, read_manifest
from ..run import manifest_path


def ensure_manifest(dataset: str, work_dir: Path) -> Manifest:
    """Read a data set's manifest; make that of a generated data set with its default parameters where there is none.

    The first stage is run as the command that it is, ``python -m data_scripts``: it knows the data sets, and whatever
    comes after reads manifests only.

    Raises:
        SigcamError: for an unknown data set, one that was not prepared, or one of which an image was replaced since.
    """
    path = manifest_path(dataset, work_dir)
    if not path.exists():
        run_first_station([dataset, "--root", str(path.parent.parent), "--generated-only"])
    manifest = read_manifest(path)
    refuse_replaced(manifest.root, manifest.name)
    return manifest
