"""The table of experiments: what is committed was measured by its lines, and reading it takes no network library."""

import subprocess
import sys
from dataclasses import asdict

import pytest

from companion.experiments import CHECKS, CROSSED, EXPERIMENTS, MEASUREMENTS, OTHERS, TABLE, Experiment
from companion.show.results import MEASURED
from sigcam_core.common.files import read_json
from sigcam_core.train.origins import ORIGINS

COMMITTED = sorted(name for name in EXPERIMENTS if (MEASURED / name / "record.json").exists())


def test_names_are_told_apart() -> None:
    assert len(EXPERIMENTS) == len(TABLE)
    assert set(MEASUREMENTS) == {*EXPERIMENTS, *CROSSED, *CHECKS, *OTHERS}
    assert {one.origin for one in TABLE} <= set(ORIGINS)


@pytest.mark.parametrize("name", COMMITTED)
def test_what_is_committed_was_measured_by_the_line_of_its_name(name: str) -> None:
    line = asdict(EXPERIMENTS[name])
    recorded = read_json(MEASURED / name / "record.json")["experiment"]
    for field in ("dataset", "backbone", "origin", "epochs", "shipped_as"):
        assert recorded[field] == line[field]
    assert tuple(recorded["seeds"]) == line["seeds"]
    assert (MEASURED / name / "freezing.csv").exists() == ("freezing" in line["controls"])


def test_everything_in_the_folder_of_what_was_measured_has_a_line() -> None:
    folders = {path.name for path in MEASURED.iterdir() if path.is_dir()}
    assert folders <= {*MEASUREMENTS, "architectures", "benchmarks", "faults", "growth"}
    assert COMMITTED


def test_an_experiment_is_called_by_what_it_is_of() -> None:
    assert Experiment("cub", "vgg16", "finetune").name == "cub-vgg16-finetune"


def test_the_table_is_read_without_torch() -> None:
    code = "import sys, companion.experiments; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
