"""The 1,000 classes of ImageNet-1k in the order of every published classifier: WordNet ids sorted, and their names."""

from __future__ import annotations

from functools import cache


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """WordNet ids; the position is the class index.

    >>> imagenet_wnids().index("n02124075")
    285
    """
    from timm.data.imagenet_info import ImageNetInfo  # slow to import, and most data sets do not need it

    return tuple(ImageNetInfo("imagenet-1k").label_names())  # type: ignore[no-untyped-call]


@cache
def imagenet_names() -> tuple[str, ...]:
    """Class names, as torchvision's weights carry them.

    >>> imagenet_names()[285]
    'Egyptian cat'
    """
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.DEFAULT.meta["categories"])
