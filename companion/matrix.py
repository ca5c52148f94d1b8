"""The matrix of experiments: data sets x networks x forms x recipes x seeds, in profiles. Names only, no torch.

The workflow makes the runs of a profile (``make reproduce PROFILE=paper``), :mod:`companion.plan` counts what they
cost, and the pages of the paper's Tables 1 to 3 show them. :func:`filled_by` says which run fills a row of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from sigcam_core.common.errors import check_choice, fail
from sigcam_core.run import Extent, Run, Shown

DATA_SETS = {
    "imagenet-1k": "imagenet",
    "openimages-30k": "openimages",
    "cub-200-2011": "cub",
    "stanford-cars": "stanford_cars",
}
"""The project's name of each of the paper's data sets; networks and methods have the same names in both."""
CAM, GRADIENT = "cam", "gradient"
"""The two forms of a network, that of the paper's CAM rows and that of its gradient-based rows."""


class Form(NamedTuple):
    """A network in one of its forms."""

    backbone: str  #: its name in :data:`sigcam_core.backbones.formats.BACKBONES`
    sigmoid_recipe: str = ""  #: of its sigmoid head; empty for the usual one


NETWORKS = {
    # The embedded default: GAP and one linear layer, and an MLP head.
    "small_cnn": {CAM: Form("small_cnn"), GRADIENT: Form("small_cnn_mlp")},
    # The paper's, with the rates of its scripts.
    "vgg16": {CAM: Form("vgg16", "paper-vgg16-cam"), GRADIENT: Form("vgg16_mlp", "paper-vgg16-gradcam")},
    # One network and one classifier in both forms, with a sigmoid head of either rate.
    "resnet50": {CAM: Form("resnet50", "paper-resnet50-cam"), GRADIENT: Form("resnet50", "paper-resnet50-gradcam")},
    # No rate of its heads is published: they take our recipe.
    "inception_v3": {CAM: Form("inception_v3"), GRADIENT: Form("inception_v3_mixed_7c")},
}
"""Every network of the matrix, by the paper's name, in both forms."""
PAPER_NETWORKS = ("vgg16", "resnet50", "inception_v3")
"""The networks of the paper's tables (Oh and Noh 2025, Tables 1 to 3)."""
FIDELITY_DATA_SETS = ("shapes", "cub", "stanford_cars")
"""Data sets whose runs are evaluated for Table 2 too, the embedded one and the paper's two."""
METHODS_OF_FORM = {CAM: ("cam",), GRADIENT: ("gradcam", "gradcam++", "xgradcam", "layercam")}
"""The methods of the paper's rows that a form is for."""


@dataclass(frozen=True)
class Entry:
    """One entry of the matrix.

    Attributes:
        dataset: of the project.
        network: one of :data:`NETWORKS`.
        form: ``"cam"`` or ``"gradient"``.
        origin: of the softmax classifier, one of :data:`sigcam_core.train.recipes.ORIGINS`.
        classifier_recipe: empty for the usual one.
        sigmoid_recipe: empty for the usual one.
        seed: of training.
    """

    dataset: str
    network: str
    form: str
    origin: str
    classifier_recipe: str
    sigmoid_recipe: str
    seed: int

    def run(self, work_dir: Path = Path("build")) -> Run:
        """Return the run of this entry; with one recipe for all heads, both forms of ResNet-50 share theirs."""
        backbone = NETWORKS[self.network][self.form].backbone
        recipes = (self.classifier_recipe, self.sigmoid_recipe)
        return Run(self.dataset, backbone, self.seed, work_dir, self.origin, *recipes)


@dataclass(frozen=True)
class Profile:
    """A part of the matrix that is made in one go.

    Attributes:
        name: on the command line.
        about: what its values are, in one sentence for the top of a page.
        data_sets: of the project.
        networks: of :data:`NETWORKS`, each in both forms.
        origin: of the softmax classifiers.
        classifier_recipe: of all classifiers; empty for the usual ones.
        sigmoid_recipe: of all sigmoid heads; ``None`` for those of the forms.
        seeds: of training.
        perturbed_images: how many images get insertion and deletion where fidelity is measured.
        perturbation_steps: of these curves.
        is_miniature: whether data and weights are made for the occasion, so that values mean nothing.
        batch_size: images per pass of the timing of Table 3.
        repeats: pairs of passes there; ``None`` for the notebook's own.
    """

    name: str
    about: str
    data_sets: tuple[str, ...]
    networks: tuple[str, ...] = PAPER_NETWORKS
    origin: str = "finetune"
    classifier_recipe: str = "paper"
    sigmoid_recipe: str | None = None
    seeds: tuple[int, ...] = (0,)
    perturbed_images: int = 100
    perturbation_steps: int = 10
    is_miniature: bool = False
    batch_size: int = 8
    repeats: int | None = None

    @property
    def folder(self) -> Path:
        """Where everything that is made lies within the usual work dir, unless another is named."""
        return Path() if self.name == USUAL else Path(self.name)

    def entries(self) -> list[Entry]:
        """All entries, data set by data set."""
        return [
            Entry(dataset, network, form, self.origin, self.classifier_recipe, self._head_recipe(network, form), seed)
            for dataset in self.data_sets
            for network in self.networks
            for form in NETWORKS[network]
            for seed in self.seeds
        ]

    def from_seed(self, seed: int) -> Profile:
        """Shift the seeds: ``seed`` is added to each."""
        return replace(self, seeds=tuple(seed + own for own in self.seeds))

    def runs(self, work_dir: Path = Path("build")) -> list[Run]:
        """All runs, each once."""
        return list(dict.fromkeys(entry.run(work_dir) for entry in self.entries()))

    def measured(self, dataset: str) -> Extent:
        """Return what is measured on a data set."""
        if dataset not in FIDELITY_DATA_SETS:
            return Extent(False, 0)
        return Extent(True, self.perturbed_images, self.perturbation_steps)

    def shown(self, work_dir: Path) -> list[Shown]:
        """List the runs as pages show them, each network under the paper's name.

        The CAM method is shown of its CAM form, all others of its gradient form.
        """
        return [
            Shown(
                entry.run(work_dir),
                entry.network + ("" if entry.seed == self.seeds[0] else f", seed {entry.seed}"),
                METHODS_OF_FORM[entry.form],
                self.measured(entry.dataset),
            )
            for entry in self.entries()
        ]

    def _head_recipe(self, network: str, form: str) -> str:
        return NETWORKS[network][form].sigmoid_recipe if self.sigmoid_recipe is None else self.sigmoid_recipe


USUAL = "quick"
"""The profile where none is named."""
_MINIATURE = Profile(
    "miniature",
    "**these numbers mean nothing**: they come from random weights, one epoch and a few generated images in "
    "the layouts of the paper's four data sets, and show only that every step of profile `paper` runs",
    tuple(DATA_SETS.values()),
    classifier_recipe="miniature",
    sigmoid_recipe="miniature",
    perturbed_images=1,
    perturbation_steps=2,
    is_miniature=True,
    batch_size=1,
    repeats=1,
)
PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            USUAL,
            "small networks on generated images: evidence about the mechanism, not a replication of the paper's "
            "figures",
            ("shapes",),
            ("small_cnn",),
            origin="scratch",
            classifier_recipe="",
        ),
        Profile(
            "open",
            "the paper's networks in both forms, fine-tuned on data sets that anybody may download; of these, CUB and "
            "Stanford Cars are the paper's",
            ("tiny_imagenet", "cub", "stanford_cars"),
        ),
        Profile(
            "paper",
            "the paper's networks in both forms, fine-tuned on the paper's four data sets with its recipes",
            tuple(DATA_SETS.values()),
        ),
        _MINIATURE,
        replace(
            _MINIATURE,
            name="trial",
            about="**these numbers mean nothing**: one data set and one network of profile `miniature`, to try a "
            "cluster with before more is sent to it",
            data_sets=("cub",),
            networks=("inception_v3",),
        ),
    )
}
"""The profiles by name."""
PROFILE_NAMES = ("", *PROFILES)
"""What a notebook's parameter may be, the name of a profile or nothing for runs that are named one by one."""


EMBEDDED = ("shapes", ("small_cnn", "small_cnn_mlp"))
"""Data set and networks of the usual profile, under the names of :data:`sigcam_core.backbones.formats.BACKBONES`."""


def profile_of(name: str) -> Profile:
    """Look up a profile by name.

    Raises:
        SigcamError: for an unknown name.
    """
    return PROFILES[check_choice("profile", name, tuple(PROFILES))]


def form_of(method: str) -> str:
    """Return the form of the paper's networks that its rows of a method use.

    Raises:
        SigcamError: for a method that the paper's tables do not have.

    >>> form_of("cam"), form_of("layercam")
    ('cam', 'gradient')
    """
    forms = {name: form for form, methods in METHODS_OF_FORM.items() for name in methods}
    return forms[check_choice("method of the paper", method, list(forms))]


def filled_by(dataset: str, backbone: str, method: str = CAM, profile: str = "paper") -> Entry:
    """Find the entry that fills a row of the paper's Table 1 or 2; a row of Table 3 has no method and the CAM form.

    Args:
        dataset: as the paper's tables name it, such as ``"cub-200-2011"``.
        backbone: as they name it, such as ``"vgg16"``.
        method: such as ``"gradcam"``.
        profile: whose runs are meant.

    Raises:
        SigcamError: for names that the paper's tables do not have, or a data set or network that the profile lacks.

    >>> filled_by("cub-200-2011", "vgg16", "gradcam").run().full_name
    'cub-vgg16-mlp-finetune-paper-seed0-paper-vgg16-gradcam'
    """
    own = DATA_SETS[check_choice("data set of the paper", dataset, tuple(DATA_SETS))]
    form = form_of(method)
    for entry in profile_of(profile).entries():
        if (entry.dataset, entry.network, entry.form) == (own, backbone, form):
            return entry
    fail(f"profile {profile!r} has no {backbone} on {own}: choose another profile.")


def job_of(dataset: str, backbone: str, method: str = CAM, profile: str = "paper") -> tuple[str, str]:
    """Return the name of the run that fills a row of the paper, and the file that the workflow makes for it.

    Args:
        dataset: see :func:`filled_by`, as the others.
        backbone: of the row.
        method: of the row.
        profile: whose run is meant.

    >>> job_of("cub-200-2011", "resnet50")[1]
    'build/paper/evidence/cub-resnet50-gap-finetune-paper-seed0-paper-resnet50-cam.parquet'
    """
    run = filled_by(dataset, backbone, method, profile).run(Path("build") / profile_of(profile).folder)
    return run.full_name, run.evidence.as_posix()


def shown_runs(
    profile: str,
    work_dir: Path,
    seed: int = 0,
    dataset: str = "",
    networks: Sequence[str] = (),
    origin: str = "scratch",
) -> list[Shown]:
    """List the runs that a page shows: a profile's, or named networks on one data set with all methods.

    Args:
        profile: name of a profile; empty where runs are named one by one.
        work_dir: folder of everything that is made.
        seed: of training; of a profile with several, the first.
        dataset: without a profile.
        networks: without a profile, as :data:`sigcam_core.backbones.formats.BACKBONES` calls them.
        origin: without a profile, of the softmax classifiers.

    Raises:
        SigcamError: for an unknown name.
    """
    if profile:
        return profile_of(profile).from_seed(seed).shown(work_dir)
    runs = [Run(dataset, network, seed, work_dir, origin) for network in networks]
    return [Shown(run, run.network) for run in runs]


def table3_runs(profile: str, work_dir: Path, seed: int = 0) -> list[Shown]:
    """List the runs of Table 3: the profile's CAM form on ImageNet, or on its first data set where it has no ImageNet.

    Args:
        profile: name of a profile; empty for the embedded networks in both forms, under their own names.
        work_dir: folder of everything that is made.
        seed: of training.
    """
    if not profile:
        return shown_runs("", work_dir, seed, *EMBEDDED)
    data_sets = profile_of(profile).data_sets
    first = "imagenet" if "imagenet" in data_sets else data_sets[0]
    return [
        one
        for one in shown_runs(profile, work_dir, seed)
        if one.run.dataset == first and one.methods == METHODS_OF_FORM[CAM]
    ]


def told(profile: str, dataset: str = EMBEDDED[0], networks: Sequence[str] = EMBEDDED[1]) -> str:
    """Describe the runs that a page shows, as Markdown for its top.

    Args:
        profile: name of a profile; empty where runs are named one by one.
        dataset: of these.
        networks: of these.
    """
    if not profile and (dataset, tuple(networks)) != EMBEDDED:
        return f"**This page shows {', '.join(networks)} on {dataset}**, as its parameters ask."
    one = profile_of(profile or USUAL)
    where = f"Data sets: {', '.join(one.data_sets)}. Networks: {', '.join(one.networks)}, each in both forms."
    return f"**This page shows profile `{one.name}`**: {one.about}. {where}"
