"""The project installs from its lock file, says so truthfully, and ships what it needs and nothing else."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
LOCKED = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text())  # a package, and a line for each hash
LOCK = [Requirement(entry.split(" \\\n")[0]) for entry in LOCKED]

PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
}


def environment(python: str, platform: str) -> dict[str, str]:
    versions = {"python_version": python, "python_full_version": f"{python}.9"}
    return {**default_environment(), **PLATFORMS[platform], **versions}


def pins(env: dict[str, str]) -> dict[str, str]:
    """Version of each package that the lock installs in an environment."""
    chosen = [entry for entry in LOCK if entry.marker is None or entry.marker.evaluate(env)]
    names = [canonicalize_name(entry.name) for entry in chosen]
    assert len(names) == len(set(names)), "the lock pins a package twice"
    return {name: str(entry.specifier).removeprefix("==") for name, entry in zip(names, chosen, strict=True)}


ON_REQUEST = {"vgg16-wheel"}
"""Extras that the usual set-up leaves out, and the lock with it."""


def test_all_extras_are_in_all_but_those_on_request() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == set(extras) - {"all"} - ON_REQUEST
    for name in ON_REQUEST:
        asked = {canonicalize_name(Requirement(line).name) for line in extras[name]}
        assert asked - {canonicalize_name(entry.name) for entry in LOCK}  # what it is for, the lock lacks


def project_requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + [
        line for name, extra in extras.items() if name not in ON_REQUEST for line in extra
    ]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != PROJECT["name"]]


def dependencies(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """What an installed package asks for in this environment."""
    for line in importlib.metadata.requires(name) or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement


def reached(cut_below_torch: set[str]) -> set[str]:
    """Every package that the project needs here, directly or not; each must be pinned to a version that serves."""
    pinned = pins({**default_environment()})
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [("the project", requirement) for requirement in project_requirements()]
    while todo:
        asker, requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        is_other_opencv = asker == "grad-cam" and name == "opencv-python"
        if is_other_opencv or (asker == "torch" and name in cut_below_torch):
            continue
        assert name in pinned, f"{asker} needs {name}, which the lock does not pin"
        assert requirement.specifier.contains(pinned[name], prereleases=True), f"{asker} needs {requirement}"
        if (name, extras) not in seen:
            seen.add((name, extras))
            todo += [(name, dependency) for dependency in dependencies(name, extras)]
    return {name for name, _ in seen}


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run make as from a fresh shell, whatever the make that runs these tests was given."""
    inherited = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "TORCH", "PYTHON", "CORES", "VENV"}
    shell = {name: value for name, value in os.environ.items() if name not in inherited}
    return subprocess.run(["make", *arguments], cwd=folder, env=shell, capture_output=True, text=True, check=False)


def fake_python(folder: Path, pip_exit_code: int) -> Path:
    """An interpreter that passes the checks, makes an environment, and whose pip ends with ``pip_exit_code``."""
    python = folder / "python"
    inner = f"#!/bin/sh\\necho Collecting something\\nexit {pip_exit_code}\\n"
    python.write_text(
        f'#!/bin/sh\nif [ "$2" = venv ]; then mkdir -p "$4/bin"; printf "{inner}" > "$4/bin/python"; '
        'chmod +x "$4/bin/python"; fi\n'
    )
    python.chmod(0o755)
    return python


# The lock file


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_lock_satisfies_pyproject(python: str, platform: str) -> None:
    pinned = pins(environment(python, platform))
    for requirement in project_requirements():
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not locked for Python {python} on {platform}"
        assert requirement.specifier.contains(version), f"{requirement} is locked to {version}"


def test_lock_pins_exact_versions() -> None:
    for entry in LOCK:
        assert re.fullmatch(r"==[^,*]+", str(entry.specifier)), f"{entry} is not pinned"


def test_lock_is_complete_and_holds_nothing_else() -> None:
    cuda = {name for name in pins({**default_environment()}) if re.match(r"(nvidia|cuda|triton)\b", name)}
    # A CPU-only torch does not ask for the CUDA libraries, so whether they are reached depends on the environment.
    assert reached(cut_below_torch=set()) | cuda == set(pins({**default_environment()})) | cuda


def test_lock_keeps_one_opencv() -> None:
    assert [entry.name for entry in LOCK if "opencv" in entry.name] == ["opencv-python-headless"]


def test_cpu_filter_removes_cuda_and_nothing_else(tmp_path: Path) -> None:
    commands = make("-n", "setup", "TORCH=cpu", f"VENV={tmp_path}").stdout
    (filtering,) = re.findall(r"^awk .*?requirements-cpu.txt$", commands, re.MULTILINE | re.DOTALL)
    (installing,) = [line for line in commands.splitlines() if '/uv" pip install' in line]
    subprocess.run(["bash", "-c", filtering], cwd=ROOT, check=True)
    kept_file = tmp_path / "requirements-cpu.txt"
    entries = re.split(r"\n(?=\S)", kept_file.read_text().rstrip())
    names = [canonicalize_name(Requirement(entry.split(" \\\n")[0]).name) for entry in entries]
    kept = set(names)
    # The builds of torch without CUDA are other files than those whose hashes are locked.
    bare = [name for name, entry in zip(names, entries, strict=True) if "--hash" not in entry]
    assert sorted(bare) == ["torch", "torchvision"]
    here = set(pins({**default_environment()}))

    assert "--torch-backend cpu --no-deps" in installing
    assert str(kept_file) in installing
    assert {"torch", "torchvision"} <= kept
    removed = {canonicalize_name(entry.name) for entry in LOCK} - kept
    assert len(removed) > 10
    # Without torch's own wish for them nothing asks for the removed packages, and all that is kept is needed.
    assert reached(cut_below_torch=removed) == kept & here


# Make


def test_help_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    listed = re.findall(r"^  make (\S+) +\S.*$", make().stdout, re.MULTILINE)
    assert sorted(listed) == sorted(phony[1].split())
    assert {"setup", "reproduce", "test"} <= set(listed)


def test_unknown_torch_build_is_refused() -> None:
    result = make("setup", "TORCH=gpu")
    assert result.returncode == 2
    assert "TORCH=gpu is unknown: choose default or cpu" in result.stderr


def test_unusable_python_is_refused(tmp_path: Path) -> None:
    result = make("setup", "PYTHON=/bin/false", f"VENV={tmp_path / 'venv'}")
    assert result.returncode == 2
    assert "error: /bin/false is not Python 3.11, 3.12 or 3.13" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("missing", ["ensurepip", "venv"])
def test_a_python_that_can_make_no_environment_is_refused(tmp_path: Path, missing: str) -> None:
    python = tmp_path / "python"
    hide = f"import sys; sys.modules['{missing}'] = None; exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{hide}" "$2"\n')
    python.chmod(0o755)
    result = make("setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}")
    assert result.returncode == 2
    assert f"error: {python} is not Python 3.11, 3.12 or 3.13 with the modules venv and ensurepip" in result.stderr
    assert "on Debian and Ubuntu with its -venv package" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "venv").exists()


def test_both_commands_work_in_a_folder_with_a_space_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "my papers"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "package-lock.json"):
        shutil.copyfile(ROOT / name, folder / name)
    done = make("setup", "TORCH=default", f"PYTHON={fake_python(tmp_path, 0)}", folder=folder)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (folder / ".venv").glob(".*")} == {".locked-default", ".ready-default"}
    tools = ("snakemake", "ruff", "mypy", "pytest")
    for name in tools:
        tool = folder / ".venv" / "bin" / name
        tool.write_text(f'#!/bin/sh\necho "{name} in $PWD"\n')
        tool.chmod(0o755)
    told = "".join(make(target, folder=folder).stdout for target in ("reproduce", "test"))
    assert [f"{name} in {folder}\n" in told for name in tools] == [True] * len(tools)


@pytest.mark.parametrize("rules", ["Snakefile", "workflow/matrix.smk"])
def test_rules_quote_the_paths_in_their_commands(rules: str) -> None:
    named = re.findall(r"\{(PYTHON|WORK|TORCH_HOME|input|output|[A-Z]*RESULTS)([^}]*)\}", (ROOT / rules).read_text())
    used = [(name, rest) for name, rest in named if rest in ("", ":q")]
    assert any(rest == ":q" for _, rest in used)
    messages = re.findall(r'f"another run works in \{WORK\}', (ROOT / rules).read_text())
    assert [rest for _, rest in used].count("") == len(messages)


@pytest.mark.parametrize("torch", ["default", "cpu"])
def test_failed_setup_leaves_no_stamp(tmp_path: Path, torch: str) -> None:
    venv = tmp_path / "venv"
    result = make("setup", f"TORCH={torch}", f"PYTHON={fake_python(tmp_path, 1)}", f"VENV={venv}")
    assert result.returncode == 2
    assert (venv / "bin/python").exists()
    assert not list(venv.glob(".locked-*")) + list(venv.glob(".ready-*"))


def test_second_setup_does_nothing(tmp_path: Path) -> None:
    arguments = ("setup", f"PYTHON={fake_python(tmp_path, 0)}", f"VENV={tmp_path / 'venv'}")
    first, second = make(*arguments), make(*arguments)
    assert first.returncode == second.returncode == 0, first.stderr
    assert "locked packages" in first.stdout
    assert "Nothing to be done" in second.stdout


def test_environment_remembers_its_torch_build(tmp_path: Path) -> None:
    for stamp in (".locked-cpu", ".ready-cpu"):
        (tmp_path / stamp).touch()
    assert "Nothing to be done" in make("-n", "setup", f"VENV={tmp_path}").stdout
    assert "-m venv --clear" in make("-n", "setup", "TORCH=default", f"VENV={tmp_path}").stdout


def test_changed_lock_makes_a_new_environment(tmp_path: Path) -> None:
    for stamp in (".locked-default", ".ready-default"):
        (tmp_path / stamp).touch()
    fresh = make("-n", "setup", f"VENV={tmp_path}", "--what-if=requirements.lock").stdout
    edited = make("-n", "setup", f"VENV={tmp_path}", "--what-if=pyproject.toml").stdout
    assert "-m venv --clear" in fresh
    assert "-m venv" not in edited
    assert "--editable ." in edited


# What is shipped


def test_wheel_carries_every_module_and_data_file(tmp_path: Path) -> None:
    for name in ("sigcam_core", "data_scripts", "companion", "results", "book"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    wanted = {
        str(path.relative_to(tmp_path))
        for package in ("sigcam_core", "data_scripts")
        for path in (tmp_path / package).rglob("*")
        if path.is_file()
    }
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", "wheel", "."]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    assert {"sigcam_core/__init__.py", "sigcam_core/py.typed"} <= wanted
    assert any(name.endswith(".safetensors") for name in wanted), "the head that ships is missing"
    assert wanted <= carried, f"left out of the wheel: {sorted(wanted - carried)}"
    assert {name.split("/")[0].split("-")[0] for name in carried} == {"sigcam_core", "data_scripts", "sigcam"}
    assert not [name for name in carried if name.endswith((".html", ".ipynb"))]


def test_tracked_files_are_small() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = [ROOT / name for name in listing.split("\0") if name]
    assert tracked
    assert [path.name for path in tracked if path.exists() and path.stat().st_size > 5e6] == []


def test_notebooks_are_the_readme_s_and_carry_no_outputs() -> None:
    table = re.findall(r"^\|(.*)\|.*\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    told = {name for row in table for name in re.findall(r"`(\d\d_\w+)`", row)}
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert {path.stem for path in notebooks} == told
    for path in notebooks:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs"), f"{path.name} carries outputs"
            assert cell.get("execution_count") is None, f"{path.name} carries execution counts"


# What is told


def test_licence_and_citation() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert licence.startswith("MIT License")
    assert PROJECT["license"] == "MIT"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == "MIT"
    assert citation["version"] == PROJECT["version"]
    assert {"message", "title", "authors"} <= citation.keys()
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Oh", "Noh"]
    assert paper["identifiers"][0]["value"] == "arXiv:2511.05590"


def test_conda_and_binder_environments() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    # pip refuses options such as --no-deps in such a list, and beside hashes a package without, as this one is.
    assert conda == ["python=3.11", "pip", {"pip": ["-r requirements.lock"]}]
    assert "python=3.11" in yaml.safe_load((ROOT / "binder/environment.yml").read_text())["dependencies"]
    assert os.access(ROOT / "binder/postBuild", os.X_OK)
    assert os.access(ROOT / ".ci/run", os.X_OK)


@pytest.mark.parametrize("name", ["tests", "book", "weekly"])
def test_workflows_ask_for_little(name: str) -> None:
    workflow = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert any("make " in step.get("run", "") for step in steps)
    for step in steps:
        # A tag can be moved to other code, a commit cannot.
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step.get("uses", f"actions/none@{40 * '0'}"))


def test_workflows_pass_an_audit() -> None:
    command = [shutil.which("zizmor") or "zizmor", "--offline", "--no-progress", ".github/workflows"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_locked_package_has_its_hashes() -> None:
    assert len(LOCK) > 200
    for entry in LOCKED:
        name, *hashes = entry.rstrip().split(" \\\n")
        assert hashes, name
        assert all(re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}", line) for line in hashes), name
