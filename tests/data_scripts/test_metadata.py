"""The pinned text files are read from a folder of archives or downloaded, and never taken altered."""

from pathlib import Path

import pytest
from small_archives import pin_metadata

from data_scripts import archive, metadata
from data_scripts.metadata import pinned, read_metadata
from sigcam_core.common.errors import SigcamError


@pytest.fixture(autouse=True)
def _no_archives_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGCAM_DATA", raising=False)


def test_every_file_is_pinned_to_a_commit_and_a_checksum() -> None:
    pins = pinned()
    assert len(pins) == 40
    pin = pins["metadata/CARS/train/localization.txt"]
    assert pin.url == (
        "https://raw.githubusercontent.com/finallyupper/beyond-softmax/0a614003e1dab7b08c2cdfc155e5ee9efd2f8368/"
        "metadata/CARS/train/localization.txt"
    )
    assert pin.checksum == "sha256:cfd709785e870358d75a37b4632fa2827d1b1e276293a082ba760c0152a6e088"
    assert all(len(str(pin.checksum)) == 71 for pin in pins.values())


def test_lines_are_read_from_either_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin_metadata(monkeypatch, tmp_path, {"metadata/CUB/test/localization.txt": b"a.jpg,1,2,3,4\nb.jpg,5,6,7,8\n"})
    expected = [["a.jpg", "1", "2", "3", "4"], ["b.jpg", "5", "6", "7", "8"]]
    assert read_metadata("CUB/test", "localization", [tmp_path]) == expected
    (tmp_path / "metadata/CUB/test/localization.txt").rename(tmp_path / "boxes.txt")
    assert read_metadata("CUB/test", "localization", [tmp_path], other_names=("boxes.txt",)) == expected


def test_an_altered_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin_metadata(monkeypatch, tmp_path, {"metadata/CUB/test/localization.txt": b"a.jpg,1,2,3,4\n"})
    (tmp_path / "metadata/CUB/test/localization.txt").write_bytes(b"a.jpg,1,2,3,5\n")
    with pytest.raises(SigcamError, match=r"is not the published metadata/CUB/test/localization\.txt .*: delete it"):
        read_metadata("CUB/test", "localization", [tmp_path])


def test_a_missing_file_is_downloaded_where_it_will_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(url: str, path: Path, checksum: str, advice: str) -> Path:
        asked.append((url, checksum))
        path.parent.mkdir(parents=True)
        path.write_bytes(b"a.jpg,0\n")
        return path

    monkeypatch.setattr(archive, "download", fake)
    assert read_metadata("CUB/test", "class_labels", [tmp_path / "own", tmp_path / "archives"]) == [["a.jpg", "0"]]
    pin = metadata.pinned()["metadata/CUB/test/class_labels.txt"]
    assert asked == [(pin.url, pin.checksum)]
    assert (tmp_path / "archives/metadata/CUB/test/class_labels.txt").is_file()
