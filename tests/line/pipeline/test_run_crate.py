"""A finished run as an RO-Crate: what is in it, what a validator says of it, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_crates import PROJECT, PROVENANCE, issues_of, make_project, run_project

from run_crate import write_crate
from sigcam_core.common.errors import SigcamError


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose run is finished; another file was made beside it."""
    project = make_project(tmp_path_factory.mktemp("crates") / "project")
    run_project(project, "elsewhere")
    run_project(project)
    return project


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return Path(shutil.copytree(finished, tmp_path / "project", ignore=shutil.ignore_patterns("run-crate.zip")))


def crate_of(project: Path) -> Path:
    return write_crate(project / "build", "quick", project, project)


@pytest.fixture(scope="module")
def crate(finished: Path) -> Path:
    return crate_of(finished)


@pytest.fixture(scope="module")
def entities(crate: Path) -> dict[str, dict[str, Any]]:
    with zipfile.ZipFile(crate) as packed:
        graph = json.loads(packed.read("ro-crate-metadata.json"))["@graph"]
    return {entity["@id"]: entity for entity in graph}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def named(entities: dict[str, dict[str, Any]], value: Any) -> list[str]:
    return [entities[one["@id"]].get("name", one["@id"]) for one in listed(value)]


def test_a_validator_accepts_the_crate(crate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its checks include those of the Workflow Run Crate, the Process Run Crate and RO-Crate itself.
    assert issues_of(crate, "provenance-run-crate", monkeypatch) == []


def test_a_validator_refuses_a_crate_without_its_steps(
    crate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(crate) as packed:
        packed.extractall(tmp_path / "spoilt")
    described = tmp_path / "spoilt" / "ro-crate-metadata.json"
    metadata = json.loads(described.read_text())
    for entity in metadata["@graph"]:
        if entity["@id"].startswith("#action-"):
            del entity["instrument"]
    described.write_text(json.dumps(metadata))
    assert any("instrument" in issue for issue in issues_of(tmp_path / "spoilt", "provenance-run-crate", monkeypatch))


def test_every_file_of_the_crate_is_listed_with_its_checksum(crate: Path, entities: dict[str, dict[str, Any]]) -> None:
    with zipfile.ZipFile(crate) as packed:
        files = {name: packed.read(name) for name in packed.namelist() if name != "ro-crate-metadata.json"}
    assert set(files) == {
        "CITATION.cff",
        "Snakefile",
        "build/checkpoints/one.classifier.safetensors",
        "build/data/shapes/manifest.json",
        "build/data/shapes/manifest.parquet",
        "build/summary/table1.json",
        "data_scripts/made_up.py",
    }
    for name, content in files.items():
        assert entities[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert int(entities[name]["contentSize"]) == len(content)


def test_steps_have_their_parameters_files_and_times(entities: dict[str, dict[str, Any]]) -> None:
    steps = named(entities, entities["Snakefile"]["step"])
    assert steps == ["manifest", "classifier", "book"], "and not what was made beside the run"
    training = entities["#action-2"]
    given = {entity["name"]: entity["value"] for key, entity in entities.items() if key.startswith("#parameter-2-")}
    assert given == {"seed": "3", "on-the-fly": "true", "root": "build", "on": "Snakefile"}
    assert training["description"].endswith(
        "--root build --on Snakefile > build/checkpoints/one.classifier.safetensors"
    )
    assert named(entities, training["environment"]) == ["OMP_NUM_THREADS"]
    read = named(entities, training["object"])
    assert {"build/data/shapes/manifest.parquet", "build/data/shapes/manifest.json"} < set(read)
    assert named(entities, training["result"]) == ["build/checkpoints/one.classifier.safetensors"]
    times = [datetime.fromisoformat(entities[f"#action-{step}"][key]) for step in (1, 2, 3) for key in ("startTime",)]
    assert times == sorted(times)
    assert entities["#run"]["startTime"] == entities["#action-1"]["startTime"]
    assert entities["#run"]["endTime"] == entities["#action-3"]["endTime"]


def test_people_licence_and_versions_are_those_that_files_name(entities: dict[str, dict[str, Any]]) -> None:
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    root = entities["./"]
    assert named(entities, root["author"]) == [author["name"] for author in citation["authors"]]
    assert root["license"]["@id"].endswith(f"/{citation['license']}")
    assert entities["#profile-value"]["value"] == "quick"
    needed = {
        entities[one["@id"]]["name"]: entities[one["@id"]]["version"]
        for one in entities["Snakefile"]["softwareRequirements"]
    }
    assert needed.items() >= {"Python": PROVENANCE["python"], **PROVENANCE["versions"]}.items()  # type: ignore[dict-item]


def test_a_crate_of_the_same_run_says_the_same(finished: Path, entities: dict[str, dict[str, Any]]) -> None:
    with zipfile.ZipFile(crate_of(finished)) as packed:
        again = {entity["@id"]: entity for entity in json.loads(packed.read("ro-crate-metadata.json"))["@graph"]}
    assert again == entities


def spoil_page(project: Path) -> None:
    (project / "build" / "book" / "_build" / "html" / "index.html").unlink()


def spoil_records(project: Path) -> None:
    shutil.rmtree(project / ".snakemake")


def spoil_weights(project: Path) -> None:
    (project / "build" / "checkpoints" / "one.classifier.safetensors").write_text("other")


def spoil_code(project: Path) -> None:
    (project / "data_scripts" / "made_up.py").unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (spoil_page, r"no finished run in .*build: run `make reproduce`, of the same profile, first\.$"),
        (spoil_records, r"no finished run in .*build: run `make reproduce`, of the same profile, first\.$"),
        (spoil_weights, r"one\.classifier\.safetensors was changed after step book read it: run `make reproduce`"),
        (spoil_code, r"made_up\.py is gone, a file of step manifest: run `make reproduce`"),
    ],
)
def test_what_is_no_finished_run_gets_one_sentence(spoil: Any, sentence: str, project: Path) -> None:
    spoil(project)
    with pytest.raises(SigcamError, match=sentence):
        crate_of(project)
    assert not (project / "build" / "run-crate.zip").exists()


def command(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(PROJECT / "workflow" / name), "--work-dir", str(folder / "build")]
    return subprocess.run(script, cwd=folder, capture_output=True, text=True, check=False)


def test_the_command_says_how_many_steps_there_were(finished: Path) -> None:
    assert command("run_records.py", finished).stdout.startswith("3 steps, from 20")


@pytest.mark.parametrize("name", ["run_crate.py", "run_records.py"])
def test_the_command_ends_with_the_sentence(name: str, tmp_path: Path) -> None:
    done = command(name, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no finished run in ")
    assert not list(tmp_path.iterdir())
