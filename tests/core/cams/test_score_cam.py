"""Score-CAM equals its published equations and two other libraries, and takes no pass more than it needs."""

import pytest
import pytorch_grad_cam
import torch
import torchcam.methods
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from small_networks import NUM_CLASSES, make_dual, random_images
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sigcam_core import DualBranch, SigcamError, cam_maps
from sigcam_core.cams.maps import MapOptions, maps_from_features
from sigcam_core.dual.branch import HEADS

CLASS_IDX = [4, 0, 2]


def one_layer(stride: int) -> DualBranch:
    """Feature maps of one convolution, one of whose channels is silent."""
    convolution = nn.Conv2d(3, 6, 3, stride=stride, padding=int(stride == 1))
    convolution.bias.data[1] = -100
    heads = [nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(6, NUM_CLASSES)) for _ in HEADS]
    for head in heads:
        nn.init.normal_(head[2].weight, std=10)  # so that channels differ after the softmax
    return DualBranch(nn.Sequential(convolution, nn.ReLU()), *heads).double()


def relative_error(actual: Tensor, expected: Tensor) -> float:
    assert expected.max() > 0
    return float((actual - expected).abs().max() / expected.max())


def test_maps_equal_torchcams() -> None:
    # It stretches before it resizes. That is the same where resizing keeps every value: by an odd factor.
    dual, images = one_layer(stride=3), random_images(3, 24)
    ours = cam_maps(dual, images, torch.tensor(CLASS_IDX), ["scorecam"])
    for head in HEADS:
        network = nn.Sequential(dual.backbone, dual.head(head))
        with torchcam.methods.ScoreCAM(network, network[0]) as extractor:
            (expected,) = extractor(CLASS_IDX, network(images), normalized=False)
        assert relative_error(ours[head, "scorecam"], expected.detach()) < 1e-5


def test_maps_equal_grad_cams() -> None:
    # It aligns corners when it resizes. Here nothing is resized.
    dual, images = one_layer(stride=1), random_images(3, 12)
    ours = cam_maps(dual, images, torch.tensor(CLASS_IDX), ["scorecam"])
    targets = [ClassifierOutputTarget(k) for k in CLASS_IDX]
    for head in HEADS:
        network = nn.Sequential(dual.backbone, dual.head(head))
        maps = dual.extract(images).numpy()
        with pytorch_grad_cam.ScoreCAM(network, [network[0]]) as extractor:
            raw = extractor.get_cam_image(images, network[0], targets, maps, None, False)
        assert relative_error(ours[head, "scorecam"], torch.from_numpy(raw).relu()) < 1e-5


@torch.no_grad()
def by_definition(dual: DualBranch, head: str, image: Tensor, k: int) -> Tensor:
    features = dual.feature_maps(dual.extract(image[None]))[0]
    logits = []
    for channel in features:
        mask = torch.zeros(image.shape[1:], dtype=image.dtype)
        if channel.max() > channel.min():
            mask = interpolate(channel[None, None], image.shape[1:], mode="bilinear")[0, 0]
            mask = (mask - mask.min()) / (mask.max() - mask.min())
        logits.append(dual.head(head)(dual.extract((image * mask)[None]))[0, k])
    return sum(
        weight * channel for weight, channel in zip(torch.stack(logits).softmax(0), features, strict=True)
    ).relu()


@pytest.mark.parametrize("name", ["one layer", "small_cnn-mlp", "vit"])
def test_maps_follow_the_equations(name: str) -> None:
    dual = one_layer(stride=2) if name == "one layer" else make_dual(name)
    images = random_images()
    if name != "vit":
        images = images[:, :, :40]  # wider than high
    features = dual.feature_maps(dual.extract(images))
    if name == "one layer":
        assert torch.count_nonzero(features[:, 1]) == 0
    maps = cam_maps(dual, images, torch.tensor(CLASS_IDX), ["gradcam", "scorecam"], batch_size=7)
    assert list(maps) == [(head, method) for head in HEADS for method in ("gradcam", "scorecam")]
    for head in HEADS:
        for image, k, values in zip(images, CLASS_IDX, maps[head, "scorecam"], strict=True):
            torch.testing.assert_close(values, by_definition(dual, head, image, k))


def test_one_pass_of_a_masked_image_serves_both_heads() -> None:
    dual, images = one_layer(stride=2), random_images(2, 16)
    expected = cam_maps(dual, images, 3, ["scorecam"], batch_size=1)
    passes: list[int] = []
    dual.backbone.register_forward_hook(lambda _, inputs, __: passes.append(len(inputs[0])))
    maps = cam_maps(dual.train(), images, 3, ["scorecam"], evidence_only=True, batch_size=4)
    # The images; one black image, for the silent channels; and five channels of two images.
    assert passes == [2, 1, 4, 4, 2]
    for key, values in maps.items():
        torch.testing.assert_close(values, expected[key])


def test_heads_are_in_evaluation_mode_and_left_as_they_were() -> None:
    dual, images = make_dual("small_cnn-mlp"), random_images(1)
    expected = cam_maps(dual, images, 3, ["scorecam"], ["sigmoid"])
    actual = cam_maps(dual.train(), images, 3, ["scorecam"], ["sigmoid"])
    torch.testing.assert_close(actual["sigmoid", "scorecam"], expected["sigmoid", "scorecam"])
    assert all(module.training for module in dual.sigmoid_head.modules())


def test_bad_input_is_refused() -> None:
    dual, images = one_layer(stride=2), random_images(3, 16)
    features, class_idx = dual.extract(images), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(SigcamError, match="method 'scorecam' needs the images: call cam_maps, or pass `images`"):
        maps_from_features(dual, features, class_idx, MapOptions(["scorecam"]))
    with pytest.raises(SigcamError, match="got 2 images and features of 3"):
        maps_from_features(dual, features, class_idx, MapOptions(["scorecam"]), images[:2])
    with pytest.raises(SigcamError, match="class index 9 at position 0 is out of range"):
        cam_maps(dual, images, 9, ["scorecam"])
    with pytest.raises(SigcamError, match="batch_size must be at least 1, got 0"):
        cam_maps(dual, images, 0, ["scorecam"], batch_size=0)
