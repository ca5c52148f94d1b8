"""Maps equal those of three other libraries, the published equations, and each other where theory says so."""

import gc
import resource
import sys
from collections.abc import Callable

import cv2
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import pytorch_grad_cam
import torch
from captum.attr import LayerGradCam
from hypothesis import given
from hypothesis import strategies as st
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from small_networks import NETWORKS, make_dual, random_images
from torch import Tensor, nn

from benchmarks.maps import GRAD_CAM, TORCHCAM
from sigcam_core import METHODS, DualBranch, SigcamError, cam_maps, normalize_maps
from sigcam_core.cams.maps import MapOptions, maps_from_features, methods_of, scalar_gradients
from sigcam_core.cams.methods import EXTRA_METHODS, gradcam, gradcam_plus_plus, hirescam, layercam, xgradcam
from sigcam_core.cams.score_maps import correlation_of_resized, resize_maps
from sigcam_core.dual.branch import HEADS
from sigcam_core.dual.linear import linear_head_weight

GRADIENT_METHODS = [method for method in METHODS if method != "cam"]
FUNCTIONS = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "layercam": layercam,
    "hirescam": hirescam,
}
CLASS_IDX = [4, 0, 2]
GRAD_CAM_CLASSES = {**GRAD_CAM, "hirescam": pytorch_grad_cam.HiResCAM}


def by_grad_cam(
    method: str,
    network: nn.Module,
    images: Tensor,
    layer: nn.Module | None = None,
    to_maps: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    layer = network[0] if layer is None else layer
    targets = [ClassifierOutputTarget(k) for k in CLASS_IDX]
    with GRAD_CAM_CLASSES[method](network, [layer], to_maps) as extractor:
        extractor(images, targets)
        activations, gradients = (
            kept[0].numpy()
            for kept in (extractor.activations_and_grads.activations, extractor.activations_and_grads.gradients)
        )
        # Its public result is stretched to [0, 1] already; this is the map before that.
        raw = extractor.get_cam_image(images, layer, targets, activations, gradients, False)
    return torch.from_numpy(np.maximum(raw, 0))


def by_torchcam(method: str, network: nn.Sequential, images: Tensor) -> Tensor:
    with TORCHCAM[method](network, network[0]) as extractor:
        (maps,) = extractor(CLASS_IDX, network(images), normalized=False)
    return maps.detach()


def by_captum(method: str, network: nn.Sequential, images: Tensor) -> Tensor:
    assert method == "gradcam"
    maps = LayerGradCam(network, network[0]).attribute(images, target=torch.tensor(CLASS_IDX), relu_attributions=True)
    return maps[:, 0].detach()


REFERENCES: list[tuple[Callable[[str, nn.Sequential, Tensor], Tensor], str]] = [
    *((by_grad_cam, method) for method in GRAD_CAM_CLASSES),
    *((by_torchcam, method) for method in TORCHCAM),
    (by_captum, "gradcam"),
]


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Greatest difference over the map's greatest value: maps are tiny for some networks."""
    assert expected.abs().max() > 0
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "vit"])
def test_maps_equal_those_of_other_libraries(name: str) -> None:
    dual, images = make_dual(name), random_images()
    ours = cam_maps(dual, images, torch.tensor(CLASS_IDX), list(FUNCTIONS), HEADS, False, gradcam_plus_plus_eps=1e-6)
    compared = 0
    for head in HEADS:
        network = nn.Sequential(dual.backbone, dual.head(head))
        network.requires_grad_(True)
        for reference, method in REFERENCES:
            error = relative_error(ours[head, method], reference(method, network, images))
            assert error < 1e-5, (reference.__name__, head, method)
            compared += 1
    assert compared == 18


def without_class_token(tokens: Tensor) -> Tensor:
    return tokens[:, 1:].reshape(len(tokens), 4, 4, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("name", "layer", "to_maps"),
    [
        ("resnet10", "layer4", None),
        ("vit", "encoder.layers.encoder_layer_1", without_class_token),  # the last but one: behind the last is too late
        ("swin", "permute", None),
    ],
)
def test_maps_equal_those_of_the_classifier_as_published(
    name: str, layer: str, to_maps: Callable[[Tensor], Tensor] | None
) -> None:
    model, images = NETWORKS[name]().double().eval(), random_images()
    expected = {
        method: by_grad_cam(method, model, images, model.get_submodule(layer), to_maps) for method in GRAD_CAM_CLASSES
    }
    dual = DualBranch.from_classifier(model)
    ours = cam_maps(dual, images, torch.tensor(CLASS_IDX), list(FUNCTIONS), ["softmax"], False, 1e-6)
    for method in FUNCTIONS:
        assert relative_error(ours["softmax", method], expected[method]) < 1e-5, method


@pytest.mark.parametrize("evidence_only", [False, True])
@pytest.mark.parametrize("name", ["small_cnn-gap", "swin"])
def test_what_is_known_of_a_linear_head_equals_what_is_differentiated(name: str, evidence_only: bool) -> None:
    dual, images = make_dual(name), random_images()
    class_idx = torch.tensor(CLASS_IDX)
    maps = cam_maps(dual, images, class_idx, list(FUNCTIONS), HEADS, evidence_only)
    features = dual.extract(images)
    for head in HEADS:
        gradients = scalar_gradients(dual.head(head), features, class_idx)
        assert gradients.shape == features.shape
        for method, function in FUNCTIONS.items():
            expected = function(features, gradients, evidence_only)
            torch.testing.assert_close(maps[head, method], expected, rtol=1e-10, atol=1e-12)


def test_hirescam_of_positive_gradients_is_layercam() -> None:
    maps = cam_maps(make_dual("small_cnn-mlp"), random_images(), 2, ["hirescam", "layercam"], evidence_only=True)
    signed = cam_maps(make_dual("small_cnn-mlp"), random_images(), 2, ["hirescam", "layercam"], evidence_only=False)
    for head in HEADS:
        torch.testing.assert_close(maps[head, "hirescam"], maps[head, "layercam"])
        assert (signed[head, "hirescam"] - signed[head, "layercam"]).abs().max() > 0


@pytest.mark.parametrize("head", HEADS)
def test_most_methods_coincide_on_a_linear_head(head: str) -> None:
    dual, images = make_dual(), random_images()
    class_idx = torch.tensor(CLASS_IDX)
    signed = cam_maps(dual, images, class_idx, heads=[head], evidence_only=False)
    cut = cam_maps(dual, images, class_idx, heads=[head], evidence_only=True)
    pixels = signed[head, "cam"][0].numel()
    assert signed[head, "cam"].min() < 0 < signed[head, "cam"].max()
    torch.testing.assert_close(signed[head, "gradcam"], signed[head, "cam"].relu() / pixels)
    torch.testing.assert_close(signed[head, "xgradcam"], signed[head, "gradcam"])
    torch.testing.assert_close(signed[head, "layercam"], cut[head, "cam"] / pixels)
    torch.testing.assert_close(cut[head, "gradcam"], cut[head, "cam"] / pixels)


def test_cam_is_the_logit_before_pooling() -> None:
    dual, images = make_dual(), random_images()
    maps = cam_maps(dual, images, torch.tensor(CLASS_IDX), ["cam"], evidence_only=False)
    out = dual(images)
    for head, logits in (("softmax", out.softmax_logits), ("sigmoid", out.sigmoid_logits)):
        bias = dual.head(head)[-1].bias[CLASS_IDX]
        torch.testing.assert_close(maps[head, "cam"].mean((1, 2)) + bias, logits[range(3), CLASS_IDX])


def test_methods_differ_on_a_head_of_several_layers() -> None:
    maps = cam_maps(make_dual("small_cnn-mlp"), random_images(), 1, GRADIENT_METHODS, ["softmax"])
    stretched = [normalize_maps(values, (16, 16)) for values in maps.values()]
    for i, one in enumerate(stretched):
        for other in stretched[:i]:
            assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("evidence_only", "cut_heads"),
    [("paper", ["sigmoid"]), (True, ["softmax", "sigmoid"]), (np.True_, ["softmax", "sigmoid"]), (False, [])],
)
def test_evidence_only_cuts_negative_weights_of_the_heads_it_names(
    evidence_only: bool | str, cut_heads: list[str]
) -> None:
    dual, images = make_dual(), random_images()
    maps = cam_maps(dual, images, 2, ["cam"], evidence_only=evidence_only)
    features = dual.extract(images)
    for head in HEADS:
        weight = linear_head_weight(dual.head(head))[2].detach()
        weight = weight.clamp(min=0) if head in cut_heads else weight
        torch.testing.assert_close(maps[head, "cam"], (weight[:, None, None] * features).sum(1))


def test_gradcam_plus_plus_follows_equation_19() -> None:
    # Two channels of two pixels. With S the sum of a channel, alpha = 1 / (2 + S g) wherever g is not zero.
    features = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]], dtype=torch.float64)
    gradients = torch.tensor([[[[1 / 2, -1 / 4]], [[1 / 4, 1.0]]]], dtype=torch.float64)
    # Channel 1: S = 4: 1/2 / (2 + 2) = 1/8, and nothing where the gradient is negative.
    # Channel 2: S = 2: 1/4 / (2 + 1/2) + 1 / (2 + 2) = 7/20.
    expected = torch.tensor([[[1 / 8 * 1 + 7 / 20 * 2, 1 / 8 * 3]]], dtype=torch.float64)
    torch.testing.assert_close(gradcam_plus_plus(features, gradients, False), expected, rtol=1e-15, atol=0)


def test_eps_of_libraries_swamps_small_gradients() -> None:
    features = torch.rand(1, 2, 3, 3, dtype=torch.float64)
    gradients = torch.tensor([1e-5, 2e-5], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    cubes = (9 * gradients[..., :1, :1] ** 3 / 1e-6 * features).sum(1)
    torch.testing.assert_close(gradcam_plus_plus(features, gradients, False, 1e-6), cubes, rtol=2e-3, atol=0)
    exact = gradcam_plus_plus(features, gradients, False)
    torch.testing.assert_close(exact, (9 * gradients[..., :1, :1] / 2 * features).sum(1), rtol=1e-3, atol=0)


def test_silent_channels_and_zero_gradients_give_zeros() -> None:
    features, gradients = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    features[0, 0], gradients[0, 1] = 1.0, 1.0  # a channel without gradient, and one without activation
    for method in FUNCTIONS.values():
        assert torch.equal(method(features, gradients, False), torch.zeros(1, 2, 2))


def state(dual: DualBranch) -> list[object]:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        [[len(getattr(module, name)) for name in hooks] for module in dual.modules()],
        [module.training for module in dual.modules()],
        [(parameter.requires_grad, parameter.grad) for parameter in dual.parameters()],
        [value.clone().tolist() for value in dual.state_dict().values()],
    ]


@pytest.mark.parametrize("class_idx", [0, 99])
def test_nothing_is_left_behind(class_idx: int) -> None:
    dual = make_dual("small_cnn-mlp").train()
    dual.sigmoid_head[-1][2].eval()  # one dropout off, the other on
    before = state(dual)
    assert before[1].count(True) > 1
    if class_idx == 0:
        maps = cam_maps(dual, random_images(), class_idx, GRADIENT_METHODS)
        assert not any(values.requires_grad for values in maps.values())
    else:
        with pytest.raises(SigcamError):
            cam_maps(dual, random_images(), class_idx, GRADIENT_METHODS)
    assert state(dual) == before


def test_dropout_never_touches_a_map() -> None:
    dual, images = make_dual("small_cnn-mlp"), random_images()
    expected = cam_maps(dual, images, 3, ["gradcam"])
    actual = cam_maps(dual.train(), images, 3, ["gradcam"])
    assert all(torch.equal(actual[key], expected[key]) for key in expected)


def test_a_map_does_not_depend_on_its_batch() -> None:
    dual, images = make_dual("small_cnn-mlp"), random_images()
    together = cam_maps(dual, images, torch.tensor(CLASS_IDX), GRADIENT_METHODS)
    for i, k in enumerate(CLASS_IDX):
        alone = cam_maps(dual, images[i : i + 1], k, GRADIENT_METHODS)
        for key, values in alone.items():
            torch.testing.assert_close(values[0], together[key][i])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"class_idx": 5}, r"class index 5 at position 0 is out of range: there are 5 classes, 0 to 4\."),
        ({"class_idx": torch.tensor([0, -1, 0])}, r"class index -1 at position 1 is out of range"),
        ({"class_idx": torch.tensor([0, 1])}, r"class_idx must have shape \(3,\), one class per image, got \(2,\)"),
        ({"class_idx": None}, r"class_idx must be one class, or one class per image, got None"),
        ({"class_idx": torch.tensor([0.5, 1, 1])}, r"class indices must be int64, got torch.float32"),
        ({"images": random_images()[0]}, r"images must have shape \(N, 3, height, width\), got \(3, 64, 64\)"),
        ({"images": random_images()[:, :1]}, r"images must have shape .* got \(3, 1, 64, 64\)"),
        ({"images": torch.zeros(1, 3, 64, 64, dtype=torch.uint8)}, r"must be normalised floats, got torch.uint8"),
        ({"images": random_images().index_fill(0, torch.tensor(1), float("nan"))}, r"image 1 of the batch holds NaN"),
        (
            {"methods": ["eigencam"]},
            r"unknown method 'eigencam': choose one of cam, .*, layercam, hirescam, scorecam\.",
        ),
        ({"autocast": torch.float32}, r"autocast must be torch.float16, torch.bfloat16 or None, got torch.float32"),
        ({"heads": ["tanh"]}, r"unknown head 'tanh': choose one of softmax, sigmoid\."),
        ({"evidence_only": "yes"}, r"unknown evidence_only 'yes': choose 'paper', True or False"),
    ],
)
@pytest.mark.parametrize("method", ["cam", "gradcam"])
def test_bad_input_is_refused_with_one_sentence(changed: dict[str, object], sentence: str, method: str) -> None:
    arguments = {"images": random_images(), "class_idx": 0, "methods": [method], **changed}
    with pytest.raises(SigcamError, match=sentence) as caught:
        cam_maps(make_dual(), **arguments)
    assert "\n" not in str(caught.value)


def test_the_paper_has_five_methods() -> None:
    assert METHODS == ("cam", "gradcam", "gradcam++", "xgradcam", "layercam")
    assert EXTRA_METHODS == ("hirescam", "scorecam")
    assert {method for _, method in cam_maps(make_dual(), random_images(), 0)} == set(METHODS)


ALL_METHODS = METHODS + EXTRA_METHODS


@pytest.mark.parametrize("name", ["small_cnn-gap", "small_cnn-mlp", "vit"])
@pytest.mark.parametrize("by", ["us", "the caller", "both"])
def test_autocast_touches_the_backbone_alone(name: str, by: str) -> None:
    dual, images = make_dual(name, torch.float32), random_images(dtype=torch.float32)
    methods = [m for m in ALL_METHODS if (m != "cam" or name == "small_cnn-gap") and (m != "hirescam" or name != "vit")]
    expected = cam_maps(dual, images, 3, methods, evidence_only=False)
    with torch.autocast("cpu", torch.bfloat16, enabled=by != "us"):
        maps = cam_maps(dual, images, 3, methods, evidence_only=False, autocast=None if by == "the caller" else BF16)
        features = dual.extract(images)
    assert features.dtype == (torch.float32 if by == "us" or name == "vit" else BF16)
    for (head, method), values in maps.items():
        assert values.dtype == torch.float32
        tolerance = {"cam": 0.05, "gradcam": 0.05, "scorecam": 0.3}.get(method)  # others divide by small numbers
        if tolerance:
            assert 0 < relative_error(values, expected[head, method]) < tolerance, (head, method)
    # From the same features, maps are those of full precision to the last bit.
    again = dual.extract(images, autocast=BF16)
    assert again.dtype == torch.float32
    exact = maps_from_features(dual, again, torch.full((3,), 3), MapOptions(["gradcam"], evidence_only=False))
    assert all(torch.equal(maps[head, "gradcam"], exact[head, "gradcam"]) for head in HEADS)


BF16 = torch.bfloat16


@pytest.mark.parametrize("name", ["small_cnn-gap", "small_cnn-mlp"])
def test_maps_of_a_network_in_half_precision_are_made_in_full(name: str) -> None:
    dual, images = make_dual(name, torch.float32), random_images(dtype=torch.float32)
    methods = GRADIENT_METHODS
    expected = cam_maps(dual, images, 3, methods, evidence_only=False)
    for (head, method), values in cam_maps(dual.half(), images.half(), 3, methods, evidence_only=False).items():
        assert values.dtype == torch.float32
        stretched = [normalize_maps(maps, (16, 16)) for maps in (values, expected[head, method])]
        assert float((stretched[0] - stretched[1]).abs().max()) < 0.05, (head, method)


@pytest.mark.parametrize("name", ["small_cnn-gap", "small_cnn-mlp", "vit"])
def test_inference_mode_changes_nothing(name: str) -> None:
    dual, images = make_dual(name), random_images()
    expected = cam_maps(dual, images, torch.tensor(CLASS_IDX), GRADIENT_METHODS)
    with torch.inference_mode():
        maps = cam_maps(dual, images, torch.tensor(CLASS_IDX), GRADIENT_METHODS)
        features = dual.extract(images)
    later = maps_from_features(dual, features, torch.tensor(CLASS_IDX), MapOptions(GRADIENT_METHODS))
    for key, values in expected.items():
        assert torch.equal(maps[key], values)
        assert torch.equal(later[key], values)


@pytest.mark.parametrize("name", ["small_cnn-gap", "small_cnn-mlp", "vit"])
def test_an_empty_batch_gives_empty_maps(name: str) -> None:
    dual = make_dual(name)
    methods = [method for method in ALL_METHODS if method != "cam"]
    for values in cam_maps(dual, random_images(3)[:0], torch.zeros(0, dtype=torch.int64), methods).values():
        assert len(values) == 0
        assert values.ndim == 3


def test_signed_features_can_give_grad_cam_plus_plus_a_negative_weight() -> None:
    features = torch.tensor([[[[-10.0, -10], [-10, -10]], [[1, 1], [1, 2]]]])
    gradients = torch.ones_like(features)
    signed, cut = (gradcam_plus_plus(features, gradients, truncated) for truncated in (False, True))
    assert not torch.allclose(signed, cut)


def test_autocast_leaves_double_precision_alone() -> None:
    dual, images = make_dual(), random_images()
    expected = cam_maps(dual, images, 3)
    for key, values in cam_maps(dual, images, 3, autocast=BF16).items():
        assert torch.equal(values, expected[key])


def num_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


def test_a_thousand_batches_leave_nothing_behind() -> None:
    dual, images = make_dual("small_cnn-mlp", torch.float32), random_images(4, 64, torch.float32)

    def batches(count: int) -> None:
        for _ in range(count):
            cam_maps(dual, images, 3, GRADIENT_METHODS)

    batches(20)
    tensors, peak = num_tensors(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batches(1000)
    assert num_tensors() <= tensors
    unit = 1 if sys.platform == "darwin" else 1024
    # The images and features of all batches would be 200 megabytes.
    assert unit * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) < 20e6


def test_cam_needs_a_linear_head() -> None:
    dual = make_dual("small_cnn-mlp")
    assert methods_of(dual.softmax_head) == tuple(GRADIENT_METHODS)
    assert methods_of(make_dual().softmax_head) == METHODS
    with pytest.raises(SigcamError, match="choose among gradcam, gradcam\\+\\+, xgradcam, layercam"):
        cam_maps(dual, random_images(), 0, METHODS)
    assert [method for head, method in cam_maps(dual, random_images(), 0) if head == "softmax"] == GRADIENT_METHODS
    assert [method for head, method in cam_maps(make_dual(), random_images(), 0, heads=HEADS[:1])] == list(METHODS)


def test_a_class_may_be_any_kind_of_integer() -> None:
    dual, images = make_dual(), random_images()
    expected = cam_maps(dual, images, 3, ["cam"])["softmax", "cam"]
    for class_idx in (np.int64(3), torch.tensor(3), torch.full((3,), 3)):
        assert torch.equal(cam_maps(dual, images, class_idx, ["cam"])["softmax", "cam"], expected)


@pytest.mark.parametrize(("shape", "size"), [((7, 7), (224, 224)), ((12, 12), (96, 96)), ((14, 9), (5, 33))])
def test_normalize_maps_equals_opencv(shape: tuple[int, int], size: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).normal(size=(4, *shape))
    for ours, values in zip(normalize_maps(torch.from_numpy(maps), size).numpy(), maps, strict=True):
        resized = cv2.resize(values, size[::-1], interpolation=cv2.INTER_CUBIC)
        np.testing.assert_allclose(ours, (resized - resized.min()) / np.ptp(resized), rtol=0, atol=1e-6)


def test_constant_and_broken_maps_become_zeros() -> None:
    maps = torch.rand(4, 5, 5)
    maps[0], maps[1, 2, 2], maps[2, 0, 0] = 0.1, float("nan"), float("inf")
    scores = normalize_maps(maps, (32, 32))
    assert torch.equal(scores[:3], torch.zeros(3, 32, 32, dtype=torch.float64))
    assert scores[3].max() == 1
    with pytest.raises(SigcamError, match=r"maps must have shape \(N, height, width\), got \(5, 5\)"):
        normalize_maps(maps[0], (32, 32))


@given(
    hnp.arrays(
        np.float64, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.floats(-1e6, 1e6, width=32)
    ),
    st.integers(6, 20),
)
def test_score_maps_attain_zero_and_one(maps: np.ndarray, side: int) -> None:
    for scores, values in zip(normalize_maps(torch.from_numpy(maps), (side, side)), maps, strict=True):
        if np.ptp(values) == 0:
            assert torch.count_nonzero(scores) == 0
        else:
            assert (scores.min(), scores.max()) == (0, 1)


@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_score_maps_do_not_depend_on_scale_and_offset(scale: float, offset: float) -> None:
    maps = torch.arange(24, dtype=torch.float64).view(1, 4, 6).cos()
    torch.testing.assert_close(
        normalize_maps(scale * maps + offset, (16, 16)), normalize_maps(maps, (16, 16)), rtol=0, atol=1e-8
    )


def test_one_name_stands_for_itself_and_not_for_its_letters() -> None:
    dual, images = make_dual("small_cnn-gap"), random_images(2)
    single = cam_maps(dual, images, 1, methods="gradcam", heads="sigmoid")
    assert list(single) == [("sigmoid", "gradcam")]
    several = cam_maps(dual, images, 1, methods=iter(["gradcam"]), heads={"sigmoid": None})  # type: ignore[arg-type]
    assert torch.equal(single["sigmoid", "gradcam"], several["sigmoid", "gradcam"])


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({"methods": "gradcamm"}, r"^unknown method 'gradcamm': choose one of cam, gradcam,"),
        ({"methods": ()}, r"^no method is named: choose among cam, gradcam,"),
        ({"methods": 3}, r"^unknown method 3: choose one of"),
        ({"heads": "both"}, r"^unknown head 'both': choose one of softmax, sigmoid\.$"),
        ({"heads": []}, r"^no head is named: choose among softmax, sigmoid\.$"),
    ],
)
def test_names_that_cannot_be_meant_are_said(names: dict[str, object], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        cam_maps(make_dual("small_cnn-gap"), random_images(1), 0, **names)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # by torch, as its compiler loads
@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda dual: nn.DataParallel(nn.DataParallel(dual))])
def test_what_pytorch_wraps_around_a_dual_branch_is_looked_through(wrap: Callable[[nn.Module], nn.Module]) -> None:
    dual, images = make_dual("small_cnn-gap"), random_images(2)
    expected = cam_maps(dual, images, 1, "cam")
    for row, maps in cam_maps(wrap(dual), images, 1, "cam").items():
        assert torch.equal(maps, expected[row])


@pytest.mark.parametrize("other", [nn.Linear(3, 2), nn.DataParallel(nn.Linear(3, 2)), None, "resnet50"])
def test_a_classifier_is_no_dual_branch(other: nn.Module) -> None:
    with pytest.raises(SigcamError, match=r"^(Linear|NoneType|str) is no DualBranch: make one, DualBranch\.from_cl"):
        cam_maps(other, random_images(1), 0)


def test_one_side_is_that_of_a_square() -> None:
    maps = torch.rand(2, 7, 5)
    for function in (normalize_maps, resize_maps):
        expected = function(maps, (24, 24))
        for size in (24, np.int64(24), [24, 24], torch.Size([24, 24])):
            assert torch.equal(function(maps, size), expected)
    assert torch.equal(correlation_of_resized(maps, maps**2, 24), correlation_of_resized(maps, maps**2, (24, 24)))


@pytest.mark.parametrize("size", [0, -1, 224.0, (224, 0), (1, 2, 3), (), "224", None, (2.5, 2)])
def test_a_size_that_is_none_is_said(size: object) -> None:
    with pytest.raises(SigcamError, match=r"^maps cannot be resized to .*: give \(height, width\), or the side of a"):
        normalize_maps(torch.rand(1, 3, 3), size)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3, 3), (1, 0, 3), (1, 3, 0), (1, 1, 3, 3)])
def test_maps_of_another_shape_are_said(shape: tuple[int, ...]) -> None:
    with pytest.raises(SigcamError, match=r"^maps must have shape \(N, height, width\), got .*: give each at least"):
        normalize_maps(torch.zeros(shape), 4)


@pytest.mark.parametrize("function", [normalize_maps, resize_maps])
def test_gradients_pass_through_score_maps(function: Callable[[Tensor, tuple[int, int]], Tensor]) -> None:
    maps = torch.rand(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: function(values, (6, 5)), maps)
    assert torch.equal(function(maps, (6, 5)), function(maps.detach(), (6, 5)))
    still = torch.ones(1, 3, 4, requires_grad=True)
    function(still, (6, 5)).sum().backward()
    assert bool(still.grad is not None and still.grad.isfinite().all())


@pytest.mark.parametrize("methods", [None, ["cam", "layercam"]])
def test_a_head_is_asked_for_its_weights_once(methods: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    dual, images = make_dual(), random_images()
    expected = cam_maps(dual, images, 1, methods)
    asked: list[nn.Module] = []

    def count(head: nn.Module) -> Tensor | None:
        asked.append(head)
        return linear_head_weight(head)

    for module in ("sigcam_core.dual.branch", "sigcam_core.cams.maps"):
        monkeypatch.setattr(f"{module}.linear_head_weight", count)
    maps = cam_maps(dual, images, 1, methods)
    assert asked == [dual.softmax_head, dual.sigmoid_head]
    assert all(torch.equal(maps[row], expected[row]) for row in expected)


def test_weights_are_read_anew_in_each_call() -> None:
    dual, images = make_dual(), random_images()
    before = cam_maps(dual, images, 1, ["cam"], evidence_only=False)
    for parameter in dual.sigmoid_head.parameters():
        parameter.data *= 2
    after = cam_maps(dual, images, 1, ["cam"], evidence_only=False)
    torch.testing.assert_close(after["sigmoid", "cam"], 2 * before["sigmoid", "cam"])
    torch.testing.assert_close(after["softmax", "cam"], before["softmax", "cam"])
    dual.sigmoid_head = dual.softmax_head
    replaced = cam_maps(dual, images, 1, ["cam"], evidence_only=False)
    assert torch.equal(replaced["sigmoid", "cam"], before["softmax", "cam"])


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm])
def test_weights_that_hooks_make_keep_their_precision_inside_autocast(norm: Callable[[nn.Module], nn.Module]) -> None:
    dual, images = make_dual(dtype=torch.float32), random_images(dtype=torch.float32)
    for head in (dual.softmax_head, dual.sigmoid_head):
        norm(head[-1])
    features = dual.extract(images)
    options = MapOptions(["cam"], evidence_only=False)
    expected = maps_from_features(dual, features, torch.tensor([1, 1, 1]), options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights = dual.linear_weights()
        maps = maps_from_features(dual, features, torch.tensor([1, 1, 1]), options, weights=weights)
    for row, values in expected.items():
        assert torch.equal(maps[row], values)
