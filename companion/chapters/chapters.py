"""What a chapter of the book shows, computed from what the stations left: tables, and values for the prose.

A notebook makes its evidence, calls one of these, saves what it gets, shows it, and draws figures of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from sigcam_core.common.families import KEYS
from sigcam_core.dual.branch import HEADS, DualBranch
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.evaluate.overhead import overhead_rows
from sigcam_core.fidelity.evidence import (
    ADCC_METRICS,
    FIDELITY_METRICS,
    PERTURBATION,
    PERTURBATION_METRICS,
    SCORERS,
    fidelity_statistics,
    perturbation_statistics,
)
from sigcam_core.invariance import gauge_energy
from sigcam_core.localization.centre import centre_box_accuracy
from sigcam_core.localization.contours import BoxArray
from sigcam_core.localization.evidence import BOXES, WSOL_METRICS, wsol_statistics
from sigcam_core.pointing.evidence import POINTING_METRICS, pointing_statistics
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.summarise.tables import head_differences, matched_coverage, table_of
from sigcam_core.train.heads import top1_accuracy

from ..paper.centre import CENTRE, NOBODY
from ..show.saved import Chapter, Value, flat_values

SHOWN_COVERAGES = (10, 20, 30, 50)  # % of the pixels, of the points that the insertion curves have
PROSE_COVERAGE = 20


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
    """The row an epoch of every training, by what the figure calls it.

    Args:
        records: of classifier and sigmoid head, by network.
    """
    histories = {}
    for name, (classifier, sigmoid) in records.items():
        histories[f"{name}, softmax classifier"] = pd.DataFrame(classifier["history"])
        histories[f"{name}, sigmoid head"] = pd.DataFrame(sigmoid["history"])
    return histories


def localization_chapter(
    evidence: pd.DataFrame,
    dataset: str,
    protocol: str = "standard",
    resamples: int = 1000,
    seed: int = 0,
    boxes: Sequence[BoxArray] = (),
    baselines: Sequence[pd.DataFrame] = (),
) -> Chapter:
    """Table 1 and whether maps know their class: every method and head, the centre, and paired differences.

    Args:
        evidence: what :func:`sigcam_core.evaluate.schema.read_evidence` returns.
        dataset: its name.
        protocol: see :func:`sigcam_core.localization.evidence.wsol_statistics`.
        resamples: draws of the bootstrap over images.
        seed: of the draws.
        boxes: of each test image, scaled to the maps' size, for the row of
            :func:`sigcam_core.localization.centre.centre_box_accuracy`, which is of those images that have one.
        baselines: of each network, rows of maps that know no class, for the end of the table.
    """
    statistics = partial(wsol_statistics, protocol=protocol)
    ours = table_of(evidence, statistics)
    if boxed := [one for one in boxes if len(one)]:
        figures = {name: value.item() for name, value in centre_box_accuracy(boxed, protocol=protocol).items()}
        counts_of_row = {BOXES.heading: len(boxed)} if BOXES.heading in ours else {}
        row = dict.fromkeys(KEYS, NOBODY) | {"method": CENTRE} | figures | counts_of_row
        ours = pd.concat([ours, pd.DataFrame([row])], ignore_index=True)
    differences = head_differences(evidence, statistics, resamples, seed)
    pointing = table_of(evidence, pointing_statistics)
    pointing_differences = head_differences(evidence, pointing_statistics, resamples, seed)
    counts: dict[str, Value] = {"dataset": dataset, "test_images": evidence["image_id"].nunique()}
    values = counts | flat_values(ours, WSOL_METRICS) | flat_values(pointing, POINTING_METRICS)
    for table in (differences, pointing_differences):
        values |= flat_values(table, ("difference", "low", "high"))
    tables = {
        "table1": pd.concat([ours, *baselines], ignore_index=True),
        "table1_differences": differences,
        "table1_pointing": pointing,
        "table1_pointing_differences": pointing_differences,
    }
    return Chapter(values, tables)


def fidelity_chapter(
    evidence: pd.DataFrame, dataset: str, scorer: str = "softmax", resamples: int = 1000, seed: int = 0
) -> Chapter:
    """Table 2: fidelity by either scorer, at matched coverage, insertion and deletion, ADCC, and differences.

    Args:
        evidence: what :func:`sigcam_core.evaluate.schema.read_evidence` returns, of images that were perturbed in part.
        dataset: its name.
        scorer: see :func:`sigcam_core.fidelity.evidence.fidelity_statistics`.
        resamples: draws of the bootstrap over images.
        seed: of the draws.
    """
    statistics = partial(fidelity_statistics, scorer=scorer)
    ours = table_of(evidence, statistics)
    differences = head_differences(evidence, statistics, resamples, seed)
    points = matched_coverage(evidence)
    first_images = PERTURBATION.measured(evidence)
    areas = table_of(first_images, perturbation_statistics)
    at_one = at_coverages(points, PROSE_COVERAGE).rename(columns={"average_drop": f"average_drop_at_{PROSE_COVERAGE}"})
    counts: dict[str, Value] = {
        "dataset": dataset,
        "test_images": evidence["image_id"].nunique(),
        "perturbed_images": first_images["image_id"].nunique(),
        "scorer": scorer,
    }
    values = (
        counts
        | flat_values(ours, tuple(dict.fromkeys(FIDELITY_METRICS + ADCC_METRICS)))
        | flat_values(areas, PERTURBATION_METRICS)
        | flat_values(at_one, (f"average_drop_at_{PROSE_COVERAGE}",))
        | flat_values(differences, ("difference", "low", "high"))
    )
    tables = {
        "table2": ours,
        "table2_scorers": _scored_by_both(evidence, ours),
        "table2_matched_coverage": points,
        "table2_perturbation": areas,
        "table2_adcc": ours[[*KEYS, *ADCC_METRICS]],
        "table2_differences": differences,
    }
    return Chapter(values, tables)


def _scored_by_both(evidence: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    crossed = ours[["network", "method", "head", "coverage"]].copy()
    for name in SCORERS:
        by_scorer = table_of(evidence, partial(fidelity_statistics, scorer=name))
        crossed[f"average drop, scored by {name} branch"] = by_scorer["average_drop"]
        crossed[f"increase in confidence, scored by {name} branch"] = by_scorer["increase_in_confidence"]
    return crossed


def at_coverages(points: pd.DataFrame, *shares: int) -> pd.DataFrame:
    """The points at which maps keep some share of the pixels, the share in whole percent.

    Args:
        points: with column ``coverage``, as :func:`sigcam_core.summarise.tables.matched_coverage` gives it.
        shares: in %.
    """
    rounded = points.round({"coverage": 0})
    return rounded[rounded["coverage"].isin(shares)]


def drops_at_equal_coverage(points: pd.DataFrame) -> pd.DataFrame:
    """Average drop of every map where all keep the same share of the pixels, one column a share.

    Args:
        points: what :func:`sigcam_core.summarise.tables.matched_coverage` returns.
    """
    shown = at_coverages(points, *SHOWN_COVERAGES)
    order = shown.drop_duplicates(KEYS).set_index(KEYS).index
    wide = shown.pivot(index=KEYS, columns="coverage", values="average_drop").reindex(order)
    return wide.rename(columns=lambda share: f"keep {share:.0f} %").reset_index()


def overhead_chapter(
    measured: Mapping[str, dict[str, Any]], trained: Sequence[str], device: str, dataset: str = ""
) -> Chapter:
    """Table 3: parameters, times and their ratios.

    Args:
        measured: by network, what :func:`sigcam_core.evaluate.overhead.measure_overhead` gives, with
            ``training_time`` (seconds of the classifier, and of both heads) for those that were trained here.
        trained: names of those.
        device: what it was measured on.
        dataset: that they were trained on, for a column of the table; empty for none.
    """
    ours = pd.DataFrame([row for network, values in measured.items() for row in overhead_rows(network, values)])
    if dataset:
        ours.insert(0, "dataset", dataset)
    values: dict[str, Value] = {"device": device}
    for network in trained:
        label, figures = network.split("-")[-1], measured[network]
        before, after = figures["parameters"]
        values |= {
            f"{label}_parameters": before,
            f"{label}_extra_parameters": after - before,
            f"{label}_inference_ratio": figures["inference_ratio"],
            f"{label}_training_ratio": figures["training_time"][1] / figures["training_time"][0],
        }
    return Chapter(values, {"table3": ours})
