"""The chapter on Table 1: localisation and pointing of every method and head, and paired differences.

What is imported here under its own name (``as``) is handed on to the notebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sigcam_core.common.families import KEYS
from sigcam_core.common.titles import METHOD_TITLES, POINTING_METRICS, WSOL_METRICS
from sigcam_core.localization.centre import centre_box_accuracy
from sigcam_core.localization.contours import BoxArray
from sigcam_core.localization.evidence import BOXES, wsol_statistics
from sigcam_core.localization.protocol import MAP_SIZE, PROTOCOLS
from sigcam_core.localization.protocol import gt_loc_box as gt_loc_box
from sigcam_core.pointing.evidence import pointing_statistics
from sigcam_core.prepare.images import scaled_boxes
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.summarise.tables import head_differences, table_of

from ..controls.baselines import baseline_figures as baseline_figures
from ..matrix import PROFILE_NAMES, job_of
from ..matrix import shown_runs as shown_runs
from ..matrix import told as told
from ..paper.beside import beside_paper as beside_paper
from ..paper.centre import CENTRE, NOBODY
from ..paper.centre import centre_caption as centre_caption
from ..paper.centre import centre_chapter as centre_chapter
from ..paper.centre import centre_tables as centre_tables
from ..paper.centre import read_boxes as read_boxes
from ..paper.centre import read_centre as read_centre
from ..paper.layout import laid_out
from ..show.figures import difference_figure as difference_figure
from ..show.names import data_set_title
from ..show.results import MEASURED
from ..show.saved import Chapter, Value, flat_values
from ..show.sentences import count_words, sides
from ..show.shown import sentence_list
from .several import labelled as labelled
from .several import records_of as records_of
from .several import several

ALLOWED = {"profile": PROFILE_NAMES, "protocol": PROTOCOLS, "resamples": range(1, 10**6)}
"""The values that parameters of the notebook may have."""


def localization_chapter(
    evidence: pd.DataFrame,
    dataset: str,
    protocol: str = "standard",
    resamples: int = 1000,
    seed: int = 0,
    boxes: Sequence[BoxArray] = (),
    baselines: Sequence[pd.DataFrame] = (),
) -> Chapter:
    """Table 1 and whether maps know their class: every method and head, the centre, and paired differences.

    Args:
        evidence: what :func:`sigcam_core.evaluate.schema.read_evidence` returns.
        dataset: its name.
        protocol: see :func:`sigcam_core.localization.evidence.wsol_statistics`.
        resamples: draws of the bootstrap over images.
        seed: of the draws.
        boxes: of each test image, scaled to the maps' size, for the row of
            :func:`sigcam_core.localization.centre.centre_box_accuracy`, which is of those images that have one.
        baselines: of each network, rows of maps that know no class, for the end of the table.
    """
    statistics = partial(wsol_statistics, protocol=protocol)
    ours = table_of(evidence, statistics)
    if boxed := [one for one in boxes if len(one)]:
        figures = {name: value.item() for name, value in centre_box_accuracy(boxed, protocol=protocol).items()}
        counts_of_row = {BOXES.heading: len(boxed)} if BOXES.heading in ours else {}
        row = dict.fromkeys(KEYS, NOBODY) | {"method": CENTRE} | figures | counts_of_row
        ours = pd.concat([ours, pd.DataFrame([row])], ignore_index=True)
    differences = head_differences(evidence, statistics, resamples, seed)
    pointing = table_of(evidence, pointing_statistics)
    pointing_differences = head_differences(evidence, pointing_statistics, resamples, seed)
    counts: dict[str, Value] = {"dataset": dataset, "test_images": evidence["image_id"].nunique()}
    values = counts | flat_values(ours, WSOL_METRICS) | flat_values(pointing, POINTING_METRICS)
    for table in (differences, pointing_differences):
        values |= flat_values(table, ("difference", "low", "high"))
    tables = {
        "table1": pd.concat([ours, *baselines], ignore_index=True),
        "table1_differences": differences,
        "table1_pointing": pointing,
        "table1_pointing_differences": pointing_differences,
    }
    return Chapter(values, tables)


def localization_chapters(
    evidence: Mapping[str, pd.DataFrame],
    manifests: Mapping[str, Manifest],
    protocol: str = "standard",
    resamples: int = 1000,
    seed: int = 0,
    baselines: Sequence[pd.DataFrame] = (),
) -> Chapter:
    """Table 1 of every data set, see :func:`localization_chapter`.

    Args:
        evidence: by data set.
        manifests: by data set, for the boxes of the row of the centre.
        protocol: GT-Loc and Top-1 Loc against any box, or the first only.
        resamples: draws of the bootstrap over images.
        seed: of the draws.
        baselines: where there is one data set, rows of maps that know no class.
    """
    chapters = {}
    for name, rows in evidence.items():
        boxes = scaled_boxes(manifests[name].split("test"), MAP_SIZE)
        chapters[name] = localization_chapter(rows, name, protocol, resamples, seed, boxes, baselines)
    return several(chapters)


def localization_sentence(differences: pd.DataFrame, table: pd.DataFrame, data_sets: Sequence[str]) -> str:
    """Sigmoid against softmax by MaxBoxAccV2, or PxAP where there are no boxes, and what the centre has.

    Args:
        differences: ``table1_differences`` of :func:`localization_chapter`.
        table: ``table1`` of the same.
        data_sets: that they are of.
    """
    metric = "maxboxacc_v2" if (differences["metric"] == "maxboxacc_v2").any() else "pxap"
    title = {"maxboxacc_v2": "MaxBoxAccV2", "pxap": "PxAP"}[metric]
    counts = sides(differences, metric)
    text = (
        f"On {sentence_list([data_set_title(name) for name in data_sets])}, {title} of the sigmoid head's map is "
        + count_words(counts, ("higher than softmax's", "lower", "not distinguishable"))
    )
    maps, centre = table[table["method"] != CENTRE], table[table["method"] == CENTRE]
    maps = maps[maps["method"].isin(METHOD_TITLES)]
    if len(centre) and centre[metric].notna().all():
        values = centre[metric].to_numpy()
        beaten = sum(bool((maps[metric] < value).any()) for value in values)
        where = "above some of them" if beaten else "below them all"
        text += f"; a centred square, which sees no image, has {values[0]:.1f} %, {where}"
    return text + "."


def in_layout_of_paper(ours: pd.DataFrame, results: Path = MEASURED) -> Any:
    """Table 1 as the paper prints it, with ours next to it: earlier measurements, and a profile's runs of this page.

    Args:
        ours: ``table1`` of :func:`localization_chapter`.
        results: folder of all that was measured.
    """
    return laid_out("Table 1", results, job_of, ours)
