"""A finished run as a Workflow Run RO-Crate: ``python workflow/run_crate.py --work-dir build``.

The crate is a zip of the workflow, of the code and the committed numbers that its steps read, and of what they made:
manifests, weights, evidence, executed notebooks and values. ``ro-crate-metadata.json`` in it names each file with its
checksum, and each step with its command, parameters, times, inputs and results, in the words of the Provenance Run
Crate, which is a Workflow Run Crate and a Process Run Crate too (https://w3id.org/ro/wfrun). Images and the book, which
is made of the notebooks alone, are left out.
"""

from __future__ import annotations

import importlib.metadata
import mimetypes
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from companion.matrix import PROFILES, USUAL, profile_of
from run_records import Step, finished_steps
from sigcam_core.common.errors import CommandLine, fail, run_command_line
from sigcam_core.common.files import atomic_path, read_json, sha256_of_file

PROJECT = Path(__file__).resolve().parent.parent
NAME = "run-crate.zip"
"""Path of the crate, below the work dir."""
VERSION = "1.1"  # of RO-Crate, the one that the profiles of runs build on
PROFILES_OF_RUNS = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
TERMS = {name: f"https://w3id.org/ro/terms/workflow-run#{name}" for name in ("sha256", "environment")}
"""Words of the profiles that RO-Crate itself does not have."""
ALWAYS = ("Snakefile", "workflow/matrix.smk", "pyproject.toml", "requirements.lock", "LICENSE", "CITATION.cff")
"""Files of the project that are in every crate, where there are such."""
SUMMARY = "summary"


def write_crate(work_dir: Path, profile: str = USUAL, project: Path = PROJECT, folder: Path = Path()) -> Path:
    """Write the crate of a finished run; returns its path.

    Args:
        work_dir: of the run.
        profile: of the matrix, that was run.
        project: with the workflow, its code and ``CITATION.cff``.
        folder: in which Snakemake was started.

    Raises:
        SigcamError: if the run is not finished, or its files are not those that its steps read.
    """
    work_dir, project = work_dir.resolve(), project.resolve()
    steps = [_without_places(step, work_dir, project) for step in finished_steps(folder.resolve(), work_dir)]
    crate = ROCrate(version=VERSION)
    crate.metadata.extra_contexts.append(TERMS)
    _describe(crate, project, profile, steps)
    files = _add_files(crate, work_dir, project, steps)
    workflow = _add_workflow(crate, files, steps)
    _add_run(crate, workflow, files, steps, profile)
    with atomic_path(work_dir / NAME) as temporary:
        crate.write_zip(temporary)
    return work_dir / NAME


def _entity(crate: ROCrate, identifier: str, kind: str | list[str], **properties: Any) -> ContextEntity:
    return crate.add(ContextEntity(crate, identifier, {"@type": kind, **properties}))


def _describe(crate: ROCrate, project: Path, profile: str, steps: Sequence[Step]) -> None:
    """Describe the crate as a whole: authors, licence and profiles, from ``CITATION.cff``."""
    citation = yaml.safe_load((project / "CITATION.cff").read_text(encoding="utf-8"))
    crate.name = f"{citation['title']}: a run of profile {profile}"
    crate.description = f"A run of the workflow: {profile_of(profile).about}. Images and the book are not in the crate."
    crate.datePublished = steps[-1].ended
    crate.keywords = citation["keywords"]
    spdx = f"https://spdx.org/licenses/{citation['license']}"
    crate.license = _entity(crate, spdx, "CreativeWork", name=citation["license"], url=spdx)
    crate.root_dataset["author"] = [_author(crate, author) for author in citation["authors"]]
    works = (_cited(crate, work) for work in citation.get("references", []))
    crate.root_dataset["citation"] = list(works)
    crate.root_dataset["conformsTo"] = [
        _entity(crate, address, "CreativeWork", name=name, version=address.rpartition("/")[2])
        for address, name in PROFILES_OF_RUNS.items()
    ]


def _author(crate: ROCrate, author: dict[str, str]) -> ContextEntity:
    """Add a person, or a group where only one whole name is given."""
    if "family-names" not in author:
        return _entity(crate, "#authors", "Organization", name=author["name"])
    name = f"{author.get('given-names', '')} {author['family-names']}".strip()
    return _entity(crate, author.get("orcid", f"#{name.replace(' ', '-')}"), "Person", name=name)


def _cited(crate: ROCrate, work: dict[str, Any]) -> ContextEntity:
    article = _entity(crate, work["url"], "ScholarlyArticle", name=work["title"], datePublished=str(work["year"]))
    article["author"] = [_author(crate, author) for author in work["authors"]]
    return article


def _add_files(crate: ROCrate, work_dir: Path, project: Path, steps: Sequence[Step]) -> dict[Path, Any]:
    """Every file of the run but for the book, each with its size and checksum; gives their entities by path."""
    made = {path: step for step in steps for path in step.outputs}
    paths = {path for step in steps for path in (*step.inputs, *step.outputs)}
    paths |= set((work_dir / SUMMARY).rglob("*")) | {project / name for name in ALWAYS}
    files = {}
    for path in sorted(path for path in paths if path.is_file() and not path.is_relative_to(work_dir / "book")):
        place = _place(path, work_dir, project)
        facts: dict[str, Any] = {
            "name": place,
            "contentSize": str(path.stat().st_size),
            "sha256": sha256_of_file(path),
            "encodingFormat": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        }
        if path in made:
            facts["dateCreated"] = made[path].ended.isoformat(timespec="seconds")
        if place == "Snakefile":
            facts["@type"] = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
            files[path] = crate.add_workflow(path, place, main=True, lang="snakemake", properties=facts)
        else:
            files[path] = crate.add_file(path, place, properties=facts)
    return files


def _place(path: Path, work_dir: Path, project: Path) -> str:
    """Where a file lies in the crate."""
    if path.is_relative_to(work_dir):
        return f"build/{path.relative_to(work_dir).as_posix()}"
    if not path.is_relative_to(project):
        fail(f"{path} lies outside the work dir and the project: run the workflow on files within them.")
    return path.relative_to(project).as_posix()


def _add_workflow(crate: ROCrate, files: dict[Path, Any], steps: Sequence[Step]) -> Any:
    """Add the workflow, the versions that it ran with, and its steps, each with the rule that it applies."""
    workflow = crate.mainEntity
    if workflow is None:
        fail("the project has no Snakefile: name the folder of the project.")
    workflow["name"] = "The pipeline"
    workflow["version"] = importlib.metadata.version("sigcam")
    workflow["softwareRequirements"] = _versions(crate, files)
    for position, step in enumerate(steps, 1):
        rule = _entity(crate, f"#rule-{position}", "SoftwareApplication", name=step.rule, version=workflow["version"])
        rule["description"] = f"Rule {step.rule} of the workflow."
        one = _entity(crate, f"#step-{position}", "HowToStep", name=step.rule, position=str(position), workExample=rule)
        workflow.append_to("hasPart", rule)
        workflow.append_to("step", one)
    return workflow


def _versions(crate: ROCrate, files: Iterable[Path]) -> list[ContextEntity]:
    """Python and the packages, as the records next to the results name them, and Snakemake."""
    found = {("Snakemake", importlib.metadata.version("snakemake"))}
    for path in (path for path in files if path.suffix == ".json"):
        record = read_json(path)
        record = record.get("provenance", record) if isinstance(record, dict) else {}
        if {"python", "versions"} <= set(record):
            found |= {("Python", record["python"]), *record["versions"].items()}
    return [
        _entity(crate, f"#{name}-{version}", "SoftwareApplication", name=name, version=version)
        for name, version in sorted(found)
    ]


def _add_run(crate: ROCrate, workflow: Any, files: dict[Path, Any], steps: Sequence[Step], profile: str) -> None:
    """Add what happened: the run as a whole, each step of it, and Snakemake, which ran them."""
    times = {"startTime": min(step.started for step in steps), "endTime": max(step.ended for step in steps)}
    agent = crate.root_dataset["author"]
    made = {path for step in steps for path in step.outputs}
    controls = []
    for position, step in enumerate(steps, 1):
        action = _action(crate, f"#action-{position}", f"#rule-{position}", step.rule, step.started, step.ended)
        action["object"] = [files[path] for path in step.inputs if path in files]
        action["object"] += _parameters(crate, position, step)
        action["result"] = [files[path] for path in step.outputs if path in files]
        action["agent"] = agent
        action["environment"] = _environment(crate, position, step)
        action["description"] = step.command
        control = _entity(crate, f"#control-{position}", "ControlAction", name=f"control of {step.rule}")
        control["instrument"], control["object"] = crate.get(f"#step-{position}"), action
        controls.append(control)
    run = _action(crate, "#run", workflow.id, f"run of profile {profile}", times["startTime"], times["endTime"])
    chosen = crate.add_formal_parameter("profile", "Text", "#profile", "the part of the table of runs that is made")
    value = _entity(crate, "#profile-value", "PropertyValue", name="profile", value=profile, exampleOfWork=chosen)
    chosen["workExample"] = value
    workflow["input"] = [chosen]
    run["object"] = [value, *(entity for path, entity in files.items() if path not in made and entity is not workflow)]
    run["result"] = [entity for path, entity in files.items() if path in made or SUMMARY in Path(entity.id).parts]
    run["agent"] = agent
    run["description"] = crate.description
    crate.root_dataset["mentions"] = [run, *(control["object"] for control in controls)]
    engine = next(one for one in workflow["softwareRequirements"] if one["name"] == "Snakemake")
    organised = _entity(crate, "#organised", "OrganizeAction", name=f"Snakemake {engine['version']}")
    organised["instrument"], organised["object"], organised["result"] = engine, controls, run
    organised["agent"] = agent
    for name, time in times.items():
        run[name] = organised[name] = time.isoformat(timespec="seconds")


def _action(
    crate: ROCrate, identifier: str, instrument: str, name: str, started: datetime, ended: datetime
) -> ContextEntity:
    action = _entity(crate, identifier, "CreateAction", name=name, instrument=crate.get(instrument))
    for name, time in (("startTime", started), ("endTime", ended)):
        action[name] = time.isoformat(timespec="seconds")
    action["actionStatus"] = "http://schema.org/CompletedActionStatus"
    return action


def _without_places(step: Step, work_dir: Path, project: Path) -> Step:
    """Name files in a step's command as the crate does, since their folders are particular to the machine."""
    command = step.command.replace(sys.executable, "python").replace(str(work_dir), "build")
    return replace(step, command=command.replace(f"{project}/", ""))


def _words(step: Step) -> list[str]:
    try:
        return shlex.split(step.command)
    except ValueError:  # no plain command
        return []


def _parameters(crate: ROCrate, position: int, step: Step) -> list[ContextEntity]:
    """List the options of a step's command: ``--name value`` of a program, ``-p`` or ``-r`` of a notebook."""
    words = _words(step)
    found = dict[str, str]()
    for place, word in enumerate(words):
        rest = words[place + 1 : place + 3]
        if word in ("-p", "-r") and len(rest) == 2:
            found[rest[0]] = rest[1]
        elif word.startswith("--"):
            found[word[2:]] = rest[0] if rest and not rest[0].startswith("-") else "true"
    return [
        _entity(crate, f"#parameter-{position}-{name}", "PropertyValue", name=name, value=value)
        for name, value in found.items()
    ]


def _environment(crate: ROCrate, position: int, step: Step) -> list[ContextEntity]:
    """List the variables that a step's command sets for its program."""
    pairs = []
    for word in _words(step):
        name, sign, value = word.partition("=")
        if not (sign and name.replace("_", "").isupper()):
            break
        pairs.append((name, value))
    return [
        _entity(crate, f"#variable-{position}-{name}", "PropertyValue", name=name, value=value) for name, value in pairs
    ]


def main() -> None:
    """Write the crate, and say where it is."""
    parser = CommandLine(description=main.__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("build"))
    parser.add_argument("--profile", default=USUAL, choices=PROFILES)
    options = parser.parse_args()
    print(write_crate(options.work_dir, options.profile))


if __name__ == "__main__":
    run_command_line(main)
