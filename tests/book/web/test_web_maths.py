"""The mathematics of the book's pages, run by Node, against the package's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from web_node import run_node

from companion.chapters.explorer import shift_heads
from sigcam_core.cams.maps import MapOptions, maps_from_features
from sigcam_core.cams.methods import CAM_METHODS
from sigcam_core.cams.scalars import coefficients, scalar_of_head
from sigcam_core.cams.score_maps import normalize_maps, resize_maps
from sigcam_core.dual.branch import DualBranch
from sigcam_core.invariance import center_weights, delta_for_map

K, SIDE, C = 24, 4, 6
METHODS = tuple(name for name, method in CAM_METHODS.items() if method.needs != "passes")
SCALARS = ("logit", "log_odds", "centred", "finer")
HEADS = """const headOf = ({ weight, bias }) =>
  ({ weight: Float64Array.from(weight.flat()), bias, classes: bias.length, channels: weight[0].length });
"""
FEATURES = f"""const features =
  {{ values: given.features.flat(), channels: given.features.length, height: {SIDE}, width: {SIDE} }};
"""


def pooled_head() -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(K, C)).double()


@pytest.fixture
def dual() -> DualBranch:
    return DualBranch(nn.Identity(), pooled_head(), pooled_head())


@pytest.fixture
def features() -> Tensor:
    """One image's, some channels silent."""
    features = torch.randn(1, K, SIDE, SIDE, dtype=torch.float64).relu()
    features[:, 3] = 0
    return features


def given(features: Tensor, dual: DualBranch) -> dict[str, object]:
    heads = {name: dual.head(name)[2] for name in ("softmax", "sigmoid")}
    plain = {name: {"weight": layer.weight.tolist(), "bias": layer.bias.tolist()} for name, layer in heads.items()}
    return {"features": features[0].flatten(1).tolist(), "heads": plain}


@pytest.mark.parametrize("shift", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("truncated", [False, True])
def test_maps_of_every_method_head_and_scalar(
    dual: DualBranch, features: Tensor, truncated: bool, shift: float, tmp_path: Path
) -> None:
    k = 2
    program = f"""{HEADS}{FEATURES}
    const heads = {{ softmax: headOf(given.heads.softmax), sigmoid: headOf(given.heads.sigmoid) }};
    const found = answers.answersOf(features, heads, [...Array({C}).keys()]);
    const maps = {{}};
    const {{ truncated, shift }} = given;
    for (const head of ["softmax", "sigmoid"]) for (const method of given.methods) for (const scalar of given.scalars)
      maps[[head, method, scalar]] = [...found.map({{ head, method, scalar, truncated }}, {k}, shift)];
    print(maps);"""
    values = given(features, dual) | {"methods": METHODS, "scalars": SCALARS, "truncated": truncated, "shift": shift}
    got = run_node(program, tmp_path, **values)
    shifted = shift_heads(dual, k, shift)
    for scalar in SCALARS:
        options = MapOptions(METHODS, evidence_only=truncated, scalar=scalar)
        for (head, method), expected in maps_from_features(shifted, features, torch.tensor([k]), options).items():
            np.testing.assert_allclose(
                got[f"{head},{method},{scalar}"], expected.detach().flatten(), rtol=1e-9, atol=1e-12
            )
    assert len(got) == 2 * len(METHODS) * len(SCALARS)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("scalar", SCALARS)
def test_coefficients(scalar: str, head: str, tmp_path: Path) -> None:
    logits = 5 * torch.randn(1, C, dtype=torch.float64)
    got = run_node(
        "print([...maths.coefficientsOf(given.scalar, given.head, Float64Array.from(given.logits), 4)]);",
        tmp_path, scalar=scalar, head=head, logits=logits[0].tolist(),
    )  # fmt: skip
    expected = coefficients(scalar_of_head(scalar, head), logits, torch.tensor([4]))[0]
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


def test_a_shift_leaves_softmax_and_moves_sigmoid(dual: DualBranch, features: Tensor, tmp_path: Path) -> None:
    k, shift = 1, 0.6
    program = f"""{HEADS}{FEATURES}
    const heads = {{ softmax: headOf(given.heads.softmax), sigmoid: headOf(given.heads.sigmoid) }};
    const found = answers.answersOf(features, heads, [...Array({C}).keys()]);
    const after = found.shifted({k}, {shift});
    const of = (x, head) => [...Array({C}).keys()].map((m) => x.probability(head, m));
    print({{ added: after.added, change: after.change.softmax,
      before: [of(found, "softmax"), of(found, "sigmoid")], after: [of(after, "softmax"), of(after, "sigmoid")] }});"""
    got = run_node(program, tmp_path, **given(features, dual))
    shifted = shift_heads(dual, k, shift)
    for name, network in (("before", dual), ("after", shifted)):
        softmax = network.softmax_head(features).softmax(dim=1)[0].detach()
        np.testing.assert_allclose(got[name][0], softmax, rtol=1e-12)
        np.testing.assert_allclose(got[name][1], network.sigmoid_head(features).sigmoid()[0].detach(), rtol=1e-12)
    added = (shifted.softmax_head(features) - dual.softmax_head(features))[0].detach()
    np.testing.assert_allclose(got["added"], added, rtol=1e-12)
    assert got["change"] < 1e-14
    assert max(abs(a - b) for a, b in zip(got["before"][1], got["after"][1], strict=True)) > 1e-3


@pytest.mark.parametrize("size", [4, 7, 224])
def test_score_maps(size: int, tmp_path: Path) -> None:
    maps = torch.randn(1, 4, 5, dtype=torch.float64)
    program = """const map = given.map.flat();
    print([[...maths.resizeMap(map, 4, 5, given.size)], [...maths.scoreMap(map, 4, 5, given.size)]]);"""
    resized, stretched = run_node(program, tmp_path, map=maps[0].tolist(), size=size)
    np.testing.assert_allclose(resized, resize_maps(maps, (size, size)).flatten(), atol=1e-12)
    np.testing.assert_allclose(stretched, normalize_maps(maps, (size, size)).flatten(), atol=1e-12)


def test_a_constant_map_is_not_stretched_to_noise(tmp_path: Path) -> None:
    assert set(run_node("print([...maths.scoreMap(Array(9).fill(0.1), 3, 3, 8)]);", tmp_path)) == {0}


@pytest.mark.parametrize("channels", [K, 9])  # enough to meet every map of 4 x 4 places, and too few
def test_the_least_shift_to_a_map(features: Tensor, channels: int, tmp_path: Path) -> None:
    wanted = torch.randn(SIDE, SIDE, dtype=torch.float64)
    program = f"""{FEATURES}
    print([...maths.leastShift(features)(given.wanted)]);"""
    some = features[0, :channels]
    got = run_node(program, tmp_path, features=some.flatten(1).tolist(), wanted=wanted.flatten().tolist())
    expected = delta_for_map(some, torch.zeros(SIDE, SIDE), wanted)
    np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)
    reached = torch.einsum("k,khw->hw", torch.tensor(got, dtype=torch.float64), some)
    assert torch.allclose(reached, wanted, atol=1e-9) == (channels == K)


def test_the_mean_row_makes_the_canonical_head(dual: DualBranch, tmp_path: Path) -> None:
    weight = dual.head("softmax")[2].weight.detach()
    program = f"{HEADS}const head = headOf(given.head); print([...maths.meanRow(head)]);"
    got = run_node(program, tmp_path, head={"weight": weight.tolist(), "bias": [0.0] * C})
    np.testing.assert_allclose(weight - torch.tensor(got, dtype=torch.float64), center_weights(weight), atol=1e-15)


def test_halves_are_read_exactly(tmp_path: Path) -> None:
    halves = np.concatenate([np.random.default_rng(0).normal(size=200), [0, -0.0, 6e-8, -6.1e-5, 65504]]).astype(
        np.float16
    )
    program = "print([...halves.fromHalves(Uint8Array.from(given.bytes))]);"
    assert run_node(program, tmp_path, bytes=list(halves.tobytes())) == halves.astype(float).tolist()
