"""The penalty of a head as an axis: localisation, grids, fidelity and Top-1 of every optimum along its path.

A head is chosen by its held-out loss, and another choice would be as defensible. Along the path each figure says how
much of a difference between two heads is a difference between two penalties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from sigcam_core.prepare.manifest import Manifest

from .maps import Control, LinearHead
from .names import WEIGHTS
from .shards import seconds_of
from .study import FeatureMaps, Study, class_logits, grids, held_out_hits, locate, score
from .tables import ControlEvidence, figures_table, resampled_figures

PATH_IMAGES, PATH_GRIDS, PATH_CELLS = 256, 250, 2
"""Test images that get fidelity along a path, drawn from a seed, and grids of 2 x 2, the first of all."""
COLUMNS = ["head", "l2", "chosen", "weights", "test_top1", "metric", "value", "low", "high"]


def path_table(study: Study, maps: FeatureMaps, resamples: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Every optimum of the penalty paths, measured by its maps, signed and truncated.

    Args:
        study: whose heads have paths.
        maps: of the test images.
        resamples: of the bootstrap over images.

    Returns:
        Columns ``head, l2, chosen, weights, test_top1, metric, value, low, high``: the metrics of the crossed controls,
        in %. Fidelity is of :data:`PATH_IMAGES` images, judged by the softmax head that is compared and, with
        ``_own``, by the head itself; grids are :data:`PATH_GRIDS`. And the seconds of every step.
    """
    made, test = study.made, study.dataset.split("test")
    heads = {f"{kind} {l2:g}": head for kind, path in made.paths.items() for l2, head in path.items()}
    controls = tuple(Control(name, "logit", weights) for name in heads for weights in WEIGHTS)
    judged = {**heads, made.softmax: made.heads[made.softmax]}
    folder = study.folder / "path"
    own = replace(study, folder=folder, made=replace(made, heads=judged), controls=controls)
    logits = class_logits(own, maps)
    sample = _sample(len(test), study.run.seed)
    some = FeatureMaps(maps.path, maps.values[sample])
    scored = score(own, test.take(sample.tolist()), some, logits[sample])
    shown = grids(own, test, PATH_CELLS, logits, maps.path, PATH_GRIDS)
    located, held_out = locate(own, test, controls), locate(own, study.dataset.split("val"), controls)
    evidence = ControlEvidence(
        controls=controls,
        located=located,
        held_out_hits=held_out_hits(held_out),
        scored_controls=controls,
        scored=scored,
        perturbed_controls=(),
        perturbed={},
        grid_controls=controls,
        grids={PATH_CELLS: shown["shares"]},
        grid_images={PATH_CELLS: shown["images"]},
        scorers=tuple(judged),
        judge=made.softmax,
        zero_free={PATH_CELLS: {name: shown[name] for name in ("top", "named")}},
    )
    figures = figures_table(resampled_figures(evidence, resamples), controls)
    facts = pd.DataFrame(_facts(made.paths, made.tables, maps, test))
    table = figures.rename(columns={"head": "name"}).merge(facts, on="name", validate="many_to_one")
    return table[COLUMNS], {f"path_{path.stem}": seconds_of(path) for path in sorted(folder.glob("*.safetensors"))}


def _sample(num_images: int, seed: int) -> torch.Tensor:
    """Which test images get fidelity along a path."""
    order = np.random.default_rng([seed, PATH_IMAGES]).permutation(num_images)
    return torch.from_numpy(np.sort(order[:PATH_IMAGES]))


def _facts(
    paths: Mapping[str, Mapping[float, LinearHead]],
    tables: Mapping[str, pd.DataFrame],
    maps: FeatureMaps,
    test: Manifest,
) -> list[dict[str, Any]]:
    """Of every optimum: its name, kind and penalty, whether it was chosen, and Top-1 (%) on test images."""
    pooled = torch.cat([part.mean(dim=(2, 3)) for part in torch.split(maps.values, 256)])
    facts = []
    for kind, path in paths.items():
        chosen = tables[f"penalties_{kind}"].set_index("l2")["chosen"]
        for l2, head in path.items():
            top1 = 100 * float((head.logits(pooled).argmax(dim=1) == test.labels).double().mean())
            is_chosen = bool(chosen.loc[l2])
            facts.append({"name": f"{kind} {l2:g}", "head": kind, "l2": l2, "chosen": is_chosen, "test_top1": top1})
    return facts
