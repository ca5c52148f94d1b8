"""What the workflow looks after before it asks what is due: files that were deleted.

Snakemake knows the files that rules name. A notebook also saves tables and figures, a data set has its images, and the
book has its pages: each step leaves a list of all that it made in ``made/`` of the work dir, named after the file that
its rule names. Where one of the list is gone, that file is removed, so that it is due.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

MADE = "made"  # folder of the lists within the work dir
LIST, PART = ".txt", ".part"
NAMED = (
    "checkpoints/*",
    "evidence/*",
    "notebooks/*",
    "data/*/manifest.*",
    "torch/*.json",
    "book/_build/html/*.html",
)
"""Files of the work dir that rules name."""
CACHES = ("features",)  # folders within the work dir
SLACK_SECONDS = 2.0  # of clocks of file servers


def list_of(output: Path, work_dir: Path) -> Path:
    """Return the list of all that is made together with a file that a rule names."""
    return work_dir / MADE / f"{output.relative_to(work_dir)}{LIST}"


def settle(made: Path, work_dir: Path) -> None:
    """End a list: of what was noted while a step ran, what is in the work dir at its end is kept, each file once.

    Paths are relative to the work dir, which may be moved. Caches are left out: they may be deleted for their room.

    Args:
        made: the list; what was noted lies beside it, with the suffix of a part.
        work_dir: of the workflow.
    """
    noted, root = made.with_name(f"{made.name}{PART}"), work_dir.absolute()
    paths = dict.fromkeys(path for path in _listed(noted) if path.exists()) if noted.exists() else {}
    names = [path.relative_to(root) for path in paths if path.is_relative_to(root)]
    kept = [json.dumps(str(name)) for name in names if name.parts[0] not in CACHES]
    whole = made.with_name(f"{made.name}{PART}{PART}")
    whole.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    whole.replace(made)
    noted.unlink(missing_ok=True)


def incomplete(work_dir: Path) -> dict[Path, Path]:
    """Files that rules name, of which something that was made with them is gone; with the first that is.

    Args:
        work_dir: of the workflow.
    """
    gone = {}
    for made in sorted((work_dir / MADE).rglob(f"*{LIST}")):
        output = work_dir / str(made.relative_to(work_dir / MADE)).removesuffix(LIST)
        missing = next((path for name in _listed(made) if not (path := work_dir / name).exists()), None)
        if missing is not None and output.exists():
            gone[output] = missing
    return gone


def make_due(outputs: Iterable[Path], prepared_by: Mapping[Path, Sequence[str]]) -> None:
    """Remove incomplete files, so that Snakemake makes them again; a data set is completed at once.

    Whatever was made from a data set stays as it is if the same rows come out, as they do: Snakemake compares their
    checksums.

    Args:
        outputs: files that rules name.
        prepared_by: the command that prepares a data set, by its manifest.
    """
    for output in outputs:
        if output in prepared_by:
            subprocess.run(prepared_by[output], check=False)
        else:
            output.unlink()


def _listed(made: Path) -> list[Path]:
    """Read the files of a list; a last line that was cut off is left out."""
    paths = []
    for line in made.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            paths.append(Path(json.loads(line)))
        except (ValueError, TypeError):
            continue
    return paths


def dated_ahead(paths: Iterable[Path]) -> list[Path]:
    """Find the files that are dated in the future, as after a clock was set back.

    A large file of tomorrow is newer than what was made of it, however often that is made. Small ones Snakemake knows
    by their checksums.

    Args:
        paths: of files, whether they are there or not.
    """
    latest = time.time() + SLACK_SECONDS
    return [path for path in paths if path.is_file() and path.stat().st_mtime > latest]


def named_files(work_dir: Path) -> list[Path]:
    """List the files of the work dir that rules name."""
    return [path for pattern in NAMED for path in sorted(work_dir.glob(pattern))]


if __name__ == "__main__":
    settle(*map(Path, sys.argv[1:]))
