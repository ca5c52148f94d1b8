"""A run: what one network is trained and evaluated on, and where its files lie. Names and places only, no torch."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from .backbones.formats import MLP, WEIGHTS, check_backbone
from .common.errors import check_choice, fail
from .common.paths import user_path
from .train.recipes import CLASSIFIER_RECIPES, ORIGINS, SIGMOID_RECIPES

CONVOLUTIONS_FROM = {"small_cnn_mlp": "small_cnn"}
"""Networks that start from the trained convolutions of another, since from scratch the MLP head does not learn in the
time that the embedded default may take."""
CONVOLUTIONS_OF_RECIPE = {"three-layers": ("vgg16", "last-block")}
"""Recipes of classifiers that start from the trained convolutions of a network and a recipe."""


def default_work_dir() -> Path:
    """``SIGCAM_WORK_DIR`` if it is set, else ``build`` in the project that encloses the current folder."""
    if chosen := os.environ.get("SIGCAM_WORK_DIR"):
        return user_path(chosen)
    here = Path.cwd()
    project = next((folder for folder in (here, *here.parents) if (folder / "pyproject.toml").exists()), here)
    return project / "build"


def resolve_work_dir(work_dir: str) -> Path:
    """Resolve the folder that a notebook's parameter names; empty means :func:`default_work_dir`."""
    return user_path(work_dir) if work_dir else default_work_dir()


def manifest_path(dataset: str, work_dir: Path) -> Path:
    """Where a data set's manifest lies."""
    return user_path(work_dir) / "data" / dataset / "manifest.parquet"


@dataclass(frozen=True)
class Run:
    """What one network is trained and evaluated on, and where its files lie.

    Attributes:
        dataset: a data set that was prepared, or is generated, with a training split.
        backbone: name known to :func:`sigcam_core.backbones.networks.build`.
        seed: of training.
        work_dir: folder of everything that is made, given as a path or as text.
        origin: where the softmax classifier comes from, one of :data:`sigcam_core.train.recipes.ORIGINS`.
        classifier_recipe: name in :data:`sigcam_core.train.recipes.CLASSIFIER_RECIPES`; empty for the usual one.
        sigmoid_recipe: name in :data:`sigcam_core.train.recipes.SIGMOID_RECIPES`; empty for the usual one.
        weights: where ImageNet weights come from, one of :data:`sigcam_core.backbones.formats.WEIGHTS`.

    Raises:
        SigcamError: for an unknown name, or a seed that is out of range.

    >>> Run("shapes", "small_cnn", work_dir=Path("build")).evidence.as_posix()
    'build/evidence/shapes-small_cnn-gap-seed0.parquet'
    >>> Run("stanford_cars", "efficientnet_lite0", origin="probe").name
    'stanford_cars-efficientnet_lite0-gap-probe-seed0'
    """

    dataset: str
    backbone: str
    seed: int = 0
    work_dir: Path = Path("build")
    origin: str = "scratch"
    classifier_recipe: str = ""
    sigmoid_recipe: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "work_dir", user_path(self.work_dir))
        if not re.fullmatch(r"\w+", self.dataset):
            fail(f"data set {self.dataset!r} is no name: give the name of its folder, of letters, digits and _.")
        check_backbone(self.backbone)
        check_choice("origin", self.origin, ORIGINS)
        check_choice("classifier recipe", self.classifier_recipe, ("", *CLASSIFIER_RECIPES))
        check_choice("sigmoid recipe", self.sigmoid_recipe, ("", *SIGMOID_RECIPES))
        check_choice("source of weights", self.weights, WEIGHTS)
        if not 0 <= self.seed < 2**32:
            fail(f"seed {self.seed} is out of range: give a whole number from 0 to {2**32 - 1}.")

    @property
    def network(self) -> str:
        """What the network is called in the evidence, by its name and the kind of its classifier's head.

        >>> Run("shapes", "small_cnn_mlp").network
        'small_cnn-mlp'
        """
        base = self.backbone.removesuffix(MLP)
        return f"{base}-{'gap' if base == self.backbone else 'mlp'}"

    @property
    def name(self) -> str:
        """What the files of the classifier are called. Whatever is usual is left out."""
        origin = self.origin if self.origin != "scratch" else ""
        parts = [self.dataset, self.network, origin, self.weights, self.classifier_recipe]
        return "-".join([*filter(None, parts), f"seed{self.seed}"])

    @property
    def full_name(self) -> str:
        """What the files of the sigmoid head, and of all that is measured with it, are called."""
        return "-".join(filter(None, [self.name, self.sigmoid_recipe]))

    @property
    def starts_from(self) -> Run | None:
        """The run from whose trained convolutions this one's classifier starts; ``None`` where there is none.

        >>> Run("shapes", "small_cnn_mlp").starts_from.name
        'shapes-small_cnn-gap-seed0'
        >>> Run("cub", "vgg16_mlp", origin="finetune", classifier_recipe="three-layers").starts_from.name
        'cub-vgg16-gap-finetune-last-block-seed0'
        """
        usual = (CONVOLUTIONS_FROM.get(self.backbone, ""), self.classifier_recipe)
        other, recipe = CONVOLUTIONS_OF_RECIPE.get(self.classifier_recipe, usual)
        return replace(self, backbone=other, classifier_recipe=recipe) if other else None

    @property
    def manifest(self) -> Path:
        """The data set's manifest."""
        return manifest_path(self.dataset, self.work_dir)

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


@dataclass(frozen=True)
class Extent:
    """How much the evaluation of a run measures.

    Attributes:
        with_fidelity: besides localisation and pointing.
        perturbed_images: how many images get insertion and deletion.
        perturbation_steps: of these curves.
        explained_images: how many images get fidelity, a sample; ``None`` for all.
        methods: which maps; none for those of the paper that the head allows.
        in_bfloat16: run the backbone on bfloat16 numbers.
    """

    with_fidelity: bool = True
    perturbed_images: int = 100
    perturbation_steps: int = 10
    explained_images: int | None = None
    methods: tuple[str, ...] = ()
    in_bfloat16: bool = False


class Shown(NamedTuple):
    """A run as a page shows it."""

    run: Run  #: which
    network: str  #: what its network is called there
    methods: tuple[str, ...] = ()  #: which are shown; none for all
    measured: Extent = Extent()  #: by its evaluation
