"""Training a sigmoid head from image files, compared with one pass of the backbone and with the official recipe."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch

from benchmarks.timing import ForwardPass, Row, side_by_side
from data_scripts.__main__ import prepare
from sigcam_core import DualBranch
from sigcam_core.backbones import IMAGENET_CLASSES, build
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.prepare.images import image_batches
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.train.features import BATCH_SIZE
from sigcam_core.train.fit import Session, start_fabric
from sigcam_core.train.heads import Splits, train_head
from sigcam_core.train.recipes import Recipe

BACKBONE = "efficientnet_lite0"
PASSES_AT_MOST = 1.2
EPOCHS = 10  # of the official recipe
RECIPE = Recipe(EPOCHS, batch_size=256, learning_rate=1e-3, weight_decay=1e-2, augment="none", cache_type="float32")


def measure_training(device: torch.device, repeats: int, num_images: int = 768) -> list[Row]:
    """Rows of training a head of 1,000 classes. Ours decodes images, writes features and reads them again.

    The second row, of which a round takes as long as ten of the first, has one round.
    """
    fabric = start_fabric(device.type)
    dual = DualBranch.from_classifier(build(BACKBONE, IMAGENET_CLASSES)).to(device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = prepare("shapes", folder, train=num_images, val=8, test=8)
        splits = Splits.of(manifest)
        session = Session(report=_silent, fabric=fabric)
        fresh = (folder / f"features{number}" for number in count())  # nothing is cached from the last time

        def by(recipe: Recipe) -> Callable[[], torch.Tensor]:
            def run() -> torch.Tensor:
                copied = copy.deepcopy(dual)
                train_head(copied, "sigmoid", splits, recipe, next(fresh), session)
                weight = linear_head_weight(copied.sigmoid_head)
                assert weight is not None
                return weight.detach().cpu()

            return run

        forward = _forward_pass(dual, splits.train, device)
        cached = side_by_side(by(RECIPE), forward.run, repeats, forward)
        on_the_fly = side_by_side(by(RECIPE), by(replace(RECIPE, cached=False)), 1, forward)
    task, setting = f"training a sigmoid head, {EPOCHS} epochs", f"EfficientNet-Lite0, {num_images} images of 224 px"
    one, other = on_the_fly.results
    difference = float((one - other).abs().max() / other.abs().max())
    return [
        cached.row(task, setting, "one forward pass", num_images, 1 / PASSES_AT_MOST),
        on_the_fly.row(task, setting, "a forward pass per epoch", num_images, max_difference=difference),
    ]


def _forward_pass(dual: DualBranch, train: Manifest, device: torch.device) -> ForwardPass:
    """Build a pass of the backbone over images that are decoded and on the device already, in its fastest layout."""
    network = copy.deepcopy(dual.backbone).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = [
        images.to(device, memory_format=torch.channels_last)
        for _, images, _ in image_batches(train, BATCH_SIZE, dual.input_format)
    ]

    def run() -> None:
        for images in batches:
            network(images)

    return ForwardPass(torch.inference_mode()(run), len(train), device)


def _silent(line: str) -> None:
    """Say nothing while time is measured."""
