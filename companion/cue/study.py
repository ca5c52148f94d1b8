"""What maps know of a context cue: networks trained where it agrees with the class by chance, often, or always.

On generated data the cue, the object and all else are drawn by the program, so every test image can be drawn again
without one of them. Shares of evidence and effects of removal are measured by
:func:`companion.cue.measured.measure_parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from sigcam_core.common.files import read_json, sha256_of_file, write_atomically, write_json
from sigcam_core.common.progress import Report
from sigcam_core.common.provenance import provenance
from sigcam_core.prepare.command import run_first_station
from sigcam_core.run import Run
from sigcam_core.stations import ensure_manifest, ensure_sigmoid_head, record_of
from sigcam_core.summarise.csv import write_csv
from sigcam_core.train.heads import top1_accuracy

from .measured import measure_parts
from .tables import agreement_table, shares_table

CORRELATIONS = (0.0, 0.3, 0.6, 0.9, 1.0)
SEEDS = tuple(range(5))  # of training; the data have one seed, so that all see the same test images
BACKBONE = "small_cnn"
RESAMPLES = 1000  # of the bootstrap over images


def publish_cue(
    folder: Path,
    work_dir: Path,
    report: Report,
    correlations: Sequence[float] = CORRELATIONS,
    seeds: Sequence[int] = SEEDS,
) -> None:
    """Train networks on data of each correlation, and write where their evidence lies and what agrees with removal.

    Every step keeps its file, so that a stopped measurement goes on where it was.

    Args:
        folder: for ``shares.csv`` (:func:`~companion.cue.tables.shares_table`), ``agreement.csv``
            (:func:`~companion.cue.tables.agreement_table`) and ``record.json``.
        work_dir: folder of everything that is made; what is there is not made again.
        report: called with a line before each network.
        correlations: of the cue with the class, 0 to 1.
        seeds: of training.
    """
    parts, records = [], []
    for correlation in correlations:
        for seed in seeds:
            run = run_of_correlation(correlation, work_dir, seed)
            report(f"correlation {correlation:g}, seed {seed}")
            ensure_parts(run, correlation)
            evidence = pd.read_parquet(ensure_part_evidence(run, report))
            parts.append(evidence.assign(correlation=correlation, seed=seed))
            records.append(_record_of_run(run, correlation))
    whole = pd.concat(parts, ignore_index=True)
    write_csv(folder / "shares.csv", shares_table(whole, RESAMPLES))
    write_csv(folder / "agreement.csv", agreement_table(whole, RESAMPLES))
    facts = {"correlations": list(correlations), "seeds": list(seeds), "backbone": BACKBONE}
    facts |= {"test_images": int(whole["image_id"].nunique()), "resamples": RESAMPLES, "resampling_seed": 0}
    tables = provenance(**facts, threads=torch.get_num_threads())
    write_json(folder / "record.json", tables | {"runs": records})


def run_of_correlation(correlation: float, work_dir: Path, seed: int) -> Run:
    """Return the run of one correlation and seed, with its own data set.

    >>> run_of_correlation(0.9, Path("build"), 0).dataset
    'shapes_cue90'
    """
    return Run(f"shapes_cue{round(100 * correlation):02d}", BACKBONE, seed, work_dir)


def ensure_parts(run: Run, correlation: float) -> None:
    """Draw a run's data set, with its parts, where it is not there."""
    if not run.manifest.exists():
        place = ["--root", str(run.work_dir / "data"), "--name", run.dataset]
        run_first_station(["shapes", *place, "--context-correlation", str(correlation), "--parts"])


def ensure_part_evidence(run: Run, report: Report) -> Path:
    """Path of what :func:`~companion.cue.measured.measure_parts` gives for the test split; made where missing."""
    path = run.work_dir / "evidence" / f"{run.full_name}-parts.parquet"
    if not path.exists():
        dual = ensure_sigmoid_head(run)
        manifest = ensure_manifest(run.dataset, run.work_dir)
        test = manifest.split("test")
        table = measure_parts(dual, test, report)
        top1 = {f"{head}_top1": top1_accuracy(dual, head, test) for head in ("softmax", "sigmoid")}
        facts = {"manifest_checksum": manifest.checksum, "sigmoid_head_sha256": sha256_of_file(run.sigmoid_head)}
        facts["classifier_sha256"] = sha256_of_file(run.classifier)
        write_json(path.with_suffix(".json"), provenance(**facts, **top1))
        write_atomically(path, partial(table.to_parquet, index=False))
    return path


def _record_of_run(run: Run, correlation: float) -> dict[str, Any]:
    """Where the numbers of one network come from; the course of its training is left out."""
    names = ("classifier", "sigmoid_head")
    stations = {name: record_of(getattr(run, name)) for name in names}
    evidence = record_of(run.work_dir / "evidence" / f"{run.full_name}-parts.parquet")
    return {
        "correlation": correlation,
        "seed": run.seed,
        "manifest": read_json(run.manifest.with_suffix(".json"))["parameters"],
        **{
            name: {key: value for key, value in record.items() if key != "history"} for name, record in stations.items()
        },
        "evidence": evidence,
    }
