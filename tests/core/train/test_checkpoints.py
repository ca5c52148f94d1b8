"""A checkpoint comes back to the last bit, and one that is another's, or half a file, is as none."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sigcam_core.common.errors import SigcamError
from sigcam_core.train.checkpoints import Checkpoint, Position

POSITION = Position(2, 3, 0.1 + 0.2, 4.5, [{"epoch": 1, "loss": 1 / 3}, {"epoch": 2, "loss": 1e-300}])
SCALER = {"scale": 65536.0, "_growth_tracker": 7}
OPTIMIZERS: dict[str, Any] = {
    "adamw": torch.optim.AdamW,
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True),
}


def trained(optimizer: str) -> tuple[dict[str, nn.Module], Any]:
    """Modules with averages of their own, and an optimizer after two steps."""
    modules = {"module": nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), "backbone": nn.BatchNorm1d(4)}
    fitted = OPTIMIZERS[optimizer]([{"params": modules["module"].parameters()}])
    for _ in range(2):
        fitted.zero_grad()
        modules["module"](modules["backbone"](torch.randn(5, 4))).square().sum().backward()
        fitted.step()
    return modules, fitted


def state_of(modules: dict[str, nn.Module], optimizer: Any) -> dict[str, Any]:
    return copy.deepcopy(
        {name: module.state_dict() for name, module in modules.items()} | {"o": optimizer.state_dict()}
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_was_saved_comes_back_to_the_last_bit(optimizer: str, tmp_path: Path) -> None:
    modules, fitted = trained(optimizer)
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine")
    checkpoint.save(modules, fitted, POSITION, SCALER)
    saved = state_of(modules, fitted)
    others, other_fitted = trained(optimizer)
    assert Checkpoint(checkpoint.path, "mine").load(others, other_fitted) == (POSITION, SCALER)
    torch.testing.assert_close(state_of(others, other_fitted), saved, rtol=0, atol=0)
    # The next step is the same, so nothing that the optimizer needs is missing.
    for some_modules, some_fitted in ((modules, fitted), (others, other_fitted)):
        some_fitted.zero_grad()
        some_modules["module"](torch.ones(2, 4).tril()).square().sum().backward()
        some_fitted.step()
    torch.testing.assert_close(state_of(others, other_fitted), state_of(modules, fitted), rtol=0, atol=0)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_half_a_file_is_as_none(kept: int, tmp_path: Path) -> None:
    modules, fitted = trained("adamw")
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine")
    checkpoint.save(modules, fitted, POSITION, SCALER)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:kept])
    before = state_of(modules, fitted)
    assert checkpoint.load(modules, fitted) == (Position(), {})
    torch.testing.assert_close(state_of(modules, fitted), before, rtol=0, atol=0)


def test_the_file_of_another_run_is_as_none(tmp_path: Path) -> None:
    modules, fitted = trained("adamw")
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine")
    assert checkpoint.load(modules, fitted) == (Position(), {})
    checkpoint.save(modules, fitted, POSITION, SCALER)
    others, other_fitted = trained("adamw")
    before = state_of(others, other_fitted)
    assert Checkpoint(checkpoint.path, "another's").load(others, other_fitted) == (Position(), {})
    torch.testing.assert_close(state_of(others, other_fitted), before, rtol=0, atol=0)
    save_file({"module/weight": torch.zeros(1)}, checkpoint.path)
    assert checkpoint.load(others, other_fitted) == (Position(), {})


def test_a_saving_that_fails_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules, fitted = trained("sgd")
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine")
    checkpoint.save(modules, fitted, POSITION, SCALER)

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("sigcam_core.train.checkpoints.save_file", full)
    with pytest.raises(SigcamError, match="is full: make room"):
        checkpoint.save(modules, fitted, Position(9), {})
    assert checkpoint.load(modules, fitted)[0] == POSITION
    assert list(tmp_path.iterdir()) == [checkpoint.path]


def test_a_saving_is_due_when_the_last_is_long_enough_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("sigcam_core.train.checkpoints.time.perf_counter", lambda: now[0])
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine", seconds=10, _saved=now[0])
    due = []
    for now[0] in (1009.0, 1010.0, 1019.0, 1021.0):
        due.append(checkpoint.is_due())
        if due[-1]:
            checkpoint.save(*trained("sgd"), POSITION, SCALER)
    assert due == [False, True, False, True]


def test_the_file_of_a_run_that_is_done_goes(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine")
    checkpoint.save(*trained("sgd"), POSITION, SCALER)
    checkpoint.remove()
    assert not checkpoint.path.exists()
    checkpoint.remove()
