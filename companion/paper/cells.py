"""Every published cell next to ours: value and gain of the paper, what was measured here, on what, and what is missing.

A cell takes the best that was measured: an experiment on the paper's own data and network, then one on the same data
with another network, then one on other data, whose difference from the paper's value would mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from sigcam_core.common.titles import WSOL_METRICS

from ..controls.names import CENTRE, CLASS_FREE, NO_HEAD
from ..experiments import CROSSED, EXPERIMENTS, OVERHEAD
from ..matrix import DATA_SETS, NETWORKS, form_of
from ..show.names import data_set_title, network_title
from ..show.results import Measured, Overhead, read_measured, read_overhead
from .centre import read_centre
from .tables import PAPER_TABLES, paper_table

NEAREST_DATA = {
    "imagenet": ("tiny_imagenet",),
    "openimages": ("shapes",),  # the only other one with masks
    "cub": ("stanford_cars",),
    "stanford_cars": ("cub",),
}
"""Data sets that stand in for each of the paper's, the nearest first."""
FIDELITY_OF_PAPER = ("average_drop", "increase_in_confidence")
MEASURED_HERE, OTHER_NETWORK, OTHER_DATA, NOT_MEASURED = (
    "measured",
    "measured with another network",
    "measured on other data",
    "not measured",
)
STATUSES = (MEASURED_HERE, OTHER_NETWORK, OTHER_DATA, NOT_MEASURED)
"""What became of a published cell."""
COLUMNS = [
    "table",
    "dataset",
    "network",
    "method",
    "head",
    "metric",
    "unit",
    "paper",
    "paper_gain",
    "ours",
    "low",
    "high",
    "difference",
    "our_gain",
    "gain_low",
    "gain_high",
    "ours_on",
    "differs",
    "scored_by",
    "status",
    "job",
    "command",
    "measured_by",
    "page",
]
"""Columns of a table of cells, those of the paper first, then ours, then how either is made."""


JobOf = Callable[[str, str, str], tuple[str, str]]
"""From data set, network and method, as the paper names them, to the run that fills the row, and to its file."""


def committed_cells(results: Path, job_of: JobOf) -> pd.DataFrame:
    """Apply :func:`paper_cells` to the committed measurements.

    Args:
        results: folder of all that was measured, such as :data:`companion.show.results.MEASURED`.
        job_of: such as :func:`companion.matrix.job_of`.
    """
    measured = read_measured(results, list(EXPERIMENTS))
    return paper_cells(measured, read_overhead(results / OVERHEAD), job_of)


def committed_baselines(results: Path) -> pd.DataFrame:
    """Apply :func:`baseline_rows` to the committed measurements.

    Args:
        results: folder of all that was measured.
    """
    return baseline_rows(read_measured(results, list(CROSSED)), results)


def ranked(measured: Mapping[str, Measured], dataset: str, backbone: str = "") -> list[Measured]:
    """Experiments that may fill a row of the paper, the best first: same data and network, same data, nearest data.

    Args:
        measured: experiments by name, in the order of their table.
        dataset: as the paper names it.
        backbone: of the row's form, as :data:`companion.matrix.NETWORKS` names it; empty for any.
    """
    own = DATA_SETS[dataset]

    def rank(one: Measured) -> int | None:
        experiment = one.record["experiment"]
        if experiment["dataset"] == own:
            return 0 if experiment["backbone"] == backbone else 1
        nearest = NEAREST_DATA[own]
        return 2 + nearest.index(experiment["dataset"]) if experiment["dataset"] in nearest else None

    ranks = [(place, number, one) for number, one in enumerate(measured.values()) if (place := rank(one)) is not None]
    return [one for _, _, one in sorted(ranks, key=lambda entry: entry[:2])]


def paper_cells(
    measured: Mapping[str, Measured], overhead: Mapping[str, Overhead], job_of: JobOf, profile: str = "paper"
) -> pd.DataFrame:
    """All cells of the paper's Tables 1 to 3, one row each, with columns :data:`COLUMNS`.

    Gains and differences are in the unit of the cell. Intervals are 95 %, of one value or one paired difference. The
    authors score fidelity of the sigmoid head's maps by the sigmoid branch, so ours is scored the same way; such a gain
    mixes two scorers, and has no paired interval.

    Args:
        measured: experiments by name; each row takes the best that has it, see :func:`ranked`.
        overhead: of :func:`companion.show.results.read_overhead`.
        job_of: see there.
        profile: of the workflow that makes the jobs.
    """
    rows = [*_rows_of_maps(measured, job_of, profile), *_rows_of_overhead(overhead, job_of, profile)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows_of_maps(measured: Mapping[str, Measured], job_of: JobOf, profile: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for number, name in enumerate(PAPER_TABLES[:2], 1):
        table = paper_table(name)
        metrics = [str(column) for column in table if column not in ("dataset", "backbone", "method", "head")]
        baseline = table[table["head"] == "softmax"].set_index(["dataset", "backbone", "method"]).to_dict("index")
        for row in table.to_dict("records"):
            keys = (row["dataset"], row["backbone"], row["method"])
            backbone = NETWORKS[keys[1]][form_of(keys[2])].backbone
            for metric in (metric for metric in metrics if pd.notna(row[metric])):
                gain = row[metric] - baseline[keys][metric] if row["head"] == "sigmoid" else None
                rows.append(
                    {"table": f"Table {number}", "dataset": keys[0], "network": keys[1], "method": keys[2]}
                    | {"head": row["head"], "metric": metric, "unit": "%", "paper": row[metric], "paper_gain": gain}
                    | our_cell(
                        ranked(measured, keys[0], backbone), *keys[:2], keys[2], row["head"], metric, row[metric]
                    )
                    | _how(job_of(*keys), profile)
                )
    return rows


def our_cell(
    candidates: Sequence[Measured],
    dataset: str,
    network: str,
    method: str,
    head: str,
    metric: str,
    paper: float = float("nan"),
) -> dict[str, object]:
    """Take one of the paper's cells from the first experiment that has it, with interval and gain over softmax.

    Args:
        candidates: experiments, the best first, see :func:`ranked`.
        dataset: as the paper names it.
        network: as the paper names it.
        method: of the map.
        head: that draws it.
        metric: of the figure.
        paper: the paper's figure.
    """
    kind, variant = ("wsol", "protocol") if metric in WSOL_METRICS else ("fidelity", "scorer")
    scorer = head if kind == "fidelity" else ""
    for one in candidates:
        table = one.tables[kind]
        table = table[(table["method"] == method) & (table["metric"] == metric)]
        by_head = {
            name: table[(table["head"] == name) & (table[variant] == (name if scorer else "standard"))]
            for name in ("softmax", "sigmoid")
        }
        if len(by_head[head]):
            break
    else:
        missing: dict[str, object] = dict.fromkeys(("ours_on", "differs", "measured_by", "page", "scored_by"), "")
        return missing | {"status": NOT_MEASURED}
    experiment = one.record["experiment"]
    is_same_data = experiment["dataset"] == DATA_SETS[dataset]
    is_same_network = experiment["backbone"] == NETWORKS[network][form_of(method)].backbone
    status = (MEASURED_HERE if is_same_network else OTHER_NETWORK) if is_same_data else OTHER_DATA
    figure = by_head[head].iloc[0]
    cell: dict[str, object] = {"ours": figure["value"], "low": figure["low"], "high": figure["high"]}
    if is_same_data:
        cell["difference"] = figure["value"] - paper
    if head == "sigmoid" and not by_head["softmax"].empty:
        cell["our_gain"] = figure["value"] - by_head["softmax"].iloc[0]["value"]
        if not scorer:
            paired = one.tables["wsol_differences"]
            paired = paired[(paired["method"] == method) & (paired["metric"] == metric)]
            row = paired[paired["protocol"] == "standard"].iloc[0]
            cell |= {"gain_low": row["low"], "gain_high": row["high"]}
    return cell | {
        "status": status,
        "ours_on": one.title,
        "differs": experiment.get("differs", "") if status == MEASURED_HERE else "",
        "scored_by": f"{scorer} branch" if scorer else "",
        "measured_by": one.command,
        "page": _page(one, "fidelity" if scorer else "localisation"),
    }


def _page(one: Measured, section: str) -> str:
    """Where the book shows it."""
    return (
        "03_table1_wsol.html" if one.record["experiment"]["dataset"] == "shapes" else f"10_real_images.html#{section}"
    )


def with_own(cells: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """Replace stand-in values by those of a profile's runs; an experiment's values have intervals and stay.

    Args:
        cells: of :func:`paper_cells`.
        own: one row per network, method and head, with column ``dataset`` and one per metric.
    """
    if "dataset" not in own:
        return cells
    paper_name = {name: paper for paper, name in DATA_SETS.items()}
    keys = ["dataset", "network", "method", "head"]
    values = own.assign(dataset=own["dataset"].replace(paper_name)).set_index(keys).to_dict("index")
    rows = []
    for row in cells.to_dict("records"):
        key = tuple(row[name] for name in keys)
        figure = values.get(key, {}).get(row["metric"])
        if figure is not None and pd.notna(figure) and row["status"] != MEASURED_HERE:
            softmax = values.get((*key[:3], "softmax"), {}).get(row["metric"])
            gain = figure - softmax if row["head"] == "sigmoid" and softmax is not None else None
            nothing = dict.fromkeys(("low", "high", "gain_low", "gain_high"))
            own_name = f"{data_set_title(row['dataset'])}, {network_title(row['network'])}"
            row |= nothing | {"ours": figure, "difference": figure - row["paper"], "our_gain": gain}
            row |= {"ours_on": own_name, "differs": "", "status": MEASURED_HERE}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows_of_overhead(overhead: Mapping[str, Overhead], job_of: JobOf, profile: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    ours, _, record = next(iter(overhead.values()))
    for row in paper_table("table3_overhead").to_dict("records"):
        found = ours[(ours["network"] == row["backbone"]) & (ours["quantity"] == row["quantity"])]
        for head, column in (("softmax", "baseline"), ("sigmoid", "dual_branch")):
            cell: dict[str, object] = {
                "table": "Table 3",
                "dataset": row["dataset"],
                "network": row["backbone"],
                "method": "cam",
                "head": head,
                "metric": row["quantity"],
                "unit": row["unit"],
                "paper": row[column],
                "paper_gain": row["dual_branch"] - row["baseline"] if head == "sigmoid" else None,
                "status": NOT_MEASURED,
                "ours_on": "",
                "differs": "",
                "scored_by": "",
                "measured_by": "",
                "page": "",
            }
            if len(found):
                one = found.iloc[0]
                where = "any machine" if row["quantity"] == "parameters" else f"{record['device']}, random images"
                cell |= {
                    "ours": one[column],
                    "difference": one[column] - row[column],
                    "our_gain": one["dual_branch"] - one["baseline"] if head == "sigmoid" else None,
                    "ours_on": f"{network_title(row['backbone'])}, {where}",
                    "status": MEASURED_HERE if row["quantity"] == "parameters" else OTHER_DATA,
                    "measured_by": "python -m companion publish overhead",
                    "page": "10_real_images.html#table-3-for-the-paper-s-three-networks",
                }
            rows.append(cell | _how(job_of(row["dataset"], row["backbone"], "cam"), profile))
    return rows


def _how(job: tuple[str, str], profile: str) -> dict[str, object]:
    name, file = job
    return {"job": name, "command": f"snakemake {file} --cores all --config profile={profile}"}


def baseline_rows(crossed: Mapping[str, Measured], results: Path) -> pd.DataFrame:
    """Build rows of maps that know no class for the paper's metrics: the centre and the sum of feature maps.

    Args:
        crossed: crossed measurements by name, ``controls-NAME``.
        results: folder of all that was measured, for the centre on ImageNet's published boxes.

    Returns:
        Columns :data:`COLUMNS`; what the paper has not is missing.
    """
    rows: list[dict[str, object]] = []
    centre, _ = read_centre(results)
    paper_name = {own: name for name, own in DATA_SETS.items()}
    for row in centre[centre["metric"].isin(WSOL_METRICS)].to_dict("records"):
        if row["dataset"] in paper_name and row["dataset"] != "stanford_cars":
            rows.append(
                {"table": "Table 1", "dataset": paper_name[row["dataset"]], "network": "none", "method": CENTRE}
                | {"metric": row["metric"], "ours": row["value"], "low": row["low"], "high": row["high"]}
                | {"ours_on": f"{data_set_title(row['dataset'])}, {row['images']:,} published boxes", "head": "none"}
                | {"status": MEASURED_HERE, "measured_by": "python -m companion publish centre"}
                | {"page": "03_table1_wsol.html#what-a-map-that-knows-nothing-scores"}
            )
    best = {dataset: ranked(crossed, dataset)[:1] for dataset in DATA_SETS}
    for dataset, one in ((dataset, one) for dataset, few in best.items() for one in few):
        table = one.tables["figures"]
        shown = WSOL_METRICS[2:] if dataset in ("imagenet-1k", "openimages-30k") else FIDELITY_OF_PAPER
        chosen = table[(table["head"] == NO_HEAD) & table["scalar"].isin((CENTRE, CLASS_FREE))]
        for row in chosen[chosen["metric"].isin(shown)].to_dict("records"):
            is_same = one.record["experiment"]["dataset"] == DATA_SETS[dataset]
            number = 1 if row["metric"] in WSOL_METRICS else 2
            rows.append(
                {"table": f"Table {number}", "dataset": dataset, "network": "none", "method": row["scalar"]}
                | {"metric": row["metric"], "ours": row["value"], "low": row["low"], "high": row["high"]}
                | {"ours_on": one.title, "status": OTHER_NETWORK if is_same else OTHER_DATA, "head": "none"}
                | {"measured_by": f"python -m companion publish {one.name}"}
                | {"page": "11_what_maps_know.html#what-a-map-that-knows-nothing-scores"}
            )
    same = {"unit": "%", "differs": "", "scored_by": "", "job": "", "command": ""}
    return pd.DataFrame([row | same for row in rows], columns=COLUMNS)
