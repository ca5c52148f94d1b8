"""The workflow of each profile: which files it makes, by which rules, and what a scheduler is told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from companion.matrix import PROFILES
from dependencies import PROJECT


def dry_run(profile: str, work_dir: Path, *settings: str, cores: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile"), "--nolock"]
    command += ["--cores", str(cores)]
    options = [
        "--directory",
        str(work_dir.parent),
        "--dry-run",
        "--config",
        f"profile={profile}",
        f"work_dir={work_dir}",
        *settings,
    ]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", params=PROFILES)
def planned(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, dict[str, str]]:
    """A profile, its work dir, and what the workflow says of each of its jobs, by name of the rule or notebook."""
    work_dir = tmp_path_factory.mktemp("my papers") / "build"
    done = dry_run(request.param, work_dir)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    blocks = re.split(r"^(?:local)?rule ", done.stdout + done.stderr, flags=re.MULTILINE)[1:]
    jobs = {}
    for block in blocks:
        notebook = re.search(r"wildcards: notebook=(\w+)", block)
        jobs[notebook[1] if notebook else block.split(":")[0]] = block
    return request.param, work_dir, jobs


def outputs(jobs: dict[str, str]) -> set[Path]:
    found = re.findall(r"^    output: (.*)$", "\n".join(jobs.values()), re.MULTILINE)
    return {Path(path) for line in found for path in line.split(", ")}


def test_every_file_of_every_run_is_made(planned: tuple[str, Path, dict[str, str]]) -> None:
    profile, work_dir, jobs = planned
    made = outputs(jobs)
    for run in PROFILES[profile].runs(work_dir):
        for path in (run.manifest, run.classifier, run.sigmoid_head, run.evidence):
            assert {path, path.with_suffix(".json")} <= made
    assert work_dir / "book" / "_build" / "html" / "index.html" in made


def test_pages_of_a_profile_are_those_of_the_papers_tables(planned: tuple[str, Path, dict[str, str]]) -> None:
    profile, _, jobs = planned
    pages = sorted(name for name in jobs if name[:2].isdigit())
    if profile == "quick":
        assert pages == sorted(path.stem for path in (PROJECT / "notebooks").glob("*.ipynb"))
    else:
        assert [page[:2] for page in pages] == ["03", "04", "05"]


def test_a_page_waits_for_the_evidence_of_every_run(planned: tuple[str, Path, dict[str, str]]) -> None:
    profile, work_dir, jobs = planned
    for run in PROFILES[profile].runs(work_dir):
        assert all(str(run.evidence) in jobs[name] for name in ("03_table1_wsol", "04_table2_fidelity"))


def test_rules_of_the_matrix_tell_a_scheduler_what_they_need(planned: tuple[str, Path, dict[str, str]]) -> None:
    profile, _, jobs = planned
    rules = {name: text for name, text in jobs.items() if name not in ("all", "book") and not name[:2].isdigit()}
    if profile != "quick":
        for name, text in rules.items():
            resources = dict(re.findall(r"(\w+)=(\d+)", text.split("resources: ")[1].splitlines()[0]))
            assert int(resources["mem_mb"]) >= 2000, name
            assert int(resources["runtime"]) >= 10, name
            is_trained = name.startswith(("classifier", "sigmoid_head", "evidence"))
            assert ("gpu" in resources) == is_trained, name
    if profile == "paper":
        minutes = {name: int(re.search(r"runtime=(\d+)", text)[1]) for name, text in rules.items()}  # type: ignore[index]
        assert minutes["classifier_imagenet-vgg16-gap-finetune-paper-seed0"] > 10 * 60
        assert minutes["classifier_stanford_cars-vgg16-gap-finetune-paper-seed0"] < 60


def needs_of(told: str, kind: str, run: str) -> dict[str, int]:
    """What a scheduler is told of a job of a run."""
    (job, *_) = re.findall(rf"^rule {kind}_{re.escape(run)}:\n((?:    .*\n)*)", told, re.MULTILINE)
    threads = re.search(r"threads: (\d+)", job)
    stated = {name: int(value) for name, value in re.findall(r"(gpu|mem_mb|runtime)=(\d+)", job)}
    return stated | {"threads": int(threads[1]) if threads else 1}


def test_what_a_job_asks_for_grows_with_its_shard_and_its_devices(tmp_path: Path) -> None:
    few, many = (
        dry_run("paper", tmp_path / "build", *settings, cores=64).stdout
        for settings in (("parts=2",), ("parts=8", "devices=4"))
    )
    large, small = (f"{name}-resnet50-gap-finetune-paper-seed0" for name in ("imagenet", "cub"))
    head = "-paper-resnet50-cam"
    quarter, half = (needs_of(told, "part_of_evidence", large + head) for told in (many, few))
    assert half["runtime"] - 10 == pytest.approx(4 * (quarter["runtime"] - 10), abs=4)
    assert quarter["runtime"] > needs_of(many, "part_of_evidence", small + head)["runtime"]
    # One shard is held at a time, however many there are.
    assert quarter["mem_mb"] == half["mem_mb"]
    for kind, run in (("classifier", large), ("sigmoid_head", large + head)):
        one, four = (needs_of(told, kind, run) for told in (few, many))
        assert {name: four[name] / one[name] for name in ("gpu", "mem_mb", "threads")} == {
            "gpu": 4,
            "mem_mb": 4,
            "threads": 4,
        }
        assert four["runtime"] - 30 == pytest.approx((one["runtime"] - 30) / 4, abs=1)


def test_devices_are_for_profiles_that_train_step_by_step(tmp_path: Path) -> None:
    done = dry_run("trial", tmp_path / "build", "devices=2")
    assert done.returncode != 0
    assert "profile trial trains on one device: leave out devices, or choose another" in done.stdout + done.stderr


def test_code_makes_due_what_is_cheap_alone(planned: tuple[str, Path, dict[str, str]]) -> None:
    profile, _, jobs = planned
    trained = [text for name, text in jobs.items() if name.startswith(("classifier", "sigmoid_head", "run_"))]
    assert trained
    depends = {"sigcam_core/train/fit.py" in text for text in trained}
    assert depends == {profile not in ("open", "paper")}


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    done = dry_run("best", tmp_path / "build")
    assert done.returncode != 0
    assert "unknown profile 'best': choose one of quick, open, paper, miniature, trial." in done.stdout + done.stderr


def test_processes_share_an_evaluation_before_one_gathers_it(tmp_path: Path) -> None:
    done = dry_run("open", tmp_path / "build", "parts=3")
    assert done.returncode == 0, done.stderr[-2000:]
    told = done.stdout + done.stderr
    for run in PROFILES["open"].runs(tmp_path / "build"):
        parts = [str(run.evidence.with_suffix(f".part{part}of3")) for part in (1, 2, 3)]
        jobs = re.findall(
            rf"^rule (part_of_)?evidence_{re.escape(run.full_name)}:\n((?:    .*\n)*)", told, re.MULTILINE
        )
        assert [bool(is_part) for is_part, _ in jobs].count(True) == 3
        (gathering,) = (text for is_part, text in jobs if not is_part)
        assert all(part in gathering for part in parts)
