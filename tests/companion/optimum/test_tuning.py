"""The choice of a recipe: lowest loss on held-out images, every recipe from the same start, the head left alone."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_networks import make_dual, noise_images

from companion.optimum.tuning import LEARNING_RATES, WEIGHT_DECAYS, compare_recipes, grid_around
from sigcam_core import DualBranch, SigcamError
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.train.fit import Session
from sigcam_core.train.heads import Splits, Trained, train_head
from sigcam_core.train.recipes import Recipe

USUAL = Recipe(epochs=2, batch_size=4, learning_rate=0.5, weight_decay=0.25, augment="none", cache_type="float32")
SLOW, FAST = replace(USUAL, learning_rate=1e-4), replace(USUAL, learning_rate=0.05, epochs=3)


@pytest.fixture
def splits(tmp_path: Path) -> tuple[Manifest, Manifest]:
    manifest = noise_images(tmp_path, count=12)
    return manifest.take(range(8)), manifest.take(range(8, 12))


def compared(dual: DualBranch, splits: tuple[Manifest, Manifest], recipes: list[Recipe], head: str = "sigmoid") -> Any:
    folder = splits[0].root / "features"
    return compare_recipes(dual, head, Splits(*splits), recipes, folder, Session(3, lambda _: None))


def test_the_grid_is_tried_most_cautious_first() -> None:
    grid = grid_around(USUAL)
    pairs = [(recipe.weight_decay, recipe.learning_rate) for recipe in grid]
    assert pairs == [(decay, rate) for decay in sorted(WEIGHT_DECAYS) for rate in sorted(LEARNING_RATES)]
    assert all(replace(recipe, learning_rate=0.5, weight_decay=0.25) == USUAL for recipe in grid)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_every_recipe_starts_from_the_same_head_which_is_left_as_it_was(
    head: str, splits: tuple[Manifest, Manifest]
) -> None:
    dual = make_dual(dtype=torch.float32)
    before = copy.deepcopy(dual.state_dict())
    recipes = [FAST, SLOW, FAST]
    table = compared(dual, splits, recipes, head)
    assert all(torch.equal(value, before[name]) for name, value in dual.state_dict().items())
    for recipe, row in zip(recipes, table.to_dict("records"), strict=True):
        folder = splits[0].root / "features of another"
        session = Session(3, lambda _: None)
        alone = train_head(copy.deepcopy(dual), head, Splits(*splits), recipe, folder, session)
        last = alone.history[-1]
        assert [row[name] for name in ("loss", "val_loss", "val_top1")] == pytest.approx(
            [last[name] for name in ("loss", "val_loss", "val_top1")]
        )
        assert (row["learning_rate"], row["weight_decay"], row["epochs"]) == (recipe.learning_rate, 0.25, recipe.epochs)
    assert table["val_loss"].nunique() == 2
    assert table["chosen"].tolist() == [i == int(table["val_loss"].argmin()) for i in range(3)]


def test_the_lowest_loss_of_the_last_epoch_is_chosen_and_the_first_of_equals(
    splits: tuple[Manifest, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([(1.0, 4.0), (6.0, 2.0), (0.5, 2.0), (0.1, 3.0)])

    def train(dual: DualBranch, head: str, *_: object, **__: object) -> Trained:
        # The accuracy and the training loss would choose the first one.
        history = [{"loss": 9 - loss, "val_loss": loss, "val_top1": 10 * loss} for loss in next(losses)]
        return Trained(dual.head(head), history, 0.0)

    monkeypatch.setattr("companion.optimum.tuning.train_head", train)
    table = compared(make_dual(dtype=torch.float32), splits, [USUAL] * 4)
    assert table["val_loss"].tolist() == [4, 2, 2, 3]
    assert table["chosen"].tolist() == [False, True, False, False]


def test_a_line_a_recipe_tells_how_far_it_is(splits: tuple[Manifest, Manifest]) -> None:
    lines: list[str] = []
    dual = make_dual(dtype=torch.float32)
    compare_recipes(dual, "sigmoid", Splits(*splits), [SLOW, FAST], splits[0].root, Session(report=lines.append))
    told = [line for line in lines if "val loss" in line]
    assert [line.split(" epochs")[0] for line in told] == [
        "1/2  rate 0.0001, decay 0.25, 2",
        "2/2  rate 0.05, decay 0.25, 3",
    ]
    assert lines[-2:] == told  # epochs are told for the first recipe only


def test_what_cannot_be_compared_gets_one_sentence(splits: tuple[Manifest, Manifest]) -> None:
    dual = make_dual(dtype=torch.float32)
    with pytest.raises(SigcamError, match="there is no recipe to choose from: give at least one"):
        compared(dual, splits, [])
    for parameter in dual.sigmoid_head.parameters():
        parameter.data.fill_(torch.inf)
    with pytest.raises(SigcamError, match=r"the loss became (nan|inf) in epoch 1: lower the learning rate"):
        compared(dual, splits, [SLOW])
