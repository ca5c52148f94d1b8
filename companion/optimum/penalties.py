"""The penalty of a head, chosen on held-out images along a path of optima from strong to weak.

**One grid serves both heads, as it is.** Cross-entropy pulls an image's own logit up by 1 - p and pushes all others
down by as much. Class-balanced BCE, the mean over N x C with positives weighted by C - 1, pulls it up by
(1 - s) (C - 1) / C and pushes each other one down by s / C. So a head that knows nothing is pulled about as hard by
either loss, by 1 - 1/C against (1 - 1/C) / 2, and a penalty of the same size restrains both alike. Each head still gets
the penalty that suits it; the table says where the choice lies at the edge of the grid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sigcam_core.common.checks import check_class_idx
from sigcam_core.common.errors import check_choice, fail
from sigcam_core.common.files import write_atomically

from .certificate import check_problem, mean_loss
from .optimum import USUAL, Basis, Optimum, Point, Settings, principal_basis, solve_in_basis

PENALTIES = (3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""Tried for both heads."""
CRITERIA = ("loss", "top1")
SCHEME = 1  # of the digests: raise it when the same problem would be solved differently


class Rows(NamedTuple):
    """Inputs of a head and their classes."""

    features: Tensor  # (N, D)
    labels: Tensor  # (N,)


@dataclass(frozen=True)
class Choice:
    """What a path of penalties gives.

    Attributes:
        table: a row a penalty, the strongest first: ``head, l2, loss, objective, certificate, iterations, seconds,
            held_out_loss, held_out_top1`` (%), and the marks ``lowest_loss, highest_top1, chosen`` (of equals, the
            strongest penalty is marked).
        optimum: of the chosen penalty.
        path: of every penalty, in the order of the table.
        at_edge: whether that is the strongest or weakest of the grid, so that a better one may lie beyond.
    """

    table: pd.DataFrame
    optimum: Optimum
    path: tuple[Optimum, ...]
    at_edge: bool


def penalty_path(
    train: Rows,
    held_out: Rows,
    num_classes: int,
    head: str,
    penalties: Sequence[float] = PENALTIES,
    criterion: str = "loss",
    settings: Settings = USUAL,
) -> Choice:
    """Solve a head for each penalty, each from the solution of the next stronger one, and choose on held-out images.

    Args:
        train: features (N, D) and labels (N,) to solve the head on.
        held_out: features (M, D) and labels (M,) that only choose among the penalties; never those of a test split.
        num_classes: C.
        head: ``"softmax"`` or ``"sigmoid"``.
        penalties: those tried, in any order.
        criterion: ``"loss"`` takes the lowest loss on ``held_out``, ``"top1"`` the highest accuracy.
        settings: of each solution. Where it names a folder, solutions are kept there, and those that are there are not
            computed again.

    Raises:
        SigcamError: for bad input, or a head that is not solved.
    """
    check_choice("criterion", criterion, CRITERIA)
    if not penalties:
        fail("there is no penalty to choose from: give at least one.")
    ordered = sorted(set(penalties), reverse=True)
    for l2 in ordered:
        check_problem(train.features, train.labels, num_classes, head, l2)
    if held_out.features.shape[1:] != train.features.shape[1:] or not len(held_out.labels):
        fail(f"held-out features must be (M, {train.features.shape[1]}), got {tuple(held_out.features.shape)}.")
    check_class_idx(held_out.labels, num_classes)
    path = _Path(train, num_classes, head, settings)
    optima: list[Optimum] = []
    rows: list[dict[str, Any]] = []
    for l2 in ordered:
        start = (optima[-1].weight, optima[-1].bias) if optima else None
        optima.append(path.solution(l2, start))
        rows.append({"head": head, "l2": l2, **_facts(optima[-1]), **judge_head(optima[-1], held_out, head)})
        settings.report(
            f"{head} head, l2 {l2:.1e}: {optima[-1].iterations} iterations, gap {optima[-1].certificate:.1e}, held-out "
            f"loss {rows[-1]['held_out_loss']:.4f}, top-1 {rows[-1]['held_out_top1']:.1f} %"
        )
    table = pd.DataFrame(rows)
    best = {"loss": int(table["held_out_loss"].argmin()), "top1": int(table["held_out_top1"].argmax())}
    chosen = best[criterion]
    for name, position in {"lowest_loss": best["loss"], "highest_top1": best["top1"], "chosen": chosen}.items():
        table[name] = table.index == position
    return Choice(table, optima[chosen], tuple(optima), chosen in (0, len(ordered) - 1))


def judge_head(optimum: Optimum, held_out: Rows, head: str) -> dict[str, float]:
    """Score a head on features (M, D) and labels (M,): columns ``held_out_loss`` and ``held_out_top1`` (%)."""
    logits = held_out.features.double() @ optimum.weight.double().T + optimum.bias.double()
    top1 = 100 * (logits.argmax(1) == held_out.labels).double().mean().item()
    return {"held_out_loss": mean_loss(logits, held_out.labels, head), "held_out_top1": top1}


def _facts(optimum: Optimum) -> dict[str, float]:
    return {k: v for k, v in vars(optimum).items() if k not in ("weight", "bias")}


@dataclass
class _Path:
    """What the solutions of a path share. Neither digest nor basis is computed before it is needed."""

    train: Rows
    num_classes: int
    head: str
    settings: Settings

    @cached_property
    def basis(self) -> Basis:
        return principal_basis(self.train.features)

    @cached_property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for tensor in self.train:
            digest.update(json.dumps([str(tensor.dtype), list(tensor.shape)]).encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def solution(self, l2: float, start: Point | None) -> Optimum:
        if self.settings.folder is None:
            return self._solve(l2, start)
        key = [SCHEME, self.digest, self.num_classes, self.head, l2, self.settings.tolerance]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        file = self.settings.folder / f"optimum-{name}.safetensors"
        optimum = _load(file)
        if optimum is None:
            optimum = self._solve(l2, start)
            _save(file, optimum)
        return optimum

    def _solve(self, l2: float, start: Point | None) -> Optimum:
        return solve_in_basis(self.basis, self.train.labels, self.num_classes, self.head, l2, start, self.settings)


def _save(file: Path, optimum: Optimum) -> None:
    tensors = {"weight": optimum.weight.contiguous(), "bias": optimum.bias.contiguous()}
    write_atomically(file, lambda temporary: save_file(tensors, temporary, {"facts": json.dumps(_facts(optimum))}))


def _load(file: Path) -> Optimum | None:
    try:
        with safe_open(file, framework="pt") as opened:
            facts: dict[str, Any] = json.loads((opened.metadata() or {})["facts"])
            return Optimum(opened.get_tensor("weight"), opened.get_tensor("bias"), **facts)
    except (OSError, SafetensorError, KeyError):
        return None  # none there, or a broken one
