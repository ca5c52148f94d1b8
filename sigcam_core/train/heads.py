"""Training: the softmax classifier, then a head on the frozen backbone's cached features."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..backbones.formats import InputFormat, required_format
from ..common.checks import check_class_idx
from ..dual.branch import DualBranch
from ..dual.loss import unchecked_balanced_bce
from ..prepare.images import image_batches
from ..prepare.manifest import Manifest
from ..prepare.views import View
from ..split.split import split_pooling
from .fit import USUAL, Batches, Session, Task, fit
from .origins import parameter_groups
from .recipes import Recipe
from .trunk import cache_views, cut

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BatchNorm, Dropout = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd
VALIDATION_BATCH = 1024  # rows of cached features
VALIDATION_BATCH_OF_MAPS = 64  # of a trunk's


@dataclass(frozen=True)
class Trained:
    """What a training run leaves: the module, a row per epoch, and the time it took."""

    module: nn.Module
    history: list[dict[str, float]]
    seconds: float


class Splits(NamedTuple):
    """Images to train on, and images held out from them, which choose nothing while training goes on."""

    train: Manifest
    val: Manifest

    @classmethod
    def of(cls, manifest: Manifest) -> Splits:
        """Select the splits ``train`` and ``val`` of a data set.

        Raises:
            SigcamError: if it has no such split.
        """
        return cls(manifest.split("train"), manifest.split("val"))


def train_classifier(model: nn.Module, splits: Splits, recipe: Recipe, session: Session = USUAL) -> Trained:
    """Train all of a softmax classifier with cross-entropy.

    Args:
        model: network to train in place, such as :func:`sigcam_core.train.origins.starting_point` gives, with the
            attribute ``input_format``.
        splits: training images, and those for the accuracy in the history.
        recipe: lengths and rates.
        session: seed, devices, reports and checkpoint.

    Raises:
        SigcamError: if the loss becomes NaN or infinite, or an argument is unknown.
    """
    start = time.perf_counter()
    session, fabric = session.on_devices()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    form = required_format(model)

    def batches(epoch: int, rows: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        view = View(recipe.augment, session.seed, epoch)
        for _, images, labels in image_batches(splits.train, recipe.batch_size, form, view=view, batches=rows):
            yield images.to(memory_format=torch.channels_last), labels

    task = Task(
        name=f"{splits.train.name} classifier",
        module=model,
        loss_function=cross_entropy,
        batches=batches,
        num_items=len(splits.train),
        validate=lambda: _validate(model, _images_and_labels(splits.val, form, fabric.device), cross_entropy),
        groups=parameter_groups(model, recipe.new_layers_ratio),
    )
    position = fit(task, recipe, session)
    return Trained(model.eval().cpu(), position.history, time.perf_counter() - start)


def train_behind_trunk(
    model: nn.Module, splits: Splits, recipe: Recipe, features: Path, session: Session = USUAL
) -> Trained:
    """Train a softmax classifier with cross-entropy but for its first layers, as its recipe says.

    Args:
        model: network to train in place, of which ``features``, ``avgpool`` and ``classifier`` follow one another.
        splits: training images, and those for the accuracy in the history.
        recipe: lengths and rates.
        features: folder of the cached features.
        session: seed, devices, reports and checkpoint.

    Raises:
        SigcamError: if the loss becomes NaN or infinite, or the network has fewer layers.
    """
    start = time.perf_counter()
    session, fabric = session.on_devices()
    parts = dict(model.eval().named_children())
    trunk, rest = cut(parts["features"], recipe.cuts, model)
    trained = nn.Sequential(rest, parts["avgpool"], nn.Flatten(1), parts["classifier"])
    held_out = cache_views(trunk, splits.val, [View()], recipe, features, session)
    shown = cache_views(trunk, splits.train, _views(recipe, session), recipe, features, session)
    trained.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    frozen = {id(parameter) for part in trunk for parameter in part.parameters()}

    def validate() -> dict[str, float]:
        rows = torch.split(torch.arange(len(splits.val)), VALIDATION_BATCH_OF_MAPS)
        with fabric.autocast():
            return _validate(trained, held_out.batches(0, rows, fabric.device), cross_entropy)

    task = Task(
        name=f"{splits.train.name} classifier",
        module=trained,
        loss_function=cross_entropy,
        batches=lambda epoch, rows: shown.batches(epoch % recipe.views, rows, fabric.device),
        num_items=len(splits.train),
        validate=validate,
        groups=[
            group | {"params": [one for one in group["params"] if id(one) not in frozen]}
            for group in parameter_groups(model, recipe.new_layers_ratio)
        ],
    )
    position = fit(task, recipe, session)
    return Trained(model.eval().cpu(), position.history, time.perf_counter() - start)


def _views(recipe: Recipe, session: Session) -> list[View]:
    return [View(recipe.augment, session.seed, number) for number in range(recipe.views)]


def train_head(
    dual: DualBranch, head: str, splits: Splits, recipe: Recipe, features: Path, session: Session = USUAL
) -> Trained:
    """Train one head of a dual branch; the backbone stays frozen.

    The sigmoid head learns by class-balanced BCE (Oh and Noh 2025), the softmax head by cross-entropy. What comes in
    front of the head's first layer with weights needs no training: the frozen backbone sees each of ``recipe.views``
    views of an image once, and the rest of the head trains on what it gave, so that epochs cost next to nothing.
    With ``recipe.cached`` off the backbone runs in every epoch, on the same views.

    Args:
        dual: network whose head is trained in place.
        head: ``"softmax"`` or ``"sigmoid"``.
        splits: training images, and those for the accuracy in the history.
        recipe: lengths and rates.
        features: folder of the cached features.
        session: seed, devices, reports and checkpoint.

    Raises:
        SigcamError: if the loss becomes NaN or infinite, or the head is not a sequence of layers.
    """
    start = time.perf_counter()
    session, fabric = session.on_devices()
    train, val = splits
    check_class_idx(train.labels, train.num_classes)
    dual.to(fabric.device)
    pool, rest = split_pooling(dual.head(head))
    body = nn.Sequential(dual.backbone, pool).eval()
    body.input_format = dual.input_format  # type: ignore[assignment]  # torch types all attributes as modules
    parts: list[nn.Module] = [body]
    if recipe.frozen_layers:
        trunk, rest_of_backbone = cut(dual.backbone, recipe.cuts, dual)
        parts = [*trunk, rest_of_backbone.append(pool)]
    held_out = cache_views(parts, val, [View()], recipe, features, session)
    views = _views(recipe, session)
    if recipe.cached:
        cache = cache_views(parts, train, views, recipe, features, session)
        source: Batches = lambda epoch, rows: cache.batches(epoch % recipe.views, rows, fabric.device)  # noqa: E731
    else:
        source = _on_the_fly(body, train, recipe, views, fabric)
    loss = cross_entropy if head == "softmax" else unchecked_balanced_bce(train.num_classes, fabric.device)

    def validate() -> dict[str, float]:
        rows = torch.split(torch.arange(len(val)), VALIDATION_BATCH)
        return _validate(rest, held_out.batches(0, rows, fabric.device), loss)

    task = Task(f"{train.name} {head} head", rest, loss, source, len(train), validate, also_running=[body])
    with _thawed(dual.head(head)), _FREEZE[recipe.freezing](body):
        position = fit(task, recipe, session)
    dual.eval().cpu()
    return Trained(dual.head(head), position.history, time.perf_counter() - start)


def _on_the_fly(body: nn.Module, train: Manifest, recipe: Recipe, views: Sequence[View], fabric: Fabric) -> Batches:
    form = required_format(body)
    body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batches(epoch: int, rows: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        view = views[epoch % len(views)]
        for _, images, labels in image_batches(train, recipe.batch_size, form, view=view, batches=rows):
            on_device = images.to(fabric.device, memory_format=torch.channels_last)
            with torch.no_grad(), fabric.autocast():
                inputs = body(on_device).float()  # (B, D)
            yield inputs, labels

    return batches


@contextmanager
def _thawed(head: nn.Module) -> Iterator[None]:
    was_required = [parameter.requires_grad for parameter in head.parameters()]
    head.requires_grad_(True)
    try:
        yield
    finally:
        for parameter, required in zip(head.parameters(), was_required, strict=True):
            parameter.requires_grad_(required)


@contextmanager
def _frozen_as_officially(body: nn.Module) -> Iterator[None]:
    """Freeze a network as the official code does while the block runs (Oh and Noh 2025, ``freeze_layers``).

    It sets ``track_running_stats`` to false in every BatchNorm and then calls ``model.train()``: torch normalises by
    the batch and updates no buffer. Dropout drops. Stochastic depth, say, is in none of its networks, and rests here.
    """
    norms = [module for module in body.modules() if isinstance(module, BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    for module in body.modules():
        module.training = isinstance(module, BatchNorm | Dropout)
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        body.eval()
        for norm, was_tracked in zip(norms, tracked, strict=True):
            norm.track_running_stats = was_tracked


_FREEZE: dict[str, Callable[[nn.Module], AbstractContextManager[None]]] = {
    "eval": lambda body: nullcontext(),
    "official": _frozen_as_officially,
}
"""How a frozen network runs while a head learns on its features, by :attr:`Recipe.freezing`."""


@torch.no_grad()
def are_recognised(dual: DualBranch, head: str, manifest: Manifest) -> Tensor:
    """Say whether the greatest logit of each image by one head is that of its label.

    Args:
        dual: the network, in evaluation mode.
        head: ``"softmax"`` or ``"sigmoid"``.
        manifest: N images.

    Returns:
        (N,) bool, on the CPU.

    Raises:
        SigcamError: for another head.
    """
    branch = nn.Sequential(dual.backbone, dual.head(head)).eval()
    batches = _images_and_labels(manifest, dual.input_format, next(dual.parameters()).device)
    return torch.cat([(branch(images).argmax(1) == labels).cpu() for images, labels in batches])


def top1_accuracy(dual: DualBranch, head: str, manifest: Manifest) -> float:
    """Share of the images that one head recognises, in %; see :func:`are_recognised`."""
    return 100 * are_recognised(dual, head, manifest).double().mean().item()


def _images_and_labels(manifest: Manifest, form: InputFormat, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for _, images, labels in image_batches(manifest, 128, form):
        yield images.to(device, memory_format=torch.channels_last), labels.to(device)


@torch.no_grad()
def _validate(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], loss: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, float]:
    network.eval()
    count, correct, total = 0, 0, 0.0
    for inputs, labels in batches:
        logits = network(inputs)
        correct += int((logits.argmax(1) == labels).sum())
        total += float(loss(logits, labels)) * len(labels)
        count += len(labels)
    return {"val_loss": total / count, "val_top1": 100 * correct / count}
