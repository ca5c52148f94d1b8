"""Checkpoints of a training run in progress: weights, the optimizer's averages and the position, as safetensors."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..common.digests import digest_of, digest_of_tensors
from ..common.files import write_atomically

SECONDS_BETWEEN_SAVINGS = 120.0


@dataclass
class Position:
    """How far a training run is.

    Attributes:
        epoch: epochs that are done.
        step: steps that are done in the current one.
        loss_sum: over the images of the current epoch so far.
        seconds: spent on training so far.
        history: a row per epoch.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Checkpoint:
    """Where a run is saved now and then, so that it can go on after it was stopped.

    Attributes:
        path: safetensors file; it is removed when training is done.
        key: tells whose file it is; that of another recipe or data set is not taken.
        seconds: least time between two savings.
    """

    path: Path
    key: str
    seconds: float = SECONDS_BETWEEN_SAVINGS
    _saved: float = field(default_factory=time.perf_counter)

    def is_due(self) -> bool:
        """Say whether the last saving is long enough ago."""
        return time.perf_counter() - self._saved >= self.seconds

    def save(
        self, modules: Mapping[str, nn.Module], optimizer: Any, position: Position, scaler: dict[str, Any]
    ) -> None:
        """Write the file, whole or not at all.

        Args:
            modules: everything that training changes, by name.
            optimizer: of torch.
            position: how far the run is.
            scaler: state of the gradients' scale in mixed precision.
        """
        tensors = {f"{name}/{key}": t for name, module in modules.items() for key, t in module.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": value for key, value in state.items() if isinstance(value, Tensor)}
        whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        metadata = {"key": self.key, "position": json.dumps(asdict(position)), "scaler": json.dumps(scaler)}
        metadata["content"] = _sum_of(whole, metadata)
        write_atomically(self.path, lambda temporary: save_file(whole, temporary, metadata))
        self._saved = time.perf_counter()

    def load(self, modules: Mapping[str, nn.Module], optimizer: Any) -> tuple[Position, dict[str, Any]]:
        """Put a saved run back into ``modules`` and ``optimizer``; without one, or with another's, start over.

        So does one whose file was altered.
        """
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("key") != self.key:
                    return Position(), {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError):
            return Position(), {}
        if metadata.pop("content", "") != _sum_of(tensors, metadata):
            return Position(), {}
        for name, module in modules.items():
            own = {key.removeprefix(f"{name}/"): t for key, t in tensors.items() if key.startswith(f"{name}/")}
            module.load_state_dict(own)
        states: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith("optimizer/"):
                _, index, kind = key.split("/")
                states.setdefault(int(index), {})[kind] = tensor
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
        return Position(**json.loads(metadata["position"])), json.loads(metadata["scaler"])

    def remove(self) -> None:
        """Delete the file of a run that is done."""
        self.path.unlink(missing_ok=True)


def _sum_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Compute a checksum of all that a file holds."""
    return digest_of([dict(metadata), digest_of_tensors(dict(sorted(tensors.items())))])
