"""Compiled passes give what plain ones give, or are not used."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from small_networks import seeded_images
from torch import Tensor
from torch._dynamo import config as dynamo

from sigcam_core.backbones import passes
from sigcam_core.backbones.passes import InBfloat16, fast_pass
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.dual.branch import DualBranch


@pytest.fixture
def dual() -> DualBranch:
    torch.manual_seed(0)
    return DualBranch.from_classifier(small_cnn(num_classes=8, width=8))


def test_few_passes_are_not_worth_a_compilation(dual: DualBranch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    images = seeded_images(4, 32)
    assert torch.equal(fast_pass(dual.backbone, images, passes.MANY_PASSES - 1)(images), dual.backbone(images))


@pytest.mark.parametrize("count", [1, 4, 9])
@pytest.mark.parametrize("first", [4, 20])
def test_a_batch_of_any_size_is_filled_up_or_split(
    dual: DualBranch, monkeypatch: pytest.MonkeyPatch, count: int, first: int
) -> None:
    seen: list[int] = []

    def compiled(images: Tensor) -> Tensor:
        seen.append(len(images))
        return dual.backbone(images)

    monkeypatch.setattr(torch, "compile", lambda *_, **__: compiled)
    extract = fast_pass(dual.backbone, seeded_images(first, 32), 10**6)
    images = seeded_images(count, 32)
    torch.testing.assert_close(extract(images), dual.backbone(images))
    assert set(seen) == {min(first, passes.AT_ONCE)}


def test_weights_are_constants_while_the_pass_is_compiled_and_only_then(
    dual: DualBranch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.variables.builder import is_parameter_freezing

    frozen: list[bool] = []

    def compiled(images: Tensor) -> Tensor:
        frozen.append(is_parameter_freezing())  # what Dynamo asks when it traces a network
        return dual.backbone(images)

    monkeypatch.setattr(torch, "compile", lambda *_, **__: compiled)
    extract = fast_pass(dual.backbone, seeded_images(4, 32), 10**6)
    extract(seeded_images(4, 32))
    assert frozen == [True, False]


def test_where_torch_is_told_not_to_compile_passes_are_plain_and_called_so(
    dual: DualBranch, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: partial(network))  # it wraps, and calls the network
    with dynamo.patch(disable=True):  # by TORCH_COMPILE_DISABLE, which is read when torch is imported
        one = fast_pass(dual.backbone, seeded_images(4, 32), 10**6, told.append)
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)  # it does so with TORCHDYNAMO_DISABLE
    other = fast_pass(dual.backbone, seeded_images(4, 32), 10**6, told.append)
    assert one.kind == other.kind == passes.PLAIN
    assert told == ["forward passes are not compiled: torch is set not to"] * 2


def test_a_suppressed_error_of_the_compiler_is_no_compilation(
    dual: DualBranch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler was found")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    told: list[str] = []
    images = seeded_images(4, 32)
    with dynamo.patch(suppress_errors=True):  # torch then runs the plain network
        made = fast_pass(dual.backbone, images, 10**6, told.append)
    assert made.kind == passes.PLAIN
    assert torch.equal(made(images), dual.backbone(images))
    assert "not compiled" in told[0]


def test_other_numbers_are_refused(dual: DualBranch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: lambda images: 1.01 * dual.backbone(images))
    told: list[str] = []
    images = seeded_images(4, 32)
    extract = fast_pass(dual.backbone, images, 10**6, told.append)
    assert torch.equal(extract(images), dual.backbone(images))
    assert "not compiled: features would differ by 0.01 of the largest" in told[0]


def test_without_a_compiler_passes_are_plain(dual: DualBranch, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Tensor) -> Tensor:
        raise RuntimeError("no compiler was found")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    told: list[str] = []
    images = seeded_images(4, 32)
    assert torch.equal(fast_pass(dual.backbone, images, 10**6, told.append)(images), dual.backbone(images))
    assert "no compiler was found" in told[0]


def test_bfloat16_rounds_products_and_gives_the_networks_own_type(dual: DualBranch) -> None:
    images = seeded_images(2, 32)
    exact, rough = dual.backbone(images), InBfloat16(dual.backbone)(images)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = dual.backbone(images)
    assert rough.dtype == torch.float32
    assert torch.equal(rough, expected.float())
    assert 0 < (rough - exact).abs().max() < 0.05 * exact.abs().max()
