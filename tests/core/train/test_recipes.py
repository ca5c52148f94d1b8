"""Recipes: rates as torch's own schedule has them, the paper's numbers, and a sentence for what makes no sense."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from sigcam_core.common.errors import SigcamError
from sigcam_core.train.recipes import CLASSIFIER_RECIPES, SIGMOID_RECIPES, Recipe

RECIPE = Recipe(epochs=4, batch_size=32, learning_rate=0.2, weight_decay=0.0)


def rates(recipe: Recipe, steps: int = 25) -> list[float]:
    """The rate of every step, and the one at the very end."""
    points = [(epoch, step / steps) for epoch in range(recipe.epochs) for step in range(steps)]
    return [recipe.learning_rate_at(*point) for point in [*points, (recipe.epochs - 1, 1.0)]]


def test_one_cycle_rises_for_a_quarter_and_falls_to_nothing() -> None:
    values = rates(RECIPE)
    assert values[0] == pytest.approx(0.2 / 25)
    assert values[25] == max(values) == pytest.approx(0.2)
    assert values[:26] == sorted(values[:26])
    assert values[25:] == sorted(values[25:], reverse=True)
    assert len(set(values)) == len(values)
    assert values[-1] == pytest.approx(0, abs=1e-12)
    assert values[-2] < 1e-3 * 0.2


@pytest.mark.parametrize("epochs", [1, 3, 4])
def test_one_cycle_is_torchs_within_a_step(epochs: int) -> None:
    ours = rates(replace(RECIPE, epochs=epochs))
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.2, total_steps=25 * epochs, pct_start=0.25, anneal_strategy="cos", cycle_momentum=False,
        div_factor=25, final_div_factor=1e9,
    )  # fmt: skip
    for now, following in pairwise(ours):
        # Torch's peak is one step earlier: its last step has the final rate, ours the one before it.
        low, high = sorted([now, following])
        slack = 0.02 * 0.2 if low > 0.95 * 0.2 else 1e-6  # the peak may lie between two steps
        assert low - slack <= scheduler.get_last_lr()[0] <= high + slack
        optimizer.step()
        scheduler.step()


def test_steps_divide_by_ten_in_epochs_3_6_and_9() -> None:
    recipe = replace(RECIPE, epochs=10, schedule="step")
    exponents = [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    for epoch, exponent in enumerate(exponents):
        for part in (0.0, 0.5, 1.0):
            assert recipe.learning_rate_at(epoch, part) == pytest.approx(0.2 / 10**exponent)
    other = replace(recipe, decay_every=4)
    assert [round(0.2 / other.learning_rate_at(epoch, 0)) for epoch in range(10)] == [1] * 3 + [10] * 4 + [100] * 3


def test_steps_are_torchs_multi_step_schedule() -> None:
    recipe = replace(RECIPE, epochs=10, schedule="step")
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.2)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2, 5, 8], gamma=0.1)
    for epoch in range(10):
        assert recipe.learning_rate_at(epoch, 0) == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, got -1"),
        ({"views": 0}, "views must be at least 1, got 0"),
        ({"decay_every": 0}, "decay_every must be at least 1, got 0"),
        ({"learning_rate": 0.0}, r"learning_rate must be a positive number, got 0\.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a positive number, got nan"),
        ({"new_layers_ratio": float("inf")}, "new_layers_ratio must be a positive number, got inf"),
        ({"new_layers_ratio": -1.0}, r"new_layers_ratio must be a positive number, got -1\.0"),
        ({"weight_decay": -0.1}, r"weight_decay must be 0 or a positive number, got -0\.1"),
        ({"weight_decay": float("nan")}, "weight_decay must be 0 or a positive number, got nan"),
        ({"optimizer": "rmsprop"}, "unknown optimizer 'rmsprop': choose one of adamw, adam, sgd"),
        ({"schedule": "constant"}, "unknown schedule 'constant': choose one of one_cycle, step"),
        ({"augment": "cutout"}, "unknown augmentation 'cutout': choose one of none, flip, crop_flip"),
        ({"cache_type": "int8"}, "unknown type of the cache 'int8': choose one of float16, float32"),
        ({"freezing": "train"}, "unknown freezing 'train': choose one of eval, official"),
        ({"freezing": "official"}, r"features depend on their batch: use cached=False \(--on-the-fly\)"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        replace(RECIPE, **changes)


def test_recipes_at_the_edge_are_taken() -> None:
    edge = replace(RECIPE, epochs=1, batch_size=1, weight_decay=0.0, freezing="official", cached=False)
    assert rates(edge)[0] == pytest.approx(0.2 / 25)


@pytest.mark.parametrize(
    ("name", "learning_rate", "weight_decay"),
    [
        ("paper-vgg16-cam", 0.003, 5e-4),
        ("paper-vgg16-gradcam", 0.0001, 5e-4),
        ("paper-resnet50-cam", 0.0001, 1e-4),
        ("paper-resnet50-gradcam", 0.005, 1e-4),
    ],
)
def test_the_papers_heads_have_the_published_numbers(name: str, learning_rate: float, weight_decay: float) -> None:
    assert SIGMOID_RECIPES[name] == Recipe(
        epochs=10, batch_size=32, learning_rate=learning_rate, weight_decay=weight_decay, optimizer="sgd",
        schedule="step", decay_every=3, augment="crop_flip", views=10, cached=False,
    )  # fmt: skip


def test_the_papers_classifier_has_the_published_numbers() -> None:
    paper = CLASSIFIER_RECIPES["paper"]
    assert (paper.epochs, paper.batch_size, paper.optimizer, paper.augment) == (10, 32, "sgd", "crop_flip")
    assert (paper.learning_rate, paper.weight_decay, paper.new_layers_ratio) == (0.01, 1e-4, 10)
    assert [paper.learning_rate_at(epoch, 0) for epoch in (1, 2, 9)] == pytest.approx([0.01, 1e-3, 1e-5])


def test_only_the_papers_heads_are_published() -> None:
    assert {name for name in SIGMOID_RECIPES if name.startswith("paper")} == {
        f"paper-{network}-{method}" for network in ("vgg16", "resnet50") for method in ("cam", "gradcam")
    }


@pytest.mark.parametrize(("form", "epochs"), [("cam", 10), ("gradcam", 4)])
def test_behind_a_trunk_the_heads_learn_at_the_papers_rates(form: str, epochs: int) -> None:
    theirs, ours = SIGMOID_RECIPES[f"paper-vgg16-{form}"], SIGMOID_RECIPES[f"last-block-vgg16-{form}"]
    assert ours == replace(theirs, epochs=epochs, views=2, cached=True, frozen_layers=24)
    done, whole = (sum(theirs.learning_rate_at(epoch, 0) for epoch in range(count)) for count in (epochs, 10))
    assert done >= 0.94 * whole


def test_a_negative_number_of_frozen_layers_is_refused() -> None:
    for name in ("frozen_layers", "further_frozen"):
        with pytest.raises(SigcamError, match=f"{name} must be 0 or more, got -1"):
            replace(RECIPE, **{name: -1})


@pytest.mark.parametrize(("frozen", "further", "cuts"), [(0, 0, []), (24, 0, [24]), (24, 7, [24, 31])])
def test_a_network_is_cut_behind_what_is_frozen(frozen: int, further: int, cuts: list[int]) -> None:
    assert replace(RECIPE, frozen_layers=frozen, further_frozen=further).cuts == cuts
