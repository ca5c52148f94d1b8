"""Training: repeatable, the classifier untouched by the head's training, and caches equal to the pass they replace."""

from dataclasses import replace

import pytest
import torch
from small_networks import calibrate, tiny_shapes
from torch import Tensor, nn

from sigcam_core import DualBranch, SigcamError
from sigcam_core.backbones import build, input_format
from sigcam_core.data import load_images, normalize
from sigcam_core.manifest import Manifest
from sigcam_core.train import (
    Recipe,
    Trained,
    cache_head_inputs,
    split_pooling,
    top1_accuracy,
    train_classifier,
    train_sigmoid_head,
)

RECIPE = Recipe(epochs=2, batch_size=16, learning_rate=2e-3, weight_decay=0.01)
HEAD_RECIPE = Recipe(epochs=6, batch_size=16, learning_rate=5e-2, weight_decay=0.0, views=2)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return tiny_shapes(tmp_path_factory.mktemp("train"))


def quiet(line: str) -> None:
    assert "images/s" in line


def run_classifier(shapes: Manifest, seed: int) -> Trained:
    return train_classifier(
        shapes.split("train"), shapes.split("val"), "small_cnn", "gap", RECIPE, seed=seed, report=quiet
    )


def run_head(shapes: Manifest, dual: DualBranch, seed: int = 0, recipe: Recipe = HEAD_RECIPE) -> Trained:
    return train_sigmoid_head(
        dual, shapes.split("train"), shapes.split("val"), "small_cnn", recipe, seed=seed, report=quiet
    )


def fresh_dual(shapes: Manifest, head: str = "gap") -> DualBranch:
    torch.manual_seed(7)
    model = build("small_cnn", shapes.num_classes, head)
    calibrate(model.features, inputs_of(shapes))
    return DualBranch.from_classifier(model)


def equal_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def inputs_of(manifest: Manifest) -> Tensor:
    form = input_format("small_cnn")
    return normalize(load_images(manifest, form.size), form.mean, form.std)


def test_the_seed_decides_the_classifier(shapes: Manifest) -> None:
    first, second, other = (run_classifier(shapes, seed) for seed in (1, 1, 2))
    assert equal_weights(first.module, second.module)
    assert not equal_weights(first.module, other.module)
    assert not first.module.training
    assert [row["epoch"] for row in first.history] == [1, 2]
    assert first.history[-1]["loss"] < first.history[0]["loss"]
    assert [row["loss"] for row in first.history] == [row["loss"] for row in second.history]
    val = shapes.split("val")
    correct = (first.module(inputs_of(val)).argmax(1) == val.labels).double().mean()
    assert first.history[-1]["val_top1"] == pytest.approx(100 * correct.item())
    assert first.seconds > 0


def test_the_head_learns_and_the_frozen_parts_do_not_move(shapes: Manifest) -> None:
    dual, untouched = fresh_dual(shapes), fresh_dual(shapes)
    trained = run_head(shapes, dual)
    assert equal_weights(dual.backbone, untouched.backbone)
    assert equal_weights(dual.softmax_head, untouched.softmax_head)
    assert not equal_weights(dual.sigmoid_head, untouched.sigmoid_head)
    assert trained.module is dual.sigmoid_head
    assert len(trained.history) == HEAD_RECIPE.epochs
    assert trained.history[-1]["loss"] < 0.95 * trained.history[0]["loss"]
    # The accuracy in the history is that of the whole network with its trained head.
    val = shapes.split("val")
    network = nn.Sequential(dual.backbone, dual.sigmoid_head)
    assert trained.history[-1]["val_top1"] == pytest.approx(top1_accuracy(network, val, "small_cnn"))


def test_the_seed_decides_the_sigmoid_head(shapes: Manifest) -> None:
    duals = [fresh_dual(shapes, "mlp") for _ in range(3)]
    for dual, seed in zip(duals, (1, 1, 2), strict=True):
        run_head(shapes, dual, seed, replace(HEAD_RECIPE, epochs=2))
    assert equal_weights(duals[0].sigmoid_head, duals[1].sigmoid_head)
    assert not equal_weights(duals[0].sigmoid_head, duals[2].sigmoid_head)


@pytest.mark.parametrize("head", ["gap", "mlp"])
def test_cached_inputs_are_what_the_head_computes_itself(shapes: Manifest, head: str) -> None:
    dual, val = fresh_dual(shapes, head), shapes.split("val")
    pool, rest = split_pooling(dual.sigmoid_head)
    inputs, labels = cache_head_inputs(dual, pool, val, "small_cnn", views=1, seed=0, augment=None)
    assert torch.equal(labels, val.labels)
    assert inputs.shape == (16, rest[0].in_features if head == "gap" else rest[0][0].in_features)
    torch.testing.assert_close(rest.eval()(inputs), dual(inputs_of(val)).sigmoid_logits)


def test_every_view_is_the_image_or_its_mirror(shapes: Manifest) -> None:
    dual, val = fresh_dual(shapes), shapes.split("val")
    pool, _ = split_pooling(dual.sigmoid_head)
    inputs, labels = cache_head_inputs(dual, pool, val, "small_cnn", views=2, seed=3)
    assert torch.equal(labels, val.labels.repeat(2))
    images = inputs_of(val)
    plain, mirrored = (pool(dual.extract(view)) for view in (images, images.flip(3)))
    flipped = []
    for view in inputs.split(len(val)):
        is_plain = torch.isclose(view, plain, atol=1e-5).all(1)
        assert bool((is_plain | torch.isclose(view, mirrored, atol=1e-5).all(1)).all())
        flipped.append(~is_plain)
    assert 0 < int(flipped[0].sum()) < 16
    assert not torch.equal(flipped[0], flipped[1])


NOT_FINITE = r"the loss became (nan|inf) in epoch 1: lower the learning rate\."


def test_a_classifier_whose_loss_is_not_finite_stops(shapes: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: str) -> nn.Module:
        model = build(*arguments)
        model.classifier.weight.data[0, 0] = float("nan")
        return model

    monkeypatch.setattr("sigcam_core.train.build", broken)
    with pytest.raises(SigcamError, match=NOT_FINITE):
        run_classifier(shapes, 0)


def test_a_sigmoid_head_whose_loss_is_not_finite_stops(shapes: Manifest) -> None:
    dual = fresh_dual(shapes)
    dual.sigmoid_head[-1].weight.data.fill_(float("inf"))
    with pytest.raises(SigcamError, match=NOT_FINITE):
        run_head(shapes, dual)


def test_unknown_names_are_refused(shapes: Manifest) -> None:
    train, val = shapes.split("train"), shapes.split("val")
    with pytest.raises(SigcamError, match="unknown backbone 'alexnet'"):
        train_classifier(train, val, "alexnet", "gap", RECIPE, report=quiet)
    with pytest.raises(SigcamError, match=r"must be an nn\.Sequential to cache its inputs, got Linear"):
        split_pooling(nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"views": -1}, "views must be at least 1, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a positive number, got nan"),
    ],
)
def test_an_impossible_recipe_is_refused(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        replace(RECIPE, **values)
