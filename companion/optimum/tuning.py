"""Choosing a head's recipe by the loss on held-out training images; test images take no part."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd

from sigcam_core.common.errors import fail
from sigcam_core.dual.branch import DualBranch
from sigcam_core.train.fit import USUAL, Session
from sigcam_core.train.heads import Splits, train_head
from sigcam_core.train.recipes import Recipe

LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
WEIGHT_DECAYS = (0.1, 1.0, 10.0)


def grid_around(recipe: Recipe) -> list[Recipe]:
    """List the recipe with every learning rate and weight decay to try, instead of its own."""
    return [
        replace(recipe, learning_rate=rate, weight_decay=decay)
        for decay, rate in product(WEIGHT_DECAYS, LEARNING_RATES)
    ]


def compare_recipes(
    dual: DualBranch, head: str, splits: Splits, recipes: Sequence[Recipe], features: Path, session: Session = USUAL
) -> pd.DataFrame:
    """Train a head by each recipe from the same start, on the same cached features.

    Args:
        dual: network; its head is the start of each training, and is left as it was.
        head: ``"softmax"`` or ``"sigmoid"``.
        splits: training images, and images held out from them, which the choice is made on.
        recipes: at least one.
        features: folder of the cached features.
        session: seed and devices; its report is called with one line a recipe.

    Returns:
        Columns ``learning_rate, weight_decay, epochs, loss, val_loss, val_top1, chosen``, in the order of the recipes;
        the lowest ``val_loss`` is chosen, the first of equals.

    Raises:
        SigcamError: if there is no recipe, or the loss of one becomes NaN or infinite.
    """
    if not recipes:
        fail("there is no recipe to choose from: give at least one.")
    session, _ = session.on_devices()
    start = copy.deepcopy(dual.head(head).state_dict())
    rows = []
    for number, recipe in enumerate(recipes, start=1):
        dual.head(head).load_state_dict(start)
        told = session if number == 1 else replace(session, report=_silent)
        trained = train_head(dual, head, splits, recipe, features, told)
        last = trained.history[-1]
        names = ("learning_rate", "weight_decay", "epochs")
        rows.append(
            {name: getattr(recipe, name) for name in names} | {k: last[k] for k in ("loss", "val_loss", "val_top1")}
        )
        session.report(
            f"{number}/{len(recipes)}  rate {recipe.learning_rate:g}, decay {recipe.weight_decay:g}, {recipe.epochs} "
            f"epochs: val loss {last['val_loss']:.4f}, val top-1 {last['val_top1']:.1f} %"
        )
    dual.head(head).load_state_dict(start)
    table = pd.DataFrame(rows)
    return table.assign(chosen=table.index == table["val_loss"].idxmin())


def _silent(line: str) -> None:
    """Report one line per recipe once features and the first recipe have shown how long one takes."""
