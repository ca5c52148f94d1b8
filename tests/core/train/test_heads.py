"""Training: repeatable, the frozen parts untouched by a head's training, and caches equal to the pass they replace."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from small_networks import calibrate, tiny_shapes
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sigcam_core import DualBranch, SigcamError
from sigcam_core.backbones import build, input_format
from sigcam_core.common.seeds import derived_seed
from sigcam_core.dual.loss import class_balanced_bce
from sigcam_core.prepare.images import image_batches, load_images, normalize
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.prepare.views import View
from sigcam_core.split.split import split_pooling
from sigcam_core.train.checkpoints import Checkpoint
from sigcam_core.train.fit import Session, batches_of_epoch, start_fabric
from sigcam_core.train.heads import Splits, Trained, top1_accuracy, train_behind_trunk, train_classifier, train_head
from sigcam_core.train.recipes import Recipe

RECIPE = Recipe(epochs=2, batch_size=16, learning_rate=2e-3, weight_decay=0.01)
HEAD_RECIPE = Recipe(epochs=6, batch_size=16, learning_rate=5e-2, weight_decay=0.0, views=2)
CROPS = replace(HEAD_RECIPE, augment="crop_flip", views=3, epochs=4, learning_rate=1e-2)
HISTORY = ["epoch", "loss", "val_loss", "val_top1", "images_per_second"]


class StoppedError(Exception):
    """What a test stops a run with."""


@cache
def fabric() -> Any:
    return start_fabric("cpu")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return tiny_shapes(tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


def quiet(line: str) -> None:
    assert "images/s" in line or "going on" in line


def run_classifier(
    shapes: Manifest, seed: int, model: nn.Module | None = None, checkpoint: Checkpoint | None = None
) -> Trained:
    if model is None:
        torch.manual_seed(seed)
        model = build("small_cnn", shapes.num_classes, "gap")
    return train_classifier(model, Splits.of(shapes), RECIPE, Session(seed, quiet, fabric(), checkpoint))


def run_head(
    shapes: Manifest,
    features: Path,
    dual: DualBranch,
    seed: int = 0,
    recipe: Recipe = HEAD_RECIPE,
    head: str = "sigmoid",
    checkpoint: Checkpoint | None = None,
) -> Trained:
    session = Session(seed, quiet, fabric(), checkpoint)
    return train_head(dual, head, Splits.of(shapes), recipe, features, session)


def fresh_dual(shapes: Manifest, head: str = "gap") -> DualBranch:
    torch.manual_seed(7)
    model = build("small_cnn", shapes.num_classes, head)
    calibrate(model.features, inputs_of(shapes))
    return DualBranch.from_classifier(model)


def equal_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def greatest_difference(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def inputs_of(manifest: Manifest) -> Tensor:
    form = input_format("small_cnn")
    return normalize(load_images(manifest, form.size), form.mean, form.std)


def test_the_seed_decides_the_classifier(shapes: Manifest) -> None:
    first, second, other = (run_classifier(shapes, seed) for seed in (1, 1, 2))
    assert equal_weights(first.module, second.module)
    assert not equal_weights(first.module, other.module)
    assert not first.module.training
    assert [list(row) for row in first.history] == [HISTORY, HISTORY]
    assert [row["epoch"] for row in first.history] == [1, 2]
    assert first.history[-1]["loss"] < first.history[0]["loss"]
    assert [row["loss"] for row in first.history] == [row["loss"] for row in second.history]
    val = shapes.split("val")
    with torch.no_grad():
        logits = first.module(inputs_of(val))
    assert first.history[-1]["val_top1"] == pytest.approx(100 * (logits.argmax(1) == val.labels).double().mean().item())
    assert first.history[-1]["val_loss"] == pytest.approx(cross_entropy(logits, val.labels).item(), rel=1e-5)
    assert first.seconds > 0


@pytest.mark.parametrize(("head", "other"), [("sigmoid", "softmax"), ("softmax", "sigmoid")])
def test_the_head_learns_and_the_frozen_parts_do_not_move(
    shapes: Manifest, features: Path, head: str, other: str
) -> None:
    dual, untouched = fresh_dual(shapes), fresh_dual(shapes)
    trained = run_head(shapes, features, dual, head=head)
    assert equal_weights(dual.backbone, untouched.backbone)
    assert equal_weights(dual.head(other), untouched.head(other))
    assert not equal_weights(dual.head(head), untouched.head(head))
    assert trained.module is dual.head(head)
    assert not dual.training
    assert [p.requires_grad for p in dual.parameters()] == [p.requires_grad for p in untouched.parameters()]
    assert len(trained.history) == HEAD_RECIPE.epochs
    assert list(trained.history[0]) == HISTORY
    assert trained.history[-1]["loss"] < 0.95 * trained.history[0]["loss"]
    # The accuracy in the history is that of the whole network with its trained head.
    val = shapes.split("val")
    assert trained.history[-1]["val_top1"] == pytest.approx(top1_accuracy(dual, head, val))


def test_the_seed_decides_the_sigmoid_head(shapes: Manifest, features: Path) -> None:
    duals = [fresh_dual(shapes, "mlp") for _ in range(3)]
    for dual, seed in zip(duals, (1, 1, 2), strict=True):
        run_head(shapes, features, dual, seed, replace(HEAD_RECIPE, epochs=2))
    assert equal_weights(duals[0].sigmoid_head, duals[1].sigmoid_head)
    assert not equal_weights(duals[0].sigmoid_head, duals[2].sigmoid_head)


@pytest.mark.parametrize("head", ["gap", "mlp"])
def test_the_parts_of_a_head_compute_what_it_computes(shapes: Manifest, head: str) -> None:
    dual = fresh_dual(shapes, head)
    pool, rest = split_pooling(dual.sigmoid_head)
    assert not list(pool.parameters())
    images = inputs_of(shapes.split("val"))
    pooled = pool(dual.extract(images))
    assert pooled.shape == (16, rest[0].in_features if head == "gap" else rest[0][0].in_features)
    torch.testing.assert_close(rest.eval()(pooled), dual(images).sigmoid_logits)


# AdamW makes much of differences in gradients that are almost none, which float16 makes.
HALF = replace(CROPS, cache_type="float16", optimizer="sgd", learning_rate=0.5)
FULL = replace(CROPS, cache_type="float32")


@pytest.mark.parametrize(("head", "recipe", "tolerance"), [("mlp", FULL, 1e-4), ("gap", HALF, 1e-2)])
def test_a_cache_leads_to_the_head_that_training_on_the_fly_does(
    shapes: Manifest, features: Path, head: str, recipe: Recipe, tolerance: float
) -> None:
    cached, on_the_fly, other_views, start = (fresh_dual(shapes, head) for _ in range(4))
    run_head(shapes, features, cached, recipe=recipe)
    run_head(shapes, features, on_the_fly, recipe=replace(recipe, cached=False))
    run_head(shapes, features, other_views, recipe=replace(recipe, views=1))
    assert greatest_difference(cached.sigmoid_head, on_the_fly.sigmoid_head) < tolerance
    assert greatest_difference(cached.sigmoid_head, other_views.sigmoid_head) > 2 * tolerance
    assert greatest_difference(cached.sigmoid_head, start.sigmoid_head) > 2 * tolerance


def test_training_on_the_fly_leaves_a_backbone_in_evaluation_mode_as_it_was(shapes: Manifest, features: Path) -> None:
    dual, untouched = fresh_dual(shapes), fresh_dual(shapes)
    run_head(shapes, features, dual, recipe=replace(CROPS, cached=False, epochs=1))
    assert equal_weights(dual.backbone, untouched.backbone)


class StochasticDepth(nn.Module):
    """A layer of no kind that the official code knows, which would drop everything in training."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 0 if self.training else images


def test_freezing_as_the_official_code_leaves_other_layers_in_evaluation_mode(shapes: Manifest, features: Path) -> None:
    official = replace(HEAD_RECIPE, epochs=1, augment="none", cached=False, freezing="official")
    plain, deep = fresh_dual(shapes), fresh_dual(shapes)
    deep.backbone.insert(0, StochasticDepth())
    run_head(shapes, features, plain, recipe=official)
    run_head(shapes, features, deep, recipe=official)
    assert equal_weights(plain.sigmoid_head, deep.sigmoid_head)


def official_head(dual: DualBranch, train: Manifest, recipe: Recipe) -> None:
    """Train the sigmoid head by the official code's loop, written down once more, on one device."""
    for module in dual.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.track_running_stats = False
    dual.sigmoid_head.requires_grad_(True)
    dual.train()  # BatchNorm included: eval() above does not last
    dual.backbone.train()
    optimizer = torch.optim.SGD(
        dual.sigmoid_head.parameters(), lr=1.0, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    dual.backbone.to(memory_format=torch.channels_last)  # the order in which dropout draws its mask
    images, labels = inputs_of(train).to(memory_format=torch.channels_last), train.labels
    for epoch in range(recipe.epochs):
        for step, rows in enumerate(batches_of_epoch(len(train), recipe.batch_size, 0, epoch)):
            torch.manual_seed(derived_seed(0, "step", epoch, step, 0))  # of dropout
            optimizer.param_groups[0]["lr"] = recipe.learning_rate_at(epoch, 0)
            optimizer.zero_grad()
            class_balanced_bce(dual.sigmoid_head(dual.backbone(images[rows])), labels[rows]).backward()
            optimizer.step()
    dual.sigmoid_head.requires_grad_(False)
    dual.eval()


def with_dropout(dual: DualBranch) -> DualBranch:
    """The network with dropout in front of its features, as InceptionV3's in the paper."""
    dual.backbone.append(nn.Dropout(0.5))
    return dual


def test_official_freezing_does_what_the_official_loop_does(shapes: Manifest, features: Path) -> None:
    official = Recipe(2, 16, 0.5, 1e-4, "sgd", "step", augment="none", cached=False, freezing="official")
    ours, theirs, kept = (with_dropout(fresh_dual(shapes)) for _ in range(3))
    run_head(shapes, features, ours, recipe=official)
    run_head(shapes, features, kept, recipe=replace(official, freezing="eval"))
    official_head(theirs, shapes.split("train"), official)
    assert greatest_difference(ours.sigmoid_head, theirs.sigmoid_head) < 1e-5
    assert greatest_difference(ours.sigmoid_head, kept.sigmoid_head) > 1e-3  # the way of freezing decides the head
    images = inputs_of(shapes.split("val"))
    for name in ("softmax_logits", "sigmoid_logits"):
        torch.testing.assert_close(getattr(ours(images), name), getattr(theirs(images), name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("freezing", ["eval", "official"])
def test_freezing_moves_no_buffer_and_leaves_every_mode_as_it_was(
    shapes: Manifest, features: Path, freezing: str
) -> None:
    recipe = replace(HEAD_RECIPE, epochs=2, augment="none", cached=False, freezing=freezing)
    dual, start = fresh_dual(shapes), fresh_dual(shapes)
    history = run_head(shapes, features, dual, recipe=recipe).history
    assert equal_weights(dual.backbone, start.backbone)  # weights, averages and counts of batches, to the bit
    assert equal_weights(dual.softmax_head, start.softmax_head)
    assert not any(module.training for module in dual.modules())
    norms = [module for module in dual.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(norm.track_running_stats for norm in norms)
    # What is validated is the network as it is used: on the stored averages.
    assert history[-1]["val_top1"] == pytest.approx(top1_accuracy(dual, "sigmoid", shapes.split("val")))


def test_a_linear_sigmoid_head_reaches_the_least_loss_there_is(shapes: Manifest, features: Path) -> None:
    dual, train = fresh_dual(shapes), shapes.split("train")
    full_batch = {"batch_size": 48, "augment": "none", "views": 1, "cache_type": "float32"}
    steady = {"optimizer": "sgd", "schedule": "step", "decay_every": 1000, "weight_decay": 0.01}
    run_head(shapes, features, dual, recipe=replace(HEAD_RECIPE, epochs=200, learning_rate=0.5, **full_batch, **steady))
    # The problem is convex, and another optimizer finds its least loss.
    pool, (trained,) = split_pooling(dual.sigmoid_head)
    pooled = pool(dual.extract(inputs_of(train)))
    best = nn.Linear(48, shapes.num_classes)

    def objective(layer: nn.Module) -> Tensor:
        decay = sum(parameter.square().sum() for parameter in layer.parameters())
        return class_balanced_bce(layer(pooled), train.labels) + 0.01 / 2 * decay

    optimizer = torch.optim.LBFGS(best.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(best)
        loss.backward()
        return loss

    start = objective(best).item()
    optimizer.step(closure)
    least, reached = objective(best).item(), objective(trained).item()
    assert least < 0.95 * start
    assert reached == pytest.approx(least, rel=1e-4)
    assert greatest_difference(trained, best) < 0.01


def stop_at(call: int, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make the loss raise when it is asked for the given time."""
    calls = 0

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == call:
            raise StoppedError
        return cross_entropy(logits, labels)

    monkeypatch.setattr(name, loss)


@pytest.mark.parametrize("call", [3, 6])  # in the first epoch, of three steps and one of validation, or the second
def test_a_classifier_that_was_stopped_ends_as_one_that_was_not(
    shapes: Manifest, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine", seconds=0)
    whole = run_classifier(shapes, 1)
    with monkeypatch.context() as patch:
        stop_at(call, patch, "sigcam_core.train.heads.cross_entropy")
        with pytest.raises(StoppedError):
            run_classifier(shapes, 1, checkpoint=checkpoint)
    assert checkpoint.path.exists()
    torch.manual_seed(99)  # the weights come from the checkpoint
    model = build("small_cnn", shapes.num_classes, "gap")
    resumed = run_classifier(shapes, 1, model, checkpoint)
    assert equal_weights(resumed.module, whole.module)
    assert [row["val_loss"] for row in resumed.history] == [row["val_loss"] for row in whole.history]


OFFICIAL = replace(CROPS, cached=False, freezing="official", epochs=2)


@pytest.mark.parametrize("recipe", [CROPS, OFFICIAL], ids=["cached", "official"])
def test_a_head_that_was_stopped_ends_as_one_that_was_not(
    shapes: Manifest, features: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path / "run.unfinished", "mine", seconds=0)
    whole, stopped, resumed = (fresh_dual(shapes, "mlp") for _ in range(3))
    run_head(shapes, features, whole, recipe=recipe, head="softmax")
    with monkeypatch.context() as patch:
        stop_at(6, patch, "sigcam_core.train.heads.cross_entropy")
        with pytest.raises(StoppedError):
            run_head(shapes, features, stopped, recipe=recipe, head="softmax", checkpoint=checkpoint)
    run_head(shapes, features, resumed, recipe=recipe, head="softmax", checkpoint=checkpoint)
    assert equal_weights(resumed, whole)
    assert not equal_weights(resumed.softmax_head, fresh_dual(shapes, "mlp").softmax_head)


NOT_FINITE = r"the loss became (nan|inf) in epoch 1: lower the learning rate\."


def test_a_classifier_whose_loss_is_not_finite_stops(shapes: Manifest) -> None:
    model = build("small_cnn", shapes.num_classes, "gap")
    model.classifier.weight.data[0, 0] = float("nan")
    with pytest.raises(SigcamError, match=NOT_FINITE):
        run_classifier(shapes, 0, model)


def test_a_sigmoid_head_whose_loss_is_not_finite_stops(shapes: Manifest, features: Path) -> None:
    dual = fresh_dual(shapes)
    dual.sigmoid_head[-1].weight.data.fill_(float("inf"))
    with pytest.raises(SigcamError, match=NOT_FINITE):
        run_head(shapes, features, dual)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda s, f: run_head(s, f, fresh_dual(s), head="tanh"), "unknown head 'tanh': choose one of softmax"),
        (lambda s, f: top1_accuracy(fresh_dual(s), "tanh", s), "unknown head 'tanh': choose one of softmax"),
        (
            lambda s, f: train_classifier(nn.Linear(1, 1), Splits.of(s), RECIPE),
            "Linear does not say how images are made",
        ),
        (lambda s, f: split_pooling(nn.Linear(3, 2)), r"must be an nn\.Sequential to cache its inputs, got Linear"),
    ],
)
def test_unknown_names_are_refused(
    shapes: Manifest, features: Path, wrong: Callable[[Manifest, Path], object], sentence: str
) -> None:
    with pytest.raises(SigcamError, match=sentence):
        wrong(shapes, features)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"views": -1}, "views must be at least 1, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a positive number, got nan"),
        ({"freezing": "official"}, r"makes features depend on their batch: use cached=False \(--on-the-fly\)"),
    ],
)
def test_an_impossible_recipe_is_refused(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        replace(RECIPE, **values)


def behind(recipe: Recipe, layers: int = 2) -> Recipe:
    return replace(recipe, frozen_layers=layers, cache_type="float32", views=2, augment="crop_flip")


@pytest.mark.parametrize("head", ["gap", "mlp"])
def test_training_behind_a_trunk_is_training_with_its_layers_frozen(
    shapes: Manifest, features: Path, head: str
) -> None:
    """The other way: the whole network in every step, its first layers in evaluation mode and without gradients."""
    recipe, splits = behind(RECIPE), Splits.of(shapes)
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build("small_cnn", shapes.num_classes, head))
        calibrate(models[-1].get_submodule("features"), inputs_of(shapes))
    start = {name: value.clone() for name, value in models[0].state_dict().items()}
    trained = train_behind_trunk(models[0], splits, recipe, features, Session(0, quiet, fabric()))
    layers = list(models[1].get_submodule("features"))
    optimizer = torch.optim.AdamW(
        [one for name, one in models[1].named_parameters() if not name.startswith(("features.0.", "features.1."))],
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
    )
    losses = []
    for epoch in range(recipe.epochs):
        models[1].train()
        nn.Sequential(*layers[:2]).eval()
        steps = batches_of_epoch(len(splits.train), recipe.batch_size, 0, epoch)
        form, view = input_format("small_cnn"), View("crop_flip", 0, epoch % 2)
        shown = image_batches(splits.train, recipe.batch_size, form, view=view, batches=steps)
        for number, (_, images, labels) in enumerate(shown):
            torch.manual_seed(derived_seed(0, "step", epoch, number, 0))
            optimizer.param_groups[0]["lr"] = recipe.learning_rate_at(epoch, number / len(steps))
            loss = cross_entropy(models[1](images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item() * len(labels))
    assert trained.history[0]["loss"] == pytest.approx(sum(losses[: len(losses) // 2]) / len(splits.train), rel=1e-3)
    assert greatest_difference(*(model.eval() for model in models)) < 1e-3
    moved = {name for name, value in models[0].named_parameters() if not torch.equal(start[name], value)}
    everything = {name for name, _ in models[0].named_parameters()}
    assert everything - moved == {name for name in everything if name.startswith(("features.0.", "features.1."))}


def test_a_head_behind_a_trunk_learns_on_the_same_features(shapes: Manifest, features: Path) -> None:
    recipe = replace(behind(HEAD_RECIPE), frozen_layers=0)
    whole, behind_trunk = (fresh_dual(shapes) for _ in range(2))
    one = run_head(shapes, features, whole, recipe=recipe)
    other = run_head(shapes, features, behind_trunk, recipe=replace(recipe, frozen_layers=2))
    assert greatest_difference(one.module, other.module) < 1e-5
    assert one.history[-1]["val_loss"] == pytest.approx(other.history[-1]["val_loss"], rel=1e-5)


def test_more_layers_than_there_are_cannot_be_frozen(shapes: Manifest, features: Path) -> None:
    model = build("small_cnn", shapes.num_classes)
    with pytest.raises(SigcamError, match="cannot freeze the first 99 layers of Sequential: its features have fewer"):
        train_behind_trunk(model, Splits.of(shapes), behind(RECIPE, 99), features, Session(0, quiet, fabric()))
