"""What a weight says of its channel: a larger one of a stronger influence, its sign of evidence or of inhibition.

The paper reads weights so (Oh and Noh 2025, Sections 1 and 3). A channel of the pooled features is removed, set to zero
or to its mean over the training images, and the score of the class changes; the change is compared with the weight. On
a linear head the logit of the class changes by the weight times what was removed, for softmax and sigmoid alike and by
construction, so the logit cannot tell them apart. What the head *says* can: a softmax probability depends on all
logits, and a weight that all classes share moves none. A sigmoid's own probability follows its logit. So a sigmoid's
weights are asked about two more scores as well: the softmax over its logits, by which the paper's code judges it, and
the probability of the classifier that the map is to explain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigcam_core.common.resampling import figure_and_resamples, interval

from .maps import LinearHead

AT_ONCE = 2**22  # of images times channels times classes
OWN, OWN_SOFTMAX, CLASSIFIER = "own probability", "softmax over own logits", "classifier's probability"
DIFFERENCE = "difference"
METRICS = ("rank_weight", "rank_contribution", "sign")
COLUMNS = ["head", "weights", "removed", "score", "metric", "value", "low", "high", "classes"]


@dataclass(frozen=True)
class Pooled:
    """What a linear layer takes.

    Attributes:
        features: (N, K) of test images.
        class_idx: (N,) classes that the classifier predicts.
        mean: (K,) over the training images.
    """

    features: Tensor
    class_idx: Tensor
    mean: Tensor


def influence_table(
    pooled: Pooled, heads: Mapping[str, LinearHead], compared: tuple[str, str], resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """How well the weights of every head foretell what the removal of a channel does to the class.

    The effect of a channel on a class is the mean over the class's images of the fall of its log-odds, log p / (1 - p),
    when the channel is removed, which has the sign of the fall of the probability.

    Args:
        pooled: the inputs.
        heads: by name.
        compared: names of the softmax head, which is the classifier that is explained, and of the sigmoid head.
        resamples: of the bootstrap over classes.
        seed: of the bootstrap.

    Returns:
        Columns ``head, weights, removed, score, metric, value, low, high, classes``. ``weights`` are ``as trained`` or
        ``centred``; ``removed`` is what the channel is set to, ``zero`` or ``mean``. Metrics are means over classes, in
        [-1, 1] and in %: ``rank_weight`` and ``rank_contribution`` are Spearman's correlation over channels of the
        effect with the weight, and with the weight times the mean of what was removed; ``sign`` is the share of
        channels whose effect has the sign of the latter. The head ``difference`` is the compared sigmoid head minus the
        softmax head, paired over classes.
    """
    figures: dict[tuple[str, ...], NDArray[np.float64]] = {}
    for removed, reference in {"zero": torch.zeros_like(pooled.mean), "mean": pooled.mean}.items():
        taken, classes = _class_means(pooled.features.double() - reference.double(), pooled.class_idx)  # (M, K)
        by_softmax = {name: _softmax_effects(pooled, head, reference, classes) for name, head in heads.items()}
        for name, head in heads.items():
            scores = {CLASSIFIER: by_softmax[compared[0]]}
            if head.is_sigmoid:
                own = taken * head.weight.double()[classes]  # of a sigmoid the log-odds are the logit
                scores |= {OWN: own, OWN_SOFTMAX: by_softmax[name]}
            else:
                scores[OWN] = by_softmax[name]
            kinds = {"as trained": head.weight, "centred": head.weight - head.weight.mean(dim=0)}
            for kind, weight in kinds.items():
                for score, effects in scores.items():
                    each = _agreement(weight.double()[classes], taken, effects)
                    figures |= {(name, kind, removed, score, metric): values for metric, values in each.items()}
    softmax, sigmoid = compared
    differences = {
        (DIFFERENCE, *rest): figures[sigmoid, *rest] - values
        for (name, *rest), values in figures.items()
        if name == softmax
    }
    rows = [(*key, *_mean(values, resamples, seed), len(values)) for key, values in (figures | differences).items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _class_means(values: Tensor, class_idx: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean (M, K) of values (N, K) over the images of each class that has any, and these classes (M,)."""
    classes, place, counts = torch.unique(class_idx, return_inverse=True, return_counts=True)
    sums = values.new_zeros(len(classes), values.shape[1]).index_add_(0, place, values)
    return sums / counts[:, None], classes


def _softmax_effects(pooled: Pooled, head: LinearHead, reference: Tensor, classes: Tensor) -> Tensor:
    """Mean fall (M, K) of each class's log-odds by a softmax over the head's logits, over the images of the class."""
    place = torch.searchsorted(classes, pooled.class_idx)
    effects = torch.zeros(len(classes), pooled.features.shape[1], dtype=torch.float64)
    for images, removed, logits in _parts(pooled, head, reference):
        own = pooled.class_idx[images][:, None, None].expand(-1, removed.shape[1], 1)
        fallen = logits[:, None, :] - removed[:, :, None] * head.weight.double().T[None]  # (n, K, C)
        effects.index_add_(0, place[images], _log_odds(logits[:, None, :], own[:, :1]) - _log_odds(fallen, own))
    return effects / torch.bincount(place, minlength=len(classes))[:, None]


def _parts(pooled: Pooled, head: LinearHead, reference: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield some images at a time: which, what each channel loses (n, K), and their logits (n, C)."""
    at_once = max(1, AT_ONCE // head.weight.numel())
    for start in range(0, len(pooled.features), at_once):
        images = slice(start, start + at_once)
        features = pooled.features[images].double()
        logits = features @ head.weight.double().T + head.bias.double()
        yield images, features - reference.double(), logits


def _log_odds(logits: Tensor, own: Tensor) -> Tensor:
    """Of the class ``own`` (n, K, 1) by a softmax over logits (n, K, C), (n, K)."""
    mine = logits.gather(2, own)
    others = logits.scatter(2, own, -torch.inf)
    return mine[..., 0] - others.logsumexp(dim=2)


def _agreement(weight: Tensor, taken: Tensor, effects: Tensor) -> dict[str, NDArray[np.float64]]:
    """By metric, each class's figure (M,) from weights, what was removed, and effects, (M, K) each."""
    weights, amounts, changes = (values.numpy() for values in (weight, taken, effects))
    figures: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for own, amount, change in zip(weights, amounts, changes, strict=True):
        moved = amount != 0  # a channel that none of the images has does nothing
        own, change, said = own[moved], change[moved], (own * amount)[moved]
        ranked = pd.DataFrame({"weight": own, "contribution": said, "effect": change}).rank().corr()["effect"]
        figures["rank_weight"].append(ranked["weight"])
        figures["rank_contribution"].append(ranked["contribution"])
        figures["sign"].append(100 * float((np.sign(said) == np.sign(change)).mean()))
    return {metric: np.array(values) for metric, values in figures.items()}


def _mean(values: NDArray[np.float64], resamples: int, seed: int) -> tuple[float, float, float]:
    """Compute the mean over classes and its 95 % interval."""
    weights = figure_and_resamples(len(values), resamples, seed)
    means = (weights @ values) / weights.sum(axis=1)
    return float(means[0]), *interval(means[1:])
