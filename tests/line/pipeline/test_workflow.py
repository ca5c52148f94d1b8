"""The workflow: killed midway and started again, what a finished run holds, what is deleted, dated or refused."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import run_crate
from run_crate import write_crate
from sigcam_core.common.files import try_lock
from sigcam_core.run import Run

PROJECT = Path(__file__).parents[3]
NOTEBOOKS = sorted(path.stem for path in (PROJECT / "notebooks").glob("*.ipynb"))
TIMEOUT = 1200  # seconds; far beyond what is needed, to end a run that hangs


SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile")]
SNAKEMAKE += ["--rerun-incomplete", "--nolock"]


def command(work_dir: Path, *options: str) -> list[str]:
    """The workflow on a few images."""
    config = [f"work_dir={work_dir}", "train=48", "val=16", "test=12", "epochs=1", "repeats=1"]
    return [*SNAKEMAKE, "--cores", "2", "--directory", str(work_dir.parent), *options, "--config", *config]


def said_by(command: list[str]) -> str:
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def run(work_dir: Path, *options: str) -> str:
    return said_by(command(work_dir, *options))


def start_and_kill(command: list[str], when_exists: Path) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + TIMEOUT
    while not when_exists.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert when_exists.exists()
    assert process.poll() is None, "the run ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def planned_notebooks(plan: str) -> set[str]:
    return {line.split("notebook=")[1] for line in plan.splitlines() if "wildcards: notebook=" in line}


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    # People keep things in such folders, and nothing in a name may run.
    work_dir = tmp_path / "my papers; touch owned" / "build"
    manifest = work_dir / "data" / "shapes" / "manifest.parquet"
    classifier = work_dir / "checkpoints" / "shapes-small_cnn-gap-seed0.classifier.json"
    notebook = work_dir / "notebooks" / "02_training.ipynb"  # it reads what is trained
    work_dir.parent.mkdir()
    only_notebook = [*command(work_dir), "--", str(notebook)]
    start_and_kill(only_notebook, when_exists=classifier)
    made = manifest.stat().st_mtime_ns
    trained = classifier.stat().st_mtime_ns

    said_by(only_notebook)
    assert manifest.stat().st_mtime_ns == made, "the data set was made again"
    # The killed run may not have recorded the classifier as finished; if it did, it is not trained again.
    assert classifier.stat().st_mtime_ns >= trained
    assert notebook.stat().st_size > 10_000
    assert not list(tmp_path.rglob("owned"))
    # All that is left is what nobody asked for yet, up to the book.
    plan = run(work_dir, "--dry-run", "--printshellcmds")
    assert planned_notebooks(plan) == set(NOTEBOOKS) - {notebook.stem}
    rules = re.findall(r"^(?:local)?rule (\w[\w-]*):", plan, flags=re.MULTILINE)
    assert {"photos", "evidence_small_cnn-gap", "evidence_small_cnn-mlp", "book"} <= set(rules)
    assert not [rule for rule in rules if rule.startswith(("shapes", "classifier", "sigmoid_head"))]
    (building,) = [shlex.split(line) for line in plan.splitlines() if "build_book.py --work-dir" in line]
    assert building[building.index("--work-dir") + 1] == str(work_dir)


class Finished(NamedTuple):
    """A finished run of the usual profile, and the command that made it."""

    work_dir: Path
    folder: Path
    command: list[str]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The run of ``make reproduce`` whose work dir SIGCAM_BUILD names; else one of a few images, made here."""
    if named := os.environ.get("SIGCAM_BUILD"):
        work_dir = Path(named).resolve()
        assert work_dir == PROJECT / "build", f"SIGCAM_BUILD={named} is not the work dir of `make reproduce` here"
        return Finished(work_dir, PROJECT, [*SNAKEMAKE, "--cores", "all"])
    work_dir = tmp_path_factory.mktemp("my papers; touch owned") / "build"
    run(work_dir)
    return Finished(work_dir, work_dir.parent, command(work_dir))


def test_a_finished_run_has_its_notebooks_and_its_pages(finished: Finished) -> None:
    assert {path.stem for path in (finished.work_dir / "notebooks").glob("*.ipynb")} == set(NOTEBOOKS)
    html = finished.work_dir / "book" / "_build" / "html"
    assert (html / "index.html").exists()
    pages = [html / "notebooks" / f"{name}.html" for name in NOTEBOOKS]
    assert all(page.stat().st_size > 10_000 for page in pages)


def test_values_say_what_they_were_made_of(finished: Finished) -> None:
    paths = list((finished.work_dir / "summary").glob("*.json"))
    assert paths
    for path in paths:
        provenance = json.loads(path.read_text())["provenance"]
        assert {"commit", "device", "versions", "date", "parameters"} <= set(provenance), path.name


def test_nothing_is_left_to_do(finished: Finished) -> None:
    assert "Nothing to be done" in said_by(finished.command)


def test_the_crate_holds_what_was_made(finished: Finished) -> None:
    work_dir = finished.work_dir
    path = work_dir / run_crate.NAME
    with zipfile.ZipFile(path if path.exists() else write_crate(work_dir, folder=finished.folder)) as crate:
        packed = set(crate.namelist())
    made = {
        path for name in ("checkpoints", "evidence", "notebooks", "summary") for path in (work_dir / name).iterdir()
    }
    products = {path for path in made if path.is_file() and not path.name.startswith(".")}  # locks are none
    assert products
    assert {f"build/{path.relative_to(work_dir)}" for path in products} <= packed


def test_the_report_names_the_steps(finished: Finished) -> None:
    report = finished.work_dir / "run-report.html"
    if not report.exists():
        said_by([*finished.command, "--report", str(report)])
    assert "evidence_small_cnn-gap" in report.read_text()


def test_new_evidence_concerns_the_tables_and_nothing_else(finished: Finished) -> None:
    evidence = [f"evidence_small_cnn-{head}" for head in ("gap", "mlp")]
    plan = said_by([*finished.command, "--dry-run", "--forcerun", *evidence])
    assert planned_notebooks(plan) == {"03_table1_wsol", "04_table2_fidelity"}
    assert "rule classifier" not in plan


def test_two_processes_of_the_workflow_train_what_the_command_trains(tmp_path: Path) -> None:
    through, directly = (Run("shapes", "small_cnn", 0, tmp_path / name / "build") for name in ("through", "directly"))
    through.work_dir.parent.mkdir()
    ends_there = [*command(through.work_dir), "devices=2", "--", str(through.classifier)]
    made = subprocess.run(ends_there, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-6000:]
    shutil.copytree(through.manifest.parent, directly.manifest.parent)
    train = [sys.executable, "-m", "sigcam_core", "train", "classifier", "--work-dir", str(directly.work_dir)]
    threads = os.environ | {"OMP_NUM_THREADS": "2"}
    for devices in (1, 2):
        options = ["--epochs", "1", "--devices", str(devices)]
        subprocess.run([*train, *options], env=threads, capture_output=True, timeout=TIMEOUT, check=True)
        are_equal = through.classifier.read_bytes() == directly.classifier.read_bytes()
        assert are_equal == (devices == 2), devices
        directly.classifier.unlink()


def test_what_was_deleted_is_made_again_and_dates_in_the_future_are_named(tmp_path: Path) -> None:
    work_dir = tmp_path / "my papers; touch owned" / "build"
    work_dir.parent.mkdir()
    only_data = ("--until", "shapes")
    run(work_dir, *only_data)
    folder = work_dir / "data" / "shapes"
    manifest, image = folder / "manifest.parquet", sorted((folder / "images" / "test").iterdir())[3]
    content, rows = image.read_bytes(), manifest.read_bytes()
    image.unlink()
    assert f"files of 1 finished steps are gone, first {image}" in run(work_dir, *only_data)
    assert (image.read_bytes(), manifest.read_bytes()) == (content, rows)
    said = run(work_dir, *only_data)
    assert "rule shapes" not in said
    assert "finished steps are gone" not in said
    image.unlink()
    assert "finished steps are gone" in run(work_dir, *only_data, "--dry-run")
    assert manifest.exists(), "whoever asks for a plan changes nothing"
    assert not image.exists()

    tomorrow = time.time() + 86_400
    os.utime(manifest, (tomorrow, tomorrow))
    said = run(work_dir, *only_data)
    assert f"1 files are dated in the future, first {manifest}: their steps may run again each time" in said
    assert "rule shapes" not in said
    subprocess.run(re.findall("end that by `(touch .*)`", said)[0], shell=True, check=True)
    assert "future" not in run(work_dir, *only_data)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("epoch=3", "unknown configuration epoch: choose among"),
        ("seed=-1", "must be"),
        ("profile=$(touch owned)", "unknown profile"),
        ("seed='0; touch owned'", "must be"),
    ],
)
def test_a_wrong_configuration_is_refused(option: str, sentence: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*command(tmp_path / "build", "--dry-run"), option],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode != 0
    assert sentence in done.stderr + done.stdout
    assert not list(tmp_path.rglob("owned"))


def test_a_second_run_in_the_same_folder_is_refused_and_a_dead_one_forgotten(tmp_path: Path) -> None:
    work_dir = tmp_path / "build"
    work_dir.mkdir()
    refused = command(work_dir, "--until", "shapes")
    with (work_dir / ".lock").open("a") as first:  # stays where a run was killed
        assert try_lock(first.fileno())
        done = subprocess.run(refused, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode != 0
        assert f"another run works in {work_dir}: wait for it, or choose another work_dir." in done.stderr + done.stdout
        assert not (work_dir / "data").exists()
    run(work_dir, "--until", "shapes")
    assert (work_dir / "data" / "shapes" / "manifest.parquet").exists()


def dry_run(directory: Path, work_dir: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the workflow plans, with the commands of its steps."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile"), "--dry-run"]
    command += ["--printshellcmds", "--cores", "1", "--directory", str(directory), "--config", f"work_dir={work_dir}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


@pytest.mark.parametrize("work_dir", ["2024", "True", "1.5"])
def test_a_work_dir_that_is_read_as_no_text_gets_a_sentence(work_dir: str, tmp_path: Path) -> None:
    refused = dry_run(tmp_path, work_dir)
    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert f"configuration work_dir is read as {work_dir}, which is no text: give a folder of such a name as" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("given", "folder"), [("./2024", "2024"), ("~/of mine", "home/of mine")])
def test_paths_reach_notebooks_as_text(given: str, folder: str, tmp_path: Path) -> None:
    planned = dry_run(tmp_path, given, HOME=str(tmp_path / "home")).stdout.splitlines()
    (words,) = [shlex.split(line) for line in planned if "08_explorer.ipynb" in line and "papermill" in line]
    place = words.index("work_dir")
    assert words[place - 1] == "-r"
    assert tmp_path / words[place + 1] == tmp_path / folder
    assert words[words.index("seed") - 1] == "-p"
