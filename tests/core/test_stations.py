"""The stations: what is there is kept, what is missing is made, what does not fit is refused."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import small_run
import torch
from safetensors.torch import load_file

from sigcam_core.__main__ import main
from sigcam_core.backbones import build
from sigcam_core.common.errors import SigcamError, run_command_line
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.evaluate.shards import ALONE, Part
from sigcam_core.fidelity.evidence import FIDELITY, PERTURBATION
from sigcam_core.prepare.manifest import read_manifest
from sigcam_core.run import Extent, Run, Shown, default_work_dir, resolve_work_dir
from sigcam_core.stations import (
    ensure_classifier,
    ensure_evidence,
    ensure_evidence_of_all,
    ensure_manifest,
    ensure_sigmoid_head,
    heads,
    manifest,
    record_of,
)
from sigcam_core.train.checkpoints import Checkpoint
from sigcam_core.train.fit import start_fabric
from sigcam_core.train.recipes import CLASSIFIER_RECIPES, SIGMOID_RECIPES, Recipe

ONE_EPOCH = replace(SIGMOID_RECIPES["small"], epochs=1)


@pytest.fixture(scope="module")
def run(trained: Callable[[str], Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy, since some tests delete a file that is then made again."""
    return small_run.copy_of(trained("small_cnn"), tmp_path_factory.mktemp("run") / "work")


def copy_of(run: Run, work_dir: Path, *paths: Path, **changes: Any) -> Run:
    """A run in a folder of its own, with the data set and some files of another."""
    (work_dir / "checkpoints").mkdir(parents=True)
    (work_dir / "data").symlink_to(run.work_dir / "data")
    for path in paths:
        for file in (path, path.with_suffix(".json")):
            shutil.copy(file, work_dir / "checkpoints" / file.name)
    return replace(run, work_dir=work_dir, **changes)


def command_of(run: Run, trained: str, *options: str) -> list[str]:
    names = ["--dataset", run.dataset, "--backbone", run.backbone, "--work-dir", str(run.work_dir)]
    return [sys.executable, "-m", "sigcam_core", "train", trained, *names, "--accelerator", "cpu", *options]


def refusal_of(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence that a command line is refused with."""
    monkeypatch.setattr(sys, "argv", ["sigcam_core", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run_command_line(main)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def greatest_difference(one: Path, other: Path) -> float:
    pairs = zip(load_file(one).values(), load_file(other).values(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def test_what_is_there_is_kept(run: Run) -> None:
    files = (run.manifest, run.classifier, run.sigmoid_head, run.evidence)
    before = [path.stat().st_mtime_ns for path in files]
    ensure_evidence(run)
    assert [path.stat().st_mtime_ns for path in files] == before


def test_runs_come_by_data_set_under_the_names_and_with_the_methods_that_are_shown(run: Run) -> None:
    evidence = ensure_evidence_of_all([Shown(run, "one", ("cam",)), Shown(run, "other", ("gradcam", "layercam"))])
    assert list(evidence) == ["shapes"]
    methods = {network: set(rows["method"]) for network, rows in evidence["shapes"].groupby("network")}
    assert methods == {"one": {"cam"}, "other": {"gradcam", "layercam"}}
    (whole,) = ensure_evidence_of_all([Shown(run, run.network)]).values()
    assert set(whole["method"]) > {"cam", "gradcam", "layercam"}
    assert (
        evidence["shapes"].query("method == 'cam'")["image_id"].tolist()
        == whole.query("method == 'cam'")["image_id"].tolist()
    )


@pytest.mark.parametrize(
    ("options", "measured"),
    [
        ([], (Extent(), ALONE)),
        (["--without-fidelity", "--part", "2/3"], (Extent(with_fidelity=False), Part(2, 3))),
        (["--perturbed-images", "1", "--perturbation-steps", "2"], (Extent(True, 1, 2), ALONE)),
    ],
)
def test_the_command_line_says_what_is_measured(
    options: list[str], measured: tuple[Extent, Part], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("sigcam_core.stations.ensure_evidence", lambda *arguments: asked.extend(arguments))
    monkeypatch.setattr(sys, "argv", ["sigcam_core", "evaluate", "--work-dir", str(run.work_dir), *options])
    main()
    assert asked == [run, *measured]


def test_evidence_is_of_what_is_measured(run: Run, tmp_path: Path) -> None:
    own = copy_of(run, tmp_path / "work", run.classifier, run.sigmoid_head)
    for path in (run.classifier, run.sigmoid_head):
        shutil.copy(path.with_suffix(".json"), tmp_path / "work" / "checkpoints")
    evidence = read_evidence(ensure_evidence(own, Extent(with_fidelity=False)))
    assert evidence["best_iou_multi"].notna().all()
    assert evidence[FIDELITY.columns[0][0]].isna().all()
    assert record_of(own.evidence)["perturbation_images"] == 0
    own.evidence.unlink()
    perturbed = PERTURBATION.measured(read_evidence(ensure_evidence(own, Extent(True, 2, 3))))
    assert perturbed["image_id"].nunique() == 2
    assert {len(curve) for curve in perturbed["insertion_curve"]} == {4}


def test_what_is_missing_is_made_the_same_again(run: Run) -> None:
    first = run.evidence.read_bytes()
    run.evidence.unlink()
    assert ensure_evidence(run).read_bytes() == first


@pytest.mark.parametrize("is_there", [True, False])
def test_evidence_reads_the_manifest_and_builds_the_network_once(
    run: Run, is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = copy_of(run, tmp_path / "work", run.classifier, run.sigmoid_head)
    if is_there:
        own.evidence.parent.mkdir(parents=True, exist_ok=True)
        for path, copied in ((run.evidence, own.evidence), (record_path(run.evidence), record_path(own.evidence))):
            shutil.copy(path, copied)
    asked: list[str] = []

    def counted(module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        def count(*arguments: Any, **options: Any) -> Any:
            asked.append(name)
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, count)

    for module, name in ((manifest, "read_manifest"), (heads, "build"), (heads, "_load")):
        counted(module, name)
    ensure_evidence(own, Extent(with_fidelity=False))
    assert asked == (["read_manifest"] if is_there else ["read_manifest", "build", "_load", "_load"])


def record_path(path: Path) -> Path:
    return path.with_suffix(".json")


def test_the_loaded_network_is_the_trained_one(run: Run) -> None:
    dual = ensure_sigmoid_head(run)
    classifier = ensure_classifier(run)
    images = torch.randn(2, 3, 96, 96)
    torch.testing.assert_close(dual(images).softmax_logits, classifier(images))
    assert not dual.training
    record = record_of(run.classifier)
    assert record["recipe"]["epochs"] == len(record["history"]) == 1
    assert record["precision"] == "32-true"
    assert record["manifest_checksum"] == read_manifest(run.manifest).checksum


def test_a_checkpoint_of_another_network_gets_one_sentence(run: Run, tmp_path: Path) -> None:
    other = Run("shapes", "small_cnn_mlp", 0, run.work_dir)
    record = other.classifier.with_suffix(".json")
    shutil.copy(run.classifier, other.classifier)
    shutil.copy(run.classifier.with_suffix(".json"), record)
    try:
        with pytest.raises(SigcamError, match="does not fit this network"):
            ensure_classifier(other)
    finally:
        other.classifier.unlink()
        record.unlink()


def test_a_network_behind_a_trunk_keeps_the_convolutions_that_it_starts_from(run: Run, tmp_path: Path) -> None:
    """The other network may have more of them, and the record says which recipe froze how much."""
    own = copy_of(run, tmp_path / "work", run.classifier)
    three = Run("shapes", "small_cnn_mlp", 0, own.work_dir)
    recipe = Recipe(epochs=1, batch_size=16, learning_rate=1e-2, weight_decay=0, frozen_layers=2, further_frozen=3)
    trained = ensure_classifier(three, recipe).get_submodule("features").state_dict()
    start = ensure_classifier(own).get_submodule("features").state_dict()
    assert all(torch.equal(trained[name], start[name]) for name in trained)
    record = record_of(three.classifier)
    assert record["starts_from"] == own.name
    assert (record["recipe"]["frozen_layers"], record["recipe"]["further_frozen"]) == (2, 3)
    assert len(list((own.work_dir / "features").iterdir())) == 4  # two parts, of images to train on and held out


def test_nothing_of_a_run_that_is_done_is_left_unfinished(run: Run) -> None:
    names = sorted(path.name for path in run.classifier.parent.iterdir())
    files = (run.classifier, run.sigmoid_head)
    assert names == sorted(name for path in files for name in (path.name, path.with_suffix(".json").name))


def test_official_freezing_leaves_a_head_alone_behind(run: Run, tmp_path: Path) -> None:
    own = copy_of(run, tmp_path / "work", run.classifier)
    trained = ensure_sigmoid_head(own, replace(ONE_EPOCH, cached=False, freezing="official"))
    again, usual = ensure_sigmoid_head(own), ensure_sigmoid_head(run)
    torch.testing.assert_close(again.state_dict(), trained.state_dict(), rtol=0, atol=0)
    for part in ("backbone", "softmax_head"):
        torch.testing.assert_close(getattr(again, part).state_dict(), getattr(usual, part).state_dict(), rtol=0, atol=0)
    assert record_of(own.sigmoid_head)["recipe"]["freezing"] == "official"
    assert load_file(own.sigmoid_head).keys() == load_file(run.sigmoid_head).keys()


def test_a_probe_trains_the_last_layer_of_a_published_network_only(run: Run, tmp_path: Path) -> None:
    own = copy_of(run, tmp_path / "work", backbone="efficientnet_lite0", origin="probe")
    recipe = replace(CLASSIFIER_RECIPES["probe"], epochs=2, batch_size=16, learning_rate=0.1)
    ensure_classifier(own, recipe)
    weights, published = load_file(own.classifier), build("efficientnet_lite0", 1000, pretrained=True).state_dict()
    assert own.classifier.name == "shapes-efficientnet_lite0-gap-probe-seed0.classifier.safetensors"
    last = {name: value for name, value in weights.items() if name.startswith("classifier.")}
    assert {tuple(value.shape) for value in last.values()} == {(8, 1280), (8,)}
    assert all(torch.equal(weights[name], published[name]) for name in weights.keys() - last.keys())
    history = record_of(own.classifier)["history"]
    assert history[1]["loss"] < 0.9 * history[0]["loss"]
    # The head that lies beside is of no other network.
    loaded = ensure_classifier(own).state_dict()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_a_killed_run_goes_on_where_it_was(run: Run, tmp_path: Path) -> None:
    recipe = replace(CLASSIFIER_RECIPES["small-gap"], epochs=20, batch_size=8)
    whole, killed = copy_of(run, tmp_path / "whole"), copy_of(run, tmp_path / "killed")
    ensure_classifier(whole, recipe, start_fabric("cpu"))
    command = command_of(killed, "classifier", "--epochs", "20", "--batch-size", "8", "--checkpoint-seconds", "0")
    unfinished = killed.classifier.with_suffix(".unfinished")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not unfinished.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert unfinished.exists()
    assert not killed.classifier.exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "going on in epoch" in done.stderr
    assert killed.classifier.read_bytes() == whole.classifier.read_bytes()
    assert not unfinished.exists()
    first, second = (record_of(of.classifier) for of in (whole, killed))
    assert [row["val_loss"] for row in first["history"]] == [row["val_loss"] for row in second["history"]]


def test_two_devices_train_what_one_does(run: Run, tmp_path: Path) -> None:
    two = copy_of(run, tmp_path / "two")
    options = ("--devices", "2", "--epochs", "3", "--batch-size", "10", "--views", "2", "--checkpoint-seconds", "0")
    done = subprocess.run(command_of(two, "sigmoid-head", *options), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("sigmoid head: epoch 3/3") == 1
    assert not list(two.classifier.parent.glob("*.unfinished"))
    # A head sees the same batches, halves of them on each device, and so becomes the same.
    recipe = replace(SIGMOID_RECIPES["small"], epochs=3, batch_size=10, views=2)
    head_of_one = copy_of(run, tmp_path / "head", two.classifier)
    ensure_sigmoid_head(head_of_one, recipe, start_fabric("cpu"))
    assert greatest_difference(two.sigmoid_head, head_of_one.sigmoid_head) < 1e-5
    histories = [record_of(of.sigmoid_head)["history"] for of in (two, head_of_one)]
    for name in ("loss", "val_loss", "val_top1"):
        assert [row[name] for row in histories[0]] == pytest.approx([row[name] for row in histories[1]], rel=1e-4)
    # A classifier's BatchNorm sees half a batch, so it only becomes alike.
    classifier_of_one = copy_of(run, tmp_path / "classifier")
    ensure_classifier(classifier_of_one, None, start_fabric("cpu"))
    losses = [[row["loss"] for row in record_of(of.classifier)["history"]] for of in (two, classifier_of_one)]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


def test_a_loss_that_is_not_finite_leaves_nothing_half_written(run: Run, tmp_path: Path) -> None:
    own = copy_of(run, tmp_path / "work", run.classifier)
    recipe = replace(ONE_EPOCH, learning_rate=1e38, batch_size=48)
    with pytest.raises(SigcamError, match=r"the loss became (nan|inf) in epoch 1: lower the learning rate\.$"):
        ensure_sigmoid_head(own, recipe, checkpoint_seconds=0)
    assert {path.suffix for path in own.sigmoid_head.parent.glob("*.sigmoid_head.*")} <= {".unfinished"}


def test_the_checkpoint_of_another_recipe_is_not_gone_on_with(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Checkpoint] = []

    def stop(*arguments: Any) -> None:
        taken.append(arguments[-1].checkpoint)
        raise InterruptedError

    monkeypatch.setattr("sigcam_core.stations.heads.train_head", stop)
    own = copy_of(run, tmp_path / "work", run.classifier)
    recipes = [ONE_EPOCH, replace(ONE_EPOCH, epochs=2), ONE_EPOCH]
    for recipe in recipes:
        with pytest.raises(InterruptedError):
            ensure_sigmoid_head(own, recipe)
    assert taken[0].key == taken[2].key != taken[1].key
    assert {checkpoint.path for checkpoint in taken} == {own.sigmoid_head.with_suffix(".unfinished")}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["train", "classifier", "--dataset", "mnist"],
            "unknown data set 'mnist': choose one of shapes, photos, tiny_imagenet",
        ),
        (["train", "classifier", "--backbone", "alexnet"], "unknown backbone 'alexnet': choose one of small_cnn"),
        (["evaluate", "--dataset", "../cub"], "data set '../cub' is no name: give the name of its folder, of letters"),
        (["train", "classifier", "--origin", "thin air"], "unknown origin 'thin air': choose one of scratch, finetune"),
        (["train", "classifier", "--classifier-recipe", "mine"], "unknown classifier recipe 'mine': choose one of"),
        (["evaluate", "--sigmoid-recipe", "mine"], "unknown sigmoid recipe 'mine': choose one of"),
        (["train", "sigmoid-head", "--freezing", "deep"], "unknown freezing 'deep': choose one of eval, official."),
        (["train", "sigmoid-head", "--freezing", "official"], "use cached=False (--on-the-fly)."),
        (["train", "sigmoid-head", "--epochs", "0"], "--epochs is 0: train at least 1 epoch."),
        (["train", "classifier", "--precision", "8-bit"], "unknown precision '8-bit': choose one of 32-true, 16-mixed"),
        (["train", "classifier", "--accelerator", "abacus"], "unknown accelerator 'abacus': choose one of auto, cpu"),
        (["train", "classifier", "--devices", "0"], "cannot train on 0 devices: give at least 1."),
        (
            ["train", "classifier", "--devices", "3"],
            "batch_size 32 cannot be shared among 3 devices: choose a multiple.",
        ),
        (["measure"], "argument VERB: invalid choice: 'measure' (choose from"),
        (["train", "head"], "argument WHAT: invalid choice: 'head' (choose from"),
        (["train", "classifier", "--seed", "-1"], "seed -1 is out of range: give a whole number from 0"),
        (["evaluate", "--epochs", "3"], "unrecognized arguments: --epochs 3"),
        (["evaluate", "--dataset", "cub"], "manifest.parquet does not exist: run `python -m data_scripts cub --root"),
        (
            ["train", "classifier", "--dataset", "cub"],
            "manifest.parquet does not exist: run `python -m data_scripts cub --root",
        ),
        (
            ["train", "classifier", "--backbone", "efficientnet_lite0", "--origin", "restricted", "--epochs", "3"],
            "origin 'restricted' trains no classifier: leave out --epochs and",
        ),
    ],
)
def test_the_command_line_refuses_in_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sentence in refusal_of([*arguments, "--work-dir", str(tmp_path / "work")], monkeypatch, capsys)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["train", "classifier", "--batch-size", "16"],
            "was made with epochs 1, not 8: delete it, or choose another work dir.",
        ),
        (
            ["train", "sigmoid-head", "--epochs", "1", "--views", "2"],
            "was made with views 1, not 2: delete it, or choose",
        ),
        (
            ["train", "sigmoid-head", "--epochs", "1", "--on-the-fly"],
            "was made with cached True, not False: delete it, or",
        ),
        (
            ["train", "classifier", "--origin", "restricted", "--backbone", "efficientnet_lite0"],
            "the classes of shapes are not ImageNet's: train a classifier, for example a 'probe'.",
        ),
        (
            ["train", "classifier", "--origin", "pretrained", "--backbone", "efficientnet_lite0"],
            "shapes has 8 classes, not ImageNet's 1,000: use origin 'restricted'.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(
    run: Run,
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.work_dir.rglob("*")}
    assert sentence in refusal_of([*arguments, "--work-dir", str(run.work_dir)], monkeypatch, capsys)
    assert {path: path.stat().st_mtime_ns for path in run.work_dir.rglob("*")} == before


def test_an_output_folder_that_cannot_be_made_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SigcamError, match="cannot write to folder"):
        ensure_manifest("photos", tmp_path / "file" / "work")


def test_the_work_dir_is_the_projects_build_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGCAM_WORK_DIR", raising=False)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert default_work_dir() == tmp_path / "build"
    assert resolve_work_dir("elsewhere") == Path("elsewhere")
    monkeypatch.setenv("SIGCAM_WORK_DIR", "/somewhere")
    assert resolve_work_dir("") == Path("/somewhere")
