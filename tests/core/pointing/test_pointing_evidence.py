"""Class specificity in the evidence: what is measured of each map of a batch, and what is computed of it."""

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_evidence import NUM_IMAGES, made_up_evidence, value
from small_networks import make_dual, random_images

from sigcam_core.cams.batch import MapBatch
from sigcam_core.cams.maps import MapOptions
from sigcam_core.cams.score_maps import resize_maps
from sigcam_core.common.errors import SigcamError
from sigcam_core.evaluate.schema import FAMILIES
from sigcam_core.pointing.evidence import COLUMNS, POINTING, pointing_statistics
from sigcam_core.pointing.metrics import EnergyPointingGame, PointingGame
from sigcam_core.summarise.tables import head_differences, table_of, table_with_intervals

OPTIONS = MapOptions(("cam", "gradcam", "layercam"), ("softmax",))


def batch_of(maps: torch.Tensor, boxes: list, masks: np.ndarray | None) -> MapBatch:
    count = len(maps)
    labels = torch.zeros(count, dtype=torch.int64)
    # Of the predicted classes only fidelity asks: nothing here may.
    other = torch.full_like(maps, torch.nan)
    return MapBatch(make_dual(), random_images(count), labels, labels, {}, OPTIONS, maps, other, boxes, masks)


def test_every_map_has_what_the_metrics_say_of_it_alone() -> None:
    maps = torch.randn(3, 3, 7, 7, dtype=torch.float64)
    maps[1, 1] = maps[1, 0] + 2  # the same once stretched, but not the same energy
    maps[1, 2] = 5 * maps[1, 0]
    maps[2, 1] = -maps[2, 0].abs()
    boxes = [
        np.array([[0, 0, 100, 223]]),
        np.array([[10, 20, 90, 80], [150, 150, 224, 224]]),
        np.array([[0, 9, 50, 99]]),
    ]
    masks = np.random.default_rng(0).choice(np.array([0, 1, 255], dtype=np.uint8), (3, 224, 224))
    columns = POINTING.measure(batch_of(maps, boxes, masks))
    assert {name: len(values) for name, values in columns.items()} == {name: 9 for name, _ in COLUMNS}
    for position, one in enumerate(maps.flatten(0, 1)):
        resized, image = resize_maps(one[None], (224, 224)), position // 3
        pointing, in_box, in_mask = PointingGame(), EnergyPointingGame(), EnergyPointingGame()
        pointing.update(resized, [boxes[image]])
        in_box.update(resized, [boxes[image]])
        in_mask.update(resized, masks=torch.from_numpy(masks[[image]]))
        assert 100 * columns["pointing_hit"][position] == float(pointing.compute()["pointing_game"])
        assert 100 * columns["energy_in_box"][position] == pytest.approx(float(in_box.compute()["energy_pointing"]))
        assert 100 * columns["energy_in_mask"][position] == pytest.approx(float(in_mask.compute()["energy_pointing"]))
    shares = columns["energy_in_box"]
    assert shares[3] == shares[5] != shares[4]


def test_images_without_boxes_or_masks_have_no_figures() -> None:
    maps = torch.randn(2, 3, 7, 7)
    columns = POINTING.measure(batch_of(maps, [np.zeros((0, 4), np.int64), np.array([[0, 0, 9, 9]])], None))
    assert columns["energy_in_mask"] == [None] * 6
    for name in ("pointing_hit", "energy_in_box"):
        assert columns[name][:3] == [None] * 3
        assert None not in columns[name][3:]


def test_figures_by_hand_and_weights_repeat_images() -> None:
    rows = made_up_evidence().assign(
        pointing_hit=[True, False, False, True, True, False],
        energy_in_box=np.arange(6, dtype=np.float32) / 10,
        energy_in_mask=np.float32(0.25),
    )
    figures = pointing_statistics(rows, np.array([[1, 1, 1, 1, 1, 1], [0, 0, 0, 2, 0, 2]], dtype=np.float64))
    np.testing.assert_allclose(figures["pointing_game"], [50, 50])
    np.testing.assert_allclose(figures["energy_pointing"], [25, 40], rtol=1e-6)
    np.testing.assert_allclose(figures["energy_pointing_mask"], [25, 25])


def test_evidence_without_boxes_and_masks_gives_empty_tables() -> None:
    rows = made_up_evidence().assign(pointing_hit=None, energy_in_box=np.nan, energy_in_mask=np.nan)
    both = rows, rows.assign(head="sigmoid")
    assert pointing_statistics(rows, np.ones((1, NUM_IMAGES))) == {}
    evidence = pd.concat(both, ignore_index=True)
    assert len(table_of(evidence, pointing_statistics)) == 2
    assert table_with_intervals(evidence, pointing_statistics, 2).empty
    assert head_differences(evidence, pointing_statistics, 2).empty


def test_the_family_is_in_the_schema() -> None:
    assert POINTING in FAMILIES
    assert value(pointing_statistics(made_up_evidence(), np.ones((1, NUM_IMAGES))), "pointing_game") == 50


def test_figures_are_of_the_images_that_have_boxes_or_an_object() -> None:
    rows, weights = made_up_evidence(), np.random.default_rng(0).multinomial(6, np.full(6, 1 / 6), 40).astype(float)
    partly = rows.assign(
        pointing_hit=rows["pointing_hit"].mask(rows["image_id"] == "image1", None),
        energy_in_mask=rows["energy_in_mask"].mask(rows["image_id"] != "image3"),
    )
    figures = pointing_statistics(partly, weights)
    there = np.arange(NUM_IMAGES) != 1
    expected = pointing_statistics(rows[there], weights[:, there])
    np.testing.assert_array_equal(figures["pointing_game"], expected["pointing_game"])
    np.testing.assert_array_equal(figures["energy_pointing"], pointing_statistics(rows, weights)["energy_pointing"])
    drawn = weights[:, 3] > 0
    assert 0 < drawn.sum() < 40
    assert np.isnan(figures["energy_pointing_mask"]).tolist() == (~drawn).tolist()
    assert np.allclose(figures["energy_pointing_mask"][drawn], 15)


def test_a_mask_without_an_object_says_nothing_of_energy() -> None:
    maps = torch.randn(2, 3, 7, 7)
    masks = np.zeros((2, 224, 224), dtype=np.uint8)
    masks[1, :9] = 1
    columns = POINTING.measure(batch_of(maps, [np.array([[0, 0, 9, 9]])] * 2, masks))
    assert columns["energy_in_mask"][:3] == [None] * 3
    assert None not in columns["energy_in_mask"][3:]
    with pytest.raises(SigcamError, match=r"mask 0 has no object \(value 1\) to point at"):
        EnergyPointingGame().update(torch.rand(2, 224, 224), masks=torch.from_numpy(masks))
