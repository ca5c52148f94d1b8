"""A family of metrics: what is kept of each map, how a batch is measured, and what is computed of it afterwards.

A module that judges maps has a module of families. Evaluation, tables and pages loop over them and know none by name,
so a metric is written down in one place: its columns, its measurement, its statistic and its title.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from .errors import fail
from .resampling import FloatArray, Statistics

KEYS = ["network", "method", "head"]
"""Columns that name a row of a table. All rows of the evidence in which they are the same are one value's images."""
LABELS = ["image_id", "label", "predicted"]
"""Columns of the evidence that say which image a row is of, its class, and the one that the network sees."""
Statistic = Callable[[pd.DataFrame, FloatArray], Statistics]
"""From evidence rows, one per image, and resampling weights (B, N), to the metrics (B,)."""


class Need(NamedTuple):
    """What an image must have for a metric, since not every image of a data set need have it."""

    what: str  #: in words, such as ``boxes``
    column: str  #: of the evidence, missing where an image does not have it

    def restrict(self, rows: pd.DataFrame, weights: FloatArray) -> tuple[pd.DataFrame, FloatArray]:
        """Select the rows that have it, one per image, with the matching columns of the resampling weights (B, N)."""
        there = rows[self.column].notna().to_numpy()
        return (rows, weights) if there.all() else (rows[there], weights[:, there])

    @property
    def heading(self) -> str:
        """Heading of the table column that says how many images have it."""
        return f"images_with_{self.what}"

    def count(self, rows: pd.DataFrame) -> int:
        """Count the rows that have it."""
        return int(rows[self.column].notna().sum())


@dataclass(frozen=True)
class MetricFamily:
    """Metrics that are measured together.

    Attributes:
        name: of its tables.
        columns: of the evidence, each a name and a type of Arrow; a row is an image, head and method.
        measure: of a batch of N images with R maps each, a :class:`sigcam_core.cams.batch.MapBatch`, to the columns,
            N x R values each, image-major. A column that is left out is missing in the rows.
        statistics: of evidence rows, one per image, and resampling weights (B, N), to the metrics (B,).
        titles: of the metrics, as people write them.
        needs: of metrics that rest on those images alone which have what the metric needs.
        variant: name of a keyword of ``statistics``, such as the protocol, that tables tell apart in a column of that
            name; empty where there is none.
        variants: values of that keyword.
        makes_passes: whether to measure is to run the network; all else is measured during these passes.
        of_first_images: whether only the first images of a split are measured, because it takes long. Their values
            stand in a table of their own, without one of differences between heads.
    """

    name: str
    columns: Sequence[tuple[str, Any]]
    measure: Callable[[Any], dict[str, Any]]
    statistics: Callable[..., Statistics]
    titles: dict[str, str]
    needs: Mapping[str, Need] = field(default_factory=dict)
    variant: str = ""
    variants: tuple[str, ...] = ("",)
    makes_passes: bool = False
    of_first_images: bool = False

    def has_any(self, evidence: pd.DataFrame) -> bool:
        """Say whether any image was measured, where only a split's first are; families of all images always are."""
        return not self.of_first_images or bool(evidence[self.columns[0][0]].notna().any())

    def measured(self, evidence: pd.DataFrame) -> pd.DataFrame:
        """Select the rows that statistics are computed from, all or the first images', with only the columns they read.

        Raises:
            SigcamError: if no image was measured.
        """
        others = [name for name in evidence if name not in {*KEYS, *LABELS, *(name for name, _ in self.columns)}]
        rows = evidence.drop(columns=others)  # to take the rows of one map is to copy their columns
        if not self.of_first_images:
            return rows
        if not self.has_any(evidence):
            fail(f"no image of this evidence has values of {self.name}: evaluate with {self.name}_images above 0.")
        return rows[rows[self.columns[0][0]].notna()]

    def statistics_by_variant(self) -> dict[str, Statistic]:
        """Return the statistics of each variant, under ``""`` where there is none."""
        if not self.variant:
            return {"": self.statistics}
        return {value: partial(self.statistics, **{self.variant: value}) for value in self.variants}
