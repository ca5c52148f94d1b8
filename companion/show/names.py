"""Names as people write them, of everything that tables and figures name: one table for all. Names only, no torch.

Methods and metrics have theirs in :mod:`sigcam_core.common.titles`; here are data sets, networks, quantities and
controls.
"""

from __future__ import annotations

DATA_SET_TITLES = {
    "shapes": "shapes",
    "photos": "sample photos",
    "imagenet": "ImageNet",
    "imagenet-1k": "ImageNet",
    "imagenetv2": "ImageNetV2",
    "openimages": "OpenImages-30k",
    "openimages-30k": "OpenImages-30k",
    "cub": "CUB-200-2011",
    "cub-200-2011": "CUB-200-2011",
    "cubv2": "CUBV2",
    "stanford_cars": "Stanford Cars",
    "stanford-cars": "Stanford Cars",
    "tiny_imagenet": "Tiny-ImageNet",
}
"""Titles of data sets, by this project's names and by those of the paper's tables."""
NETWORK_TITLES = {
    "vgg16": "VGG-16",
    "vgg16_mlp": "VGG-16, MLP head",
    "resnet50": "ResNet-50",
    "resnet50_64px": "ResNet-50 at 64 pixels",
    "inception_v3": "InceptionV3",
    "inception_v3_mixed_7c": "InceptionV3, Mixed_7c",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "small_cnn": "small CNN, GAP head",
    "small_cnn_mlp": "small CNN, MLP head",
}
"""Titles of networks; evidence adds the kind of head to a name, ``-gap`` or ``-mlp``."""
HEAD_OF_NETWORK = {"gap": "GAP head", "mlp": "MLP head"}
QUANTITY_TITLES = {
    "training_time": "training time",
    "inference_time_with_cam": "inference with a map",
    "parameters": "parameters",
}
"""Titles of Table 3's rows."""
SCALAR_TITLES = {
    "logit": "logit",
    "centred": "centred logit",
    "log_odds": "log-odds",
    "finer": "Finer-CAM",
    "best shift": "best shift",
    "wrong class": "wrong class",
    "centre": "centre, no image",
    "class-free": "class-free: sum of feature maps",
    "random weights": "random weights",
    "random positive weights": "random positive weights",
    "whole image": "whole image, no map",
    "best fixed box": "best fixed box of held-out images, no map",
}
"""Titles of what a map explains, and of maps that explain nothing (:mod:`companion.controls.maps`)."""
UNIT_NAMES = {"h": "h", "ms": "ms per image", "M": "million"}


def data_set_title(name: str) -> str:
    """Write a data set's name as people do; a name that is not in the table stays as it is."""
    return DATA_SET_TITLES.get(name, name)


def network_title(name: str) -> str:
    """Write a network's name as people do, whatever a seed or the kind of head adds to it.

    >>> network_title("small_cnn-mlp"), network_title("vgg16, seed 1"), network_title("efficientnet_lite0-gap")
    ('small CNN, MLP head', 'VGG-16, seed 1', 'EfficientNet-Lite0')
    """
    plain, comma, rest = name.partition(", ")
    base, dash, kind = plain.rpartition("-")
    if not dash or kind not in HEAD_OF_NETWORK:
        return NETWORK_TITLES.get(plain, plain) + comma + rest
    # The small network comes with either head; of the others the head goes without saying.
    title = f"small CNN, {HEAD_OF_NETWORK[kind]}" if base == "small_cnn" else NETWORK_TITLES.get(base, base)
    return title + comma + rest


def in_markdown(name: str) -> str:
    """Escape a name from a manifest for Markdown: nothing in it is markup, a tag, a formula or a new line.

    >>> in_markdown("tabby, tabby cat"), in_markdown("<b>*x*")
    ('tabby, tabby cat', '&#60;b&#62;&#42;x&#42;')
    """
    return "".join(one if one.isalnum() or one in " ,.-'" else f"&#{ord(one)};" for one in " ".join(name.split()))
