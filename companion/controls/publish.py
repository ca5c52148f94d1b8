"""What the maps know: every head, scalar and treatment of weights crossed, with maps that carry no information.

``python -m companion publish controls-NAME`` measures the controls of an experiment whose heads are linear, step by
step (:mod:`companion.controls.study`), and writes their tables.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from sigcam_core.common.files import write_json
from sigcam_core.common.progress import Report
from sigcam_core.common.provenance import provenance
from sigcam_core.stations import record_of
from sigcam_core.summarise.csv import write_csv

from ..experiments import Experiment
from ..heads import run_of, train_heads
from ..predictions import predictions_record
from .baselines import shift_table, shifted_heads
from .comparisons import differences_table
from .heads import ControlHeads, control_heads
from .maps import Control
from .names import (
    BASELINES,
    NEGATIVES,
    NO_HEAD,
    OWN_BRANCH,
    SHIFTED,
    WEIGHTS,
    WRONG_CLASS,
)
from .shards import seconds_of
from .study import (
    CELLS,
    ROWS,
    FeatureMaps,
    Study,
    class_logits,
    feature_maps,
    folder_of,
    grids,
    held_out_hits,
    locate,
    perturb,
    score,
)
from .tables import (
    ControlEvidence,
    comparison_pairs,
    figures_table,
    gains_table,
    likeness_table,
    resampled_figures,
    scorers_table,
    with_image_counts,
    without_later,
)

CROSSED = ("logit", "centred", "log_odds", "finer", WRONG_CLASS)
"""Scalars that are crossed with weights for the two heads that are compared."""
RESAMPLES = 1000  # of the bootstrap over images
STEPS = ("located_test", "located_val", "located_shifts", "scored", "perturbed", *(f"grids_{n}" for n in CELLS))
PATHS = ("penalties_softmax", "penalties_sigmoid")


def publish_controls(experiment: Experiment, folder: Path, work_dir: Path, report: Report) -> None:
    """Make the heads of an experiment, measure all control maps, and write their tables.

    Args:
        experiment: whose.
        folder: of the tables.
        work_dir: folder of everything that is made; what is there is not made again.
        report: called with a line now and then.

    Raises:
        SigcamError: for a network whose heads are not linear.
    """
    study, tables = study_of(experiment, work_dir, report)
    made = study.made
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table)
    evidence = _measured(study)
    begin = time.perf_counter()
    for name, table in control_tables(evidence, made).items():
        write_csv(folder / f"{name}.csv", table)
    seconds = seconds_of_steps(study, STEPS) | {"tables": time.perf_counter() - begin}
    perturbed = min(study.perturbed_images, len(study.dataset.split("test")))
    write_json(folder / "record.json", record_of_study(study, experiment, seconds, perturbed_images=perturbed))


def study_of(experiment: Experiment, work_dir: Path, report: Report) -> tuple[Study, dict[str, pd.DataFrame]]:
    """Make the heads of an experiment and the rows of their maps; and by name, the tables of how they were made.

    Args:
        experiment: whose.
        work_dir: folder of everything that is made.
        report: called with a line now and then.
    """
    run = run_of(experiment, work_dir, experiment.seeds[0])
    choices = train_heads(experiment, [run], report)
    kept = folder_of(run)
    made = control_heads(run, kept, report)
    study = Study(run, kept, made, (), experiment.perturbed_images, report)
    shifts = _best_shift(study)
    shift = float(shifts["shift"][shifts["chosen"]].iloc[0])
    made.heads[made.softmax] = replace(made.heads[made.softmax], shift=shift)
    study = replace(study, controls=control_rows(made))
    # What else reads the shards must know their rows.
    rows = {"rows": [control.name for control in study.controls], "softmax": made.softmax, "sigmoid": made.sigmoid}
    write_json(kept / ROWS, rows)
    return study, {f"choice_{head}": table for head, table in choices.items()} | made.tables | {"shifts": shifts}


def seconds_of_steps(study: Study, steps: Sequence[str]) -> dict[str, float]:
    """Collect the seconds that each step of a study took, and the optima of its heads."""
    seconds = {path.stem: seconds_of(path) for path in sorted(study.folder.glob("*.safetensors")) if path.stem in steps}
    of_paths = [table["seconds"].sum() for name, table in study.made.tables.items() if name in PATHS]
    return seconds | {"optima": float(sum(of_paths))}


def control_tables(evidence: ControlEvidence, made: ControlHeads) -> dict[str, pd.DataFrame]:
    """All tables of the controls by name.

    Args:
        evidence: the raw numbers.
        made: the heads.
    """
    figures = resampled_figures(evidence, RESAMPLES)
    energies = gauge_energies(made)
    pairs = comparison_pairs(figures, made.softmax, made.sigmoid)
    with_metric = {
        "figures": figures_table(figures, evidence.controls),
        "differences": differences_table(figures, pairs, without_later),
        "own_branch": differences_table(figures, pairs, _is_own),
        "gains": gains_table(figures, energies, made.sigmoid),
        "own_branch_gains": gains_table(figures, energies, made.sigmoid, _is_own),
    }
    counted = {name: with_image_counts(table, evidence) for name, table in with_metric.items()}
    return counted | {"scorers": scorers_table(evidence), "likeness": likeness_table(evidence)}


def _is_own(_: str, metric: str) -> bool:
    """Whether each map is scored by the head that it comes from, as the paper does: a family of its own."""
    return metric in OWN_BRANCH


def gauge_energies(made: ControlHeads) -> dict[str, float]:
    """Compute the gauge energy of each softmax head by its name."""
    heads = made.tables["heads"]
    known = zip(heads["head"], heads["gauge_energy"], strict=True)
    return {name: energy for name, energy in known if not made.heads[name].is_sigmoid}


def control_rows(made: ControlHeads) -> tuple[Control, ...]:
    """List the rows of a network: two heads crossed with scalars and weights, other heads, no head, and negatives."""
    compared = (made.softmax, made.sigmoid)
    rows = [Control(head, scalar, weights) for head in compared for scalar in CROSSED for weights in WEIGHTS]
    rows += [Control(made.softmax, SHIFTED, weights) for weights in WEIGHTS]
    others = [name for name in made.heads if name not in compared]
    scalars = {name: ("logit",) if made.heads[name].is_sigmoid else ("logit", "centred") for name in others}
    rows += [Control(name, scalar, weights) for name in others for scalar in scalars[name] for weights in WEIGHTS]
    rows += [Control(NO_HEAD, baseline) for baseline in BASELINES]
    rows += [Control(head, "logit", NEGATIVES[weights]) for head in compared for weights in WEIGHTS]
    rows += [Control(head, "logit", NEGATIVES["signed"]) for head in others]
    rows += [Control(NO_HEAD, baseline, NEGATIVES["signed"]) for baseline in BASELINES]
    # Of the sigmoid head the log-odds are the logit.
    return tuple(row for row in rows if not (row.scalar == "log_odds" and made.heads[row.head].is_sigmoid))


def _measured(study: Study) -> ControlEvidence:
    """Every step of the measurement."""
    test = study.dataset.split("test")
    maps = feature_maps(study, test)
    logits = class_logits(study, maps)
    return replace(
        where_and_which(study, maps, logits),
        scored_controls=study.scored,
        scored=score(study, test, maps, logits),
        perturbed_controls=study.perturbed,
        perturbed=perturb(study, test, maps, logits),
    )


def where_and_which(study: Study, maps: FeatureMaps, logits: Tensor) -> ControlEvidence:
    """Localisation and grids, which run no network for a map.

    Args:
        study: whose.
        maps: of the test images.
        logits: (N, C) of the softmax head that is compared.
    """
    test, val = (study.dataset.split(name) for name in ("test", "val"))
    sizes = [n for n in CELLS if n**2 <= test.num_classes]  # each cell shows another class
    shown = {n: grids(study, test, n, logits, maps.path) for n in sizes}
    return ControlEvidence(
        controls=study.controls,
        located=locate(study, test, study.controls),
        held_out_hits=held_out_hits(locate(study, val, study.controls)),
        scored_controls=(),
        scored={},
        perturbed_controls=(),
        perturbed={},
        grid_controls=study.scored,
        grids={n: one["shares"] for n, one in shown.items()},
        grid_images={n: one["images"] for n, one in shown.items()},
        scorers=tuple(study.made.heads),
        judge=study.made.softmax,
        zero_free={n: {name: one[name] for name in ("top", "named")} for n, one in shown.items()},
    )


def _best_shift(study: Study) -> pd.DataFrame:
    """MaxBoxAccV2 on held-out images of softmax weights that are all shifted by one constant; the best is chosen."""
    heads = shifted_heads(study.made.heads[study.made.softmax])
    rows = tuple(Control(name, SHIFTED) for name in heads)
    tried = replace(study, made=replace(study.made, heads=heads))
    return shift_table(held_out_hits(locate(tried, study.dataset.split("val"), rows, "shifts")))


def record_of_study(study: Study, experiment: Experiment, seconds: Mapping[str, float], **facts: Any) -> dict[str, Any]:
    """Where the numbers come from.

    Args:
        study: whose.
        experiment: what was measured.
        seconds: of every step.
        facts: of this measurement alone.
    """
    run, manifest = study.run, study.dataset
    return provenance(
        experiment=asdict(experiment),
        manifest_checksum=manifest.checksum,
        test_images=len(manifest.split("test")),
        held_out_images=len(manifest.split("val")),
        softmax=study.made.softmax,
        sigmoid=study.made.sigmoid,
        classifier=record_of(run.classifier),
        sigmoid_head=record_of(run.sigmoid_head),
        predictions=predictions_record(),
        seconds=dict(seconds),
        resamples=RESAMPLES,
        resampling_seed=0,
        threads=torch.get_num_threads(),
    ) | dict(facts)
