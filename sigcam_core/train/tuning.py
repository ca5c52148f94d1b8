"""Choosing a head's recipe by the loss on held-out training images; test images take no part."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ..common.errors import fail
from ..common.progress import Report, print_to_stderr
from ..dual.branch import DualBranch
from ..prepare.images import Manifest
from .fit import start_fabric
from .heads import train_head
from .recipes import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
WEIGHT_DECAYS = (0.1, 1.0, 10.0)


def grid_around(recipe: Recipe) -> list[Recipe]:
    """The recipe with every learning rate and weight decay that are tried, instead of its own."""
    return [
        replace(recipe, learning_rate=rate, weight_decay=decay)
        for decay, rate in product(WEIGHT_DECAYS, LEARNING_RATES)
    ]


def compare_recipes(
    dual: DualBranch,
    head: str,
    train: Manifest,
    val: Manifest,
    backbone: str,
    recipes: Sequence[Recipe],
    features: Path,
    seed: int = 0,
    report: Report = print_to_stderr,
    fabric: Fabric | None = None,
) -> pd.DataFrame:
    """Train a head by each recipe from the same start, on the same cached features.

    Args:
        dual: network; its head is the start of each training, and is left as it was.
        head: ``"softmax"`` or ``"sigmoid"``.
        train: training images.
        val: images held out from them, which the choice is made on.
        backbone: name of the network, for its input format.
        recipes: at least one.
        features: folder of the cached features.
        seed: of training.
        report: called with one line a recipe.
        fabric: devices; ``None`` for one device.

    Returns:
        Columns ``learning_rate, weight_decay, epochs, loss, val_loss, val_top1, chosen``, in the order of the recipes;
        the lowest ``val_loss`` is chosen, the first of equals.

    Raises:
        SigcamError: if there is no recipe, or the loss of one becomes NaN or infinite.
    """
    if not recipes:
        fail("there is no recipe to choose from: give at least one.")
    fabric = fabric or start_fabric()
    start = copy.deepcopy(dual.head(head).state_dict())
    rows = []
    for number, recipe in enumerate(recipes, start=1):
        dual.head(head).load_state_dict(start)
        trained = train_head(
            dual, head, train, val, backbone, recipe, features, seed, report if number == 1 else _silent, fabric=fabric
        )
        last = trained.history[-1]
        names = ("learning_rate", "weight_decay", "epochs")
        rows.append(
            {name: getattr(recipe, name) for name in names} | {k: last[k] for k in ("loss", "val_loss", "val_top1")}
        )
        report(
            f"{number}/{len(recipes)}  rate {recipe.learning_rate:g}, decay {recipe.weight_decay:g}, {recipe.epochs} "
            f"epochs: val loss {last['val_loss']:.4f}, val top-1 {last['val_top1']:.1f} %"
        )
    dual.head(head).load_state_dict(start)
    table = pd.DataFrame(rows)
    return table.assign(chosen=table.index == table["val_loss"].idxmin())


def _silent(line: str) -> None:
    """Features and the first recipe have told how long one takes; a line a recipe is enough then."""
