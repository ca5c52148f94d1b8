"""The training loop: any module, any source of batches, on whatever devices Fabric has.

Orders, crops and dropout masks are functions of the seed and the step, so a run that was stopped needs its weights,
its optimizer's averages and its position to reach the same end as one that was not. To go on within an epoch is a goal:
one of fine-tuning on ImageNet takes the better part of an hour on a good GPU.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..common.errors import check_choice, fail
from ..common.floats import widest_float
from ..common.progress import Report, print_to_stderr, progress_bar
from ..common.seeds import derived_seed
from .checkpoints import Checkpoint, Position
from .recipes import MOMENTUM, Recipe
from .synchronised import synchronised

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

Batches = Callable[[int, Sequence[Tensor]], Iterable[tuple[Tensor, Tensor]]]
ACCELERATORS = ("auto", "cpu", "cuda", "mps")
"""Names that :func:`start_fabric` knows."""
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
"""Precision of the forward pass in training."""
STEPS_BETWEEN_CHECKS = 20  # a GPU that is asked for the loss makes everything wait


def start_fabric(accelerator: str = "auto", devices: int = 1, precision: str = "32-true") -> Fabric:
    """Fabric on the devices asked for, with its other processes started.

    Args:
        accelerator: one of :data:`ACCELERATORS`.
        devices: how many; each has a process of its own.
        precision: of the forward pass in training, one of :data:`PRECISIONS`.

    Raises:
        SigcamError: for an unknown name, or if there are no such devices.
    """
    check_devices(accelerator, devices, precision)
    from lightning_fabric import Fabric  # takes seconds to import, which whoever only evaluates need not spend

    try:
        with warnings.catch_warnings():
            # On a machine of a cluster it advises to start one process with srun.
            warnings.filterwarnings("ignore", message="The `srun` command is available")
            fabric = Fabric(
                accelerator=accelerator,
                devices=devices,
                precision=precision,  # type: ignore[arg-type]
                plugins=_own_environment(),
            )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        fail(f"cannot train on {devices} device(s) of accelerator {accelerator!r} in {precision} ({reason}).")
    fabric.launch()
    return fabric


def _own_environment() -> LightningEnvironment | None:
    """Says inside a job of SLURM that the processes are ours to start, unless srun or torchrun has started them.

    Fabric takes every job for one whose tasks are the processes, and would wait in a job of one task for the others.
    """
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    is_started = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 or TorchElasticEnvironment.detect()
    return LightningEnvironment() if "SLURM_JOB_ID" in os.environ and not is_started else None


def check_devices(accelerator: str, devices: int, precision: str) -> None:
    """Refuse what :func:`start_fabric` would, as far as that shows without a look at the machine."""
    check_choice("accelerator", accelerator, ACCELERATORS)
    check_choice("precision", precision, PRECISIONS)
    if devices < 1:
        fail(f"cannot train on {devices} devices: give at least 1.")


def precision_of(fabric: Fabric | None) -> str:
    """Return the precision of the forward pass in training, one of :data:`PRECISIONS`; ``None`` is one plain device."""
    return str(fabric.strategy.precision.precision) if fabric else PRECISIONS[0]


@dataclass
class Task:
    """What is trained, on what.

    Attributes:
        name: for the report.
        module: inputs to logits (B, C); it is trained in place.
        loss_function: logits (B, C) and labels (B,) to a scalar, the mean over the batch.
        batches: gives inputs and labels of the rows asked for, batch by batch. Its first argument is the epoch.
        num_items: N, rows that an epoch goes through in a random order.
        validate: ``val_loss`` and ``val_top1`` (%) on held-out images, for the history; it decides nothing. The
            default measures nothing.
        groups: parameter groups, with ``ratio`` as a factor of the learning rate; empty for one of all parameters.
        also_running: networks that make the inputs and are not trained. Where their BatchNorm runs in training mode,
            it uses the statistics of the whole batch, however many devices share it.
    """

    name: str
    module: nn.Module
    loss_function: Callable[[Tensor, Tensor], Tensor]
    batches: Batches
    num_items: int
    validate: Callable[[], dict[str, float]] = field(default_factory=lambda: dict)
    groups: list[dict[str, Any]] = field(default_factory=list)
    also_running: Sequence[nn.Module] = ()


@dataclass(frozen=True)
class Session:
    """How a training is run, whatever is trained.

    Attributes:
        seed: of order, augmentation and dropout.
        report: called with one line per epoch, of some twenty epochs, and now and then while features are computed.
        fabric: devices and precision; ``None`` for one device, CUDA where there is one.
        checkpoint: where to save the run now and then, and to go on from.
    """

    seed: int = 0
    report: Report = field(default_factory=lambda: print_to_stderr)  # a function would pass for a method
    fabric: Fabric | None = None
    checkpoint: Checkpoint | None = None

    def on_devices(self) -> tuple[Session, Fabric]:
        """Start the session's devices, and return the session with them, and the devices."""
        fabric = self.fabric or start_fabric()
        return replace(self, fabric=fabric), fabric


USUAL = Session()
"""Seed 0, one device, and no checkpoint."""


@dataclass(frozen=True)
class _Loop:
    """What stays the same from step to step."""

    fabric: Fabric
    task: Task
    wrapped: Any  # the module as Fabric runs it
    optimizer: Any
    recipe: Recipe
    seed: int
    report: Report


def fit(task: Task, recipe: Recipe, session: Session) -> Position:
    """Train ``task.module`` in place.

    Args:
        task: what to train, on what.
        recipe: lengths and rates.
        session: devices, seed, and where to save the run; a saved one is gone on with.

    Returns:
        The final position, with a row per epoch: ``epoch, loss, val_loss, val_top1, images_per_second``.

    Raises:
        SigcamError: if the loss becomes NaN or infinite, or the batch cannot be shared among the devices.
    """
    session, fabric = session.on_devices()
    report, checkpoint = session.report, session.checkpoint
    check_shares(recipe, fabric.world_size)
    optimizer = _optimizer(recipe, task.groups or [{"params": list(task.module.parameters()), "ratio": 1.0}])
    wrapped, fitted = fabric.setup(task.module, optimizer)
    modules = {"module": task.module}
    precision: Any = fabric.strategy.precision
    position = Position()
    if checkpoint:
        position, scaler = checkpoint.load(modules, optimizer)
        if scaler:  # that of a fresh run, or without a scale, is empty
            precision.load_state_dict(scaler)
        if fabric.is_global_zero and (position.epoch or position.step):
            report(f"{task.name}: going on in epoch {position.epoch + 1} after {position.step} of its steps")
    start = time.perf_counter() - position.seconds

    def save_if_due() -> None:
        position.seconds = time.perf_counter() - start
        if checkpoint and fabric.is_global_zero and checkpoint.is_due():
            checkpoint.save(modules, optimizer, position, precision.state_dict())

    loop = _Loop(fabric, task, wrapped, fitted, recipe, session.seed, report)
    while position.epoch < recipe.epochs:
        with synchronised([task.module, *task.also_running], fabric.world_size):
            row = _train_epoch(loop, position, save_if_due)
        position.epoch, position.step, position.loss_sum = position.epoch + 1, 0, 0.0
        position.history.append(row)
        _share_buffers(fabric, task.module)
        if fabric.is_global_zero:
            _tell(loop, position.epoch, row)
        save_if_due()
    fabric.barrier()
    return position


def _tell(loop: _Loop, epoch: int, row: dict[str, float]) -> None:
    # Epochs on cached features take less than a second: some twenty lines tell enough.
    epochs = loop.recipe.epochs
    if epoch % max(1, epochs // 20) == 0 or epoch == epochs:
        validation = f"val top-1 {row['val_top1']:.1f} %  " if "val_top1" in row else ""
        speed = f"{row['images_per_second']:,.0f} images/s"
        loop.report(f"{loop.task.name}: epoch {epoch}/{epochs}  loss {row['loss']:.3f}  {validation}{speed}")


def _train_epoch(loop: _Loop, position: Position, save_if_due: Callable[[], None]) -> dict[str, float]:
    """Train the rest of the epoch that ``position`` is in, and return its row of the history."""
    fabric, task, recipe, seed = loop.fabric, loop.task, loop.recipe, loop.seed
    start = time.perf_counter()
    task.module.train()
    steps = batches_of_epoch(task.num_items, recipe.batch_size, seed, position.epoch)
    rank, ranks = fabric.global_rank, fabric.world_size
    # Equal shares of every batch; what is over at the end of an epoch is left out of it.
    shares = [rows[rank : len(rows) - len(rows) % ranks : ranks] for rows in steps if len(rows) >= ranks]
    todo = shares[position.step :]
    num_shown = sum(map(len, todo)) * ranks
    # In the type in which sums of every device are exact enough.
    loss_sum = torch.tensor(position.loss_sum, dtype=widest_float(fabric.device), device=fabric.device)
    label = f"{task.name}, epoch {position.epoch + 1}/{recipe.epochs}"
    with progress_bar(num_shown, label, loop.report, silent=rank > 0) as advance:
        batches = iter(task.batches(position.epoch, todo))
        for _ in todo:
            # Before the batch is made: a backbone that runs for it may have dropout, too.
            torch.manual_seed(derived_seed(seed, "step", position.epoch, position.step, rank))
            inputs, labels = next(batches)  # (B, ...), (B,)
            rate = recipe.learning_rate_at(position.epoch, position.step / len(shares))
            for group in loop.optimizer.param_groups:
                group["lr"] = rate * group["ratio"]
            inputs, labels = inputs.to(fabric.device), labels.to(fabric.device)
            loss = task.loss_function(loop.wrapped(inputs), labels)
            loop.optimizer.zero_grad()
            fabric.backward(loss)
            loop.optimizer.step()
            loss_sum += loss.detach() * len(labels)
            position.step += 1
            if position.step <= STEPS_BETWEEN_CHECKS or position.step % STEPS_BETWEEN_CHECKS == 0:
                position.loss_sum = _finite(loss_sum.item(), position.epoch)
                save_if_due()
            advance(len(labels) * ranks, loss.detach())
    _finite(loss_sum.item(), position.epoch)
    total = fabric.all_reduce(loss_sum, reduce_op="sum")
    assert isinstance(total, Tensor)
    validation = task.validate() if fabric.is_global_zero else {}
    _finite(validation.get("val_loss", 0.0), position.epoch)  # the last step may have broken the weights
    return {
        "epoch": position.epoch + 1,
        "loss": total.item() / (sum(map(len, shares)) * ranks),
        **validation,
        "images_per_second": num_shown / (time.perf_counter() - start),
    }


def _share_buffers(fabric: Fabric, module: nn.Module) -> None:
    # Each process has averaged over its own shares; all go on, and end, with those that are saved.
    if fabric.world_size > 1:
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, src=0)


def batches_of_epoch(num_items: int, batch_size: int, seed: int, epoch: int) -> Sequence[Tensor]:
    """Rows (B,) of each batch of an epoch, in its random order."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
    return torch.split(torch.randperm(num_items, generator=generator), batch_size)


def check_shares(recipe: Recipe, devices: int) -> None:
    """Refuse a batch that cannot be shared equally.

    Raises:
        SigcamError: if the batch size is no multiple of ``devices``.
    """
    if recipe.batch_size % devices:
        fail(f"batch_size {recipe.batch_size} cannot be shared among {devices} devices: choose a multiple.")


def _finite(loss: float, epoch: int) -> float:
    # A sum that was NaN or infinite once stays so.
    if not math.isfinite(loss):
        fail(f"the loss became {loss} in epoch {epoch + 1}: lower the learning rate.")
    return loss


def _optimizer(recipe: Recipe, groups: list[dict[str, Any]]) -> Any:
    if recipe.optimizer == "sgd":
        options: dict[str, Any] = {"momentum": MOMENTUM, "nesterov": True}
        return torch.optim.SGD(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, **options)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
