"""The third stage's file, the evidence on the test split, measured where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ..common.files import one_at_a_time, sha256_of_file, write_with_record
from ..common.progress import print_to_stderr
from ..common.provenance import best_device
from ..dual.branch import DualBranch
from ..evaluate.evaluate import EvaluationOptions, evaluate_shards
from ..evaluate.schema import read_evidence
from ..evaluate.shards import ALONE, Part, facts_of, folder_of_shards, gather
from ..prepare.manifest import Manifest
from ..run import Extent, Run, Shown
from .heads import dual_branch_on
from .manifest import ensure_manifest
from .records import checked, checksum_of, data_of, record

EVERYTHING = Extent()  # with insertion and deletion of some images: they take twenty times the passes of all else


def ensure_evidence(run: Run, measured: Extent | None = None, part: Part = ALONE) -> Path:
    """Path of the evidence on the test split; evaluate where there is none.

    Args:
        run: which.
        measured: what new evidence is of; ``None`` for everything.
        part: of several processes that share the work, which this one is. Each measures its shards; whoever is alone
            finds them there and gathers them.
    """
    manifest = ensure_manifest(run.dataset, run.work_dir)
    dual = None if run.evidence.exists() else dual_branch_on(run, manifest)
    # Two runs in one folder would otherwise take the shards away from each other.
    lock = run.evidence.with_name(f".{run.evidence.name}.lock")
    with one_at_a_time(lock, print_to_stderr) if part == ALONE and dual else nullcontext():
        if dual and not run.evidence.exists():
            _evaluate(run, manifest, dual, measured or EVERYTHING, part)
            return run.evidence
    head = {"sigmoid_head_sha256": sha256_of_file(run.sigmoid_head)} if run.sigmoid_head.exists() else {}
    return checked(run.evidence, **data_of(manifest), **head)


def _evaluate(run: Run, manifest: Manifest, dual: DualBranch, measured: Extent, part: Part) -> None:
    """Measure the shards of a part; whoever is alone gathers them."""
    device = best_device()
    perturbed = measured.perturbed_images if measured.with_fidelity else 0
    options = EvaluationOptions(
        measured.methods or None,
        with_fidelity=measured.with_fidelity,
        perturbation_images=perturbed,
        perturbation_steps=measured.perturbation_steps,
        explained_images=measured.explained_images,
        in_bfloat16=measured.in_bfloat16,
    )
    facts: dict[str, Any] = {
        "split": "test",
        **data_of(manifest),
        "classifier_sha256": checksum_of(run.classifier),
        "sigmoid_head_sha256": checksum_of(run.sigmoid_head),
        "perturbation_images": perturbed,
        **({"explained_images": measured.explained_images} if measured.explained_images else {}),
        "device": device,
    }
    folder = folder_of_shards(run.evidence)
    shards = evaluate_shards(dual.to(device), manifest.split("test"), run.network, folder, options, part=part)
    if part == ALONE:
        facts |= facts_of(shards)
        write_with_record(run.evidence, partial(gather, shards), partial(record, run, **facts))
        shutil.rmtree(folder)


def ensure_evidence_of_all(shown: Sequence[Shown]) -> dict[str, pd.DataFrame]:
    """Evaluate where there is no evidence, and return the evidence of runs as a page shows them, by data set.

    Args:
        shown: the runs, with what their networks are called, and the methods that are shown of each.
    """
    frames: dict[str, list[pd.DataFrame]] = {}
    for one in shown:
        rows = read_evidence(ensure_evidence(one.run, one.measured))
        if one.methods:
            rows = rows[rows["method"].isin(one.methods)]
        frames.setdefault(one.run.dataset, []).append(rows.assign(network=one.network))
    return {dataset: pd.concat(parts, ignore_index=True) for dataset, parts in frames.items()}
