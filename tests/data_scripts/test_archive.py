"""Archives are found, told from the published ones, and unpacked safely, all or nothing."""

import hashlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from small_archives import write_tar, write_zip

from data_scripts import archive as archives
from data_scripts.archive import Archive, Found, archive_folders, extract, is_unchanged, obtain
from sigcam_core.common.errors import SigcamError

FILES = {"a/one.txt": b"one", "a/b/two.txt": b"two" * 1000}


@pytest.fixture(autouse=True)
def _no_archives_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGCAM_DATA", raising=False)


def unpack_all(path: Path, folder: Path, checksum: str = "sha256:0123456789abcdef") -> None:
    extract(Found(path, checksum, published=True), folder, lambda name: name)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != archives.MARKER]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# Finding


def test_folders_are_searched_in_order_and_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (tmp_path / name for name in "abc")
    for folder in (first, second, third):
        folder.mkdir()
    monkeypatch.setenv("SIGCAM_DATA", f"{second}{os.pathsep}{third}")
    folders = archive_folders([first], tmp_path / "root")
    assert folders == [first, second, third, tmp_path / "root" / "archives"]
    (third / "x.zip").write_bytes(b"third")
    assert obtain(Archive("x.zip"), folders).path == third / "x.zip"
    (second / "y.zip").write_bytes(b"second")
    assert obtain(Archive("x.zip", other_names=("y.zip",)), folders).path == second / "y.zip"
    with pytest.raises(SigcamError, match=r"folder .*nowhere of --archives does not exist"):
        archive_folders([tmp_path / "nowhere"], tmp_path)
    monkeypatch.setenv("SIGCAM_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(SigcamError, match=r"folder .*nowhere of SIGCAM_DATA does not exist"):
        archive_folders([], tmp_path)


def test_the_published_archive_is_told_from_the_users_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(b"published")
    published = Archive("x.zip", size=9, checksum=f"md5:{hashlib.md5(b'published').hexdigest()}")
    assert obtain(published, [tmp_path]).record() == {
        "name": "x.zip", "bytes": 9, "checksum": published.checksum, "published": True,
    }  # fmt: skip
    assert "the published file" in capsys.readouterr().out
    path.write_bytes(b"shortened")
    own = obtain(published, [tmp_path])
    assert (own.published, own.checksum) == (False, f"sha256:{hashlib.sha256(b'shortened').hexdigest()}")
    assert "not the published file" in capsys.readouterr().out.replace("\n", " ")
    record = own.record()
    assert is_unchanged(record, [tmp_path])
    path.write_bytes(b"longer than before")
    assert not is_unchanged(record, [tmp_path])
    path.unlink()
    assert is_unchanged(record, [tmp_path])


def test_a_missing_archive_says_what_to_do_by_hand(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match=r"x\.tar is missing: register and put it into .*archives, or into a folder"):
        obtain(Archive("x.tar", by_hand="register"), archive_folders([], tmp_path))


def test_the_size_is_announced_before_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(url: str, path: Path, checksum: str, advice: str) -> Path:
        raise SigcamError(advice)

    monkeypatch.setattr(archives, "download", refuse)
    with pytest.raises(SigcamError, match=r"^try again, or get it from http://x/x\.zip and put it into .*archives"):
        obtain(Archive("x.zip", "http://x/x.zip", 248_100_043), archive_folders([], tmp_path))
    assert "x.zip: 248.1 MB from http://x/x.zip" in capsys.readouterr().out


# Unpacking


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:xz"])
def test_zip_and_tar_unpack_alike(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "archive"
    write_zip(path, FILES) if kind == "zip" else write_tar(path, FILES, kind)
    unpack_all(path, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["archive", "out"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_file_without_a_name_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "archive"
    if kind == "tar":
        write_tar(path, {"fine.txt": b"", "": b"bad"})
    else:  # Python writes none, and ends a name that it reads at the first byte of zero
        path.write_bytes(write_zip(path, {"fine.txt": b"", "?": b"bad"}).read_bytes().replace(b"?", b"\0"))
    with pytest.raises(SigcamError, match="archive holds a file without a name: it was not unpacked"):
        unpack_all(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "C:/x", "a\\..\\x"])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_unsafe_paths_are_refused(tmp_path: Path, name: str, write: object) -> None:
    path = write(tmp_path / "archive", {"fine.txt": b"", name: b"bad"})  # type: ignore[operator]
    with pytest.raises(SigcamError, match=r"archive holds the unsafe path '.*x': it was not unpacked"):
        unpack_all(path, tmp_path / "deep" / "out")
    assert not (tmp_path / "deep" / "out").exists()
    assert not list(tmp_path.rglob("x"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("innocent")
    entry.type, entry.linkname = kind, "../outside"
    with tarfile.open(tmp_path / "archive", "w") as archive:
        archive.addfile(entry)
    with pytest.raises(SigcamError, match="'innocent', a link or device"):
        unpack_all(tmp_path / "archive", tmp_path / "out")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("innocent")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(SigcamError, match="'innocent', a link or device"):
        unpack_all(tmp_path / "archive", tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:xz"])
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_truncated_archive_is_one_sentence(tmp_path: Path, kind: str, part: float) -> None:
    path = tmp_path / "archive"
    noise = {f"{index}.bin": os.urandom(5000) for index in range(10)}
    write_zip(path, noise) if kind == "zip" else write_tar(path, noise, kind)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(SigcamError, match="is truncated or damaged"):
        unpack_all(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_flipped_byte_in_a_zip_is_found(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "archive", FILES)
    content = bytearray(path.read_bytes())
    content[content.index(b"twotwo")] ^= 1
    path.write_bytes(content)
    with pytest.raises(SigcamError, match=r"truncated or damaged \(Bad CRC-32"):
        unpack_all(path, tmp_path / "out")


def test_a_flipped_byte_in_a_compressed_tar_is_found(tmp_path: Path) -> None:
    """The checksum of the compression comes after the mark at the end, where readers of tars stop."""
    path = write_tar(tmp_path / "archive", {"noise.bin": os.urandom(50_000)}, "w:gz")
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # of the checksum itself, so that what was compressed stays readable
    path.write_bytes(content)
    with pytest.raises(SigcamError, match=r"truncated or damaged \(CRC check failed"):
        unpack_all(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [0, 3, 19])
def test_a_damaged_header_in_a_tar_is_not_taken_for_its_end(tmp_path: Path, number: int) -> None:
    path = write_tar(tmp_path / "archive", {f"{index}.bin": b"x" * 600 for index in range(20)}, "w")
    content = bytearray(path.read_bytes())
    content[number * 1536] ^= 1  # in the name, which the header's own sum covers; 512 bytes of header, 1,024 of content
    path.write_bytes(content)
    with pytest.raises(SigcamError, match="is truncated or damaged"):
        unpack_all(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "w:gz"])
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED_BYTES", 10_000)
    zeros = {f"{index}.bin": b"\0" * 1_000_000 for index in range(20)}
    path = tmp_path / "archive"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in zeros.items():
                archive.writestr(name, content)
    else:
        write_tar(path, zeros, kind)
    with pytest.raises(SigcamError, match="would grow over 200 times when unpacked"):
        unpack_all(path, tmp_path / "out")
    written = sum(file.stat().st_size for file in tmp_path.rglob("*.bin"))
    assert written <= 200 * path.stat().st_size


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a.txt", "a.txt"], "holds 'a.txt' twice"),
        (["a", "a/b.txt"], "'a/b.txt' of an archive needs a folder where it has a file"),
        (["a/b.txt", "a"], "'a' of an archive needs a folder where it has a file, or the reverse"),
        (["x" * 300], "'x+'... of an archive has too long a name for this disk"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_cannot_be_get_one_sentence(tmp_path: Path, kind: str, names: list[str], sentence: str) -> None:
    path = tmp_path / "archive"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"content")
    else:
        with tarfile.open(path, "w") as tar:
            for name in names:
                entry = tarfile.TarInfo(name)
                entry.size = 7
                tar.addfile(entry, io.BytesIO(b"content"))
    with pytest.raises(SigcamError, match=sentence):
        unpack_all(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_encrypted_zip_and_an_unknown_compression_get_one_sentence(tmp_path: Path) -> None:
    content = bytearray(write_zip(tmp_path / "archive", {"one.txt": b"one"}).read_bytes())
    for offset, value, sentence in ((8, 1, "is encrypted: unpack it"), (10, 99, "is truncated or damaged")):
        changed = content.copy()
        directory = changed.index(b"PK\x01\x02")
        changed[directory + offset] = changed[offset - 2] = value  # in the directory, and in the file's own header
        (tmp_path / "archive").write_bytes(changed)
        with pytest.raises(SigcamError, match=sentence):
            unpack_all(tmp_path / "archive", tmp_path / "out")


def test_a_stopped_run_is_continued_and_a_finished_one_left(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "archive", FILES)
    found = Found(path, "sha256:0123456789abcdef", published=True)

    def stop(name: str) -> str:
        if name == "a/b/two.txt":
            raise KeyboardInterrupt
        return name

    with pytest.raises(KeyboardInterrupt):
        extract(found, tmp_path / "out", stop)
    assert not (tmp_path / "out").exists()
    (kept,) = tmp_path.glob(".out-*.partial/a/one.txt")
    os.utime(kept, (1, 1))
    # What a kill leaves of a file is shorter than it should be.
    (kept.parent / "b").mkdir()
    (kept.parent / "b" / "two.txt").write_bytes(b"tw")
    unpack_all(path, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES
    assert (tmp_path / "out" / "a" / "one.txt").stat().st_mtime == 1
    path.unlink()
    unpack_all(path, tmp_path / "out")


def test_a_file_of_the_right_size_and_wrong_bytes_is_written_again(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "archive", FILES)
    partial = tmp_path / ".out-456789abcdef.partial" / "a"
    partial.mkdir(parents=True)
    (partial / "one.txt").write_bytes(b"\0" * len(FILES["a/one.txt"]))
    unpack_all(path, tmp_path / "out")
    assert contents(tmp_path / "out") == FILES


def test_another_archive_replaces_what_was_unpacked(tmp_path: Path) -> None:
    unpack_all(write_zip(tmp_path / "archive", FILES), tmp_path / "out", "sha256:first")
    unpack_all(write_zip(tmp_path / "archive", {"new.txt": b"new"}), tmp_path / "out", "sha256:second")
    assert contents(tmp_path / "out") == {"new.txt": b"new"}
