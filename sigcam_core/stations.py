"""The line that data travels: prepare, train, evaluate. Each station is a file, made where there is none.

A notebook, the command line and the workflow all come through here, so that they agree on names and places. A
station that finds its file returns at once, and makes what it builds on first where that is missing; so a notebook
runs alone, and the workflow, which knows what is out of date, deletes a file to have it made again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .backbones.networks import CLASSIFIER_HEADS, build, check_backbone
from .common.errors import check_choice, fail
from .common.provenance import provenance, read_json, sha256_of_file, write_atomically, write_json
from .dual.branch import DualBranch
from .evaluate.evaluate import EvaluationOptions, evaluate
from .prepare.images import Manifest, read_manifest
from .train.checkpoints import SECONDS_BETWEEN_SAVINGS, Checkpoint
from .train.heads import Trained, train_classifier, train_head
from .train.origins import ORIGINS, UNTRAINED, starting_point
from .train.recipes import CLASSIFIER_RECIPES, SIGMOID_RECIPES, Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TRAINABLE_DATASETS = ("shapes", "tiny_imagenet", "stanford_cars", "cub", "openimages", "imagenet")
GENERATED_DATASETS = ("shapes", "photos")
BACKBONE_PREFIX = "backbone/"
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
        backbone: name known to :func:`sigcam_core.backbones.networks.build`.
        head: ``"gap"`` or ``"mlp"``.
        seed: of training.
        work_dir: folder of everything that is made.
        origin: where the softmax classifier comes from, one of :data:`sigcam_core.train.origins.ORIGINS`.
        classifier_recipe: name in :data:`sigcam_core.train.recipes.CLASSIFIER_RECIPES`; empty for the usual one.
        sigmoid_recipe: name in :data:`sigcam_core.train.recipes.SIGMOID_RECIPES`; empty for the usual one.

    Raises:
        SigcamError: for an unknown name, or a seed that is out of range.

    >>> Run("shapes", "small_cnn", "gap", work_dir=Path("build")).evidence.as_posix()
    'build/evidence/shapes-small_cnn-gap-seed0.parquet'
    >>> Run("stanford_cars", "efficientnet_lite0", "gap", origin="probe").name
    'stanford_cars-efficientnet_lite0-gap-probe-seed0'
    """

    dataset: str
    backbone: str
    head: str
    seed: int = 0
    work_dir: Path = Path("build")
    origin: str = "scratch"
    classifier_recipe: str = ""
    sigmoid_recipe: str = ""

    def __post_init__(self) -> None:
        check_choice("data set", self.dataset, TRAINABLE_DATASETS)
        check_backbone(self.backbone)
        check_choice("head", self.head, CLASSIFIER_HEADS)
        check_choice("origin", self.origin, ORIGINS)
        check_choice("classifier recipe", self.classifier_recipe, ("", *CLASSIFIER_RECIPES))
        check_choice("sigmoid recipe", self.sigmoid_recipe, ("", *SIGMOID_RECIPES))
        if not 0 <= self.seed < 2**32:
            fail(f"seed {self.seed} is out of range: give a whole number from 0 to {2**32 - 1}.")

    @property
    def network(self) -> str:
        """What the network is called in the evidence."""
        return f"{self.backbone}-{self.head}"

    @property
    def name(self) -> str:
        """What the files of the classifier are called. Whatever is usual is left out."""
        parts = [self.dataset, self.network, self.origin if self.origin != "scratch" else "", self.classifier_recipe]
        return "-".join([*filter(None, parts), f"seed{self.seed}"])

    @property
    def full_name(self) -> str:
        """What the files of the sigmoid head, and of all that is measured with it, are called."""
        return "-".join(filter(None, [self.name, self.sigmoid_recipe]))

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
        return self.work_dir / "checkpoints" / f"{self.full_name}.sigmoid_head.safetensors"

    @property
    def evidence(self) -> Path:
        """The raw numbers of the test split."""
        return self.work_dir / "evidence" / f"{self.full_name}.parquet"

    @property
    def features(self) -> Path:
        """Folder of the cached features of all runs."""
        return self.work_dir / "features"

    def recipe_of_classifier(self) -> Recipe | None:
        """The recipe that ``classifier_recipe`` and ``origin`` name; ``None`` where nothing is trained."""
        if self.origin in UNTRAINED:
            return None
        from_scratch = f"small-{self.head}" if self.backbone == "small_cnn" else "paper"
        return CLASSIFIER_RECIPES[self.classifier_recipe or (from_scratch if self.origin == "scratch" else self.origin)]

    def recipe_of_sigmoid_head(self) -> Recipe:
        """The recipe that ``sigmoid_recipe`` names."""
        return SIGMOID_RECIPES[self.sigmoid_recipe or ("small" if self.backbone == "small_cnn" else "cached")]


def ensure_manifest(dataset: str, work_dir: Path) -> Manifest:
    """Read a data set's manifest; make that of a generated data set with its default parameters where there is none.

    Raises:
        SigcamError: for an unknown data set, or one that was not prepared.
    """
    check_choice("data set", dataset, tuple(dict.fromkeys(GENERATED_DATASETS + TRAINABLE_DATASETS)))
    folder = work_dir / "data"
    path = folder / dataset / "manifest.parquet"
    if path.exists():
        return read_manifest(path)
    if dataset not in GENERATED_DATASETS:
        fail(f"{path} does not exist: run `python -m data_scripts {dataset} --root {folder}` first.")
    from data_scripts.__main__ import prepare

    return prepare(dataset, folder)


def ensure_classifier(
    run: Run,
    recipe: Recipe | None = None,
    fabric: Fabric | None = None,
    checkpoint_seconds: float = SECONDS_BETWEEN_SAVINGS,
) -> nn.Module:
    """Load the softmax classifier; make it where there is none.

    The small network with the MLP head starts from the convolutions of the one with the GAP head.

    Args:
        run: which.
        recipe: instead of the run's.
        fabric: devices to train on; ``None`` for one device.
        checkpoint_seconds: between two savings of an unfinished run.
    """
    manifest = ensure_manifest(run.dataset, run.work_dir)
    if _is_made(run.classifier, fabric):
        _refuse_another(recipe, run.classifier)
        model = build(run.backbone, manifest.num_classes, run.head)
        _load(model, run.classifier)
        return model.eval()
    facts: dict[str, Any] = {"origin": run.origin, "manifest_checksum": manifest.checksum}
    start_from = replace(run, head="gap")
    starts_from_gap = run.backbone == "small_cnn" and run.head == "mlp"
    start = ensure_classifier(start_from, None, fabric, checkpoint_seconds) if starts_from_gap else None
    torch.manual_seed(run.seed)  # new layers are drawn here
    model = starting_point(run.origin, run.backbone, run.head, manifest)
    if start is not None:
        model.get_submodule("features").load_state_dict(start.get_submodule("features").state_dict())
        facts |= {"starts_from": start_from.name, "starts_from_sha256": sha256_of_file(start_from.classifier)}
    recipe = recipe or run.recipe_of_classifier()
    if recipe is None:
        _save(run, run.classifier, Trained(model, [], 0.0), fabric, **facts)
        return model
    facts["recipe"] = asdict(recipe)
    checkpoint = _checkpoint(run.classifier, facts, checkpoint_seconds)
    splits = manifest.split("train"), manifest.split("val")
    options: dict[str, Any] = {"seed": run.seed, "fabric": fabric, "checkpoint": checkpoint}
    if run.origin == "probe":
        dual = DualBranch.from_classifier(model)
        probe = train_head(dual, "softmax", *splits, run.backbone, recipe, run.features, **options)
        trained = replace(probe, module=model)  # the head is part of it
    else:
        trained = train_classifier(model, *splits, run.backbone, recipe, **options)
    _save(run, run.classifier, trained, fabric, **facts)
    checkpoint.remove()
    return model.eval()


def ensure_sigmoid_head(
    run: Run,
    recipe: Recipe | None = None,
    fabric: Fabric | None = None,
    checkpoint_seconds: float = SECONDS_BETWEEN_SAVINGS,
) -> DualBranch:
    """Load the dual-branch network; train its sigmoid head on the frozen classifier where there is none.

    Args:
        run: which.
        recipe: instead of the run's.
        fabric: devices to train on; ``None`` for one device.
        checkpoint_seconds: between two savings of an unfinished run.
    """
    classifier = ensure_classifier(run, None, fabric, checkpoint_seconds)
    manifest = ensure_manifest(run.dataset, run.work_dir)
    torch.manual_seed(run.seed)  # the fresh head is drawn here
    dual = DualBranch.from_classifier(classifier, manifest.num_classes)
    if _is_made(run.sigmoid_head, fabric):
        _refuse_another(recipe, run.sigmoid_head)
    else:
        recipe = recipe or run.recipe_of_sigmoid_head()
        facts = {"recipe": asdict(recipe), "manifest_checksum": manifest.checksum}
        facts["classifier_sha256"] = sha256_of_file(run.classifier)
        checkpoint = _checkpoint(run.sigmoid_head, facts, checkpoint_seconds)
        splits = manifest.split("train"), manifest.split("val")
        options: dict[str, Any] = {"seed": run.seed, "fabric": fabric, "checkpoint": checkpoint}
        trained = train_head(dual, "sigmoid", *splits, run.backbone, recipe, run.features, **options)
        moved = dict(dual.backbone.named_buffers()) if recipe.freezing == "official" else {}
        _save(run, run.sigmoid_head, trained, fabric, moved, **facts)
        checkpoint.remove()
    _load(dual.sigmoid_head, run.sigmoid_head, dual)
    return dual.eval()


def ensure_evidence(run: Run, with_fidelity: bool = True) -> Path:
    """Path of the evidence on the test split; evaluate where there is none.

    Args:
        run: which.
        with_fidelity: without it, new evidence is of localisation alone.
    """
    if not run.evidence.exists():
        dual = ensure_sigmoid_head(run)
        manifest = ensure_manifest(run.dataset, run.work_dir)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        perturbed = PERTURBATION_IMAGES if with_fidelity else 0
        start = time.perf_counter()
        evaluate(
            dual.to(device),
            manifest.split("test"),
            run.backbone,
            run.network,
            run.evidence,
            EvaluationOptions(with_fidelity=with_fidelity, perturbation_images=perturbed),
        )
        facts = {
            "split": "test",
            "manifest_checksum": manifest.checksum,
            "classifier_sha256": sha256_of_file(run.classifier),
            "sigmoid_head_sha256": sha256_of_file(run.sigmoid_head),
            "perturbation_images": perturbed,
        }
        _describe(run, run.evidence, device=device, seconds=time.perf_counter() - start, **facts)
    return run.evidence


def record_of(path: Path) -> Any:
    """The provenance that lies beside a station's file."""
    return read_json(path.with_suffix(".json"))


def _describe(run: Run, path: Path, **facts: Any) -> None:
    names = {"dataset": run.dataset, "network": run.network, "seed": run.seed, "sha256": sha256_of_file(path)}
    write_json(path.with_suffix(".json"), provenance(**names, **facts))


def _is_made(path: Path, fabric: Fabric | None) -> bool:
    """Whether the file is there, for all processes alike: the first may be writing it while another looks."""
    return path.exists() if fabric is None else bool(fabric.broadcast(path.exists()))


def _refuse_another(recipe: Recipe | None, path: Path) -> None:
    """Refuse a recipe that was asked for where the file that is there was made by another."""
    if recipe is None:
        return
    recorded, asked = record_of(path).get("recipe") or {}, asdict(recipe)
    if other := [name for name in asked if recorded.get(name) != asked[name]]:
        fail(
            f"{path} was made with {other[0]} {recorded.get(other[0])}, not {asked[other[0]]}: delete it, or choose "
            "another work dir."
        )


def _checkpoint(path: Path, facts: dict[str, Any], seconds: float) -> Checkpoint:
    return Checkpoint(path.with_suffix(".unfinished"), json.dumps(facts, sort_keys=True), seconds)


def _save(
    run: Run,
    path: Path,
    trained: Trained,
    fabric: Fabric | None,
    moved: Mapping[str, Tensor] = MappingProxyType({}),
    **facts: Any,
) -> None:
    """Write what was trained, and the averages of the backbone's BatchNorm where training has moved them."""
    if fabric is None or fabric.is_global_zero:
        state = trained.module.state_dict() | {f"{BACKBONE_PREFIX}{name}": value for name, value in moved.items()}
        whole = {name: value.contiguous() for name, value in state.items()}
        write_atomically(path, lambda temporary: save_file(whole, temporary))
        device = fabric.device if fabric else "cuda" if torch.cuda.is_available() else "cpu"
        _describe(run, path, device=device, seconds=trained.seconds, history=trained.history, **facts)
    if fabric:
        fabric.barrier()


def _load(module: nn.Module, path: Path, dual: DualBranch | None = None) -> None:
    try:
        state = load_file(path)
        moved = {name: state.pop(name) for name in list(state) if name.startswith(BACKBONE_PREFIX)}
        module.load_state_dict(state)
        if moved and dual:
            buffers = {name.removeprefix(BACKBONE_PREFIX): value for name, value in moved.items()}
            dual.backbone.load_state_dict(buffers, strict=False)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        fail(f"checkpoint {path} does not fit this network ({reason}): delete it and train again.")
