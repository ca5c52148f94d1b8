"""Networks with random weights, small enough for a test, and data sets of a few images."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet, swin_transformer, vgg, vision_transformer

from data_scripts.__main__ import main as prepare_data
from sigcam_core import DualBranch
from sigcam_core.backbones import InputFormat
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.prepare.manifest import Manifest, read_manifest, write_manifest

NUM_CLASSES = 5


def slim_vgg11() -> nn.Module:
    """torchvision's VGG-11 with a quarter of the channels and a narrow head: the published has 133 million weights."""
    features = vgg.make_layers([width if width == "M" else width // 4 for width in vgg.cfgs["A"]])
    with torch.device("meta"):  # the head of 4,096 units is never made
        model = vgg.VGG(features)
    model.classifier = nn.Sequential(
        nn.Linear(128 * 49, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, NUM_CLASSES)
    )
    return model


def slim_vit() -> nn.Module:
    """torchvision's vision transformer for images of 64 pixels; its classifier, zeros at first, has random weights."""
    model = vision_transformer.VisionTransformer(
        image_size=64, patch_size=16, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=NUM_CLASSES
    )
    nn.init.normal_(model.heads[-1].weight)
    return model


def slim_swin() -> nn.Module:
    """torchvision's Swin transformer with two stages of one block."""
    return swin_transformer.SwinTransformer([4, 4], 12, [1, 1], [2, 2], [4, 4], num_classes=NUM_CLASSES)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "small_cnn-gap": lambda: small_cnn(NUM_CLASSES, "gap", width=8),
    "small_cnn-mlp": lambda: small_cnn(NUM_CLASSES, "mlp", width=8),
    "resnet10": lambda: resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=NUM_CLASSES),
    "vgg11": slim_vgg11,
    "vit": slim_vit,
    "swin": slim_swin,
}


def sampled(cases: Iterable[str | tuple[str, ...]], sample: Collection[str]) -> list[Any]:
    """Networks as the parameters of a test, which takes those outside the sample only where all tests are run.

    Args:
        cases: names, or tuples that begin with one.
        sample: names that every run of the tests takes.
    """
    rows = [(case,) if isinstance(case, str) else case for case in cases]
    assert set(sample) <= {name for name, *_ in rows}
    return [pytest.param(*row, marks=() if row[0] in sample else pytest.mark.networks) for row in rows]


def seeded_images(count: int, size: int) -> Tensor:
    """Random normalised images; the same whatever was drawn before, and image i whatever the count."""
    return torch.stack([torch.randn(3, size, size, generator=torch.Generator().manual_seed(i)) for i in range(count)])


def make_dual(name: str = "small_cnn-gap", dtype: torch.dtype = torch.float64) -> DualBranch:
    """A dual branch whose two heads have different random weights, in a precision that hides no error."""
    dual = DualBranch.from_classifier(NETWORKS[name](), init="copy")
    for parameter in dual.sigmoid_head.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return dual.to(dtype)


def make_evaluated() -> DualBranch:
    """:func:`make_dual` in the precision of evaluations, which knows what images it takes."""
    dual = make_dual(dtype=torch.float32)
    dual.known_format = InputFormat(64, (0.5,) * 3, (0.25,) * 3)
    return dual


@torch.no_grad()
def calibrate(features: nn.Module, images: Tensor) -> None:
    """Give BatchNorm the statistics of ``images``, so that features of random weights differ from image to image."""
    for module in features.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean over all batches seen: one
    features.train()(images)
    features.eval()


def random_images(count: int = 3, size: int = 64, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1)).to(dtype)


def noise_images(root: Path, count: int = 6) -> Manifest:
    """Images of 20 x 16 pixels of noise, all in one split, of two classes in turn."""
    rng = np.random.default_rng(0)
    names = [f"{index}.png" for index in range(count)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(root / name)
    columns = {"image_id": [f"i{index}" for index in range(count)], "path": names, "mask": None}
    table = pd.DataFrame({**columns, "split": "train", "width": 20, "height": 16, "boxes": [[]] * count})
    table["label"] = table.index % 2
    return write_manifest(root / "manifest.parquet", table, name="noise", class_names=["a", "b"])


def partly_annotated(root: Path) -> Manifest:
    """Four images of noise for validation and four for test; in each split the second has no mask, the third no box."""
    rng = np.random.default_rng(0)
    rows = []
    for split in ("val", "test"):
        for index in range(4):
            name = f"{split}{index}"
            Image.fromarray(rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(root / f"{name}.png")
            mask = np.zeros((16, 20), dtype=np.uint8)
            mask[4:12, 5 : 10 + index] = 1
            Image.fromarray(mask).save(root / f"{name}_mask.png")
            boxes = [] if index == 2 else [[5, 4, 9 + index, 11]]
            mask_name = None if index == 1 else f"{name}_mask.png"
            size = {"width": 20, "height": 16}
            rows.append({"image_id": name, "path": f"{name}.png", "label": index, "split": split, **size})
            rows[-1] |= {"boxes": boxes, "mask": mask_name}
    names = [f"class {index}" for index in range(NUM_CLASSES)]
    return write_manifest(root / "manifest.parquet", pd.DataFrame(rows), name="partly", class_names=names)


def tiny_shapes(root: Path) -> Manifest:
    """48 training images, 16 for validation and 16 for test."""
    prepare_data(["shapes", "--train", "48", "--val", "16", "--test", "16", "--root", str(root)])
    return read_manifest(root / "shapes" / "manifest.parquet")
