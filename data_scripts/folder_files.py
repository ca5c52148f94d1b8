"""The files below a folder of images: which are taken, by their names, and why the others are passed over."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

from sigcam_core.common.errors import SigcamError, fail
from sigcam_core.prepare.decode import decode_image, image_size

ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""Endings of the files that are read, in either case: names of the formats that the package decodes."""
GENERATED = {
    "$recycle.bin",
    "#recycle",
    "@eadir",
    "__macosx",
    "__pycache__",
    "desktop.ini",
    "lost+found",
    "system volume information",
    "thumbs.db",
}
"""What operating systems and servers put between images, in small letters; so is all whose name begins with a dot."""
PREPARED = "manifest.parquet"
"""A folder that holds it is a data set that was prepared, not a class."""
WHOLE = {b"\xff\xd8": b"\xff\xd9", b"\x89PNG": b"IEND\xaeB`\x82", b"GIF8": b"\0;"}
"""First bytes of a format, and the last ones of its whole files."""
MOST_EXAMPLES = 3
REMEDY = "delete it or save it again, and run the same command again"

HIDDEN = "hidden or generated"
OTHER = "of other formats"
LINKS = "broken or circular links, or no files"
DAMAGED = "that cannot be read"
PassedOver = dict[str, list[str]]
"""By reason, what is not taken: paths relative to the folder, or whole sentences for what is damaged."""


class ImageFile(NamedTuple):
    """A file by its name.

    Attributes:
        parts: of its path, relative to the folder.
        bytes: size.
    """

    parts: tuple[str, ...]
    bytes: int

    @property
    def name(self) -> str:
        """The path as text that every program can store: bytes that are no UTF-8 become backslash escapes."""
        return as_text("/".join(self.parts))


def as_text(name: str) -> str:
    r"""Decode a name of the file system; bytes that are not UTF-8 become escapes.

    >>> as_text("caf\udce9")
    'caf\\xe9'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    r"""Text for one line of a terminal: line breaks and invisible characters become escapes.

    >>> printable("two\nlines")
    'two\\nlines'
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shown(path: Path) -> str:
    """Write a path so that it can stand in a sentence."""
    return printable(as_text(str(path)))


def list_images(folder: Path) -> tuple[list[ImageFile], PassedOver]:
    """List the images below a folder by their names, in order. Links are followed, though not back.

    Args:
        folder: an absolute path.

    Returns:
        The images, and what else there is, by reason.

    Raises:
        SigcamError: if a folder cannot be opened.
    """
    passed: PassedOver = defaultdict(list)
    return list(_walk(folder, (), frozenset(), passed)), passed


def _walk(
    folder: Path, parts: tuple[str, ...], above: frozenset[tuple[int, int]], passed: PassedOver
) -> Iterator[ImageFile]:
    try:
        status = folder.stat()
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        fail(
            f"folder {printable(as_text(str(folder)))} cannot be opened ({error.strerror}): allow it, or move it away."
        )
    place = (status.st_dev, status.st_ino)
    reason = LINKS if place in above else HIDDEN if parts and PREPARED in {entry.name for entry in entries} else ""
    if reason:
        passed[reason].append(as_text("/".join(parts)))
        return
    for entry in entries:
        path = (*parts, entry.name)
        if reason := _why_not(entry):
            passed[reason].append(as_text("/".join(path)))
        elif entry.is_dir():
            yield from _walk(folder / entry.name, path, above | {place}, passed)
        else:
            yield ImageFile(path, entry.stat().st_size)


def _why_not(entry: os.DirEntry[str]) -> str:
    """Say why an entry of a folder is passed over, by its name and kind; empty if it is not."""
    if entry.name.startswith(".") or entry.name.casefold() in GENERATED:
        return HIDDEN
    if entry.is_dir():
        return ""
    if not entry.is_file():
        return LINKS
    return "" if entry.name.lower().endswith(ENDINGS) else OTHER


def read_sizes(paths: Sequence[Path]) -> list[tuple[int, int] | str]:
    """Width and height of every image in pixels as stored, or the sentence that says why it cannot be read.

    Headers are read, and the pixels of those files alone that do not end as their format does: a truncated file is
    found here and not in the middle of training.
    """
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        return list(track(pool.map(_size, paths), "reading image sizes", total=len(paths), transient=True))


def _size(path: Path) -> tuple[int, int] | str:
    try:
        size = image_size(path, f"image {path}", REMEDY)
        if not _looks_whole(path):
            decode_image(path, 8, remedy=REMEDY)
    except SigcamError as error:
        return printable(as_text(str(error)))
    return size


def _looks_whole(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(max(0, os.fstat(file.fileno()).st_size - 16))
        end = file.read()
    return any(start.startswith(first) and end.endswith(last) for first, last in WHOLE.items())


def passed_over_lines(passed: PassedOver) -> list[str]:
    """Summarise each reason in a line, with counts and examples; for unreadable images, list the messages.

    >>> passed_over_lines({OTHER: ["a/x.pgm", "b/notes.txt", "b/y.pgm"]})
    ['passed over: 3 of other formats (.pgm 2, .txt 1)']
    """
    return [line for reason, names in passed.items() if names for line in _lines_of(reason, names)]


def _lines_of(reason: str, names: Sequence[str]) -> list[str]:
    examples = [printable(name) for name in names[:MOST_EXAMPLES]]
    more = len(names) - len(examples)
    if reason == DAMAGED:
        return [f"passed over: {name}" for name in examples] + (
            [f"passed over: {more:,} more {reason}"] if more else []
        )
    if reason == OTHER:
        endings = Counter(Path(name).suffix.lower() or "no ending" for name in names).most_common()
        examples = [printable(f"{ending} {count}") for ending, count in endings]
    elif more:
        examples.append("...")
    return [f"passed over: {len(names):,} {reason} ({', '.join(examples)})"]
