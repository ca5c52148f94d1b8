"""What a profile costs, before anything starts: passes counted from the matrix, and a stated model of their time.

Passes are counted exactly as the recipes and the evaluation make them; a backward pass counts as two forward ones. How
long a pass takes is a model. On a CPU it has two numbers, the FLOP/s of passes and the seconds that localising an
image's maps takes, fitted to what is recorded under ``results/``, and its error on these records is printed with it.
On a GPU nothing was measured: the estimate rests on an assumed FLOP/s. No torch here.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from sigcam_core.backbones.formats import MLP
from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json
from sigcam_core.run import Extent, Run, manifest_path
from sigcam_core.train.recipes import Recipe, recipe_of_classifier, recipe_of_sigmoid_head

from .matrix import Profile, filled_by, shown_runs

RESULTS = Path(__file__).parents[1] / "results"  # of the project
ASSUMED_GPU_TFLOPS = 20.0
"""TFLOP/s that a data-centre GPU is assumed to sustain on these networks in 32-bit numbers. Nobody measured it here."""
BACKWARD = 2  # in forward passes
HEADS = 2
BYTES = {"float16": 2, "float32": 4}
ROW_BYTES = 2 * 255 * 4  # of the evidence: two curves of 255 gray levels; compression halves it at least


COLUMNS = (
    "data set",
    "jobs",
    "GPU h",
    "and maps on the CPU, h",
    "without a GPU, h",
    "disk, GB",
    "download, GB",
    "by hand, GB",
)


class Network(NamedTuple):
    """What a network costs."""

    gflop: float  #: of a forward pass of one image
    parameters: float  #: in millions, for 1,000 classes
    head_parameters: float  #: in millions, of a second head
    width: int  #: numbers per image that its head takes
    maps: int = 6  #: how many of an image's maps differ


COSTS = {
    "small_cnn": Network(0.0209, 0.056, 0.00039, 48),
    "small_cnn_mlp": Network(0.0211, 0.18, 0.12, 432, 8),
    "efficientnet_lite0": Network(0.770, 4.65, 1.28, 1280),
    "vgg16": Network(32.54, 20.46, 1.03, 1024),
    "vgg16_mlp": Network(30.94, 138.36, 123.64, 25088, 8),
    "resnet50": Network(12.42, 25.56, 2.05, 2048),
    "resnet50_64px": Network(1.014, 25.56, 2.05, 2048),
    "inception_v3": Network(12.40, 26.51, 1.03, 1024),
    "inception_v3_mixed_7c": Network(5.68, 23.83, 2.05, 2048),
}
"""Costs of each network of the matrix, and of the one in the records."""


class DataSet(NamedTuple):
    """How large a data set is."""

    train: int  #: images
    val: int  #: images
    test: int  #: images
    download: float = 0.0  #: GB that its preparer downloads
    by_hand: float = 0.0  #: GB of archives that you must fetch
    disk: float = 0.0  #: GB of archives and images


DATA_SETS = {
    "shapes": DataSet(3200, 400, 300, disk=0.1),
    "tiny_imagenet": DataSet(90_000, 10_000, 10_000, download=0.25, disk=0.8),
    "cub": DataSet(5395, 599, 5794, download=1.15, disk=2.4),
    "stanford_cars": DataSet(5479, 609, 2056, download=1.0, disk=2.0),
    # Its archive of masks comes on top; its size is not known beforehand.
    "openimages": DataSet(29_819, 2500, 5000, download=11.2, disk=11.5),
    "imagenet": DataSet(1_268_356, 12_811, 50_000, by_hand=154.6, disk=310.0),
}
"""As their preparers split them with the default options."""
BY_HAND = ("imagenet", "openimages")
"""Data sets whose archive may not be redistributed."""
MINIATURE = DataSet(4, 2, 2, disk=0.01)
"""Each data set of a miniature, as ``python -m data_scripts.miniature`` makes it."""


@dataclass(frozen=True)
class Cost:
    """What a number of runs costs.

    Attributes:
        train_gflop: of the passes of training.
        evaluate_gflop: of the passes of the evaluation.
        located: images whose maps are localised, which a CPU does.
        disk: GB of checkpoints, cached features and evidence.
        classifiers: trainings of a classifier.
        heads: trainings of a sigmoid head.
        evaluations: of a test split.
    """

    train_gflop: float = 0.0
    evaluate_gflop: float = 0.0
    located: int = 0
    disk: float = 0.0
    classifiers: int = 0
    heads: int = 0
    evaluations: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def gflop(self) -> float:
        """Cost of all passes."""
        return self.train_gflop + self.evaluate_gflop


def images_of(dataset: str, is_miniature: bool = False) -> DataSet:
    """Look up how many images a data set has, and what they take."""
    return MINIATURE if is_miniature else DATA_SETS[dataset]


def cost_of_classifier(run: Run, data: DataSet) -> Cost:
    """Training a softmax classifier as a whole: forward and backward passes of every epoch, and one over ``val``."""
    recipe, network = recipe_of_classifier(run.classifier_recipe, run.origin, run.backbone), COSTS[run.backbone]
    if recipe is None or run.origin == "probe":
        fail(f"origin {run.origin!r} is no training of a whole network: a plan counts 'scratch' and 'finetune'.")
    passes = recipe.epochs * ((1 + BACKWARD) * data.train + data.val)
    return Cost(train_gflop=passes * network.gflop, disk=network.parameters * 4e-3, classifiers=1)


def cost_of_head(run: Run, data: DataSet) -> Cost:
    """Training a sigmoid head: a pass of the frozen backbone a view, or an epoch; epochs on a cache are free."""
    recipe, network = recipe_of_sigmoid_head(run.sigmoid_recipe, run.backbone), COSTS[run.backbone]
    passes = (recipe.views if recipe.cached else recipe.epochs) * data.train + data.val
    disk = network.head_parameters * 4e-3 + _cache(recipe, data) * network.width / 1e9
    return Cost(train_gflop=passes * network.gflop, disk=disk, heads=1)


def _cache(recipe: Recipe, data: DataSet) -> int:
    images = recipe.views * data.train * recipe.cached + data.val
    return images * BYTES[recipe.cache_type]


def cost_of_evaluation(run: Run, data: DataSet, measured: Extent) -> Cost:
    """One pass per image; fidelity adds one per map, and 2 S - 1 per map of an image perturbed in S steps."""
    network = COSTS[run.backbone]
    passes = data.test
    if measured.with_fidelity:
        perturbed = min(measured.perturbed_images, data.test)
        passes += network.maps * (data.test + (2 * measured.perturbation_steps - 1) * perturbed)
    rows = data.test * HEADS * (4 if run.backbone.endswith(MLP) else 5)
    return Cost(evaluate_gflop=passes * network.gflop, located=data.test, disk=rows * ROW_BYTES / 1e9, evaluations=1)


def costs_of(profile: Profile) -> dict[str, Cost]:
    """Compute the cost of a profile by data set; what two runs share is counted once."""
    costs = dict.fromkeys(profile.data_sets, Cost())
    made = set[Path]()

    def once(path: Path, cost: Cost) -> Cost:
        is_new = path not in made
        made.add(path)
        return cost if is_new else Cost()

    for run, _, _, measured in shown_runs(profile.name, Path()):
        data = images_of(run.dataset, profile.is_miniature)
        costs[run.dataset] += once(run.classifier, cost_of_classifier(run, data))
        costs[run.dataset] += once(run.sigmoid_head, cost_of_head(run, data))
        costs[run.dataset] += once(run.evidence, cost_of_evaluation(run, data, measured))
    return costs


class Observation(NamedTuple):
    """A time that was recorded on two cores."""

    name: str  #: what took it
    gflop: float  #: of its passes
    located: int  #: images whose maps were localised
    seconds: float  #: that it took


class Speed(NamedTuple):
    """The model of the time on a CPU. Its errors are factors, recorded over modelled seconds or the reverse."""

    gflop_per_second: float  #: of passes
    seconds_per_image: float  #: of localising an image's maps
    typical: float  #: median of the errors on the records
    worst: float  #: the greatest
    worst_name: str  #: the record that it is of
    records: int  #: how many there are

    def seconds(self, gflop: float, located: int) -> float:
        """Estimate how long passes and localisation take on the CPU."""
        return gflop / self.gflop_per_second + located * self.seconds_per_image


def observations(results: Path = RESULTS) -> list[Observation]:
    """Collect recorded times of passes: evaluation and training of the experiments, and plain forward passes."""
    found = list(_of_experiments(results))
    passes = results / "overhead" / "cpu_head_training.csv"
    if passes.is_file():
        with passes.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                seconds = float(row["forward_pass"]) / 1000
                found.append(Observation(f"forward pass of {row['network']}", COSTS[row["network"]].gflop, 0, seconds))
    if not found:
        fail(f"{results} has no records to fit a model of the time to: plan in a clone of the project.")
    return found


def _of_experiments(results: Path) -> Iterator[Observation]:
    for path in sorted(results.glob("*/record.json")):
        record = read_json(path)
        if not {"experiment", "evidence", "test_images"} <= set(record):
            continue
        if (record["experiment"].get("measured") or {}).get("in_bfloat16"):
            continue  # another kind of passes, and of some images alone
        name = record["experiment"]["backbone"]
        network, evidence = COSTS[name], record["evidence"]
        run = Run(record["experiment"]["dataset"], name)
        data = DataSet(0, 0, record["test_images"])
        measured = Extent(True, evidence["perturbation_images"])
        cost = cost_of_evaluation(run, data, measured)
        yield Observation(f"evaluation of {path.parent.name}", cost.gflop, cost.located, evidence["seconds"])
        manifest = record["manifest"]
        # Only the manifest of generated images says how many there are to train on.
        if record["experiment"]["origin"] == "scratch" and {"train", "val"} <= set(manifest):
            epochs = len(record["classifier"]["history"])
            gflop = epochs * ((1 + BACKWARD) * manifest["train"] + manifest["val"]) * network.gflop
            yield Observation(f"training of {path.parent.name}", gflop, 0, record["classifier"]["seconds"])


def fitted_speed(found: Sequence[Observation]) -> Speed:
    """Fit the two numbers of the model: least squares of the logarithms, on a grid of steps of 5 %.

    Args:
        found: from :func:`observations`.
    """
    rates, delays = ([low * 1.05**step for step in range(count)] for low, count in ((5.0, 120), (0.001, 160)))

    def errors(pair: tuple[float, float]) -> list[float]:
        rate, delay = pair
        return [math.log(one.seconds / (one.gflop / rate + one.located * delay)) for one in found]

    best = min(product(rates, delays), key=lambda pair: sum(error**2 for error in errors(pair)))
    factors = [math.exp(abs(error)) for error in errors(best)]
    worst = max(range(len(found)), key=factors.__getitem__)
    return Speed(*best, sorted(factors)[len(factors) // 2], factors[worst], found[worst].name, len(found))


def papers_gpu() -> dict[str, float]:
    """TFLOP/s by network that the hours of the paper's Table 3 imply, if they are of the training that we count."""
    table = Path(__file__).parent / "paper" / "paper_tables" / "table3_overhead.csv"
    with table.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "training_time"]
    return {
        row["backbone"]: cost_of_classifier(
            filled_by(row["dataset"], row["backbone"]).run(), DATA_SETS["imagenet"]
        ).gflop
        / float(row["baseline"])
        / 3.6e6
        for row in rows
    }


def print_plan(profile: Profile, work_dir: Path, gpu_tflops: float = ASSUMED_GPU_TFLOPS) -> None:
    """Print what a profile costs: jobs, hours, disk and download, and what the numbers rest on.

    Args:
        profile: which.
        work_dir: folder of everything that is made, to see what is prepared.
        gpu_tflops: TFLOP/s that the GPU sustains.

    Raises:
        SigcamError: if ``gpu_tflops`` is not positive, or there are no records.
    """
    if not 0 < gpu_tflops < math.inf:
        fail(f"--gpu-tflops {gpu_tflops} is out of range: give a positive number.")
    found = observations()
    speed, costs = fitted_speed(found), costs_of(profile)
    console = Console(width=120)
    console.print(_table(profile, costs, speed, gpu_tflops))
    for line in notes(profile, work_dir, speed, gpu_tflops):
        console.print(f"- {line}", soft_wrap=True, highlight=False)


def minutes_of(cost: Cost, speed: Speed, devices: int = 1) -> int:
    """Minutes that a scheduler may allow for a cost on GPUs: twice what the plan assumes, and half an hour.

    Args:
        cost: of one job.
        speed: from :func:`fitted_speed`.
        devices: GPUs that share the passes evenly.
    """
    seconds = cost.gflop / ASSUMED_GPU_TFLOPS / 1000 / devices + cost.located * speed.seconds_per_image
    return 30 + math.ceil(2 * seconds / 60)


def _table(profile: Profile, costs: dict[str, Cost], speed: Speed, gpu_tflops: float) -> Table:
    table = Table(title=f"Profile {profile.name}: {len(profile.runs())} runs")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == COLUMNS[0] else "right")
    data = {name: images_of(name, profile.is_miniature) for name in costs}
    whole = DataSet(0, 0, 0, *(sum(one[place] for one in data.values()) for place in (3, 4, 5)))
    for name, cost, images in (
        *((n, c, data[n]) for n, c in costs.items()),
        ("all", sum(costs.values(), Cost()), whole),
    ):
        figures = (
            cost.gflop / gpu_tflops / 3.6e6,
            cost.located * speed.seconds_per_image / 3600,
            speed.seconds(cost.gflop, cost.located) / 3600,
            images.disk + cost.disk,
            images.download,
            images.by_hand,
        )
        jobs = (len(costs) if name == "all" else 1) + cost.classifiers + cost.heads + cost.evaluations
        table.add_row(name, str(jobs), *map(_rounded, figures))
    return table


def _rounded(figure: float) -> str:
    return "< 0.01" if 0 < figure < 0.01 else f"{figure:,.0f}" if figure >= 10 else f"{figure:.2g}"


def notes(profile: Profile, work_dir: Path, speed: Speed, gpu_tflops: float) -> list[str]:
    """List what the numbers of a plan rest on, one sentence each.

    Args:
        profile: which.
        work_dir: folder of everything that is made.
        speed: from :func:`fitted_speed`.
        gpu_tflops: TFLOP/s that the GPU sustains.
    """
    implied = ", ".join(f"{value:.1f} ({name})" for name, value in papers_gpu().items())
    by_hand = [] if profile.is_miniature else [name for name in profile.data_sets if name in BY_HAND]
    needed = [name for name in by_hand if not manifest_path(name, work_dir).is_file()]
    lines = [
        "Jobs are data sets, trainings of classifiers and of heads, and evaluations; pages and the book come on top.",
        f"GPU hours are an ASSUMPTION, {gpu_tflops:g} TFLOP/s sustained on one GPU: no GPU was measured. The hours of "
        f"the paper's Table 3 would be {implied} TFLOP/s. Change it with --gpu-tflops.",
        f"CPU hours are of two cores like those of results/: {speed.gflop_per_second:.0f} GFLOP/s of passes and "
        f"{1000 * speed.seconds_per_image:.0f} ms per image to localise its maps, fitted to {speed.records} records. "
        f"It is off by a factor of {speed.typical:.1f} at the median and {speed.worst:.1f} at worst "
        f"({speed.worst_name}).",
        "A backward pass counts as two forward ones. Starts of processes (4 s each), the reading of images and updates "
        "of weights count nothing.",
        "Disk is of archives, images, weights, cached features and evidence, the last before compression.",
    ]
    if needed:
        lines.append(
            f"Not prepared in {work_dir / 'data'}, and with archives to fetch by hand: {', '.join(needed)}. Name their "
            "folder in SIGCAM_DATA; `python -m sigcam_core prepare NAME` says which files."
        )
    return lines
