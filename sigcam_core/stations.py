"""The line that data travels: prepare, train, evaluate. Each station is a file, made where there is none.

A notebook, the command line and the workflow all come through here, so that they agree on names and places. A
station that finds its file returns at once, and makes what it builds on first where that is missing; so a notebook
runs alone, and the workflow, which knows what is out of date, deletes a file to have it made again.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from .backbones import CLASSIFIER_HEADS, build, check_backbone
from .data import Manifest, read_manifest
from .dual import DualBranch
from .errors import check_choice, fail
from .eval import evaluate
from .provenance import provenance, read_json, sha256_of_file, write_atomically, write_json
from .train import CLASSIFIER_RECIPES, SIGMOID_RECIPE, Recipe, Trained, train_classifier, train_sigmoid_head

TRAINABLE_DATASETS = ("shapes",)
GENERATED_DATASETS = ("shapes", "photos")
PERTURBATION_IMAGES = 100  # insertion and deletion take some twenty times the passes of all other figures


def default_work_dir() -> Path:
    """``SIGCAM_WORK_DIR`` if it is set, else ``build`` in the project that encloses the current folder."""
    if chosen := os.environ.get("SIGCAM_WORK_DIR"):
        return Path(chosen)
    here = Path.cwd()
    project = next((folder for folder in (here, *here.parents) if (folder / "pyproject.toml").exists()), here)
    return project / "build"


def resolve_work_dir(work_dir: str) -> Path:
    """The folder that a notebook's parameter names; empty means :func:`default_work_dir`."""
    return Path(work_dir) if work_dir else default_work_dir()


@dataclass(frozen=True)
class Run:
    """What one network is trained and evaluated on, and where its files lie.

    Attributes:
        dataset: a data set with a training split.
        backbone: name known to :func:`sigcam_core.backbones.build`.
        head: ``"gap"`` or ``"mlp"``.
        seed: of training.
        work_dir: folder of everything that is made.

    Raises:
        SigcamError: for an unknown name, or a seed that is out of range.

    >>> Run("shapes", "small_cnn", "gap", work_dir=Path("build")).evidence.as_posix()
    'build/evidence/shapes-small_cnn-gap-seed0.parquet'
    """

    dataset: str
    backbone: str
    head: str
    seed: int = 0
    work_dir: Path = Path("build")

    def __post_init__(self) -> None:
        check_choice("data set", self.dataset, TRAINABLE_DATASETS)
        check_backbone(self.backbone)
        check_choice("head", self.head, CLASSIFIER_HEADS)
        if not 0 <= self.seed < 2**32:
            fail(f"seed {self.seed} is out of range: give a whole number from 0 to {2**32 - 1}.")

    @property
    def network(self) -> str:
        """What the network is called in the evidence."""
        return f"{self.backbone}-{self.head}"

    @property
    def name(self) -> str:
        """What the files of this run are called."""
        return f"{self.dataset}-{self.network}-seed{self.seed}"

    @property
    def manifest(self) -> Path:
        """The data set's manifest."""
        return self.work_dir / "data" / self.dataset / "manifest.parquet"

    @property
    def classifier(self) -> Path:
        """Weights of the softmax classifier."""
        return self.work_dir / "checkpoints" / f"{self.name}.classifier.safetensors"

    @property
    def sigmoid_head(self) -> Path:
        """Weights of the sigmoid head."""
        return self.work_dir / "checkpoints" / f"{self.name}.sigmoid_head.safetensors"

    @property
    def evidence(self) -> Path:
        """The raw numbers of the test split."""
        return self.work_dir / "evidence" / f"{self.name}.parquet"


def ensure_manifest(dataset: str, work_dir: Path) -> Manifest:
    """Read a generated data set's manifest; generate it with its default parameters where there is none.

    Raises:
        SigcamError: for a data set that is not generated.
    """
    from data_scripts.__main__ import prepare

    check_choice("data set", dataset, GENERATED_DATASETS)
    path = work_dir / "data" / dataset / "manifest.parquet"
    return read_manifest(path) if path.exists() else prepare(dataset, work_dir / "data")


def ensure_classifier(run: Run, recipe: Recipe | None = None) -> nn.Module:
    """Load the softmax classifier; train it where there is none.

    The one with the MLP head starts from the convolutions of the one with the GAP head.
    """
    manifest = ensure_manifest(run.dataset, run.work_dir)
    if not run.classifier.exists():
        recipe = recipe or CLASSIFIER_RECIPES[run.head]
        gap = replace(run, head="gap")
        start_from = ensure_classifier(gap) if run.head == "mlp" else None
        splits = manifest.split("train"), manifest.split("val")
        trained = train_classifier(*splits, run.backbone, run.head, recipe, run.seed, start_from=start_from)
        facts: dict[str, Any] = {"recipe": asdict(recipe), "manifest_checksum": manifest.checksum}
        if start_from is not None:
            facts |= {"starts_from": gap.name, "starts_from_sha256": sha256_of_file(gap.classifier)}
        _save(run, run.classifier, trained, **facts)
    model = build(run.backbone, manifest.num_classes, run.head)
    _load(model, run.classifier)
    return model.eval()


def ensure_sigmoid_head(run: Run, recipe: Recipe = SIGMOID_RECIPE) -> DualBranch:
    """Load the dual-branch network; train its sigmoid head on the frozen classifier where there is none."""
    classifier = ensure_classifier(run)
    manifest = ensure_manifest(run.dataset, run.work_dir)
    torch.manual_seed(run.seed)  # the fresh head is drawn here
    dual = DualBranch.from_classifier(classifier, manifest.num_classes)
    if not run.sigmoid_head.exists():
        splits = manifest.split("train"), manifest.split("val")
        trained = train_sigmoid_head(dual, *splits, run.backbone, recipe, run.seed)
        facts = {"recipe": asdict(recipe), "manifest_checksum": manifest.checksum}
        _save(run, run.sigmoid_head, trained, **facts, classifier_sha256=sha256_of_file(run.classifier))
    _load(dual.sigmoid_head, run.sigmoid_head)
    return dual.eval()


def ensure_evidence(run: Run) -> Path:
    """Path of the evidence on the test split; evaluate where there is none."""
    if not run.evidence.exists():
        dual = ensure_sigmoid_head(run)
        manifest = ensure_manifest(run.dataset, run.work_dir)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        start = time.perf_counter()
        evaluate(
            dual.to(device),
            manifest.split("test"),
            run.backbone,
            run.network,
            run.evidence,
            perturbation_images=PERTURBATION_IMAGES,
        )
        facts = {
            "split": "test",
            "manifest_checksum": manifest.checksum,
            "classifier_sha256": sha256_of_file(run.classifier),
            "sigmoid_head_sha256": sha256_of_file(run.sigmoid_head),
            "perturbation_images": PERTURBATION_IMAGES,
        }
        _describe(run, run.evidence, device=device, seconds=time.perf_counter() - start, **facts)
    return run.evidence


def record_of(path: Path) -> Any:
    """The provenance that lies beside a station's file."""
    return read_json(path.with_suffix(".json"))


def _describe(run: Run, path: Path, **facts: Any) -> None:
    names = {"dataset": run.dataset, "network": run.network, "seed": run.seed, "sha256": sha256_of_file(path)}
    write_json(path.with_suffix(".json"), provenance(**names, **facts))


def _save(run: Run, path: Path, trained: Trained, **facts: Any) -> None:
    state = {name: value.contiguous() for name, value in trained.module.state_dict().items()}
    write_atomically(path, lambda temporary: save_file(state, temporary))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    _describe(run, path, device=device, seconds=trained.seconds, history=trained.history, **facts)


def _load(module: nn.Module, path: Path) -> None:
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        fail(f"checkpoint {path} does not fit this network ({reason}): delete it and train again.")
