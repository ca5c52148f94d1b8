"""Cuts at any module: the part behind depends on nothing before, and tokens lie where they do in the picture."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from small_networks import random_images
from torch import Tensor, nn

from sigcam_core import DualBranch, SigcamError
from sigcam_core.split.calls import constant_modules, first_tensor, mapped, put_first, record_calls
from sigcam_core.split.cut import Passing
from sigcam_core.split.modules import TokensToMaps
from sigcam_core.split.places import lie_in_place
from sigcam_core.split.probe import evaluation_mode


class Transformer(nn.Module):
    """Patches as tokens in an order of one's own, a layer that leaves them where they are, and their mean."""

    image_size = 32

    def __init__(self, order: Callable[[Tensor], Tensor] = lambda tokens: tokens) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.place = nn.Parameter(torch.randn(1, 64, 8))
        self.layer = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.linear = nn.Linear(8, 5)
        self.order = order

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.order(self.embed(images).flatten(2).mT + self.place)
        return 2 * self.linear(self.norm(tokens + self.layer(tokens)).mean(dim=1))


def test_a_network_of_any_form_is_cut_at_its_last_tokens() -> None:
    torch.manual_seed(0)
    model = Transformer()
    dual = DualBranch.from_classifier(model, init="copy")
    images = random_images(3, 32, torch.float32)
    out = dual(images)
    tokens = model.embed(images).flatten(2).mT + model.place
    expected = model.norm(tokens + model.layer(tokens)).mT.unflatten(2, (8, 8))
    torch.testing.assert_close(out.features, expected.detach())
    torch.testing.assert_close(out.sigmoid_logits, model(images))
    assert {name.rpartition("network.")[2] for name, _ in dual.softmax_head.named_parameters()} == {
        "linear.weight",
        "linear.bias",
    }


def windows(tokens: Tensor) -> Tensor:
    """Rows of four windows of 4 x 4 tokens, as some transformers sort them."""
    return tokens.unflatten(1, (2, 4, 2, 4)).transpose(2, 3).flatten(1, 4)


@pytest.mark.parametrize(
    "order",
    [
        windows,
        lambda tokens: tokens.flip(1),
        lambda tokens: tokens.unflatten(1, (8, 8)).transpose(1, 2).flatten(1, 2),
        lambda tokens: tokens.roll(3, dims=1),
    ],
    ids=["windows", "backwards", "columns", "rolled"],
)
def test_tokens_in_another_order_make_no_maps(order: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model = Transformer(order)
    images = random_images(1, 32, torch.float32)
    patches = nn.Sequential(model.embed, nn.Flatten(2))
    to_maps = TokensToMaps(0, (8, 8))
    assert lie_in_place(lambda shown: patches(shown).mT, to_maps, images)  # type: ignore[arg-type]
    assert not lie_in_place(lambda shown: order(patches(shown).mT), to_maps, images)  # type: ignore[arg-type]
    dual = DualBranch.from_classifier(model)  # before they are sorted they lie in their places
    torch.testing.assert_close(dual.extract(images), model.embed(images).detach())


class AlmostSkipped(nn.Module):
    """Features reach the logits in two ways, one of which is scaled to almost nothing, as new layer scales are."""

    image_size = 32

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 4, stride=4)
        self.second = nn.Conv2d(8, 8, 1)
        self.scale = nn.Parameter(torch.tensor(1e-9))
        self.linear = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(images)
        return 2 * self.linear((self.second(first) + self.scale * first.tanh()).mean((2, 3)))


def test_a_part_that_matters_almost_nothing_is_not_left_out() -> None:
    torch.manual_seed(0)
    model = AlmostSkipped()
    dual = DualBranch.from_classifier(model)
    images = random_images(1, 32, torch.float32)
    torch.testing.assert_close(dual.extract(images), model.first(images).detach())
    assert "scale" in {name.rpartition(".")[2] for name, _ in dual.sigmoid_head.named_parameters()}


def test_a_fresh_head_leaves_the_classifier_as_it_was() -> None:
    torch.manual_seed(0)
    model = Transformer()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    DualBranch.from_classifier(model, init="fresh")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class AnySize(AlmostSkipped):
    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.second(self.first(images)).amax((2, 3)))


class OneSize(AlmostSkipped):
    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.second(self.first(images)).unflatten(2, (8, 1)).amax((2, 3, 4)))


def test_a_head_takes_other_sizes_where_the_network_does() -> None:
    torch.manual_seed(0)
    model = AnySize()
    images = random_images(2, 52, torch.float32)
    torch.testing.assert_close(DualBranch.from_classifier(model)(images).softmax_logits, model(images).detach())
    dual = DualBranch.from_classifier(OneSize())
    with pytest.raises(
        SigcamError, match=r"features must be \(N, 8, 8, 8\), got \(2, 8, 13, 13\): give images of 32 x"
    ):
        dual(images)


class TwoNames(nn.Module):
    """Parts that are called by way of a list have names of their own too."""

    image_size = 32

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.body = nn.Conv2d(8, 8, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten(1)
        self.linear = nn.Linear(8, 5)
        self.features = nn.ModuleList([self.stem, self.body])
        self.classifier = nn.ModuleList([self.pool, self.flat])

    def forward(self, images: Tensor) -> Tensor:
        for layer in (*self.features, *self.classifier):
            images = layer(images)
        return 2 * self.linear(images)


def test_a_part_may_have_two_names() -> None:
    torch.manual_seed(0)
    model = TwoNames()
    images = random_images(2, 32, torch.float32)
    calls = record_calls(model, images)
    assert calls["body"] is calls["features.1"]
    dual = DualBranch.from_classifier(model, init="copy")
    torch.testing.assert_close(dual.extract(images), model.body(model.stem(images)).detach())
    torch.testing.assert_close(dual(images).sigmoid_logits, model(images))
    assert {name.rpartition("network.")[2] for name, _ in dual.softmax_head.named_parameters()} == {
        "linear.weight",
        "linear.bias",
    }


def test_threads_that_share_a_network_keep_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = Transformer().eval()
    dual = DualBranch.from_classifier(model, init="copy")
    batches = [random_images(count, 32, torch.float32) + count for count in (1, 3)]
    with torch.no_grad():
        expected = [model(images) for images in batches]
    # Both threads are inside the head, each with its own features, before either asks for them.
    together, of_batch, has_met = threading.Barrier(len(batches), timeout=30), Passing.of_batch, threading.local()

    def meet(passing: Passing, recorded: object) -> object:
        if not hasattr(has_met, "once"):
            has_met.once = True
            together.wait()
        return of_batch(passing, recorded)

    monkeypatch.setattr(Passing, "of_batch", meet)
    with ThreadPoolExecutor(len(batches)) as pool:
        found = list(pool.map(lambda images: dual.softmax_head(dual.extract(images)), batches))
    for logits, own in zip(found, expected, strict=True):
        torch.testing.assert_close(logits.detach(), own)


def test_a_copied_head_shares_no_pass_with_its_original() -> None:
    torch.manual_seed(0)
    dual = DualBranch.from_classifier(Transformer(), init="copy")
    for features in (dual.extract(random_images(count, 32, torch.float32)) for count in (2, 1)):
        torch.testing.assert_close(copy.deepcopy(dual.sigmoid_head)(features), dual.softmax_head(features))


def test_modes_come_back_when_the_last_of_several_threads_is_done() -> None:
    head = nn.Sequential(nn.Dropout(), nn.Linear(2, 2).eval()).train()
    head[1].eval()
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with evaluation_mode(head):
            inside.set()
            leave.wait(30)
            assert not head[0].training

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(hold)
        inside.wait(30)
        with evaluation_mode(head):
            assert not head.training
        assert not head[0].training  # the other thread is not done
        leave.set()
        done.result()
    assert [module.training for module in head.modules()] == [True, True, False]


def test_calls_are_recorded_and_nothing_stays_behind() -> None:
    model = Transformer()
    images = random_images(1, 32, torch.float32)
    calls = record_calls(model, images)
    assert [(call.start, call.end) for call in calls["embed"]] == [(1, 2)]
    assert {name: call.outputs.shape for name, (call,) in calls.items() if name} == {
        "embed": (1, 8, 8, 8),
        "layer": (1, 64, 8),
        "norm": (1, 64, 8),
        "linear": (1, 5),
    }
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert constant_modules(calls, record_calls(model, images)) == set(calls)
    assert constant_modules(calls, record_calls(model, images + 1)) == set()


def test_structures_keep_their_form() -> None:
    value = ({"a": torch.ones(2)}, [torch.zeros(1), None, 3])
    assert torch.equal(first_tensor(value), torch.ones(2))
    changed = put_first(torch.full((2,), 7.0), value)
    assert changed[0]["a"].tolist() == [7.0, 7.0]
    assert changed[1][0] is value[1][0]
    assert mapped(torch.neg, value)[1][1:] == [None, 3]
