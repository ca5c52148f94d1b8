"""What was measured on real data and committed, as the book shows it: with its intervals, next to the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json
from sigcam_core.common.paths import user_path

from .names import data_set_title, network_title
from .saved import Value

MEASURED = Path(__file__).resolve().parents[2] / "results"
"""What was measured and is committed, a folder each, in a checkout of the project."""
Overhead = tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]
"""Table 3, the times of training a head, and their record, of one device."""
USUAL_VARIANT = {"protocol": "standard", "scorer": "softmax"}
ORIGIN_NAMES = {
    "restricted": "ImageNet head restricted to these classes",
    "probe": "linear probe on a frozen ImageNet backbone",
    "finetune": "fine-tuned from ImageNet weights",
    "scratch": "trained from scratch",
    "pretrained": "ImageNet head",
}

SHORT_ORIGINS = {"restricted": "ImageNet's head", "probe": "linear probe"}
"""Origins that are named next to a data set; others are left unsaid."""
TRAINED_WHOLE = {"finetune": "fine-tuned", "scratch": "from scratch"}
"""Of those whose network is another than the usual one, and stands beside the name of a data set too."""
OWN_NETWORKS = ("small_cnn", "small_cnn_mlp")
"""Networks of the generated images, whose name adds nothing to these."""
OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD"}
AT_OPTIMUM = "softmax optimum"
"""Name of the compared softmax head of a crossed measurement that was solved, and not trained by a recipe."""


@dataclass(frozen=True)
class Measured:
    """The tables of one experiment, and where they come from.

    Attributes:
        name: of the experiment, one of :data:`companion.experiments.EXPERIMENTS`.
        tables: by name, those that :func:`companion.measure.publish` wrote. Figures are in %, differences in
            points, and ``low`` and ``high`` end 95 % bootstrap intervals over images.
        record: the experiment, its networks, and the provenance of every stage.
    """

    name: str
    tables: dict[str, pd.DataFrame]
    record: dict[str, Any]

    @property
    def place(self) -> str:
        """Data set and origin of the classifier, for what compares several softmax heads of it."""
        return self.data_set + (f" ({self._origin})" if self._origin else "")

    @property
    def label(self) -> str:
        """Data set, origin of the classifier and what trained its softmax head, short enough for a figure."""
        words = " ".join(filter(None, (self._origin or ("softmax" if self._trained_by else ""), self._trained_by)))
        return self.data_set + (f" ({words})" if words else "")

    @property
    def title(self) -> str:
        """Data set, network, where its classifier comes from, and what trained its softmax head."""
        experiment = self.record["experiment"]
        words = ", ".join(filter(None, (ORIGIN_NAMES[experiment["origin"]], self._trained_by)))
        return f"{self.data_set}, {network_title(experiment['backbone'])} ({words})"

    @property
    def _origin(self) -> str:
        experiment = self.record["experiment"]
        if experiment["origin"] in TRAINED_WHOLE and experiment["backbone"] not in OWN_NETWORKS:
            return f"{network_title(experiment['backbone'])}, {TRAINED_WHOLE[experiment['origin']]}"
        return SHORT_ORIGINS.get(experiment["origin"], "")

    @property
    def _trained_by(self) -> str:
        """What trained the softmax head that is compared; nothing for a head that was given."""
        if self.record.get("softmax") == AT_OPTIMUM:
            return "at its optimum"
        recipe = self.record.get("classifier", {}).get("recipe")
        return f"by {OPTIMIZERS.get(recipe['optimizer'], recipe['optimizer'])}" if recipe else ""

    @property
    def command(self) -> str:
        """What measures it."""
        weights = self.record["experiment"].get("weights", "")
        return f"python -m companion publish {self.name}" + (f" --weights {weights}" if weights else "")

    @property
    def data_set(self) -> str:
        """Its title, without the origin of the classifier."""
        return data_set_title(self.record["experiment"]["dataset"])


def results_folder(results: str, usual: Path = MEASURED) -> Path:
    """Resolve the folder of measurements that a notebook's parameter ``results`` names; empty means the default.

    Args:
        results: as it was written; ``~`` is the home folder.
        usual: of the project.
    """
    return user_path(results) if results else usual


def read_measured(folder: Path, names: Sequence[str]) -> dict[str, Measured]:
    """Read the experiments that were measured, among those named and in their order.

    Args:
        folder: of all that was measured, such as :data:`MEASURED`.
        names: of the experiments.

    Raises:
        SigcamError: if there are none.
    """
    found = {}
    for name in names:
        if (folder / name / "record.json").exists():
            tables = {path.stem: pd.read_csv(path) for path in sorted((folder / name).glob("*.csv"))}
            found[name] = Measured(name, tables, read_json(folder / name / "record.json"))
    if not found:
        fail(f"nothing that was measured is in {folder}: run `python -m companion publish {names[0]}`.")
    return found


def usual_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of the standard protocol, or those that the softmax branch scores, whichever applies."""
    variant = next(column for column in USUAL_VARIANT if column in table)
    return table[table[variant] == USUAL_VARIANT[variant]]


def figures_with_intervals(table: pd.DataFrame, metrics: Sequence[str], keys: Sequence[str]) -> pd.DataFrame:
    """One row per network, method and head, one column per metric, such as ``61.20 [60.31, 62.14]``.

    Args:
        table: long, with columns ``metric, low, high`` and ``value`` (%) or ``difference`` (points).
        metrics: which to show; those that the table lacks are left out.
        keys: columns that tell rows apart.

    Returns:
        The keys, then text, one column per metric, with no more digits than :func:`decimals_of` leaves; differences
        carry their sign. A value that rests on fewer images than others of the table says on how many.
    """
    column = "value" if "value" in table else "difference"
    there = [metric for metric in metrics if metric in set(table["metric"])]
    part = table[table["metric"].isin(there)]
    # A low sign ahead of differences only: + tells a gain at once.
    sign = "+" if column == "difference" else ""
    digits = part["metric"].map({name: decimals_of(rows["low"], rows["high"]) for name, rows in part.groupby("metric")})
    text = [
        f"{value:{sign}.{places}f} [{low:{sign}.{places}f}, {high:{sign}.{places}f}]"
        for value, low, high, places in zip(part[column], part["low"], part["high"], digits, strict=True)
    ]
    if "images" in table:
        is_of_fewer = part["images"] < table["images"].max()
        text = [
            f"{one}, {count:.0f} images" if fewer else one
            for one, count, fewer in zip(text, part["images"], is_of_fewer, strict=True)
        ]
    wide = part.assign(text=text).pivot(index=list(keys), columns="metric", values="text")
    order = part.drop_duplicates(list(keys)).set_index(list(keys)).index
    return wide.reindex(order)[there].reset_index().rename_axis(columns=None)


def decimals_of(low: pd.Series[float], high: pd.Series[float]) -> int:
    """Say how many decimals values deserve: the last digit stands for about a tenth of their intervals' half width.

    Args:
        low: ends of the intervals of one column of figures.
        high: the other ends.

    Returns:
        0, 1 or 2, for half widths (in the middle) from 10, from 1, and below.
    """
    half = float(((high - low) / 2).median())
    return 0 if half >= 10 else 1 if half >= 1 else 2


def read_overhead(folder: Path) -> dict[str, Overhead]:
    """Table 3, the times of training a head, and their record, for each device that was measured.

    Args:
        folder: of the files that :func:`companion.studies.overhead.publish_overhead` writes.

    Returns:
        By ``"cpu"`` and ``"cuda"``: rows of :func:`sigcam_core.evaluate.overhead.overhead_rows`; ms per image and
        forward passes per network; the record.

    Raises:
        SigcamError: if there are none.
    """
    names = [name for name in ("cpu", "cuda") if (folder / f"{name}.json").exists()]
    if not names:
        fail(f"there are no measurements of overhead in {folder}: run `python -m companion publish {folder.name}`.")
    return {
        name: (
            pd.read_csv(folder / f"{name}.csv"),
            pd.read_csv(folder / f"{name}_head_training.csv"),
            read_json(folder / f"{name}.json"),
        )
        for name in names
    }


def flat_measured(
    measured: Mapping[str, Measured], overhead: Mapping[str, Overhead]
) -> tuple[dict[str, Value], dict[str, str]]:
    """Flatten the values to names for the book's prose, such as ``NAME_cam_sigmoid_gt_loc``.

    Args:
        measured: what :func:`read_measured` gives.
        overhead: what :func:`read_overhead` gives.

    Returns:
        The values, in % and points; intervals are text, ``[60.31, 62.14]`` under the name with ``_interval``. And how
        to print those that two decimals do not suit.
    """
    values: dict[str, Value] = {}
    for result in measured.values():
        name = result.name.replace("-", "_")
        for key in ("sigmoid_top1", "gauge_energy", "test_images"):
            if result.record[key] is not None:  # only a linear head has a gauge
                values[f"{name}_{key}"] = result.record[key]
        for kind in ("wsol", "wsol_differences", "fidelity", "fidelity_differences"):
            for row in usual_rows(result.tables[kind]).to_dict("records"):
                method = row["method"].replace("++", "_plus_plus")
                key = f"{name}_{method}_{row.get('head', 'difference')}_{row['metric'].replace('@', '_')}"
                values[key] = float(row["value"] if "value" in row else row["difference"])
                values[f"{key}_interval"] = f"[{row['low']:.2f}, {row['high']:.2f}]"
        for row in result.tables.get("freezing", pd.DataFrame()).to_dict("records"):
            if row["metric"] == "sigmoid_top1" or row["method"] == "cam":
                key = f"{name}_freezing_{row['head']}_{row['metric'].replace('@', '_')}"
                values[key] = float(row["difference"])
                values[f"{key}_interval"] = f"[{row['low']:.2f}, {row['high']:.2f}]"
    for device, (_, training, _) in overhead.items():
        for row in training.to_dict("records"):
            for key in ("on_the_fly_passes", "cached_passes"):
                values[f"{device}_{row['network']}_{key}"] = float(row[key])
    formatted = {key: f"{value:.2g}" for key, value in values.items() if key.endswith("gauge_energy")}
    return values, formatted


def provenance_line(record: dict[str, Any]) -> str:
    """Device, date, commit and versions of one record, in a line."""
    versions = ", ".join(f"{name} {record['versions'][name]}" for name in ("torch", "numpy", "opencv-python-headless"))
    commit = record["commit"][:12] + record["commit"][40:]  # with what marks an edited tree
    return f"{record['device']}; {record['date']}; commit {commit}; {versions}"
