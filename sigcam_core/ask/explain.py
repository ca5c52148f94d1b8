"""One photo and one class, explained by a published network: ``python -m sigcam_core explain photo.jpg``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.backend_bases import FigureCanvasBase
from torch import Tensor

from ..backbones.formats import IMAGENET_CLASSES
from ..backbones.networks import build
from ..cams.maps import MapOptions, maps_from_features, methods_of
from ..cams.score_maps import normalize_maps
from ..common.errors import check_choice, fail
from ..common.files import write_atomically
from ..common.paths import refuse_overwriting, user_path
from ..common.titles import METHOD_TITLES
from ..dual.branch import HEADS, DualBranch
from ..dual.shipped import SHIPPED_HEADS, shipped_dual
from ..prepare.images import load_images, normalize
from ..summarise.drawing import Panel, panel_grid, to_pictures
from .photo import photo_manifest

MOST_LIKELY = 5
"""Number of classes in the answer."""
MANY_NAMES = 8  # that a sentence lists


@dataclass(frozen=True)
class Question:
    """What is asked of a photo.

    Attributes:
        model: a network with ImageNet weights, by a name that :func:`sigcam_core.backbones.networks.build` knows, or
            one with a trained sigmoid head, of :data:`sigcam_core.dual.shipped.SHIPPED_HEADS`.
        class_name: class to explain: its name, a part that no other name has, or its index; empty for the likeliest.
        method: name from :data:`sigcam_core.cams.methods.CAM_METHODS`; empty for the first that the head allows.
        head: ``"softmax"``, or ``"sigmoid"`` for a model that has one.
        scalar: what is explained, a name from :data:`sigcam_core.cams.scalars.SCALARS`.
        truncated: cut negative weights to zero.
    """

    model: str = "efficientnet_lite0"
    class_name: str = ""
    method: str = ""
    head: str = "softmax"
    scalar: str = "logit"
    truncated: bool = False


@dataclass(frozen=True)
class Answer:
    """What the network says.

    Attributes:
        likeliest: names of the likeliest classes and their probabilities by the softmax head.
        class_name: that was explained.
        method: that made the map.
        picture: file with the photo and its map.
    """

    likeliest: tuple[tuple[str, float], ...]
    class_name: str
    method: str
    picture: Path


@torch.no_grad()
def explain_photo(photo: Path, picture: Path, question: Question = Question()) -> Answer:  # is frozen
    """Draw the map of a class next to a photo, and say what the network sees.

    Args:
        photo: image file, which is never written; it is shown upright, squashed to the square that the network takes.
        picture: file to write, whose ending names its format, such as ``.png``, ``.svg`` or ``.pdf``.
        question: network, class and method.

    Raises:
        SigcamError: for an unknown name, a class that is not found or not unique, a head that the model has not, a
            photo that cannot be read, a picture that is the photo itself, weights that cannot be downloaded, or an
            unknown ending.
    """
    photo, picture = user_path(photo), user_path(picture)
    refuse_overwriting(picture, photo)
    endings = tuple(f".{kind}" for kind in sorted(FigureCanvasBase.get_supported_filetypes()))
    check_choice("ending of the picture", picture.suffix, endings)
    check_choice("head", question.head, HEADS)
    dual, names = _network(question)
    form = dual.input_format
    images = load_images(photo_manifest(photo, names), form.size, form.channels)
    inputs = normalize(images, form.mean, form.std)
    features = dual.extract(inputs)
    probabilities: Tensor = dual.softmax_head(features).softmax(dim=1)[0]  # (C,)
    order = probabilities.argsort(descending=True)[:MOST_LIKELY].tolist()
    class_idx = find_class(question.class_name, names) if question.class_name else order[0]
    method = question.method or methods_of(dual.head(question.head))[0]
    options = MapOptions([method], [question.head], evidence_only=question.truncated, scalar=question.scalar)
    with torch.enable_grad():
        maps = maps_from_features(dual, features, torch.tensor([class_idx]), options, inputs)
    score_map = normalize_maps(maps[question.head, method].detach(), (form.size, form.size))[0].numpy()
    image = to_pictures(images)[0]
    title = f"{names[class_idx]}: {METHOD_TITLES[method]}, {question.head} head"
    figure = panel_grid([[Panel(photo.name, image), Panel(title, image, score_map)]], width=4.0)
    try:
        write_atomically(picture, lambda temporary: figure.savefig(temporary, dpi=150, bbox_inches="tight"))
    finally:
        plt.close(figure)
    likeliest = tuple((names[k], float(probabilities[k])) for k in order)
    return Answer(likeliest, names[class_idx], method, picture)


def _network(question: Question) -> tuple[DualBranch, tuple[str, ...]]:
    """Build the network, and list the names of its classes."""
    if question.model in SHIPPED_HEADS:
        dual, card = shipped_dual(question.model)
        return dual, tuple(card["class_names"])
    if question.head != "softmax":
        shipped = ", ".join(SHIPPED_HEADS)
        fail(f"{question.model} has no trained sigmoid head: explain the softmax head, or choose --model {shipped}.")
    from torchvision.models import ResNet50_Weights

    classifier = build(question.model, IMAGENET_CLASSES, pretrained=True)
    dual = DualBranch.of_known(question.model, classifier, IMAGENET_CLASSES)
    return dual, tuple(ResNet50_Weights.DEFAULT.meta["categories"])


def find_class(wanted: str, names: Sequence[str]) -> int:
    """Find the class that a name, a part of one, or an index stands for.

    Args:
        wanted: as the user wrote it; capitals do not matter.
        names: of the C classes.

    Raises:
        SigcamError: if there is none, or several; the sentence lists them.

    >>> find_class("tabby", ["tabby cat", "Egyptian cat"]), find_class("1", ["tabby cat", "Egyptian cat"])
    (0, 1)
    """
    if wanted.isdecimal():
        if int(wanted) >= len(names):
            fail(f"there is no class {wanted}: give a name, or an index from 0 to {len(names) - 1}.")
        return int(wanted)
    low = [name.lower() for name in names]
    found = [k for k, name in enumerate(low) if name == wanted.lower()]
    found = found or [k for k, name in enumerate(low) if wanted.lower() in name]
    if not found:
        fail(f"no class is called {wanted!r}: give a part of its name, or its index from 0 to {len(names) - 1}.")
    if len(found) > 1:
        listed = ", ".join(f"{names[k]} ({k})" for k in found[:MANY_NAMES])
        more = f" and {len(found) - MANY_NAMES} more" if len(found) > MANY_NAMES else ""
        fail(f"{wanted!r} may be {listed}{more}: give more of the name, or the index.")
    return found[0]
