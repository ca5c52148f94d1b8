"""Scalars equal another library's and their own derivatives, and softmax fixes the maps of those that sum to zero."""

from collections.abc import Callable

import pytest
import torch
from pytorch_grad_cam import FinerCAM, GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, FinerWeightedTarget
from small_networks import NUM_CLASSES, make_dual, random_images
from torch import Tensor, nn
from torch.nn.functional import interpolate, one_hot

from sigcam_core import SCALARS, DualBranch, SigcamError, cam_maps, normalize_maps
from sigcam_core.cams.maps import MapOptions, scalar_gradients
from sigcam_core.cams.methods import CAM_METHODS
from sigcam_core.cams.scalars import Contrast, coefficients, nearest_classes, scalar_values
from sigcam_core.dual.branch import HEADS

CLASS_IDX = [4, 0, 2]
FIXED = [("centred", 0.6), ("log_odds", 0.6), ("finer", 1.0), ("finer_weighted", 1.0)]  # by the predictions
FREE = [("logit", 0.6), ("finer", 0.6), ("finer_weighted", 0.6)]
NETWORKS = ["small_cnn-gap", "small_cnn-mlp"]


def random_logits(count: int = 4, classes: int = 6) -> Tensor:
    return 2 * torch.randn(count, classes, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


# Coefficients


def nearest(logits: Tensor, k: int, count: int = 3) -> list[int]:
    values = logits.tolist()
    others = [m for m in range(len(values)) if m != k]
    return sorted(others, key=lambda m: abs(values[m] - values[k]))[:count]


INDEPENDENT: dict[str, Callable[[Tensor, int, float], Tensor]] = {
    "logit": lambda logits, k, _: logits[k],
    "centred": lambda logits, k, _: logits[k] - sum(logits) / len(logits),
    "log_odds": lambda logits, k, _: torch.log(logits.softmax(0)[k] / (1 - logits.softmax(0)[k])),
    "finer": lambda logits, k, gamma: sum(logits[k] - gamma * logits[m] for m in nearest(logits, k)) / 3,
    "finer_weighted": lambda logits, k, gamma: FinerWeightedTarget(k, nearest(logits, k), gamma)(logits),
}


@pytest.mark.parametrize("gamma", [0.6, 1.0])
@pytest.mark.parametrize("name", SCALARS)
def test_values_and_coefficients_equal_an_independent_scalar_and_its_gradient(name: str, gamma: float) -> None:
    logits, class_idx, contrast = random_logits(), torch.tensor([1, 0, 5, 2]), Contrast(gamma)
    values = scalar_values(name, logits, class_idx, contrast)
    found = coefficients(name, logits, class_idx, contrast)
    for row, k, value, gradient in zip(logits, class_idx.tolist(), values, found, strict=True):
        leaf = row.clone().requires_grad_()
        expected = INDEPENDENT[name](leaf, k, gamma)
        torch.testing.assert_close(value, expected.detach(), rtol=1e-7, atol=1e-7)  # the library adds 1e-9 somewhere
        torch.testing.assert_close(gradient, torch.autograd.grad(expected, leaf)[0], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", SCALARS)
def test_coefficients_sum_to_what_the_theorem_needs(name: str) -> None:
    total = {"logit": 1.0, "centred": 0.0, "log_odds": 0.0, "finer": 0.3, "finer_weighted": 0.3}[name]
    found = coefficients(name, random_logits(), torch.tensor([1, 0, 5, 2]), Contrast(gamma=0.7, num_classes=2))
    torch.testing.assert_close(found.sum(1), torch.full((4,), total, dtype=torch.float64))


def test_the_coefficients_of_the_log_odds_are_those_of_the_probability() -> None:
    logits, class_idx = random_logits().requires_grad_(), torch.tensor([1, 0, 5, 2])
    p = logits.softmax(1).gather(1, class_idx[:, None])
    (expected,) = torch.autograd.grad(p.sum(), logits)
    found = coefficients("log_odds", logits, class_idx)
    torch.testing.assert_close(p * (1 - p) * found, expected)


def test_log_odds_stay_accurate_where_the_probability_rounds_to_one() -> None:
    logits = torch.tensor([[200.0, 3.0, 2.0], [-200.0, 3.0, 2.0]])
    assert float(logits.softmax(1)[0, 0]) == 1
    others = torch.tensor([3.0, 2.0]).softmax(0)
    expected = torch.tensor([1.0, -others[0], -others[1]]).expand(2, 3)
    torch.testing.assert_close(coefficients("log_odds", logits, torch.tensor([0, 0])), expected)
    odds = scalar_values("log_odds", logits, torch.tensor([0, 0]))
    torch.testing.assert_close(odds, logits[:, 0] - torch.tensor([3.0, 2.0]).logsumexp(0))


def test_with_two_classes_every_contrast_is_the_same() -> None:
    logits, class_idx = random_logits(classes=2), torch.tensor([1, 0, 0, 1])
    difference = (2 * one_hot(class_idx, 2) - 1).double()
    for name, gamma in FIXED:
        found = coefficients(name, logits, class_idx, Contrast(gamma))
        torch.testing.assert_close(found, difference / 2 if name == "centred" else difference)


def test_nearest_classes_leave_the_class_itself_out_even_on_ties() -> None:
    logits = torch.tensor([[1.0, 1.0, 1.0, 9.0], [0.0, 5.0, 4.0, 7.0]])
    found = nearest_classes(logits, torch.tensor([1, 1]), 2)
    assert set(found[0].tolist()) == {0, 2}
    assert found[1].tolist() == [2, 3]
    assert nearest_classes(logits, torch.tensor([1, 1]), 9).shape == (2, 3)  # all that there are
    contrast = Contrast(gamma=1.0, num_classes=9)
    torch.testing.assert_close(
        coefficients("finer", logits, torch.tensor([1, 1]), contrast),
        4 / 3 * coefficients("centred", logits, torch.tensor([1, 1])),  # with all others, the centred logit again
    )


# Maps


def stretched(maps: Tensor) -> Tensor:
    """Grad-CAM's maps as they are compared: not negative, and in [0, 1]."""
    return normalize_maps(maps, maps.shape[1:])


def raw_maps(extractor: GradCAM, network: nn.Sequential, images: Tensor) -> Tensor:
    """What a library's extractor found, before it is resized and rounded."""
    kept = extractor.activations_and_grads
    maps = extractor.get_cam_image(images, network[0], [], kept.activations[0].numpy(), kept.gradients[0].numpy())
    return torch.from_numpy(maps).relu()


def as_one_network(dual: DualBranch, head: str) -> nn.Sequential:
    return nn.Sequential(dual.backbone, dual.head(head)).requires_grad_(True)


@pytest.mark.parametrize("name", NETWORKS)
def test_log_odds_maps_equal_grad_cams_of_the_probability(name: str) -> None:
    dual, images = make_dual(name), random_images()
    ours = cam_maps(dual, images, torch.tensor(CLASS_IDX), ["gradcam"], evidence_only=False, scalar="log_odds")
    network = as_one_network(dual, "softmax")
    with GradCAM(network, [network[0]]) as extractor:
        extractor(images, [ClassifierOutputSoftmaxTarget(k) for k in CLASS_IDX])
        expected = raw_maps(extractor, network, images)
    assert expected.amax(dim=(1, 2)).min() > 0
    assert (stretched(ours["softmax", "gradcam"]) - stretched(expected)).abs().max() < 1e-5
    p = network(images).detach().softmax(1)[range(3), CLASS_IDX, None, None]
    torch.testing.assert_close(p * (1 - p) * ours["softmax", "gradcam"], expected)  # the scale is known too


@pytest.mark.parametrize("gamma", [0.6, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("head", HEADS)
def test_weighted_contrasts_equal_those_of_a_library(name: str, head: str, gamma: float) -> None:
    dual, images = make_dual(name), random_images()
    contrast = Contrast(gamma)
    ours = cam_maps(
        dual, images, 2, ["gradcam"], [head], evidence_only=False, scalar="finer_weighted", contrast=contrast
    )[head, "gradcam"]
    network = as_one_network(dual, head)
    extractor = FinerCAM(network, [network[0]])
    with extractor.base_cam:  # the lowest release of the library has no other manager of its hooks
        extractor(images, alpha=gamma, target_idx=2)
        expected = raw_maps(extractor.base_cam, network, images)
    assert expected.amax(dim=(1, 2)).min() > 0
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6 * float(expected.max()))
    assert (stretched(ours) - stretched(expected)).abs().max() < 1e-5
    plain = cam_maps(dual, images, 2, ["gradcam"], [head], evidence_only=False, scalar="finer", contrast=contrast)
    assert (stretched(ours) - stretched(plain[head, "gradcam"])).abs().max() > 1e-3


@pytest.mark.parametrize("gamma", [0.6, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_contrasts_of_equal_weight_equal_a_library_given_that_target(name: str, gamma: float) -> None:
    dual, images = make_dual(name), random_images()
    ours = cam_maps(
        dual,
        images,
        torch.tensor(CLASS_IDX),
        ["gradcam"],
        evidence_only=False,
        scalar="finer",
        contrast=Contrast(gamma, num_classes=2),
    )
    for head in HEADS:
        network = as_one_network(dual, head)
        chosen = [nearest(row, k, 2) for row, k in zip(network(images).detach(), CLASS_IDX, strict=True)]
        targets = [
            lambda out, k=k, pair=pair: out[k] - gamma * (out[pair[0]] + out[pair[1]]) / 2
            for k, pair in zip(CLASS_IDX, chosen, strict=True)
        ]
        with GradCAM(network, [network[0]]) as extractor:
            extractor(images, targets)
            expected = raw_maps(extractor, network, images)
        torch.testing.assert_close(ours[head, "gradcam"], expected)


@torch.no_grad()
def shift(dual: DualBranch, size: float = 3.0) -> None:
    """Add the same vector to the last weights of every class, which softmax cannot see."""
    last = [module for module in dual.softmax_head.modules() if isinstance(module, nn.Linear)][-1]
    generator = torch.Generator().manual_seed(5)
    last.weight += size * torch.randn(last.weight.shape[1], generator=generator, dtype=last.weight.dtype)


@pytest.mark.parametrize(("scalar", "gamma"), FIXED + FREE)
@pytest.mark.parametrize("network", NETWORKS)
def test_softmax_fixes_a_map_exactly_when_its_coefficients_sum_to_zero(network: str, scalar: str, gamma: float) -> None:
    dual, images, class_idx = make_dual(network), random_images(), torch.tensor(CLASS_IDX)
    methods = [name for name in CAM_METHODS if name != "cam" or network == "small_cnn-gap"]

    def maps() -> dict[tuple[str, str], Tensor]:
        contrast = Contrast(gamma)
        return cam_maps(
            dual, images, class_idx, methods, ["softmax"], evidence_only=False, scalar=scalar, contrast=contrast
        )

    probabilities, before = dual(images).softmax_logits.softmax(1), maps()
    shift(dual)
    torch.testing.assert_close(dual(images).softmax_logits.softmax(1), probabilities)
    for row, values in maps().items():
        change = float((values - before[row]).abs().max() / before[row].abs().max())
        if (scalar, gamma) in FIXED:
            assert change < 1e-9, row
        else:
            assert change > 1e-4, row  # Score-CAM of random weights hardly depends on the scalar


@pytest.mark.parametrize("scalar", SCALARS)
def test_what_is_combined_of_a_linear_head_equals_what_is_differentiated(scalar: str) -> None:
    dual, images, class_idx = make_dual(), random_images(), torch.tensor(CLASS_IDX)
    names = [name for name, method in CAM_METHODS.items() if method.needs == "gradients"]
    maps = cam_maps(dual, images, class_idx, ["cam", *names], evidence_only=True, scalar=scalar)
    features = dual.extract(images)
    for head in HEADS:
        name = "logit" if (scalar, head) == ("log_odds", "sigmoid") else scalar
        gradients = scalar_gradients(dual.head(head), features, class_idx, name)
        for method in names:
            expected = CAM_METHODS[method].function(features, gradients, True)
            torch.testing.assert_close(maps[head, method], expected, rtol=1e-10, atol=1e-12)
        places = features[0, 0].numel()
        torch.testing.assert_close(maps[head, "cam"], places * (gradients.relu() * features).sum(1))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_log_odds_of_the_sigmoid_head_are_its_logit(network: str) -> None:
    dual, images, class_idx = make_dual(network), random_images(), torch.tensor(CLASS_IDX)
    methods = ["gradcam", "layercam", "scorecam"]
    expected = cam_maps(dual, images, class_idx, methods)
    maps = cam_maps(dual, images, class_idx, methods, scalar="log_odds")
    for method in methods:
        assert torch.equal(maps["sigmoid", method], expected["sigmoid", method])
        assert not torch.allclose(maps["softmax", method], expected["softmax", method])


@torch.no_grad()
@pytest.mark.parametrize("scalar", SCALARS)
def test_score_cam_scores_the_scalar_against_the_classes_of_the_whole_image(scalar: str) -> None:
    dual, images, gamma = make_dual(), random_images(), 0.6
    dual.softmax_head[-1].weight *= 50  # so that channels differ after the softmax, and masked images in their order
    maps = cam_maps(dual, images, torch.tensor(CLASS_IDX), ["scorecam"], ["softmax"], scalar=scalar)
    differs = False
    for image, k, values in zip(images, CLASS_IDX, maps["softmax", "scorecam"], strict=True):
        features = dual.extract(image[None])[0]
        compared = nearest(dual.softmax_head(features[None])[0], k)
        scores = []
        for channel in features:
            mask = interpolate(channel[None, None], image.shape[1:], mode="bilinear")[0, 0]
            mask = (mask - mask.min()) / (mask.max() - mask.min()) if mask.max() > mask.min() else 0 * mask
            logits = dual.softmax_head(dual.extract((image * mask)[None]))[0]
            differs |= nearest(logits, k) != compared
            if SCALARS[scalar].needs == "class":
                scores.append(INDEPENDENT[scalar](logits, k, gamma))
            else:
                weights = logits[compared].softmax(0) if scalar == "finer_weighted" else torch.full((3,), 1 / 3)
                scores.append(logits[k] - gamma * (weights * logits[compared]).sum())
        expected = (torch.stack(scores).softmax(0)[:, None, None] * features).sum(0).relu()
        torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-7)
    assert differs


def test_every_scalar_takes_one_pass_and_the_logit_of_a_linear_head_needs_no_logits() -> None:
    dual, images, class_idx = make_dual(), random_images(), torch.tensor(CLASS_IDX)
    passes: list[str] = []
    dual.backbone.register_forward_hook(lambda *_: passes.append("backbone"))
    for head in HEADS:
        dual.head(head).register_forward_hook(lambda *_, head=head: passes.append(head))
    cam_maps(dual, images, class_idx)
    assert passes == ["backbone"]
    for scalar in SCALARS:
        passes.clear()
        cam_maps(dual, images, class_idx, scalar=scalar)
        expected = {"logit": [], "log_odds": ["softmax"]}.get(scalar, ["softmax", "sigmoid"])
        assert passes == ["backbone", *expected], scalar


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("network", [*NETWORKS, "vit"])
def test_modes_dropout_and_empty_batches_change_nothing(network: str, scalar: str) -> None:
    dual, images, class_idx = make_dual(network), random_images(), torch.tensor(CLASS_IDX)
    methods = ["gradcam", "scorecam"]
    expected = cam_maps(dual, images, class_idx, methods, scalar=scalar)
    with torch.inference_mode():
        maps = cam_maps(dual.train(), images, class_idx.clone(), methods, scalar=scalar)
    assert all(torch.equal(maps[row], values) for row, values in expected.items())
    for values in cam_maps(dual, images[:0], class_idx[:0], methods, scalar=scalar).values():
        assert len(values) == 0


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("network", NETWORKS)
def test_half_precision_comes_near(network: str, scalar: str) -> None:
    dual, images = make_dual(network, torch.float32), random_images(dtype=torch.float32)
    expected = cam_maps(dual, images, 3, ["gradcam"], evidence_only=False, scalar=scalar)
    for row, values in cam_maps(dual.half(), images.half(), 3, ["gradcam"], evidence_only=False, scalar=scalar).items():
        assert values.dtype == torch.float32
        assert (stretched(values) - stretched(expected[row])).abs().max() < 0.05, row


# What is refused


def test_bad_input_is_refused_with_one_sentence() -> None:
    with pytest.raises(SigcamError, match=r"unknown scalar 'odds': choose one of logit, centred, log_odds, finer, "):
        cam_maps(make_dual(), random_images(), 0, scalar="odds")
    with pytest.raises(SigcamError, match=r"unknown scalar 'odds': choose one of"):
        MapOptions(scalar="odds")
    with pytest.raises(SigcamError, match=r"unknown scalar 'odds': choose one of"):
        coefficients("odds", random_logits(), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(SigcamError, match=r"gamma must be a finite number, got nan\."):
        Contrast(gamma=float("nan"))
    with pytest.raises(SigcamError, match=r"at least 1 class must be compared, got 0\."):
        Contrast(num_classes=0)


@pytest.mark.parametrize("scalar", [name for name in SCALARS if name != "logit"])
def test_a_head_of_one_class_has_nothing_to_compare(scalar: str) -> None:
    dual = make_dual()
    for head in HEADS:
        dual.head(head)[-1] = nn.Linear(dual.head(head)[-1].in_features, 1).double()
    assert NUM_CLASSES > 1
    for method in ("cam", "scorecam"):
        with pytest.raises(SigcamError, match=rf"scalar '{scalar}' compares a class .* only one: choose 'logit'\."):
            cam_maps(dual, random_images(), 0, [method], scalar=scalar)
