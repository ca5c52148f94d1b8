"""The chapter on Table 2: fidelity by either scorer, at equal coverage, insertion and deletion, and ADCC.

What is imported here under its own name (``as``) is handed on to the notebook.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sigcam_core.common.errors import fail
from sigcam_core.common.families import KEYS
from sigcam_core.common.titles import ADCC_METRICS, FIDELITY_METRICS, PERTURBATION_METRICS
from sigcam_core.fidelity.evidence import (
    FIDELITY,
    OWN,
    PERTURBATION,
    SCORERS,
    fidelity_statistics,
    perturbation_statistics,
)
from sigcam_core.summarise.tables import head_differences, matched_coverage, table_of

from ..matrix import PROFILE_NAMES, job_of
from ..matrix import shown_runs as shown_runs
from ..matrix import told as told
from ..paper.beside import beside_paper as beside_paper
from ..paper.layout import laid_out
from ..show.figures import coverage_figure as coverage_figure
from ..show.figures import difference_figure as difference_figure
from ..show.figures import matched_coverage_figure as matched_coverage_figure
from ..show.results import MEASURED
from ..show.saved import Chapter, Value, flat_values
from ..show.sentences import count_words, sides
from .coverage import at_coverages
from .coverage import drops_at_equal_coverage as drops_at_equal_coverage
from .coverage import equal_coverage_sentence as equal_coverage_sentence
from .coverage import trend_sentence as trend_sentence
from .several import labelled as labelled
from .several import records_of as records_of
from .several import several

ALLOWED = {"profile": PROFILE_NAMES, "scorer": (*SCORERS, OWN), "resamples": range(1, 10**6)}
"""The values that parameters of the notebook may have."""
PROSE_COVERAGE = 20  # % of the pixels


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


def fidelity_chapters(
    evidence: Mapping[str, pd.DataFrame], scorer: str = "softmax", resamples: int = 1000, seed: int = 0
) -> Chapter:
    """Table 2 of every data set with fidelity, see :func:`fidelity_chapter`.

    Args:
        evidence: by data set.
        scorer: branch that gives the scores.
        resamples: draws of the bootstrap over images.
        seed: of the draws.

    Raises:
        SigcamError: if fidelity was measured on none.
    """
    measured = {name: rows for name, rows in evidence.items() if rows[FIDELITY.columns[0][0]].notna().any()}
    if not measured:
        fail(f"fidelity was not measured on {', '.join(evidence)}: evaluate with it, or choose other data sets.")
    return several({name: fidelity_chapter(rows, name, scorer, resamples, seed) for name, rows in measured.items()})


def fidelity_sentence(differences: pd.DataFrame, scorer: str) -> str:
    """Compare sigmoid with softmax by average drop, and by what the maps keep.

    Args:
        differences: ``table2_differences`` of :func:`fidelity_chapter`.
        scorer: branch that gave the scores.
    """
    drop = count_words(
        sides(differences, "average_drop", lower_is_better=True), ("better", "worse", "not distinguishable")
    )
    keep = count_words(sides(differences, "coverage"), ("more of the image", "less", "as much"))
    by = "its own branch" if scorer == OWN else f"the {scorer} branch"
    return f"Scored by {by}, the average drop of the sigmoid head's map is {drop}; the map keeps {keep}."


def in_layout_of_paper(ours: pd.DataFrame, results: Path = MEASURED) -> Any:
    """Table 2 as the paper prints it, with ours next to it: earlier measurements, and a profile's runs of this page.

    Args:
        ours: ``table2`` of :func:`fidelity_chapter`.
        results: folder of all that was measured.
    """
    return laid_out("Table 2", results, job_of, ours)
