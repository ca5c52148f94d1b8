"""Who moves the gauge: the part of a head that all its classes share, after training by several optimisers.

The gradient of any loss of the softmax probabilities sums to zero over the classes, batch by batch. So SGD, with
momentum or without, never moves the mean weight of a head, and weight decay shrinks it at a rate that the schedule
alone decides. Adam divides each weight's gradient by a scale of its own, which breaks the sum. At the optimum with an
L2 penalty the mean is zero.

Sigmoids see the mean weight, where it is called common energy: their loss pulls it to a value of its own, which the
optimiser may overshoot as it overshoots softmax's zero. No theory says where that value lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sigcam_core.common.errors import check_choice, fail
from sigcam_core.common.seeds import derived_seed
from sigcam_core.dual.loss import class_balanced_bce
from sigcam_core.invariance import gauge_energy
from sigcam_core.train.fit import USUAL, Session, Task, fit
from sigcam_core.train.recipes import MOMENTUM, Recipe

from .optimum import Optimum
from .penalties import Rows

Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {"softmax": cross_entropy, "sigmoid": class_balanced_bce}
"""What a head of either kind learns by, from logits (N, C) and labels (N,)."""
STARTS = ("zero", "random")
"""Where training begins."""
START_SPREAD = 0.01  # standard deviation of a random start, as in the official code
_USUAL = Recipe(epochs=20, batch_size=256, learning_rate=3e-3, weight_decay=0.0, augment="none")
GAUGE_RECIPES = {
    "SGD": replace(_USUAL, optimizer="sgd", learning_rate=0.1),
    "SGD, weight decay": replace(_USUAL, optimizer="sgd", learning_rate=0.1, weight_decay=5e-4),
    "Adam": replace(_USUAL, optimizer="adam"),
    "AdamW": replace(_USUAL, weight_decay=1e-2),
}
"""Optimisers that are compared. Rates are usual ones and not chosen; the table shows the accuracy that they reach."""


def gauge_study(
    train: Rows,
    held_out: Rows,
    num_classes: int,
    optimum: Optimum | None = None,
    recipes: Mapping[str, Recipe] = GAUGE_RECIPES,
    seeds: Sequence[int] = (0, 1, 2),
    session: Session = USUAL,
    kind: str = "softmax",
) -> pd.DataFrame:
    """Train a head by each optimiser from each start, and measure its gauge energy.

    Args:
        train: features (N, D) and labels (N,).
        held_out: features (M, D) and labels (M,), for the accuracy.
        num_classes: C.
        optimum: of the same loss on the same features with an L2 penalty, for the last row; ``None`` for no such row.
        recipes: by name.
        seeds: of the order of the images and of random starts; one row each.
        session: devices and reports; its seed is not used.
        kind: ``"softmax"`` for cross-entropy, ``"sigmoid"`` for class-balanced BCE.

    Returns:
        Columns ``optimizer, start, seed, gauge_energy, theory, top1, loss``: ``theory`` is
        :func:`expected_gauge_energy` for softmax and missing for sigmoids, ``top1`` is in % on held-out images, and
        ``loss`` is the final one on the training images.

    Raises:
        SigcamError: for an unknown kind, or if a loss becomes NaN or infinite.
    """
    loss = LOSSES[check_choice("head", kind, LOSSES)]
    session, _ = session.on_devices()
    rows = []
    for name, recipe in recipes.items():
        for start in STARTS:
            for seed in seeds:
                head = starting_head(num_classes, train.features.shape[1], start, seed)
                mean = head.weight.detach().double().mean(0)
                task = _task(f"{kind} head by {name}", head, train, loss)
                fit(task, recipe, replace(session, seed=seed, checkpoint=None, report=_silent))
                head.cpu()
                weight, bias = head.weight.detach(), head.bias.detach()
                energy = gauge_energy(weight)
                theory = math.nan
                if kind == "softmax":
                    theory = expected_gauge_energy(recipe, len(train.labels), mean, weight)
                accuracy = _accuracy(weight, bias, train, held_out, loss)
                measured = {"gauge_energy": energy, "theory": theory, **accuracy}
                rows.append({"optimizer": name, "start": start, "seed": seed, **measured})
                session.report(f"{name} from {start}, seed {seed}: gauge energy {energy:.2e}, theory {theory:.2e}")
    if optimum is not None:
        measured = {"gauge_energy": gauge_energy(optimum.weight), "theory": 0.0 if kind == "softmax" else math.nan}
        accuracy = _accuracy(optimum.weight, optimum.bias, train, held_out, loss)
        rows.append({"optimizer": "optimum", "start": "", "seed": -1, **measured, **accuracy})
    return pd.DataFrame(rows)


def starting_head(num_classes: int, width: int, start: str, seed: int) -> nn.Linear:
    """Make a linear head of zeros, or of weights drawn from N(0, 0.01^2); its bias is zero.

    Args:
        num_classes: C.
        width: D.
        start: one of :data:`STARTS`.
        seed: of the random weights.
    """
    check_choice("start", start, STARTS)
    head = nn.Linear(width, num_classes)
    nn.init.zeros_(head.bias)
    nn.init.zeros_(head.weight)
    if start == "random":
        generator = torch.Generator().manual_seed(derived_seed(seed, "start of a head"))
        nn.init.normal_(head.weight, std=START_SPREAD, generator=generator)
    return head


def expected_gauge_energy(recipe: Recipe, num_items: int, mean: Tensor, weight: Tensor) -> float:
    """Compute a trained head's expected gauge energy, C (f ||m||)^2 / ||W||_F^2, or NaN for Adam and AdamW.

    Args:
        recipe: of its training, with an optimizer.
        num_items: training images.
        mean: (D,) the mean m over the classes of the weights that training began with.
        weight: (C, D) the trained weights, for their norm alone.
    """
    if recipe.optimizer != "sgd":
        return math.nan
    left = mean.double() * mean_weight_factor(recipe, num_items)
    return float(len(weight) * left.square().sum() / weight.double().square().sum())


def mean_weight_factor(recipe: Recipe, num_items: int) -> float:
    """Compute the factor f by which SGD with weight decay shrinks the mean weight of a softmax head in training.

    Without momentum it is the product of 1 - rate x decay over the steps. Nesterov's momentum follows the same
    recursion as the weights do (Sutskever et al. 2013, as torch has it), with the decay as the only gradient.

    >>> mean_weight_factor(replace(GAUGE_RECIPES["SGD"], epochs=2), num_items=1000)
    1.0

    The last layer of a classifier that learns ImageNet by the paper's recipe, ten times faster than the rest:

    >>> from sigcam_core.train.recipes import CLASSIFIER_RECIPES
    >>> paper = CLASSIFIER_RECIPES["paper"]
    >>> last = replace(paper, learning_rate=paper.learning_rate * paper.new_layers_ratio)
    >>> f"{mean_weight_factor(last, num_items=1_281_167):.0e}"
    '9e-05'
    """
    if recipe.optimizer != "sgd":
        fail(f"only SGD leaves the mean weight to its decay, and the recipe's optimizer is {recipe.optimizer!r}.")
    factor, momentum = 1.0, 0.0
    steps = math.ceil(num_items / recipe.batch_size)
    for epoch in range(recipe.epochs):
        for step in range(steps):
            gradient = recipe.weight_decay * factor
            momentum = MOMENTUM * momentum + gradient
            factor -= recipe.learning_rate_at(epoch, step / steps) * (gradient + MOMENTUM * momentum)
    return factor


def _task(name: str, head: nn.Linear, train: Rows, loss: Loss) -> Task:
    def batches(_: int, rows: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in rows:
            yield train.features[batch].float(), train.labels[batch]

    return Task(name, head, loss, batches, len(train.labels))


def _accuracy(weight: Tensor, bias: Tensor, train: Rows, held_out: Rows, loss: Loss) -> dict[str, float]:
    def logits(rows: Rows) -> Tensor:
        return rows.features.to(weight.dtype) @ weight.T + bias

    hits = logits(held_out).argmax(1) == held_out.labels
    return {"top1": 100 * hits.double().mean().item(), "loss": loss(logits(train), train.labels).item()}


def _silent(line: str) -> None:
    """Report nothing: one line per head is enough."""
