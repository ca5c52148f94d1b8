"""Where an evaluation spends its time: in forward passes, or in what stands between them while these wait."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from sigcam_core.backbones.passes import FastBackbone


@dataclass
class Clock:
    """Seconds that went by, and seconds that all threads of this process computed in them."""

    wall: float = 0.0
    cpu: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Add what the block takes."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu


def load_of_the_machine() -> float:
    """Return how many processes computed or waited for a core, on average over the last minute."""
    return os.getloadavg()[0]


def loads_since(before: float) -> dict[str, float]:
    """Return the load before a measurement and now, which shows how far wall-clock times can be trusted."""
    return {"before": before, "after": load_of_the_machine()}


@dataclass
class PassClock(Clock):
    """The clock of passes, and of which kind they were."""

    kinds: set[str] = field(default_factory=set)  #: of ``"compiled"`` and ``"plain"``


@contextmanager
def timed_passes() -> Iterator[PassClock]:
    """Time every pass that evaluations make in the block."""
    clock, forward = PassClock(), FastBackbone.forward

    def timed(self: FastBackbone, images: Tensor) -> Tensor:
        clock.kinds.add(self.passes.kind)
        with clock.running():
            return forward(self, images)

    FastBackbone.forward = timed  # type: ignore[method-assign]
    try:
        yield clock
    finally:
        FastBackbone.forward = forward  # type: ignore[method-assign]
