"""A family of metrics gives the statistics of each variant, and the rows that they can be computed of."""

import numpy as np
import pytest
from made_up_evidence import NUM_IMAGES, made_up_evidence

from sigcam_core import SigcamError
from sigcam_core.common.families import KEYS, LABELS
from sigcam_core.common.titles import METRIC_TITLES
from sigcam_core.evaluate.schema import FAMILIES, SCHEMA
from sigcam_core.fidelity.evidence import PERTURBATION
from sigcam_core.localization.evidence import LOCALIZATION, wsol_statistics


def test_every_variant_has_its_statistics() -> None:
    rows, weights = made_up_evidence(), np.ones((1, NUM_IMAGES))
    by_variant = LOCALIZATION.statistics_by_variant()
    assert list(by_variant) == ["standard", "paper"]
    for protocol, statistics in by_variant.items():
        expected = wsol_statistics(rows, weights, protocol=protocol)
        assert statistics(rows, weights)["gt_loc"] == expected["gt_loc"]
    assert by_variant["standard"](rows, weights)["gt_loc"] != by_variant["paper"](rows, weights)["gt_loc"]
    assert list(PERTURBATION.statistics_by_variant()) == [""]


def test_a_family_of_the_first_images_leaves_the_others_out() -> None:
    evidence = made_up_evidence()
    everywhere = LOCALIZATION.measured(evidence)
    assert everywhere["image_id"].tolist() == evidence["image_id"].tolist()
    assert set(everywhere) == {*KEYS, *LABELS, *(name for name, _ in LOCALIZATION.columns)}
    assert PERTURBATION.measured(evidence)["image_id"].tolist() == [f"image{i}" for i in range(4)]
    with pytest.raises(SigcamError, match="no image of this evidence has values of perturbation: evaluate with"):
        PERTURBATION.measured(evidence.iloc[4:])


def test_no_column_and_no_metric_has_two_owners() -> None:
    assert len(SCHEMA.names) == len(set(SCHEMA.names))
    assert len(METRIC_TITLES) == sum(len(family.titles) for family in FAMILIES)
    weights = np.ones((1, NUM_IMAGES))
    for family in FAMILIES:
        rows = family.measured(made_up_evidence())
        for statistics in family.statistics_by_variant().values():
            assert set(family.titles) <= set(statistics(rows, weights[:, : len(rows)])), family.name
