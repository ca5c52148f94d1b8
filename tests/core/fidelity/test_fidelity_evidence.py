"""Fidelity figures are what their definitions say of the evidence."""

import numpy as np
import pandas as pd
import pytest
from made_up_evidence import NUM_IMAGES, made_up_evidence, value

from sigcam_core.common.errors import SigcamError
from sigcam_core.fidelity.evidence import PERTURBATION, fidelity_statistics, perturbation_statistics
from sigcam_core.summarise.tables import table_of


def test_fidelity_figures_by_hand_and_by_either_scorer() -> None:
    rows = made_up_evidence()
    figures = fidelity_statistics(rows, np.ones((1, NUM_IMAGES)))
    assert value(figures, "average_drop") == pytest.approx(25)
    assert value(figures, "increase_in_confidence") == pytest.approx(50)
    other = fidelity_statistics(rows, np.ones((1, NUM_IMAGES)), scorer="sigmoid")
    assert value(other, "average_drop") == value(other, "increase_in_confidence") == 0


def test_each_map_is_scored_by_its_own_branch_where_that_is_asked_for() -> None:
    weights = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 0, 0, 3, 1]], dtype=np.float64)
    for head in ("softmax", "sigmoid"):
        rows = made_up_evidence(head)
        own, expected = (fidelity_statistics(rows, weights, scorer) for scorer in ("own_branch", head))
        for metric, values in expected.items():
            np.testing.assert_array_equal(own[metric], values, err_msg=metric)
    both = pd.concat([made_up_evidence(), made_up_evidence("sigmoid")])
    with pytest.raises(SigcamError, match="rows are of 2 heads"):
        fidelity_statistics(both, np.ones((1, 2 * NUM_IMAGES)), "own_branch")


def test_adcc_takes_the_means_of_the_images() -> None:
    rows = made_up_evidence()
    figures = fidelity_statistics(rows, np.array([[1, 1, 1, 1, 1, 1], [2, 0, 0, 0, 0, 1]]))
    for draw, images in enumerate(([0, 1, 2, 3, 4, 5], [0, 0, 5])):
        coverage = rows["coverage"].to_numpy()[images].mean()
        drop = np.mean([0.5 if i < 3 else 0 for i in images])
        expected = 100 * 3 / (1 / 0.7 + 1 / (1 - coverage) + 1 / (1 - drop))
        assert figures["adcc"][draw] == pytest.approx(expected)
        assert figures["coherency"][draw] == pytest.approx(70)


def test_perturbation_figures_are_of_the_images_that_were_perturbed() -> None:
    evidence = pd.concat([made_up_evidence(), made_up_evidence("sigmoid", "gradcam")])
    rows = PERTURBATION.measured(evidence)
    assert len(rows) == 8
    table = table_of(rows, perturbation_statistics)
    assert table["head"].tolist() == ["softmax", "sigmoid"]
    assert table["insertion_auc"].tolist() == pytest.approx([30, 30])
    assert table["deletion_auc"].tolist() == pytest.approx([10, 10])
    with pytest.raises(
        SigcamError,
        match="no image of this evidence has values of perturbation: evaluate with perturbation_images above 0",
    ):
        PERTURBATION.measured(evidence[evidence["image_id"] == "image5"])
