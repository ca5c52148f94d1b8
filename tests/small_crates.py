"""A workflow of three steps that Snakemake runs in seconds, and the validator of crates without a network."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import requests
from rocrate_validator import services
from rocrate_validator.utils.http import HttpRequester

PROJECT = Path(__file__).parent.parent
CONTEXT = Path(__file__).parent / "golden" / "ro-crate-1.1-context.jsonld"
"""The words of RO-Crate 1.1 (CC0), as https://w3id.org/ro/crate/1.1/context gives them."""
SNAKEFILE = """\
rule all:
    input: "build/book/_build/html/index.html"

rule manifest:
    input: "data_scripts/made_up.py"
    output: "build/data/shapes/manifest.parquet", "build/data/shapes/manifest.json"
    shell: "cp {input} {output[0]}; cp provenance.json {output[1]}"

rule classifier:
    input: rules.manifest.output
    output: "build/checkpoints/one.classifier.safetensors"
    params: options=f"--on-the-fly --seed 3 --root {workflow.basedir}/build --on {workflow.basedir}/Snakefile"
    shell: "OMP_NUM_THREADS=2 echo {params.options} > {output}"

rule book:
    input: rules.classifier.output
    output: "build/book/_build/html/index.html"
    shell: "mkdir -p build/summary; echo {{}} > build/summary/table1.json; cp {input} {output}"

rule elsewhere:
    output: "build/data/other.txt"
    shell: "touch {output}"
"""
PROVENANCE = {"python": "3.11.7", "versions": {"torch": "2.12.1", "numpy": "2.0.0"}}


def make_project(folder: Path) -> Path:
    """A project with a workflow that has not been run; gives its folder."""
    (folder / "data_scripts").mkdir(parents=True)
    (folder / "data_scripts" / "made_up.py").write_text("# made up\n")
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "provenance.json").write_text(json.dumps(PROVENANCE))
    shutil.copy(PROJECT / "CITATION.cff", folder)
    return folder


def run_project(folder: Path, *targets: str) -> None:
    """Run its workflow."""
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "1", "--directory", str(folder)]
    snakemake += ["--snakefile", str(folder / "Snakefile"), *targets]
    subprocess.run(snakemake, capture_output=True, check=True)


def issues_of(crate: Path, profile: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the validator holds against a crate, as one of a profile of its own list."""

    def get(requester: HttpRequester, address: str, **options: Any) -> requests.Response:
        assert address == "https://w3id.org/ro/crate/1.1/context", f"{address} is asked for"
        response = requests.Response()
        response.status_code, response._content = 200, CONTEXT.read_bytes()
        response.headers["Content-Type"] = "application/ld+json"
        return response

    monkeypatch.setattr(HttpRequester, "get", get, raising=False)
    settings = services.ValidationSettings(
        rocrate_uri=str(crate), profile_identifier=profile, skip_availability_check=True, no_cache=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the validator calls what rdflib will remove
        result = services.validate(settings)
    return [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]
