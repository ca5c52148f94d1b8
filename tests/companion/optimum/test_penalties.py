"""The path of penalties: each row is an optimum, held-out images choose, and solutions are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_optimum import HEADS, NUM_CLASSES, images, loss_of, silent

from companion.optimum import penalties
from companion.optimum.optimum import Settings, solve_head
from companion.optimum.penalties import Choice, Rows, penalty_path
from sigcam_core import SigcamError

GRID = (1e-3, 1.0, 3e-2, 1e-5)
QUIET = Settings(tolerance=1e-5, report=silent)


def splits() -> tuple[Rows, Rows]:
    features, labels = images(num_items=120)
    return Rows(features[:60], labels[:60]), Rows(features[60:], labels[60:])


def run(head: str = "softmax", criterion: str = "loss", settings: Settings = QUIET) -> Choice:
    return penalty_path(*splits(), NUM_CLASSES, head, GRID, criterion, settings)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("criterion", ["loss", "top1"])
def test_each_row_is_an_optimum_and_held_out_images_choose(head: str, criterion: str) -> None:
    train, held_out = splits()
    choice = run(head, criterion)
    table = choice.table
    assert table["l2"].tolist() == sorted(GRID, reverse=True)
    losses, top1 = [], []
    for l2 in table["l2"]:
        alone = solve_head(*train, NUM_CLASSES, head, l2, settings=QUIET)
        point = alone.weight, alone.bias
        losses.append(loss_of(head, *held_out, point))
        logits = held_out.features @ point[0].T + point[1]
        top1.append(100 * (logits.argmax(1) == held_out.labels).double().mean().item())
        row = table[table["l2"] == l2].iloc[0]
        assert row["objective"] == pytest.approx(alone.objective, rel=1e-4)
        assert row["certificate"] <= 1e-5
    assert table["held_out_loss"].tolist() == pytest.approx(losses, rel=1e-2)
    assert table["held_out_top1"].tolist() == pytest.approx(top1)
    assert len(set(losses)) == 4
    assert losses.index(min(losses)) not in (0, 3)
    assert table["lowest_loss"].tolist() == [loss == min(losses) for loss in losses]
    assert table["highest_top1"].tolist() == [i == top1.index(max(top1)) for i in range(4)]
    assert table["chosen"].equals(table[{"loss": "lowest_loss", "top1": "highest_top1"}[criterion]])
    assert choice.optimum.objective == table.loc[table["chosen"], "objective"].item()


def test_a_choice_at_the_edge_of_the_grid_says_so() -> None:
    best = run().table.set_index("l2")["held_out_loss"].idxmin()
    for grid, edge in [(GRID, False), ((best, best / 100), True), ((best, 100 * best), True), ((best,), True)]:
        assert penalty_path(*splits(), NUM_CLASSES, "softmax", grid, settings=QUIET).at_edge == edge


def test_a_weaker_penalty_starts_from_the_solution_of_the_stronger(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []

    def solve(basis: Any, labels: Any, num_classes: int, head: str, l2: float, start: Any, settings: Any) -> Any:
        starts.append(start)
        return solve_head(basis.features, labels, num_classes, head, l2, start, settings)

    monkeypatch.setattr(penalties, "solve_in_basis", solve)
    run()
    assert starts[0] is None
    norms = [float(start[0].norm()) for start in starts[1:]]
    assert norms == sorted(set(norms))


def test_solutions_that_are_kept_are_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeping = replace(QUIET, folder=tmp_path)
    first = run(settings=keeping)
    assert len(list(tmp_path.iterdir())) == len(GRID)
    with monkeypatch.context() as patch:
        patch.setattr(penalties, "principal_basis", None)
        again = run(settings=keeping)
    assert again.table.equals(first.table)
    assert torch.equal(again.optimum.weight, first.optimum.weight)
    run("sigmoid", settings=keeping)  # another head, and another tolerance, are other problems
    run(settings=replace(keeping, tolerance=1e-3))
    assert len(list(tmp_path.iterdir())) == 3 * len(GRID)
    next(tmp_path.iterdir()).write_text("broken")
    assert run("sigmoid", settings=keeping).table["certificate"].max() <= 1e-5


def test_each_penalty_is_told() -> None:
    lines: list[str] = []
    run(settings=Settings(report=lines.append))
    told = [line for line in lines if "held-out" in line]
    assert [line.split(": ")[0] for line in told] == [
        f"softmax head, l2 {l2}" for l2 in ("1.0e+00", "3.0e-02", "1.0e-03", "1.0e-05")
    ]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"criterion": "top5"}, "unknown criterion 'top5': choose one of loss, top1"),
        ({"penalties": ()}, "there is no penalty to choose from"),
        ({"penalties": (1.0, 0.0)}, "l2 must be a positive number"),
        ({"held_out": Rows(torch.ones(2, 3), torch.zeros(2).long())}, r"held-out features must be \(M, 12\), got"),
        ({"held_out": Rows(torch.ones(2, 12), torch.tensor([0, 7]))}, "class index 7 at position 1"),
    ],
)
def test_impossible_paths_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    train, held_out = splits()
    usual = {"train": train, "held_out": held_out, "num_classes": NUM_CLASSES, "head": "softmax", "penalties": (1.0,)}
    with pytest.raises(SigcamError, match=sentence):
        penalty_path(**{**usual, **wrong})
