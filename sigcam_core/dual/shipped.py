"""Sigmoid heads that ship with the package: maps of both branches without any training.

A head is two files in ``weights/``: safetensors, and a card (JSON) that says how it was trained and on what.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ..backbones.formats import IMAGENET_CLASSES
from ..backbones.networks import build
from ..backbones.restrict import restrict_classes
from ..common.errors import check_choice
from ..common.files import read_json
from .branch import DualBranch

SHIPPED_HEADS = ("efficientnet_lite0-tiny_imagenet",)
"""Names of the heads that ship, each of a backbone and the data set that it was trained on."""
WEIGHTS = Path(__file__).resolve().parent / "weights"


def shipped_card(name: str) -> dict[str, Any]:
    """Load the card of a shipped head: its classes, recipe, accuracy, data and provenance.

    Raises:
        SigcamError: for an unknown name.

    >>> len(shipped_card("efficientnet_lite0-tiny_imagenet")["class_names"])
    200
    """
    check_choice("shipped head", name, SHIPPED_HEADS)
    with as_file(files(__package__) / "weights" / f"{name}.json") as path:
        card: dict[str, Any] = read_json(path)
    return card


def shipped_dual(name: str) -> tuple[DualBranch, dict[str, Any]]:
    """Load a dual-branch network with a shipped sigmoid head, and the head's card.

    The backbone is a published ImageNet network, and the softmax head its own, of whose 1,000 classes those of the card
    are kept.

    Args:
        name: one of :data:`SHIPPED_HEADS`.

    Raises:
        SigcamError: for an unknown name, or where the backbone's package is not installed.
    """
    card = shipped_card(name)
    model = build(card["backbone"], IMAGENET_CLASSES, pretrained=True)
    restrict_classes(model, card["imagenet_classes"])
    dual = DualBranch.of_known(card["backbone"], model, len(card["class_names"]), init="copy")  # it is loaded below
    with as_file(files(__package__) / "weights" / f"{name}.safetensors") as path:
        dual.sigmoid_head.load_state_dict(load_file(path))
    return dual.eval(), card
