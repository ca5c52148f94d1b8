"""The loop: what a plain loop does, whatever interrupts it."""

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sigcam_core import SigcamError
from sigcam_core.train.checkpoints import Checkpoint
from sigcam_core.train.fit import Session, Task, batches_of_epoch, fit, precision_of, start_fabric
from sigcam_core.train.recipes import Recipe

ADAMW = Recipe(epochs=2, batch_size=8, learning_rate=0.02, weight_decay=0.1)
ADAM = replace(ADAMW, optimizer="adam")
SGD = replace(ADAMW, optimizer="sgd", schedule="step", decay_every=2)
ITEMS = 50
STEPS = 2 * 7


class StoppedError(Exception):
    """What a test stops a run with."""


@cache
def fabric() -> Any:
    return start_fabric("cpu")


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(ITEMS, 5, generator=generator)
    return inputs, inputs[:, :3].argmax(1)


def quiet(line: str) -> None:
    assert line


def fresh_task(dropout: float = 0.5, loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy) -> Task:
    """A head with dropout, on the outputs of a part that is not trained and is random, too."""
    torch.manual_seed(11)
    source = nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(dropout))
    source[0].track_running_stats = False  # type: ignore[assignment]  # torch types all attributes as modules
    head = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))
    inputs, labels = data()

    def batches(epoch: int, rows: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        source.train()
        for batch in rows:
            with torch.no_grad():
                shown = source(inputs[batch] + epoch)
            yield shown, labels[batch]

    def validate() -> dict[str, float]:
        nn.Sequential(source, head).eval()
        with torch.no_grad():
            logits = head(source(inputs))
        top1 = (logits.argmax(1) == labels).double().mean().item()
        return {"val_loss": cross_entropy(logits, labels).item(), "val_top1": 100 * top1}

    return Task("toy", head, loss, batches, ITEMS, validate, also_running=[source])


def weights_of(task: Task) -> dict[str, Tensor]:
    whole = nn.ModuleDict({"head": task.module, "source": task.also_running[0]})
    return copy.deepcopy(whole.state_dict())


def without_speed(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in history]


def stop_after(steps: int) -> Callable[[Tensor, Tensor], Tensor]:
    done = 0

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        nonlocal done
        if done == steps:
            raise StoppedError
        done += 1
        return cross_entropy(logits, labels)

    return loss


def test_every_image_is_shown_once_an_epoch_in_an_order_of_the_epoch_and_the_seed() -> None:
    orders = [torch.cat(list(batches_of_epoch(ITEMS, 8, seed, epoch))) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert [len(rows) for rows in batches_of_epoch(ITEMS, 8, 0, 0)] == [8] * 6 + [2]
    assert all(torch.equal(order.sort().values, torch.arange(ITEMS)) for order in orders)
    assert all(not torch.equal(orders[0], other) for other in orders[1:])


@pytest.mark.parametrize("recipe", [ADAMW, ADAM, SGD], ids=["adamw", "adam", "sgd"])
def test_the_loop_is_a_plain_loop(recipe: Recipe) -> None:
    tasks = [fresh_task(dropout=0) for _ in range(2)]
    for task in tasks:
        parameters = list(task.module.parameters())
        task.groups = [{"params": parameters[:2], "ratio": 1.0}, {"params": parameters[2:], "ratio": 10.0}]
    fit(tasks[0], recipe, Session(5, quiet, fabric()))
    plain = tasks[1]
    groups = [{"params": group["params"]} for group in plain.groups]
    kinds: dict[str, Callable[..., Any]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    kinds["sgd"] = partial(torch.optim.SGD, lr=1.0, momentum=0.9, nesterov=True)
    optimizer = kinds[recipe.optimizer](groups, weight_decay=0.1)
    for epoch in range(2):
        rows = batches_of_epoch(ITEMS, 8, 5, epoch)
        for step, (inputs, labels) in enumerate(plain.batches(epoch, rows)):
            for group, ratio in zip(optimizer.param_groups, (1, 10), strict=True):
                group["lr"] = ratio * recipe.learning_rate_at(epoch, step / 7)
            optimizer.zero_grad()
            cross_entropy(plain.module(inputs), labels).backward()
            optimizer.step()
    torch.testing.assert_close(weights_of(tasks[0]), weights_of(plain), rtol=0, atol=0)


def test_the_seed_decides_the_weights_and_the_history_tells_of_every_epoch() -> None:
    tasks = [fresh_task() for _ in range(3)]
    first, second, _ = (
        fit(task, ADAMW, Session(seed, quiet, fabric())) for task, seed in zip(tasks, (1, 1, 2), strict=True)
    )
    torch.testing.assert_close(weights_of(tasks[0]), weights_of(tasks[1]), rtol=0, atol=0)
    assert not torch.equal(weights_of(tasks[0])["head.0.weight"], weights_of(tasks[2])["head.0.weight"])
    assert without_speed(first.history) == without_speed(second.history)
    names = ["epoch", "loss", "val_loss", "val_top1", "images_per_second"]
    assert [list(row) for row in first.history] == [names, names]
    assert [row["epoch"] for row in first.history] == [1, 2]
    assert first.history[1]["val_loss"] == tasks[0].validate()["val_loss"]
    assert min(row["images_per_second"] for row in first.history) > 0


def test_the_loss_of_an_epoch_is_the_mean_over_its_images() -> None:
    task, seen = fresh_task(), []

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        seen.append((cross_entropy(logits, labels).item(), len(labels)))
        return cross_entropy(logits, labels)

    task.loss_function = loss
    (row,) = fit(task, replace(ADAMW, epochs=1), Session(0, quiet, fabric())).history
    assert row["loss"] == pytest.approx(sum(value * count for value, count in seen) / ITEMS)


@pytest.mark.parametrize("recipe", [ADAMW, SGD], ids=["adamw", "sgd"])
def test_a_run_that_is_stopped_at_any_step_ends_as_one_that_is_not(recipe: Recipe, tmp_path: Path) -> None:
    whole = fresh_task()
    expected = fit(whole, recipe, Session(0, quiet, fabric()))
    for steps in range(STEPS):
        checkpoint = Checkpoint(tmp_path / f"{steps}.unfinished", "mine", seconds=0)
        with pytest.raises(StoppedError):
            fit(fresh_task(loss=stop_after(steps)), recipe, Session(0, quiet, fabric(), checkpoint))
        assert checkpoint.path.exists() == (steps > 0)
        torch.manual_seed(steps)  # another process draws other numbers until then
        task, counted = fresh_task(), []
        task.loss_function = lambda logits, labels, counted=counted: (
            counted.append(len(labels)) or cross_entropy(logits, labels)
        )
        position = fit(task, recipe, Session(0, quiet, fabric(), checkpoint))
        assert len(counted) == STEPS - steps
        assert without_speed(position.history) == without_speed(expected.history)
        torch.testing.assert_close(weights_of(task), weights_of(whole), rtol=0, atol=0)


def test_a_run_that_is_stopped_while_it_validates_ends_as_one_that_is_not(tmp_path: Path) -> None:
    whole, stopped, task = fresh_task(), fresh_task(), fresh_task()
    expected = fit(whole, ADAMW, Session(0, quiet, fabric()))

    def stop() -> dict[str, float]:
        raise StoppedError

    stopped.validate = stop
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine", seconds=0)
    with pytest.raises(StoppedError):
        fit(stopped, ADAMW, Session(0, quiet, fabric(), checkpoint))
    position = fit(task, ADAMW, Session(0, quiet, fabric(), checkpoint))
    assert without_speed(position.history) == without_speed(expected.history)
    torch.testing.assert_close(weights_of(task), weights_of(whole), rtol=0, atol=0)
    # A run that was stopped when all was done but its file written has nothing left to do.
    again = fresh_task(loss=stop_after(0))
    assert fit(again, ADAMW, Session(0, quiet, fabric(), checkpoint)).history == position.history
    torch.testing.assert_close(weights_of(again), weights_of(whole), rtol=0, atol=0)


def test_a_run_is_saved_at_steps_that_are_checked(tmp_path: Path) -> None:
    recipe = replace(ADAMW, batch_size=2, epochs=1)  # 25 steps
    whole, task = fresh_task(), fresh_task(loss=stop_after(24))
    fit(whole, recipe, Session(0, quiet, fabric()))
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine", seconds=0)
    with pytest.raises(StoppedError):
        fit(task, recipe, Session(0, quiet, fabric(), checkpoint))
    lines: list[str] = []
    task = fresh_task()
    fit(task, recipe, Session(0, lines.append, fabric(), checkpoint))
    assert lines[0] == "toy: going on in epoch 1 after 20 of its steps"
    torch.testing.assert_close(weights_of(task), weights_of(whole), rtol=0, atol=0)


@pytest.mark.parametrize("change", ["another run's", "too early"])
def test_a_run_without_a_checkpoint_of_its_own_starts_anew(change: str, tmp_path: Path) -> None:
    first = Checkpoint(tmp_path / "run.unfinished", "first", seconds=1e9 if change == "too early" else 0)
    with pytest.raises(StoppedError):
        fit(fresh_task(loss=stop_after(5)), ADAMW, Session(1, quiet, fabric(), first))
    assert first.path.exists() == (change != "too early")
    whole, task = fresh_task(), fresh_task()
    fit(whole, ADAMW, Session(0, quiet, fabric()))
    fit(task, ADAMW, Session(0, quiet, fabric(), replace(first, key="second")))
    torch.testing.assert_close(weights_of(task), weights_of(whole), rtol=0, atol=0)


def test_the_scale_of_gradients_in_mixed_precision_is_kept(tmp_path: Path) -> None:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

    def half() -> Any:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=3)  # so high that it must fall
        return Fabric(accelerator="cpu", plugins=[MixedPrecision("16-mixed", "cpu", scaler)])

    whole, task = fresh_task(), fresh_task()
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine", seconds=0)
    unbroken = half()
    fit(whole, ADAMW, Session(0, quiet, unbroken))
    with pytest.raises(StoppedError):
        fit(fresh_task(loss=stop_after(9)), ADAMW, Session(0, quiet, half(), checkpoint))
    resumed = half()
    fit(task, ADAMW, Session(0, quiet, resumed, checkpoint))
    assert resumed.strategy.precision.state_dict() == unbroken.strategy.precision.state_dict()
    torch.testing.assert_close(weights_of(task), weights_of(whole), rtol=0, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_in_one_sentence(bad: float, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine", seconds=0)
    task = fresh_task(loss=lambda logits, labels: cross_entropy(logits, labels) + bad)
    with pytest.raises(SigcamError, match=rf"^the loss became {bad} in epoch 1: lower the learning rate\.$"):
        fit(task, ADAMW, Session(0, quiet, fabric(), checkpoint))
    assert not checkpoint.path.exists()


def test_weights_that_the_last_step_breaks_stop_the_run_too() -> None:
    task = fresh_task()
    recipe = replace(SGD, batch_size=ITEMS, epochs=1, learning_rate=1e38)
    with pytest.raises(SigcamError, match=r"^the loss became (nan|inf) in epoch 1: lower the learning rate\.$"):
        fit(task, recipe, Session(0, quiet, fabric()))


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    devices: Any = SimpleNamespace(world_size=3)
    with pytest.raises(SigcamError, match=r"^batch_size 8 cannot be shared among 3 devices: choose a multiple\.$"):
        fit(fresh_task(), ADAMW, Session(0, quiet, devices))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"accelerator": "abacus"}, "unknown accelerator 'abacus': choose one of auto, cpu, cuda, mps."),
        ({"precision": "8-bit"}, "unknown precision '8-bit': choose one of 32-true, 16-mixed, bf16-mixed."),
        ({"devices": 0}, "cannot train on 0 devices: give at least 1."),
        ({"devices": -3}, "cannot train on -3 devices: give at least 1."),
    ],
)
def test_devices_that_do_not_exist_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SigcamError) as refused:
        start_fabric(**options)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("variables", "is_ours"),
    [
        ({}, False),  # no SLURM: Fabric looks for itself
        ({"SLURM_JOB_ID": "7"}, True),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "1"}, True),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "2"}, False),
        ({"SLURM_JOB_ID": "7", "TORCHELASTIC_RUN_ID": "1", "GROUP_RANK": "0", "LOCAL_RANK": "0"}, False),
    ],
)
def test_a_job_of_one_task_starts_its_processes_itself(
    variables: dict[str, str], is_ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def taken(**options: Any) -> Any:
        given.append(options["plugins"])
        return SimpleNamespace(launch=lambda: None)

    monkeypatch.setattr("lightning_fabric.Fabric", taken)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    start_fabric("cpu", 2)
    assert [plugin is not None for plugin in given] == [is_ours]


@pytest.mark.parametrize("devices", [1, 2])
def test_a_gpu_that_is_not_there_is_refused(devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SigcamError, match=r"^cannot train on [12] device\(s\) of accelerator 'cuda' in 32-true \(.+\)"):
        start_fabric("cuda", devices)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_precision_that_was_trained_in_is_known(precision: str) -> None:
    assert precision_of(start_fabric("cpu", precision=precision)) == precision
    assert precision_of(None) == "32-true"
