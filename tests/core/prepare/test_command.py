"""The first station as a command: found from everywhere, heard of, and refusing in one sentence."""

from pathlib import Path

import pytest

from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.command import run_first_station
from sigcam_core.prepare.manifest import read_manifest


@pytest.fixture
def decoy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a package of the same name, which the search path names as well."""
    (tmp_path / "data_scripts.py").write_text("raise SystemExit('the wrong package')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_package_beside_this_one_is_run_from_any_folder(decoy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_first_station(["photos", "--root", "data"])
    assert len(read_manifest(decoy / "data" / "photos" / "manifest.parquet")) == 7
    printed = capfd.readouterr()
    assert "photos: 1000 classes" in printed.err
    assert printed.out == ""


def test_a_data_set_made_from_archives_is_not_made_by_itself(tmp_path: Path) -> None:
    with pytest.raises(
        SigcamError, match=r"cub/manifest\.parquet does not exist: run `python -m data_scripts cub --root"
    ):
        run_first_station(["cub", "--root", str(tmp_path / "data"), "--generated-only"])
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_breaks_ends_in_what_broke_it(decoy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (decoy / "skimage.py").write_text("raise RuntimeError('out of order')")
    with pytest.raises(SigcamError, match="RuntimeError: out of order"):
        run_first_station(["photos", "--root", "data"])
    assert "Traceback" in capfd.readouterr().err
    assert not (decoy / "data").exists()
