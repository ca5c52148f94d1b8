"""The sentence that opens a page of results: made from its numbers, so that it turns when they do.

Each function takes the numbers that its page shows. A difference counts as a gain or a loss only if its whole interval
lies on one side of zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sigcam_core.summarise.style import METHOD_TITLES

from ..controls.maps import CENTRE, NO_HEAD
from .names import data_set_title, in_markdown, network_title
from .results import Measured, usual_rows
from .saved import Value
from .shown import sentence_list

SAME_PROBABILITY = 1e-6
"""The largest change of a probability that rounding may make."""


def told(text: str) -> Any:
    """The sentence as a notebook shows it, and the book at the top of the page."""
    from IPython.display import Markdown  # comes with the notebooks, which other users of the package need not have

    return Markdown(f"**{text}**")  # type: ignore[no-untyped-call]


def sides(differences: pd.DataFrame, metric: str, lower_is_better: bool = False) -> tuple[int, int, int]:
    """How many rows of paired differences are better, worse, and not told from none.

    Args:
        differences: with columns ``metric, low, high``.
        metric: which.
        lower_is_better: whether a negative difference is the better.
    """
    rows = differences[differences["metric"] == metric].dropna(subset=["low", "high"])
    above, below = int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
    better, worse = (below, above) if lower_is_better else (above, below)
    return better, worse, len(rows) - above - below


def count_words(counts: tuple[int, int, int], words: tuple[str, str, str]) -> str:
    """Counts with their words, those that are not zero.

    >>> count_words((2, 0, 1), ("higher", "lower", "undecided"))
    'higher in 2 and undecided in 1 of 3 rows'
    """
    parts = [f"{word} in {count}" for count, word in zip(counts, words, strict=True) if count]
    return f"{sentence_list(parts)} of {sum(counts)} rows"


def of_invariance(values: Mapping[str, Value]) -> str:
    """One network, several heads: do they agree, and does a map turn into its negative?

    Args:
        values: of :func:`companion.chapters.orbit.invariance_chapter`.
    """
    change, correlation = float(values["max_probability_difference"]), float(values["map_correlation_after_collapse"])
    agree = "agree" if change <= SAME_PROBABILITY else "do not agree"
    negative = "is the negative" if correlation < -0.999 else "is not the negative"
    return (
        f"Five heads {agree} on all {values['num_classes']:,} probabilities of a photo (the largest change is "
        f"{change:.0e}), and draw five maps, one of which {negative} of the first (correlation {correlation:.3f})."
    )


def of_training(table: pd.DataFrame, test_images: int) -> str:
    """Whether the second head classifies as well as the first.

    Args:
        table: ``training`` of :func:`companion.chapters.chapters.training_chapter`.
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


def of_localization(differences: pd.DataFrame, table: pd.DataFrame, data_sets: Sequence[str]) -> str:
    """Sigmoid against softmax by MaxBoxAccV2, or PxAP where there are no boxes, and what the centre has.

    Args:
        differences: ``table1_differences`` of :func:`companion.chapters.chapters.localization_chapter`.
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


def of_fidelity(differences: pd.DataFrame, scorer: str) -> str:
    """Sigmoid against softmax by average drop, beside what the maps keep.

    Args:
        differences: ``table2_differences`` of :func:`companion.chapters.chapters.fidelity_chapter`.
        scorer: branch that gave the scores.
    """
    drop = count_words(sides(differences, "average_drop", lower_is_better=True), ("better", "worse", "not told apart"))
    keep = count_words(sides(differences, "coverage"), ("more of the image", "less", "as much"))
    return f"Scored by the {scorer} branch, the average drop of the sigmoid head's map is {drop}; the map keeps {keep}."


def of_trend(table: pd.DataFrame) -> str:
    """How average drop goes with coverage over the maps of a network.

    Args:
        table: columns ``network, coverage, average_drop``, one row a map.
    """
    parts = []
    for name, rows in table.groupby("network", sort=False):
        rank = rows["coverage"].corr(rows["average_drop"], method="spearman")
        parts.append(f"{rank:+.2f} ({network_title(str(name))})")
    return f"Rank correlation of average drop with coverage, over maps: {sentence_list(parts)}."


def of_equal_coverage(table: pd.DataFrame) -> str:
    """How far apart the two heads are where all maps keep the same share.

    Args:
        table: of :func:`companion.chapters.chapters.drops_at_equal_coverage`.
    """
    shares = [column for column in table if str(column).startswith("keep")]
    means = {head: rows[shares].mean() for head, rows in table.groupby("head")}
    gaps = means["sigmoid"] - means["softmax"]
    parts = [f"{gap:+.1f} points where maps {share}" for share, gap in gaps.items()]
    return f"From softmax to sigmoid, average drop over all maps moves by {sentence_list(parts)} of the pixels."


def of_overhead(table: pd.DataFrame, paper: pd.DataFrame) -> str:
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


def of_boxes(hits: Mapping[str, tuple[int, int]]) -> str:
    """How many of the boxes that a figure shows are right.

    Args:
        hits: by map, how many of its boxes have an IoU of at least 0.5 with a true one, and of how many.
    """
    parts = [f"{hit} of {count} ({name})" for name, (hit, count) in hits.items()]
    return (
        f"Of the images below, drawn at random, the dashed box meets the object (IoU ≥ 0.5) in {sentence_list(parts)}."
    )


def of_likeness(likeness: Mapping[str, float], count: int) -> str:
    """How alike the maps of a figure are to the last of each row.

    Args:
        likeness: by map, its mean correlation with the last.
        count: images.
    """
    parts = [f"{value:.2f} with {name}" for name, value in likeness.items()]
    return f"On these {count} photos the sigmoid head's map has a mean correlation of {sentence_list(parts)}."


def of_explained(scores: pd.DataFrame) -> str:
    """What is left of the probability when only what a map shows is kept.

    Args:
        scores: columns ``head, before, after``, one row a map.
    """
    before = float(scores["before"].mean())
    softmax, sigmoid = (float(scores["after"][scores["head"] == head].mean()) for head in ("softmax", "sigmoid"))
    more = "more of it than" if sigmoid > softmax else "less of it than" if sigmoid < softmax else "as much of it as"
    return (
        f"Of a mean probability of {before:.2f}, the explained images below keep {softmax:.2f} by maps "
        f"of the softmax head and {sigmoid:.2f} by those of the sigmoid head, which keeps {more} softmax does."
    )


def of_shift(class_name: str, before: Mapping[str, float], after: Mapping[str, float], shift: float) -> str:
    """What a shift of both heads does to either probability.

    Args:
        class_name: that the map explains.
        before: probability by head.
        after: the same, after the shift.
        shift: in units of the sign collapse.
    """
    stays = abs(after["softmax"] - before["softmax"]) <= 1e-4
    return (
        f"Shifted by {shift:g} times the sign collapse, the softmax probability of {in_markdown(class_name)} "
        f"{'stays at' if stays else 'moves from ' + format(before['softmax'], '.3f') + ' to'} {after['softmax']:.3f}, "
        f"and the sigmoid's moves from {before['sigmoid']:.3f} to {after['sigmoid']:.3f}."
    )


def of_speed(rows: Sequence[Mapping[str, Any]], head: Sequence[Mapping[str, Any]] = ()) -> str:
    """How many goals of speed are met, and which are not.

    Args:
        rows: of the benchmarks, each with ``task, peer, speed_up, goal``; without a goal where ``None``.
        head: of the training of a head, the same.
    """
    with_goal = [row for row in [*rows, *head] if row["goal"] is not None]
    missed = [row for row in with_goal if row["speed_up"] < row["goal"]]
    best = max(rows, key=lambda row: float(row["speed_up"]))
    text = (
        f"{len(with_goal) - len(missed)} of {len(with_goal)} goals of speed are met; the largest gain is "
        f"{best['speed_up']:.0f} times ({best['task']}, against {best['peer']})"
    )
    tasks = {row["task"]: [other for other in missed if other["task"] == row["task"]] for row in missed}
    names = [
        f"{task}, {_from_to(own, 'speed_up')} times where {_from_to(own, 'goal')} {'was' if len(own) == 1 else 'were'} "
        "aimed at"
        for task, own in tasks.items()
    ]
    return text + (f"; missed: {'; '.join(names)}." if names else ".")


def _from_to(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    """A number of some rows, from the least to the greatest.

    >>> _from_to([{"goal": 12.0}, {"goal": 20.0}], "goal"), _from_to([{"goal": 0.83}], "goal")
    ('12 to 20', '0.83')
    """
    ends = [f"{value:.3g}" for value in (min(row[key] for row in rows), max(row[key] for row in rows))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def of_real_images(measured: Mapping[str, Measured]) -> str:
    """How the sigmoid head's CAM stands to softmax's by MaxBoxAccV2 over data sets and networks, and if both are cut.

    Args:
        measured: experiments on photographs.
    """

    def gains(method: str) -> str:
        tables = [usual_rows(one.tables["wsol_differences"]) for one in measured.values()]
        table = pd.concat(tables, ignore_index=True)
        rows = table[(table["method"] == method) & (table["metric"] == "maxboxacc_v2")]
        told = count_words(sides(rows, "maxboxacc_v2"), ("higher", "lower", "not told apart"))
        return f"{told.removesuffix(' rows')} ({_span(rows['difference'])} points)"

    return (
        f"Over data sets and networks, MaxBoxAccV2 of the sigmoid head's CAM against softmax's is {gains('cam')}; "
        f"where the weights of both heads are truncated (Layer-CAM), it is {gains('layercam')}."
    )


def _span(values: pd.Series[float]) -> str:
    """The least and the greatest of some differences, to one decimal, without a minus before a zero.

    >>> _span(pd.Series([1.26, -0.04]))
    '+0.0 to +1.3'
    """
    low, high = (round(float(value), 1) + 0.0 for value in (values.min(), values.max()))
    return f"{low:+.1f}" if low == high else f"{low:+.1f} to {high:+.1f}"


def of_controls(measured: Mapping[str, Measured]) -> str:
    """On how many data sets a map that sees no image beats all that were drawn.

    Args:
        measured: crossed measurements.
    """
    beaten = []
    for one in measured.values():
        table = one.tables["figures"]
        values = table[table["metric"] == "maxboxacc_v2"].set_index(["head", "scalar"])["value"]
        is_of_head = values.index.get_level_values("head") != NO_HEAD
        if float(values[NO_HEAD, CENTRE]) > float(values[is_of_head].max()):
            beaten.append(one.label)
    up = sum(_side(one, "truncation_sigmoid", "maxboxacc_v2_held_out") == "up" for one in measured.values())
    down = sum(_side(one, "truncation_sigmoid", "grid_2x2") == "down" for one in measured.values())
    count = len(measured)
    return (
        f"A centred square, which sees no image, has a higher MaxBoxAccV2 than every map of every head in "
        f"{len(beaten)} of {count} measurements; truncating the sigmoid map raises MaxBoxAccV2 in {up} of {count}, and "
        f"lowers the share of evidence in the right cell of a grid in {down} of {count}."
    )


def _side(one: Measured, comparison: str, metric: str) -> str:
    """Where the simultaneous interval of a difference lies: ``up``, ``down``, or empty where it holds zero."""
    table = one.tables["differences"]
    row = table[(table["comparison"] == comparison) & (table["metric"] == metric)].iloc[0]
    return "up" if float(row["low_all"]) > 0 else "down" if float(row["high_all"]) < 0 else ""
