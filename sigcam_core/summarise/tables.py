"""The paper's tables, computed from evidence, with bootstrap intervals on every difference between the heads.

Which metrics there are is said by the families of :mod:`sigcam_core.evaluate.schema`; nothing here knows one by name.
Both heads share the draws of the bootstrap, so that their difference is paired. Where some images lack what a metric
needs, a column says how many images its value rests on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd
import torch
from pandas.util import hash_array

from ..common.errors import fail
from ..common.families import KEYS, Statistic
from ..common.resampling import Statistics, interval, some_resamples_at_a_time
from ..evaluate.schema import FAMILIES, NEEDS
from ..fidelity.evidence import PERTURBATION
from ..fidelity.perturbation import average_drop_at_coverage

COUNTS = ["images", "all_images"]
"""Columns for the images that a value rests on, and all that were evaluated."""
Resampled = Callable[[pd.DataFrame], Statistics]
"""From evidence, one row per image, to each metric's value and its resamples, (1 + B,)."""


def tables_of(evidence: pd.DataFrame, resamples: int = 1000) -> dict[str, pd.DataFrame]:
    """Compute all values of all families with intervals, and sigmoid minus softmax, by name of the table.

    Args:
        evidence: what :func:`sigcam_core.evaluate.schema.read_evidence` returns.
        resamples: draws of the bootstrap over images.

    Returns:
        A table a family, as :func:`table_with_intervals` gives it, with a column that names the variant; one with
        ``_differences``, as :func:`head_differences` gives it; and, where images were perturbed, ``matched_coverage``.
    """
    tables: dict[str, pd.DataFrame] = {}
    for family in (family for family in FAMILIES if family.has_any(evidence)):
        rows = family.measured(evidence)
        makers = {"": _with_intervals} if family.of_first_images else MAKERS
        parts: dict[str, list[pd.DataFrame]] = {suffix: [] for suffix in makers}
        for value, statistics in family.statistics_by_variant().items():
            column = {family.variant: value} if family.variant else {}
            once = _made_once(partial(_resampled, statistics, resamples, 0))
            for suffix, make in makers.items():
                parts[suffix].append(make(rows, once).assign(**column))
        tables |= {family.name + suffix: pd.concat(made, ignore_index=True) for suffix, made in parts.items()}
    return tables | ({"matched_coverage": matched_coverage(evidence)} if PERTURBATION.has_any(evidence) else {})


def _resampled(statistics: Statistic, resamples: int, seed: int, rows: pd.DataFrame) -> Statistics:
    """Each metric of some rows, one per image: its value, then its resamples."""
    parts = [statistics(rows, weights) for weights in some_resamples_at_a_time(len(rows), resamples, seed)]
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}


def _made_once(resampled: Resampled) -> Resampled:
    """Cache results by the rows' keys and image ids."""
    made: dict[tuple[object, ...], Statistics] = {}

    def of(rows: pd.DataFrame) -> Statistics:
        key = (*rows.iloc[0][KEYS], hash_array(rows["image_id"].to_numpy(object)).tobytes())
        if key not in made:
            made[key] = resampled(rows)
        return made[key]

    return of


def groups_of(rows: pd.DataFrame, keys: list[str]) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    """Rows that are the same in some columns, one group after the other in the order of their first rows.

    ``DataFrame.groupby`` would copy all rows to sort them, which for evidence of 50,000 images is half a gigabyte.

    Args:
        rows: of evidence.
        keys: names of the columns.

    Yields:
        The values of the columns, and the rows.
    """
    number = rows[keys].groupby(keys, sort=False).ngroup().to_numpy()
    for places in (np.flatnonzero(number == one) for one in range(number.max(initial=-1) + 1)):
        part = rows.take(places)
        yield tuple(part[keys].iloc[0]), part


def matched_coverage(evidence: pd.DataFrame) -> pd.DataFrame:
    """Average drop where every map keeps the same share of the image, the pixels that it ranks highest.

    Args:
        evidence: of which some images were perturbed; the others do not count.

    Returns:
        Columns ``network, method, head, coverage, average_drop`` in %, one row per point of the insertion curves.

    Raises:
        SigcamError: if no image was perturbed.
    """
    points = []
    for keys, rows in groups_of(PERTURBATION.measured(evidence), KEYS):
        drops = average_drop_at_coverage(torch.from_numpy(np.stack(rows["insertion_curve"].to_list())))
        points.append(
            pd.DataFrame(
                dict(zip(KEYS, keys, strict=True))
                | {"coverage": 100 * rows["insertion_fractions"].iloc[0].astype(np.float64), "average_drop": drops}
            )
        )
    return pd.concat(points, ignore_index=True)


def table_of(evidence: pd.DataFrame, statistics: Statistic) -> pd.DataFrame:
    """One row per network, method and head, one column per statistic, in the order of the evidence.

    Where not all images have boxes, or masks, a column ``images_with_boxes``, or ``images_with_masks``, counts those
    that have, on which such values rest.

    Args:
        evidence: what :func:`sigcam_core.evaluate.schema.read_evidence` returns.
        statistics: such as :func:`sigcam_core.localization.evidence.wsol_statistics`.

    Raises:
        SigcamError: if there is no evidence.
    """
    if evidence.empty:
        fail("there is no evidence to make a table of: evaluate a network first.")
    table = []
    fewer: set[str] = set()
    for keys, rows in groups_of(evidence, KEYS):
        values = statistics(rows, np.ones((1, len(rows))))
        figures = {name: value[0] for name, value in values.items()}
        counts = {NEEDS[name].heading: NEEDS[name].count(rows) for name in values if name in NEEDS}
        fewer |= {heading for heading, count in counts.items() if count < len(rows)}
        table.append(dict(zip(KEYS, keys, strict=True)) | figures | counts)
    whole = pd.DataFrame(table)
    headings = [heading for heading in dict.fromkeys(need.heading for need in NEEDS.values()) if heading in whole]
    return whole.drop(columns=headings).join(whole[[one for one in headings if one in fewer]].astype("Int64"))


def table_with_intervals(
    evidence: pd.DataFrame,
    statistics: Statistic,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Tabulate every value with its 95 % bootstrap interval over images.

    Args:
        evidence: what :func:`sigcam_core.evaluate.schema.read_evidence` returns.
        statistics: such as :func:`sigcam_core.localization.evidence.wsol_statistics`.
        resamples: draws of the bootstrap over images.
        seed: of the draws.

    Returns:
        Columns ``network, method, head, metric, value, low, high``, and ``images`` where a value rests on fewer than
        all.
    """
    return _with_intervals(evidence, partial(_resampled, statistics, resamples, seed))


def _with_intervals(evidence: pd.DataFrame, resampled: Resampled) -> pd.DataFrame:
    """Compute what :func:`table_with_intervals` gives."""
    figures = []
    for keys, rows in groups_of(evidence, KEYS):
        for metric, values in resampled(rows).items():
            counts = num_images(metric, rows), len(rows)
            figures.append((*keys, metric, values[0], *interval(values[1:]), *counts))
    return _where_fewer(pd.DataFrame(figures, columns=[*KEYS, "metric", "value", "low", "high", *COUNTS]))


def num_images(metric: str, rows: pd.DataFrame) -> int:
    """Say how many of some evidence rows, one per image, a metric rests on."""
    return NEEDS[metric].count(rows) if metric in NEEDS else len(rows)


def _where_fewer(table: pd.DataFrame) -> pd.DataFrame:
    """Drop ``images`` from a table with :data:`COUNTS`, unless some value rests on fewer than all images."""
    dropped = COUNTS if (table["images"] == table["all_images"]).all() else ["all_images"]
    return table.drop(columns=dropped)


def head_differences(
    evidence: pd.DataFrame,
    statistics: Statistic,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Sigmoid minus softmax for each network, method and metric, with a paired 95 % bootstrap interval.

    Args:
        evidence: with both heads for the same images.
        statistics: such as :func:`sigcam_core.localization.evidence.wsol_statistics`.
        resamples: draws of the bootstrap over images.
        seed: of the draws.

    Returns:
        Columns ``network, method, metric, difference, low, high`` in percentage points, and ``images`` where a
        difference rests on fewer than all.

    Raises:
        SigcamError: if the two heads were not evaluated on the same images.
    """
    return _head_differences(evidence, partial(_resampled, statistics, resamples, seed))


def _head_differences(evidence: pd.DataFrame, resampled: Resampled) -> pd.DataFrame:
    """Compute what :func:`head_differences` gives."""
    differences = []
    for (network, method), rows in groups_of(evidence, ["network", "method"]):
        heads = {head: _by_image(part) for (head,), part in groups_of(rows, ["head"])}
        if set(heads) != {"softmax", "sigmoid"} or not _have_same_images(heads["softmax"], heads["sigmoid"]):
            fail(f"{network}, {method}: both heads must be evaluated on the same images to be compared.")
        table = _paired(heads["softmax"], heads["sigmoid"], resampled)
        differences.append(table.drop(columns=["first", "second"]).assign(network=str(network), method=str(method)))
    columns = ["network", "method", "metric", "difference", "low", "high", *COUNTS]
    return _where_fewer(pd.concat(differences, ignore_index=True)[columns])


def _by_image(rows: pd.DataFrame) -> pd.DataFrame:
    return rows if rows["image_id"].is_monotonic_increasing else rows.sort_values("image_id")


def _have_same_images(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    return np.array_equal(first["image_id"].to_numpy(object), second["image_id"].to_numpy(object))


def paired_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    statistics: Statistic,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Second minus first for each metric, with a paired 95 % bootstrap interval over the images of both.

    Args:
        first: evidence, one row per image.
        second: evidence of the same images in the same order.
        statistics: such as :func:`sigcam_core.localization.evidence.wsol_statistics`.
        resamples: draws of the bootstrap over images.
        seed: of the draws.

    Returns:
        Columns ``metric, first, second, difference, low, high``, the last three in percentage points, and ``images``
        where a difference rests on fewer than all.

    Raises:
        SigcamError: if the images differ.
    """
    return _where_fewer(_paired(first, second, partial(_resampled, statistics, resamples, seed)))


def _paired(first: pd.DataFrame, second: pd.DataFrame, resampled: Resampled) -> pd.DataFrame:
    """Compute what :func:`paired_difference` gives, with all :data:`COUNTS`."""
    if not _have_same_images(first, second):
        fail("a paired difference needs the same images in the same order on both sides.")
    one, other = resampled(first), resampled(second)
    rows = []
    for metric in one:
        change = other[metric] - one[metric]
        counts = num_images(metric, first), len(first)
        rows.append((metric, one[metric][0], other[metric][0], change[0], *interval(change[1:]), *counts))
    return pd.DataFrame(rows, columns=["metric", "first", "second", "difference", "low", "high", *COUNTS])


MAKERS = {"": _with_intervals, "_differences": _head_differences}
"""Tables of a family, by what is added to its name."""
