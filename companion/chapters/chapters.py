"""What a chapter of the book shows, computed from what the stations left: tables, and values for the prose.

A notebook makes its evidence, calls one of these, saves what it gets, shows it, and draws figures of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from sigcam_core.common.families import KEYS
from sigcam_core.common.titles import (
    ADCC_METRICS,
    FIDELITY_METRICS,
    METHOD_TITLES,
    PERTURBATION_METRICS,
    POINTING_METRICS,
    WSOL_METRICS,
)
from sigcam_core.dual.branch import HEADS, DualBranch
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.evaluate.overhead import overhead_rows
from sigcam_core.fidelity.evidence import PERTURBATION, SCORERS, fidelity_statistics, perturbation_statistics
from sigcam_core.invariance import gauge_energy
from sigcam_core.localization.centre import centre_box_accuracy
from sigcam_core.localization.contours import BoxArray
from sigcam_core.localization.evidence import BOXES, wsol_statistics
from sigcam_core.pointing.evidence import pointing_statistics
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.summarise.tables import head_differences, matched_coverage, table_of
from sigcam_core.train.heads import top1_accuracy

from ..paper.centre import CENTRE, NOBODY
from ..show.names import data_set_title, network_title
from ..show.saved import Chapter, Value, flat_values
from ..show.sentences import count_words, sides
from ..show.shown import sentence_list

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


def training_sentence(table: pd.DataFrame, test_images: int) -> str:
    """Whether the second head classifies as well as the first.

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


def localization_sentence(differences: pd.DataFrame, table: pd.DataFrame, data_sets: Sequence[str]) -> str:
    """Sigmoid against softmax by MaxBoxAccV2, or PxAP where there are no boxes, and what the centre has.

    Args:
        differences: ``table1_differences`` of :func:`localization_chapter`.
        table: ``table1`` of the same.
        data_sets: that they are of.
    """
    metric = "maxboxacc_v2" if (differences["metric"] == "maxboxacc_v2").any() else "pxap"
    title = {"maxboxacc_v2": "MaxBoxAccV2", "pxap": "PxAP"}[metric]
    counts = sides(differences, metric)
    text = (
        f"On {sentence_list([data_set_title(name) for name in data_sets])}, {title} of the sigmoid head's map is "
        + count_words(counts, ("higher than softmax's", "lower", "not told apart"))
    )
    maps, centre = table[table["method"] != CENTRE], table[table["method"] == CENTRE]
    maps = maps[maps["method"].isin(METHOD_TITLES)]
    if len(centre) and centre[metric].notna().all():
        values = centre[metric].to_numpy()
        beaten = sum(bool((maps[metric] < value).any()) for value in values)
        where = "above some of them" if beaten else "below them all"
        text += f"; a centred square, which sees no image, has {values[0]:.1f} %, {where}"
    return text + "."


def fidelity_sentence(differences: pd.DataFrame, scorer: str) -> str:
    """Sigmoid against softmax by average drop, beside what the maps keep.

    Args:
        differences: ``table2_differences`` of :func:`fidelity_chapter`.
        scorer: branch that gave the scores.
    """
    drop = count_words(sides(differences, "average_drop", lower_is_better=True), ("better", "worse", "not told apart"))
    keep = count_words(sides(differences, "coverage"), ("more of the image", "less", "as much"))
    return f"Scored by the {scorer} branch, the average drop of the sigmoid head's map is {drop}; the map keeps {keep}."


def trend_sentence(table: pd.DataFrame) -> str:
    """How average drop goes with coverage over the maps of a network.

    Args:
        table: columns ``network, coverage, average_drop``, one row a map.
    """
    parts = []
    for name, rows in table.groupby("network", sort=False):
        rank = rows["coverage"].corr(rows["average_drop"], method="spearman")
        parts.append(f"{rank:+.2f} ({network_title(str(name))})")
    return f"Rank correlation of average drop with coverage, over maps: {sentence_list(parts)}."


def equal_coverage_sentence(table: pd.DataFrame) -> str:
    """How far apart the two heads are where all maps keep the same share.

    Args:
        table: of :func:`drops_at_equal_coverage`.
    """
    shares = [column for column in table if str(column).startswith("keep")]
    means = {head: rows[shares].mean() for head, rows in table.groupby("head")}
    gaps = means["sigmoid"] - means["softmax"]
    parts = [f"{gap:+.1f} points where maps {share}" for share, gap in gaps.items()]
    return f"From softmax to sigmoid, average drop over all maps moves by {sentence_list(parts)} of the pixels."


def overhead_sentence(table: pd.DataFrame, paper: pd.DataFrame) -> str:
    """What the second head costs here, beside what the paper prints.

    Args:
        table: of :func:`sigcam_core.evaluate.overhead.overhead_rows`, with columns ``network, quantity, ratio``.
        paper: the paper's Table 3.
    """

    def span(ratios: pd.Series[float]) -> str:
        low, high = f"{ratios.min():.2f}", f"{ratios.max():.2f}"
        return low if low == high else f"{low} to {high}"

    ours = {name: rows["ratio"] for name, rows in table.groupby("quantity")}
    theirs = paper[paper["quantity"] == "inference_time_with_cam"]
    ratio = theirs["dual_branch"] / theirs["baseline"]
    inside = ours["inference_time_with_cam"].between(ratio.min(), ratio.max())
    beside = "inside" if inside.all() else "outside" if not inside.any() else "partly inside"
    return (
        f"With a second head, inference with a map takes {span(ours['inference_time_with_cam'])} times as long and "
        f"parameters are {span(ours['parameters'])} times as many; the times are {beside} the range that the paper "
        f"prints for its networks, {span(ratio)}."
    )
