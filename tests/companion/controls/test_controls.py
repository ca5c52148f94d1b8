"""Control maps against sums that are written out, and against the maps of the package's other way."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_networks import seeded_images
from torch import Tensor, nn

from companion.controls.maps import (
    HEAD_SCALARS,
    Control,
    LinearHead,
    centre_of,
    channel_weights,
    control_maps,
    other_classes,
)
from companion.controls.names import BASELINES, NO_HEAD, WEIGHTS
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.cams.maps import cam_maps
from sigcam_core.common.errors import SigcamError
from sigcam_core.dual.branch import DualBranch
from sigcam_core.invariance import center_weights, shift_weights

CLASSES = torch.tensor([0, 3, 7, 7])
SEEDS = torch.arange(4)


@pytest.fixture(scope="module")
def dual() -> DualBranch:
    torch.manual_seed(0)
    made = DualBranch.from_classifier(small_cnn(num_classes=8))
    for head in (made.softmax_head, made.sigmoid_head):
        nn.init.normal_(head[-1].weight)  # signs and sizes as after training
    return made


@pytest.fixture(scope="module")
def heads(dual: DualBranch) -> dict[str, LinearHead]:
    layers = {"softmax": dual.softmax_head[-1], "sigmoid": dual.sigmoid_head[-1]}
    return {name: LinearHead(x.weight.detach(), x.bias.detach(), name == "sigmoid") for name, x in layers.items()}


@pytest.fixture(scope="module")
def features(dual: DualBranch) -> Tensor:
    return dual.extract(seeded_images(4, 96))


@pytest.mark.parametrize("scalar", ["logit", "centred", "log_odds", "finer", "finer_weighted"])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_maps_are_those_of_cam_maps(
    dual: DualBranch, heads: dict[str, LinearHead], features: Tensor, scalar: str, head: str, weights: str
) -> None:
    truncated = weights == "truncated"
    expected = cam_maps(dual, seeded_images(4, 96), CLASSES, ("cam",), (head,), truncated, scalar=scalar)
    maps = control_maps(features, CLASSES, [Control(head, scalar, weights)], heads, SEEDS)
    torch.testing.assert_close(maps[:, 0], expected[head, "cam"], rtol=1e-4, atol=1e-4)


def test_a_shift_of_all_weights_is_seen_by_the_logit_and_by_no_contrast(
    heads: dict[str, LinearHead], features: Tensor
) -> None:
    head = heads["softmax"]
    delta = torch.randn(head.weight.shape[1], generator=torch.Generator().manual_seed(1))
    shifted = {"softmax": replace(head, weight=shift_weights(head.weight, delta))}
    for scalar, is_fixed in (("logit", False), ("centred", True), ("log_odds", True)):
        row = [Control("softmax", scalar)]
        before, after = (control_maps(features, CLASSES, row, which, SEEDS) for which in (heads, shifted))
        assert torch.allclose(before, after, atol=1e-3) == is_fixed


def test_centred_rows_are_logit_rows_of_centred_weights(heads: dict[str, LinearHead], features: Tensor) -> None:
    centred = replace(heads["softmax"], weight=center_weights(heads["softmax"].weight))
    for weights in WEIGHTS:
        got = control_maps(features, CLASSES, [Control("softmax", "centred", weights)], heads, SEEDS)
        expected = control_maps(features, CLASSES, [Control("softmax", "logit", weights)], {"softmax": centred}, SEEDS)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_the_constant_shift_comes_before_the_truncation(heads: dict[str, LinearHead], features: Tensor) -> None:
    head = replace(heads["softmax"], shift=0.5)
    pooled = features.mean(dim=(2, 3))
    rows = [Control("softmax", "best shift", weights) for weights in WEIGHTS]
    signed, truncated = channel_weights(pooled, CLASSES, rows, {"softmax": head}, SEEDS).unbind(1)
    expected = head.weight[CLASSES] + 0.5 * head.weight.abs().mean()
    torch.testing.assert_close(signed, expected)
    torch.testing.assert_close(truncated, expected.clamp(min=0))
    assert (truncated > 0).sum() > (head.weight[CLASSES] > 0).sum()


def test_a_wrong_class_is_never_the_right_one_and_any_other_may_be_drawn() -> None:
    own = torch.arange(4000) % 5
    drawn = other_classes(own, 5, torch.arange(4000))
    assert not (drawn == own).any()
    counts = torch.bincount((drawn - own) % 5, minlength=5)
    assert counts[0] == 0
    assert (counts[1:] - 1000).abs().max() < 120  # four standard deviations


def test_random_rows_depend_on_the_image_and_not_on_its_batch(heads: dict[str, LinearHead], features: Tensor) -> None:
    rows = [Control(NO_HEAD, "random weights"), Control("softmax", "wrong class")]
    whole = control_maps(features, CLASSES, rows, heads, SEEDS)
    alone = control_maps(features[2:3], CLASSES[2:3], rows, heads, SEEDS[2:3])
    torch.testing.assert_close(whole[2:3], alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(whole[2, 0], whole[3, 0])


def test_maps_without_a_head_know_neither_head_nor_class(heads: dict[str, LinearHead], features: Tensor) -> None:
    rows = [Control(NO_HEAD, baseline) for baseline in BASELINES]
    maps = control_maps(features, CLASSES, rows, heads, SEEDS)
    other = control_maps(features, 7 - CLASSES, rows, {}, SEEDS)
    torch.testing.assert_close(maps, other)
    torch.testing.assert_close(maps[:, 1], features.sum(dim=1), rtol=1e-4, atol=1e-4)
    positive = channel_weights(features.mean((2, 3)), CLASSES, [rows[3]], {}, SEEDS)
    assert bool((positive >= 0).all())


def test_the_centre_is_symmetric_and_falls_from_the_middle() -> None:
    centre = centre_of(7, 7)
    assert torch.equal(centre, centre.flip(0))
    assert torch.equal(centre, centre.T)
    assert int(centre.argmax()) == 24
    assert bool((centre[3, 3:].diff() < 0).all())


@pytest.mark.parametrize("scalar", HEAD_SCALARS)
def test_a_head_that_is_not_there_is_refused(features: Tensor, scalar: str) -> None:
    with pytest.raises(SigcamError, match=r"there is no head 'other' for row other/"):
        control_maps(features, CLASSES, [Control("other", scalar)], {}, SEEDS)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("softmax", "centre"), "unknown scalar 'centre'"),
        ((NO_HEAD, "logit"), "unknown scalar 'logit'"),
        (("softmax", "logit", "cut"), "unknown treatment of weights 'cut'"),
    ],
)
def test_unknown_names_are_refused(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        Control(*arguments)


def test_one_class_has_no_wrong_class() -> None:
    with pytest.raises(SigcamError, match="no wrong class"):
        other_classes(torch.tensor([0]), 1, torch.tensor([0]))
