"""A classifier of some of its classes: the last layer without the others."""

from __future__ import annotations

import torch
from torch import nn

from ..common.errors import fail
from .formats import IMAGENET_CLASSES


def restrict_classes(model: nn.Module, classes: list[int], num_classes: int = IMAGENET_CLASSES) -> None:
    """Keep some classes of a classifier's last layer, in place; the logits of the others are no longer computed.

    Args:
        model: a classifier whose last layer is linear.
        classes: indices of the classes to keep, in the order wanted.
        num_classes: of the classifier as it is.

    Raises:
        SigcamError: if there is not just one linear layer of so many classes, or a class does not exist.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> restrict_classes(model, [2, 0], num_classes=3)
    >>> model[1]
    Linear(in_features=4, out_features=2, bias=True)
    """
    last = [module for module in model.modules() if type(module) is nn.Linear and module.out_features == num_classes]
    if len(last) != 1:
        fail(f"{type(model).__name__} has {len(last)} linear layers of {num_classes} classes: it must have one.")
    if not classes or not 0 <= min(classes) <= max(classes) < num_classes:
        fail(f"cannot keep classes {min(classes, default=None)} to {max(classes, default=None)} of {num_classes}.")
    with torch.no_grad():
        last[0].weight = nn.Parameter(last[0].weight[classes].clone())
        if last[0].bias is not None:
            last[0].bias = nn.Parameter(last[0].bias[classes].clone())
    last[0].out_features = len(classes)
