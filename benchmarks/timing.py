"""One measurement: ours and the peer's, taking turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from sigcam_core.common.errors import fail
from sigcam_core.evaluate.overhead import seconds_of


@dataclass(frozen=True)
class Row:
    """A line of the benchmark table.

    Attributes:
        task: what is done.
        setting: on what.
        peer: what ours is compared with.
        seconds: ours, per unit of work.
        peer_seconds: the peer's, per unit of work.
        unit: of work, ``"image"`` or ``"map"``.
        passes: ours in forward passes of one image: median of the paired ratios.
        peer_passes: the same of the peer.
        speed_up: median of the paired ratios, the peer's time over ours.
        goal: the least speed-up that was aimed at, if any.
        max_difference: the greatest difference between the results, ``None`` where there is nothing to compare.
    """

    task: str
    setting: str
    peer: str
    seconds: float
    peer_seconds: float
    unit: str
    passes: float
    peer_passes: float
    speed_up: float
    goal: float | None
    max_difference: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal was reached; ``None`` without one."""
        return None if self.goal is None else self.speed_up >= self.goal


class Pairs(NamedTuple):
    """What :func:`side_by_side` found."""

    ours: float  #: median seconds
    peer: float  #: median seconds
    passes: float  #: median of the ratios of ours to the forward pass of its round
    peer_passes: float  #: the same of the peer
    speed_up: float  #: median of the ratios peer / ours
    results: tuple[Any, Any]  #: what the two gave in their first turn

    def row(
        self,
        task: str,
        setting: str,
        peer: str,
        count: int,
        goal: float | None = None,
        max_difference: float | None = None,
        unit: str = "image",
    ) -> Row:
        """Build the table row for times of ``count`` units of work."""
        return Row(
            task=task,
            setting=setting,
            peer=peer,
            seconds=self.ours / count,
            peer_seconds=self.peer / count,
            unit=unit,
            passes=self.passes / count,
            peer_passes=self.peer_passes / count,
            speed_up=self.speed_up,
            goal=goal,
            max_difference=max_difference,
        )


class ForwardPass(NamedTuple):
    """The yardstick: one forward pass of a network over a batch."""

    run: Callable[[], Any]
    num_images: int
    device: torch.device


def side_by_side(ours: Callable[[], Any], peer: Callable[[], Any], repeats: int, forward: ForwardPass) -> Pairs:
    """Time ``ours``, ``peer`` and a forward pass, turn by turn.

    They take turns, ours and the peer in changing order, so that whatever else the machine does falls on all. The
    first round fills caches and gives the results to compare, both from the same random state; its times do not count.

    Raises:
        SigcamError: if ``repeats`` is below 1.
    """
    if repeats < 1:
        fail(f"measure at least 1 pair of runs, not {repeats}.")
    results = []
    for run in (ours, peer):
        torch.manual_seed(0)
        results.append(run())
    rounds = []
    for number in range(repeats):
        turns = {"ours": ours, "peer": peer} if number % 2 else {"peer": peer, "ours": ours}
        rounds.append({name: seconds_of(run, forward.device) for name, run in turns.items()})
        rounds[-1]["pass"] = seconds_of(forward.run, forward.device) / forward.num_images

    def median(numerator: str, denominator: str | None = None) -> float:
        return statistics.median(r[numerator] / (r[denominator] if denominator else 1) for r in rounds)

    return Pairs(
        median("ours"),
        median("peer"),
        median("ours", "pass"),
        median("peer", "pass"),
        median("peer", "ours"),
        (results[0], results[1]),
    )
