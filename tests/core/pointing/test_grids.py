"""Grids: which images are chosen, how they are put together, and what a map of a grid scores."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import calibrate, make_dual, noise_images, random_images
from torch import Tensor

from sigcam_core import DualBranch
from sigcam_core.backbones.formats import InputFormat
from sigcam_core.cams.maps import MapOptions, cam_maps
from sigcam_core.common.errors import SigcamError
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.invariance import erasing_delta, shift_weights
from sigcam_core.pointing.grids import (
    batches_of_rows,
    choose_grids,
    compose_grids,
    grid_batches,
    grid_features,
    grid_shares,
    grid_shares_of_maps,
)
from sigcam_core.prepare.images import image_batches

CLASSES = torch.tensor([[0, 3, 4, 1], [2, 1, 0, 3]])


@pytest.fixture
def dual() -> DualBranch:
    dual = make_dual()
    calibrate(dual.backbone, random_images())
    return dual


@pytest.fixture
def grids() -> Tensor:
    return compose_grids(random_images(8, 32), n=2)  # (2, 3, 64, 64)


def weight_of(dual: DualBranch, head: str) -> Tensor:
    weight = linear_head_weight(dual.head(head))
    assert weight is not None
    return weight.detach()


# Which images


def probabilities_of(labels: Tensor, num_classes: int) -> Tensor:
    return (torch.randn(len(labels), num_classes) + 3 * torch.nn.functional.one_hot(labels, num_classes)).softmax(1)


def test_only_confident_correct_images_of_different_classes_are_chosen() -> None:
    labels = torch.arange(200) % 10
    probabilities = probabilities_of(labels, 10)
    grids = choose_grids(probabilities, labels, n=3, num_grids=40, threshold=0.6, seed=1)
    assert grids.shape == (40, 9)
    assert all(len(set(labels[grid].tolist())) == 9 for grid in grids)
    for image in grids.flatten().tolist():
        assert probabilities[image].argmax() == labels[image]
        assert probabilities[image, labels[image]] > 0.6


def test_a_high_probability_of_another_class_does_not_count() -> None:
    labels = torch.arange(5)
    probabilities = torch.eye(5)
    probabilities[4] = torch.tensor([0.6, 0, 0, 0, 0.4])  # above the threshold, but not the greatest
    grids = choose_grids(probabilities, labels, n=2, num_grids=10, threshold=0.3)
    assert set(grids.flatten().tolist()) == {0, 1, 2, 3}


def test_the_seed_decides_and_images_take_turns() -> None:
    labels = torch.arange(60) % 6
    probabilities = torch.eye(6)[labels]
    grids = choose_grids(probabilities, labels, n=2, num_grids=30, seed=3)
    assert torch.equal(grids, choose_grids(probabilities, labels, n=2, num_grids=30, seed=3))
    assert not torch.equal(grids, choose_grids(probabilities, labels, n=2, num_grids=30, seed=4))
    uses = Counter(grids.flatten().tolist())
    for one in range(6):  # an image comes again only after all of its class
        counts = [uses[image] for image in range(one, 60, 6)]
        assert max(counts) - min(counts) <= 1
    assert {int(labels[grid[0]]) for grid in grids} == set(range(6))  # cells are not in the order of classes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"threshold": 1.0}, "only 0 classes have an image that is classified correctly with a probability above 1.0"),
        ({"n": 3}, "only 8 classes have .* but a grid of 3 x 3 needs 9: lower the threshold"),
        ({"n": 1}, "a grid of 1 x 1"),
        ({"num_grids": 0}, "cannot choose 0 grids"),
        ({"labels": torch.arange(7)}, r"must have shapes \(N, C\) and \(N,\)"),
        ({"labels": torch.arange(1, 9)}, "class index 8 at position 7 is out of range"),
    ],
)
def test_what_gives_no_grids_is_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        choose_grids(**{"probabilities": torch.eye(8), "labels": torch.arange(8), "n": 2, "num_grids": 2} | changes)


# How they are put together


def test_every_image_lies_in_its_cell() -> None:
    images = torch.randn(18, 3, 4, 5)
    grids = compose_grids(images, n=3)
    assert grids.shape == (2, 3, 12, 15)
    for position, image in enumerate(images):
        grid, cell = divmod(position, 9)
        row, column = divmod(cell, 3)
        assert torch.equal(grids[grid, :, 4 * row : 4 * row + 4, 5 * column : 5 * column + 5], image)
    with pytest.raises(SigcamError, match="do not fill grids"):
        compose_grids(images[:17], n=3)


def test_grids_are_loaded_by_rows_of_the_manifest(tmp_path: Path) -> None:
    manifest = noise_images(tmp_path)
    form = InputFormat(8, (0.5,) * 3, (0.5,) * 3)
    rows = torch.tensor([[0, 1, 2, 3], [5, 4, 1, 0], [2, 2, 3, 3]])
    _, images, _ = next(iter(image_batches(manifest, 6, form)))
    found = list(grid_batches(image_batches(manifest, 1, form, batches=batches_of_rows(rows, 2)), n=2))
    assert [len(batch.images) for batch in found] == [2, 1]
    assert torch.equal(torch.cat([batch.rows for batch in found]), rows)
    assert torch.equal(torch.cat([batch.classes for batch in found]), rows % 2)
    assert torch.equal(torch.cat([batch.images for batch in found]), compose_grids(images[rows.flatten()], n=2))
    with pytest.raises(SigcamError, match="a batch of 0 grids"):
        batches_of_rows(rows, 0)


# What maps score


def naive_shares(maps: Tensor, n: int) -> list[float]:
    """Share of map m (n*n, h, w) in cell m, by slices."""
    height, width = maps.shape[1] // n, maps.shape[2] // n
    shares = []
    for position, values in enumerate(maps.numpy()):
        row, column = divmod(position, n)
        positive = np.where(values > 0, values, 0)
        own = positive[row * height : (row + 1) * height, column * width : (column + 1) * width].sum()
        shares.append(own / positive.sum() if positive.sum() else 0.0)
    return shares


@pytest.mark.parametrize("evidence_only", [False, True, "paper"])
def test_linear_heads_score_as_their_class_activation_maps_do(
    dual: DualBranch, grids: Tensor, evidence_only: bool | str
) -> None:
    options = MapOptions(("cam",), evidence_only=evidence_only)
    features = grid_features(dual, grids)
    weights = torch.stack([weight_of(dual, head) for head in options.heads])
    truncated = [options.truncates(head) for head in options.heads]
    found = grid_shares(features, weights, CLASSES, truncated)
    assert found.shape == (2, 4, 2)
    for position, head in enumerate(options.heads):
        for grid in range(2):
            maps = cam_maps(dual, grids[[grid] * 4], CLASSES[grid], ("cam",), (head,), evidence_only=evidence_only)[
                head, "cam"
            ]
            np.testing.assert_allclose(found[grid, :, position], naive_shares(maps, 2), atol=1e-12)
    torch.testing.assert_close(grid_shares_of_maps(dual, features, CLASSES, options), found)


def test_rows_of_other_methods_come_in_their_order() -> None:
    dual, images = make_dual("small_cnn-mlp"), compose_grids(random_images(8, 48), n=2)
    calibrate(dual.backbone, images)
    options = MapOptions(("gradcam", "layercam"))
    found = grid_shares_of_maps(dual, grid_features(dual, images), CLASSES, options)
    maps = cam_maps(dual, images[[1] * 4], CLASSES[1], options.methods)
    for position, row in enumerate(options.rows):
        np.testing.assert_allclose(found[1, :, position], naive_shares(maps[row], 2), atol=1e-12)


def test_a_shift_that_softmax_cannot_see_changes_the_score(dual: DualBranch, grids: Tensor) -> None:
    features = grid_features(dual, grids)
    weight = weight_of(dual, "softmax")
    shifts = [torch.zeros(weight.shape[1]), torch.randn(weight.shape[1]), erasing_delta(weight) - 0.01]
    heads = [shift_weights(weight, shift.to(weight)) for shift in shifts]
    pooled = features.mean(dim=(2, 3))
    original, shifted, erased = [(pooled @ head.T).softmax(dim=1) for head in heads]
    torch.testing.assert_close(original, shifted)
    torch.testing.assert_close(original, erased)
    shares = grid_shares(features, heads, CLASSES, [False] * 3)
    assert (shares[:, :, 0] - shares[:, :, 1]).abs().max() > 0.02
    assert shares[:, :, 2].max() == 0  # no weight is positive, so nothing speaks for any class
    assert (shares[:, :, 0] > 0).all()


def test_networks_of_one_size_are_refused_in_one_sentence() -> None:
    grids = compose_grids(random_images(4, 64), n=2)
    with pytest.raises(SigcamError, match="does not take images of 128 x 128 pixels"):
        grid_features(make_dual("vit"), grids)
    fixed = make_dual("small_cnn-gap")
    fixed.softmax_head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16 * 8 * 8, 5)).double()
    with pytest.raises(SigcamError, match=r"does not take grids of 128 x 128 pixels .* global pooling"):
        grid_features(fixed, grids)


def test_shapes_that_do_not_fit_are_refused() -> None:
    features, weight = torch.zeros(1, 6, 4, 4), torch.zeros(3, 6)
    with pytest.raises(SigcamError, match=r"weights must have shape \(C, 6\)"):
        grid_shares(features, [weight.T], torch.zeros(1, 4, dtype=torch.int64), [False])
    with pytest.raises(SigcamError, match="1 weight matrices but 2 entries"):
        grid_shares(features, [weight], torch.zeros(1, 4, dtype=torch.int64), [False, True])
    with pytest.raises(SigcamError, match="classes of grids must have shape"):
        grid_shares(features, [weight], torch.zeros(1, 5, dtype=torch.int64), [False])
