"""What tests need besides Python: a marker for each need, by the folder in which a test lies."""

from pathlib import Path

TESTS = Path(__file__).parent
NEEDS = {
    "line/slurm": "slurm",
    "line/pipeline": "pipeline",
    "faults": "fault",
    "fuzz": "fault",
    "book/browser": "browser",
}
"""Markers by folder of tests; the folders that take longest come first."""


def folder_of(path: Path) -> str | None:
    """The folder of :data:`NEEDS` in which a test lies; ``None`` where its tests need nothing, as most do."""
    return next((folder for folder in NEEDS if path.is_relative_to(TESTS / folder)), None)
