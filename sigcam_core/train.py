"""Training: the softmax classifier, then the sigmoid head on the frozen classifier's cached head inputs."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .backbones import build, input_format
from .data import Manifest, image_batches
from .dual import DualBranch
from .errors import fail
from .losses import class_balanced_bce

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Report = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train. Learning rates are peaks of a one-cycle schedule.

    Attributes:
        epochs: passes over the training split.
        batch_size: images a step.
        learning_rate: greatest learning rate.
        weight_decay: of AdamW.
        views: for the sigmoid head, how many augmented views of each image are cached.

    Raises:
        SigcamError: if a count is below 1 or the learning rate is not a positive number.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    views: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "views"):
            if getattr(self, name) < 1:
                fail(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 < self.learning_rate < math.inf:
            fail(f"learning_rate must be a positive number, got {self.learning_rate}.")


# The network with the MLP head starts from the convolutions of the one with the GAP head, so it needs little more.
CLASSIFIER_RECIPES = {
    "gap": Recipe(epochs=8, batch_size=32, learning_rate=5e-3, weight_decay=0.05),
    "mlp": Recipe(epochs=2, batch_size=32, learning_rate=2e-3, weight_decay=0.05),
}
SIGMOID_RECIPE = Recipe(epochs=12, batch_size=64, learning_rate=2e-3, weight_decay=5e-4)


@dataclass(frozen=True)
class Trained:
    """What a training run leaves: the module, a row an epoch, and the time it took."""

    module: nn.Module
    history: list[dict[str, float]]
    seconds: float


def print_to_stderr(line: str) -> None:
    """The default progress report: one line, shown at once."""
    print(line, file=sys.stderr, flush=True)


def start_fabric(seed: int, accelerator: str = "auto") -> Fabric:
    """A Fabric on one device, CUDA where there is one, with every random generator seeded."""
    from lightning_fabric import Fabric  # takes seconds to import, which whoever only evaluates need not spend

    fabric = Fabric(accelerator=accelerator, devices=1)
    fabric.seed_everything(seed, verbose=False)
    return fabric


def train_classifier(
    train: Manifest,
    val: Manifest,
    backbone: str,
    head: str,
    recipe: Recipe | None = None,
    seed: int = 0,
    report: Report = print_to_stderr,
    start_from: nn.Module | None = None,
) -> Trained:
    """Train a softmax classifier with cross-entropy, AdamW and a one-cycle schedule.

    Args:
        train: training images.
        val: images for the accuracy in the history; they choose nothing.
        backbone: name known to :func:`sigcam_core.backbones.build`.
        head: ``"gap"`` or ``"mlp"``.
        recipe: lengths and rates; ``None`` takes the head's of ``CLASSIFIER_RECIPES``.
        seed: of weights, order and augmentation.
        report: called with one line an epoch.
        start_from: a classifier of the same backbone whose ``features`` to start from, instead of random ones.

    Raises:
        SigcamError: if the loss becomes NaN or infinite, or an argument is unknown.
    """
    start = time.perf_counter()
    fabric = start_fabric(seed)
    model = build(backbone, train.num_classes, head)
    recipe = recipe or CLASSIFIER_RECIPES[head]
    if start_from is not None:
        model.get_submodule("features").load_state_dict(start_from.get_submodule("features").state_dict())
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    generator = torch.Generator().manual_seed(seed)
    form = input_format(backbone)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _, images, labels in image_batches(
            train, recipe.batch_size, *form, shuffle=True, augment="flip", generator=generator
        ):
            yield images.to(memory_format=torch.channels_last), labels

    history = _fit(
        fabric,
        model,
        cross_entropy,
        batches,
        num_items=len(train),
        recipe=recipe,
        accuracy=lambda: top1_accuracy(model, val, backbone),
        report=lambda line: report(f"{backbone}-{head} classifier: {line}"),
    )
    return Trained(model.eval().cpu(), history, time.perf_counter() - start)


def train_sigmoid_head(
    dual: DualBranch,
    train: Manifest,
    val: Manifest,
    backbone: str,
    recipe: Recipe = SIGMOID_RECIPE,
    seed: int = 0,
    report: Report = print_to_stderr,
) -> Trained:
    """Train the sigmoid head with class-balanced BCE; backbone and softmax head stay frozen.

    The frozen backbone sees each of ``recipe.views`` views of an image once; the head then trains on what the
    backbone gave, pooled as the head pools it, so that epochs cost next to nothing.

    Args:
        dual: network whose ``sigmoid_head`` is trained in place.
        train: training images.
        val: images for the accuracy in the history; they choose nothing.
        backbone: name of the network, for its input format.
        recipe: lengths and rates.
        seed: of order and augmentation.
        report: called with one line an epoch.

    Raises:
        SigcamError: if the loss becomes NaN or infinite.
    """
    start = time.perf_counter()
    fabric = start_fabric(seed)
    dual.to(fabric.device)
    pool, rest = split_pooling(dual.sigmoid_head)
    inputs, labels = cache_head_inputs(dual, pool, train, backbone, recipe.views, seed)
    val_inputs, val_labels = cache_head_inputs(dual, pool, val, backbone, 1, seed, augment=None)
    generator = torch.Generator().manual_seed(seed)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(labels), generator=generator)
        for index in torch.split(order, recipe.batch_size):
            index = index.to(inputs.device)
            yield inputs[index], labels[index]

    def accuracy() -> float:
        rest.eval()
        with torch.no_grad():
            return 100 * float((rest(val_inputs).argmax(1) == val_labels).double().mean())

    history = _fit(
        fabric,
        rest,
        class_balanced_bce,
        batches,
        num_items=len(labels),
        recipe=recipe,
        accuracy=accuracy,
        report=lambda line: report(f"{backbone} sigmoid head: {line}"),
    )
    dual.eval().cpu()
    return Trained(dual.sigmoid_head, history, time.perf_counter() - start)


def split_pooling(head: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Split a head into the pooling that needs no training and the layers that do.

    Raises:
        SigcamError: if the head is not a sequence of layers.
    """
    if not isinstance(head, nn.Sequential):
        fail(f"the head must be an nn.Sequential to cache its inputs, got {type(head).__name__}.")
    layers = list(head)
    passive = (nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity)
    count = next((i for i, layer in enumerate(layers) if not isinstance(layer, passive)), len(layers))
    return nn.Sequential(*layers[:count]), nn.Sequential(*layers[count:])


@torch.no_grad()
def cache_head_inputs(
    dual: DualBranch,
    pool: nn.Module,
    manifest: Manifest,
    backbone: str,
    views: int,
    seed: int,
    augment: Literal["flip"] | None = "flip",
) -> tuple[Tensor, Tensor]:
    """Run the frozen backbone once over ``views`` views of every image and keep the pooled features.

    Returns:
        Inputs (views * N, D) of the head's trainable part and labels (views * N,), on the network's device.
    """
    device = next(dual.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    inputs, labels = [], []
    for _ in range(views):
        for _, images, batch_labels in image_batches(
            manifest, 128, *input_format(backbone), augment=augment, generator=generator
        ):
            inputs.append(pool(dual.extract(images.to(device))))
            labels.append(batch_labels.to(device))
    return torch.cat(inputs), torch.cat(labels)


@torch.no_grad()
def top1_accuracy(model: nn.Module, manifest: Manifest, backbone: str) -> float:
    """Share of images whose greatest logit is their label, in %."""
    model.eval()
    device = next(model.parameters()).device
    correct = 0
    for _, images, labels in image_batches(manifest, 128, *input_format(backbone)):
        correct += int((model(images.to(device)).argmax(1).cpu() == labels).sum())
    return 100 * correct / len(manifest)


def _fit(
    fabric: Fabric,
    module: nn.Module,
    loss_function: Callable[[Tensor, Tensor], Tensor],
    batches: Callable[[], Iterator[tuple[Tensor, Tensor]]],
    num_items: int,
    recipe: Recipe,
    accuracy: Callable[[], float],
    report: Report,
) -> list[dict[str, float]]:
    optimizer: Any = torch.optim.AdamW(module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * -(-num_items // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps, pct_start=0.25)
    wrapped, optimizer = fabric.setup(module, optimizer)
    history = []
    for epoch in range(1, recipe.epochs + 1):
        start, total = time.perf_counter(), 0.0
        module.train()
        for inputs, labels in batches():
            inputs, labels = inputs.to(fabric.device), labels.to(fabric.device)
            loss = loss_function(wrapped(inputs), labels)
            if not bool(loss.isfinite()):
                fail(f"the loss became {loss.item()} in epoch {epoch}: lower the learning rate.")
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(labels)
        row = {
            "epoch": epoch,
            "loss": total / num_items,
            "val_top1": accuracy(),
            "images_per_second": num_items / (time.perf_counter() - start),
        }
        history.append(row)
        report(
            f"epoch {epoch}/{recipe.epochs}  loss {row['loss']:.3f}  val top-1 {row['val_top1']:.1f} %  "
            f"{row['images_per_second']:,.0f} images/s"
        )
    return history
