"""Networks with random weights, small enough for a test, and a data set of a few images."""

from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from data_scripts.__main__ import main as prepare_data
from sigcam_core import DualBranch
from sigcam_core.manifest import Manifest, read_manifest
from sigcam_core.small_cnn import small_cnn

NUM_CLASSES = 5


def slim_vgg11() -> nn.Module:
    """torchvision's VGG-11 with a quarter of the channels and a narrow head: the published has 133 million weights."""
    vgg = torchvision.models.vgg
    features = vgg.make_layers([width if width == "M" else width // 4 for width in vgg.cfgs["A"]])
    with torch.device("meta"):  # the head of 4,096 units is never made
        model = vgg.VGG(features)
    model.classifier = nn.Sequential(
        nn.Linear(128 * 49, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, NUM_CLASSES)
    )
    return model


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "small_cnn-gap": lambda: small_cnn(NUM_CLASSES, "gap", width=8),
    "small_cnn-mlp": lambda: small_cnn(NUM_CLASSES, "mlp", width=8),
    "resnet18": lambda: torchvision.models.resnet18(num_classes=NUM_CLASSES),
    "vgg11": slim_vgg11,
}


def make_dual(name: str = "small_cnn-gap", dtype: torch.dtype = torch.float64) -> DualBranch:
    """A dual branch whose two heads have different random weights, in a precision that hides no error."""
    dual = DualBranch.from_classifier(NETWORKS[name](), init="copy")
    for parameter in dual.sigmoid_head.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return dual.to(dtype)


def random_images(count: int = 3, size: int = 64, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1)).to(dtype)


def tiny_shapes(root: Path) -> Manifest:
    """48 training images, 16 for validation and 16 for test."""
    prepare_data(["shapes", "--train", "48", "--val", "16", "--test", "16", "--root", str(root)])
    return read_manifest(root / "shapes" / "manifest.parquet")
