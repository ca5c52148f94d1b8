"""Archives of data sets: found or downloaded, recorded, and unpacked where nothing can go astray."""

from __future__ import annotations

import errno
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Self

import rich.progress
from rich.console import Console
from rich.markup import escape

from data_scripts.download import download
from sigcam_core.common.errors import SigcamError, fail
from sigcam_core.common.files import sync_all
from sigcam_core.common.paths import user_path

# Folders where archives lie already, separated like those of PATH.
ARCHIVES_VARIABLE = "SIGCAM_DATA"
MARKER, ARCHIVES = ".archive", "archives"
# NotImplementedError: a zip compressed in a way that Python does not know.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    NotImplementedError,
)
GET_AGAIN = "get it again from its original source."
# Images hardly grow, and text tenfold or twentyfold. What grows by more than this was made to fill a disk.
MOST_GROWTH, ALWAYS_ALLOWED_BYTES = 200, 100_000_000


@dataclass(frozen=True)
class Archive:
    """A file that a data set is made from.

    Attributes:
        name: file name, or path below a folder of archives.
        url: where to download it; None if it must be fetched by hand.
        size: bytes to announce before the download, where known.
        checksum: published ``algorithm:hexadecimal digest``, where there is one.
        by_hand: how to get it without this program.
        other_names: names under which it may lie as well.
    """

    name: str
    url: str | None = None
    size: int | None = None
    checksum: str | None = None
    by_hand: str = ""
    other_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """An archive on disk, with what the manifest records about it."""

    path: Path
    checksum: str
    published: bool

    def record(self) -> dict[str, Any]:
        """JSON value: name, bytes, checksum, and whether it is the published archive (no: the user's own)."""
        size = self.path.stat().st_size
        return {"name": self.path.name, "bytes": size, "checksum": self.checksum, "published": self.published}


def archive_folders(given: Sequence[Path], folder: Path) -> list[Path]:
    """Where archives are looked for, in this order: ``--archives``, ``SIGCAM_DATA``, ``folder/archives``.

    The last of them is where downloads go.

    Raises:
        SigcamError: if a folder that was named does not exist.
    """
    variable = [user_path(name) for name in os.environ.get(ARCHIVES_VARIABLE, "").split(os.pathsep) if name]
    for origin, named in (("--archives", given), (ARCHIVES_VARIABLE, variable)):
        for path in named:
            if not path.is_dir():
                fail(f"folder {path} of {origin} does not exist: name a folder that holds archives, or leave it out.")
    return [*given, *variable, folder / ARCHIVES]


def find(archive: Archive, folders: Sequence[Path]) -> Path | None:
    """Find the first file with the archive's name, or with one of its other names."""
    paths = (folder / name for folder in folders for name in (archive.name, *archive.other_names))
    return next((path for path in paths if path.is_file()), None)


def obtain(archive: Archive, folders: Sequence[Path]) -> Found:
    """Find an archive, or download it into the last folder, after announcing its size.

    An archive that was put there by hand is accepted as it is, and said not to be the published one where it differs.

    Raises:
        SigcamError: if it is neither there nor to be downloaded; the sentence says how to get it by hand.
    """
    console = Console(markup=False)
    path = find(archive, folders)
    if path is None:
        advice = (
            f"{archive.by_hand or f'get it from {archive.url}'} and put it into {folders[-1]}, "
            f"or into a folder that --archives or {ARCHIVES_VARIABLE} names"
        )
        if archive.url is None:
            fail(f"{archive.name} is missing: {advice}.")
        console.print(f"{archive.name}: {_megabytes(archive.size)} from {archive.url}", soft_wrap=True)
        path = download(archive.url, folders[-1] / archive.name, archive.checksum, f"try again, or {advice}")
        return Found(path, archive.checksum or f"sha256:{_digest(path, 'sha256')}", published=True)
    if archive.checksum:
        algorithm, expected = archive.checksum.split(":")
        if _digest(path, algorithm) == expected:
            console.print(f"{path}: {_megabytes(path.stat().st_size)}, the published file", soft_wrap=True)
            return Found(path, archive.checksum, published=True)
    found = Found(path, f"sha256:{_digest(path, 'sha256')}", published=False)
    remark = "not the published file, and used as it is" if archive.checksum else "no checksum is published"
    console.print(f"{path}: {_megabytes(path.stat().st_size)}, {remark}", soft_wrap=True)
    return found


def is_unchanged(record: dict[str, Any], folders: Sequence[Path]) -> bool:
    """Say whether no file of a recorded archive's name has another size now; one that is gone has not changed."""
    path = find(Archive(record["name"]), folders)
    return path is None or path.stat().st_size == record["bytes"]


def _megabytes(size: int | None) -> str:
    return "size unknown" if size is None else f"{size / 1e6:,.1f} MB"


def _digest(path: Path, algorithm: str) -> str:
    with open_with_bar(path, "checking") as file:
        digest = hashlib.new(algorithm)
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def open_with_bar(path: Path, verb: str) -> AbstractContextManager[BinaryIO]:
    """Open a file for reading, with a bar on a terminal that shows how far the reading is."""
    # Elsewhere a bar that clears itself leaves nothing but empty lines.
    hidden = not Console().is_terminal
    return rich.progress.open(path, "rb", description=f"{verb} {escape(path.name)}", transient=True, disable=hidden)


@dataclass(frozen=True)
class Member:
    """A plain file inside an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


def members(file: IO[bytes], source: str) -> Iterator[Member]:
    """Yield the plain files of a zip or tar, in order, each to be read before the next is asked for.

    A tar is read to its end, so that the checksum of its compression, if it has one, is compared.

    Raises:
        SigcamError: if a name is absolute, climbs with ``..`` or comes twice, an entry is a link, a device or
            encrypted, or all together are over :data:`MOST_GROWTH` times as large as the archive.
    """
    size, unpacked, known = file.seek(0, os.SEEK_END), 0, set()
    for member in _zip_members(file, source) if zipfile.is_zipfile(file) else _tar_members(file, source):
        unpacked += member.size
        if unpacked > max(ALWAYS_ALLOWED_BYTES, MOST_GROWTH * size):
            fail(f"{source} would grow over {MOST_GROWTH} times when unpacked: get it from its original source.")
        if member.name in known:
            fail(f"{source} holds {member.name!r} twice: get the archive from its original source.")
        known.add(member.name)
        yield member


def _zip_members(file: IO[bytes], source: str) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            # Zips made on Unix keep the kind of file here; others leave it at 0.
            kind = stat.S_IFMT(info.external_attr >> 16)
            is_folder = info.filename.endswith("/")  # is_dir() of Python 3.11 fails on an empty name
            _refuse_unsafe(info.filename, is_folder or kind in (0, stat.S_IFREG), source)
            if info.flag_bits & 1:
                fail(f"{source} is encrypted: unpack it with its password, and pack it again without one.")
            if not is_folder:
                yield Member(info.filename, info.file_size, partial(archive.open, info))


def _tar_members(file: IO[bytes], source: str) -> Iterator[Member]:
    file.seek(0)
    with tarfile.open(fileobj=file, tarinfo=_StrictTarInfo) as tar:
        while entry := tar.next():
            tar.members.clear()  # type: ignore[attr-defined]  # it would grow with the archive
            _refuse_unsafe(entry.name, entry.isdir() or entry.isreg(), source)
            if entry.isreg():
                yield Member(entry.name, entry.size, partial(tar.extractfile, entry))
        while tar.fileobj and tar.fileobj.read(1 << 20):
            pass


class _StrictTarInfo(tarfile.TarInfo):
    """A header that must be whole; tarfile takes a damaged one for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark at the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {tar.offset:,}") from error


def _refuse_unsafe(name: str, is_plain: bool, source: str) -> None:
    # tarfile's own data filter would not do: it takes drives and backslashes for plain names outside Windows, strips
    # the slash of an absolute path and keeps links inside the folder. zipfile has none; one rule is for both.
    if not name:
        fail(f"{source} holds a file without a name: it was not unpacked; get the archive from its original source.")
    if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
        fail(f"{source} holds the unsafe path {name!r}: it was not unpacked; get the archive from its original source.")
    if not is_plain:
        fail(
            f"{source} holds {name!r}, a link or device: it was not unpacked; get the archive from its original source."
        )


@contextmanager
def refuse_damage(path: Path) -> Iterator[None]:
    """Turn what zip and tar readers raise on damaged bytes into one sentence."""
    try:
        yield
    except DAMAGE as error:
        fail(f"{path} is truncated or damaged ({error}): delete it, and run the same command or get it again.")


def extract(found: Found, folder: Path, keep: Callable[[str], str | None]) -> None:
    """Unpack an archive into ``folder``, all of it or nothing; a run that was stopped midway is continued.

    Args:
        found: zip or tar, compressed or not.
        folder: what is there from another archive is replaced.
        keep: path below ``folder`` for a member's name, or None to leave it out.

    Raises:
        SigcamError: if the archive is truncated or damaged, or holds unsafe paths, links or devices.
    """

    def fill(target: Path) -> None:
        with refuse_damage(found.path), open_with_bar(found.path, "unpacking") as file:
            for member in members(file, str(found.path)):
                if name := keep(member.name):
                    write_member(member, target / name)

    unpack(folder, found.checksum, fill)


def unpack(folder: Path, checksum: str, fill: Callable[[Path], None]) -> None:
    """Call ``fill`` on a temporary folder that becomes ``folder`` when done, unless this archive is there already."""
    marker = folder / MARKER
    if marker.is_file() and marker.read_text() == checksum:
        return
    partial_folder = folder.with_name(f".{folder.name}-{checksum[-12:]}.partial")
    partial_folder.mkdir(parents=True, exist_ok=True)
    fill(partial_folder)
    sync_all()  # the files are on the disk before the mark says that they are there
    (partial_folder / MARKER).write_text(checksum)
    if folder.exists():
        shutil.rmtree(folder)
    partial_folder.rename(folder)


def write_member(member: Member, path: Path) -> None:
    """Write a member's bytes to ``path``, unless a run that was stopped left the same ones there.

    Raises:
        SigcamError: if no file of that name can be, because it is too long or another member is where its folder goes.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_there = path.stat().st_size == member.size if path.exists() else False
        # A power cut may leave a file of the right size and wrong bytes.
        if not (is_there and _is_same(member, path)):
            with _opened(member) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        fail(f"member {member.name!r} of an archive needs a folder where it has a file, or the reverse: {GET_AGAIN}")
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        fail(f"member {member.name[:60]!r}... of an archive has too long a name for this disk: {GET_AGAIN}")


def _is_same(member: Member, path: Path) -> bool:
    with _opened(member) as source, path.open("rb") as there:
        while chunk := source.read(1 << 20):
            if there.read(len(chunk)) != chunk:
                return False
    return True


def _opened(member: Member) -> IO[bytes]:
    try:
        source = member.open()
    except (OSError, ValueError) as error:  # where the list of a damaged zip says that it begins
        raise zipfile.BadZipFile(str(error)) from error
    assert source is not None  # None for links and folders, which members() does not yield
    return source


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file that an archive ought to hold.

    Raises:
        SigcamError: if it is missing, or is no text.
    """
    if not path.is_file():
        fail(f"{path} is missing: the archive has not its original layout; get it again from its original source.")
    with refuse_other_lines(path):
        return path.read_text(encoding="utf-8").splitlines()


@contextmanager
def refuse_other_lines(source: Path | str) -> Iterator[None]:
    """Turn what goes wrong in the reading of a list of other lines than the published ones into one sentence."""
    try:
        yield
    except SigcamError:
        raise
    except (ValueError, LookupError, TypeError, ArithmeticError):
        fail(f"{source} holds other lines than the published archive: {GET_AGAIN}")


def refuse_missing(folder: Path, names: Sequence[str]) -> None:
    """Refuse a folder that lacks one of the files ``names``.

    Raises:
        SigcamError: naming the first that is missing, and how many are.
    """
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        fail(
            f"{len(missing)} of {len(names)} images are missing from {folder}, the first is {missing[0]}: "
            "the archive is not complete; get it again from its original source."
        )
