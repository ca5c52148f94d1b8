"""The chapter on training: accuracies, times and histories of networks whose two heads were trained.

What is imported here under its own name (``as``) is handed on to the notebook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sigcam_core.dual.branch import HEADS, DualBranch
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.invariance import gauge_energy
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.train.heads import top1_accuracy

from ..show.figures import training_figure as training_figure
from ..show.names import network_title
from ..show.saved import Chapter, Value
from ..show.shown import sentence_list


def training_chapter(
    duals: Mapping[str, DualBranch], records: Mapping[str, tuple[Any, Any]], manifest: Manifest
) -> Chapter:
    """Accuracies, times and curves of networks whose two heads were trained.

    Args:
        duals: the networks, by what they are called.
        records: of their classifier and sigmoid head.
        manifest: the data set.
    """
    test, counts = manifest.split("test"), manifest.table["split"].value_counts()
    accuracies = {head: [top1_accuracy(dual, head, test) for dual in duals.values()] for head in HEADS}
    summary = pd.DataFrame(
        {
            "network": list(duals),
            **{f"{head} branch, test Top-1 (%)": accuracies[head] for head in HEADS},
            "classifier (s)": [classifier["seconds"] for classifier, _ in records.values()],
            "sigmoid head (s)": [sigmoid["seconds"] for _, sigmoid in records.values()],
        }
    )
    first, (first_record, _) = next(iter(duals.values())), next(iter(records.values()))
    weight = linear_head_weight(first.softmax_head)
    values: dict[str, Value] = {
        "dataset": manifest.name,
        **{f"{split}_images": int(counts[split]) for split in ("train", "val", "test")},
        "num_classes": manifest.num_classes,
        **({} if weight is None else {"gauge_energy_gap": gauge_energy(weight)}),
        "seed": first_record["seed"],
        "device": first_record["device"],
    }
    keys = ("top1", "sigmoid_top1", "classifier_seconds", "head_seconds")
    for row in summary.itertuples(index=False):
        label = row[0].split("-")[-1]
        values |= {f"{key}_{label}": float(value) for key, value in zip(keys, row[1:], strict=True)}
    formatted = {name: f"{value:.1f}" for name, value in values.items() if isinstance(value, float)}
    formatted |= {name: f"{value:.3f}" for name, value in values.items() if name.startswith("gauge")}
    formatted["seed"] = str(values["seed"])
    return Chapter(values, {"training": summary}, formatted)


def training_histories(records: Mapping[str, tuple[Any, Any]]) -> dict[str, pd.DataFrame]:
    """Collect the history of every training, one row per epoch, by its label in the figure.

    Args:
        records: of classifier and sigmoid head, by network.
    """
    histories = {}
    for name, (classifier, sigmoid) in records.items():
        histories[f"{name}, softmax classifier"] = pd.DataFrame(classifier["history"])
        histories[f"{name}, sigmoid head"] = pd.DataFrame(sigmoid["history"])
    return histories


def training_sentence(table: pd.DataFrame, test_images: int) -> str:
    """Say whether the second head classifies as well as the first.

    Args:
        table: ``training`` of :func:`training_chapter`.
        test_images: that accuracies are of.
    """
    columns = [f"{head} branch, test Top-1 (%)" for head in ("softmax", "sigmoid")]
    parts = [
        f"{sigmoid:.1f} % where softmax has {softmax:.1f} % ({network_title(name)})"
        for name, softmax, sigmoid in table[["network", *columns]].itertuples(index=False)
    ]
    gaps = (table[columns[1]] - table[columns[0]]).to_numpy()
    images = round(float(np.abs(gaps).max()) / 100 * test_images)
    way = "better" if (gaps > 0).all() else "worse" if (gaps < 0).all() else "now better, now worse"
    return (
        f"Trained on frozen features, the sigmoid head classifies {way} than softmax, by at most {images} of "
        f"{test_images} test images: Top-1 {sentence_list(parts)}."
    )
