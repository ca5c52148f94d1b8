"""An interactive view of one map: image, class, method, head, and a shift that softmax cannot see."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from sigcam_core.cams.maps import MapOptions, maps_from_features, methods_of
from sigcam_core.cams.score_maps import normalize_maps
from sigcam_core.common.checks import check_class_idx
from sigcam_core.common.errors import check_choice, fail
from sigcam_core.common.titles import METHOD_TITLES
from sigcam_core.dual.branch import HEADS, DualBranch
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.invariance import sign_collapse_delta
from sigcam_core.prepare.images import load_images, normalize
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.summarise.drawing import Panel, draw_panel, to_pictures
from sigcam_core.summarise.style import COLORS, in_style

from ..show.names import in_markdown

LARGEST_SHIFT = 100.0
"""In units of the sign collapse. Beyond it, rounding in float32 moves the softmax probability that should stay."""


def check_source(source: str, photo: str) -> None:
    """Refuse a photo of the reader's own where the network is the one of generated images.

    Args:
        source: ``photos`` or ``shapes``.
        photo: a path; empty for none.

    Raises:
        SigcamError: if they do not fit.
    """
    if photo and source != "photos":
        fail("a photo of your own needs the network that knows photos: add the parameter source=photos.")


def shift_heads(dual: DualBranch, class_idx: int, shift: float) -> DualBranch:
    """Copy the network and shift both heads by delta_i = -2 ``shift`` w_ik, with w of the softmax head.

    0 changes nothing, 0.5 removes class k's softmax map, 1 turns it into its negative. Softmax probabilities stay;
    sigmoid outputs do not.

    Raises:
        SigcamError: if the head is not global average pooling and one linear layer, or the shift is not a number that
            float32 can take.
    """
    if not abs(shift) <= LARGEST_SHIFT:
        fail(f"a shift of {shift} is out of range: give a number from {-LARGEST_SHIFT:g} to {LARGEST_SHIFT:g}.")
    heads: dict[str, nn.Module] = {name: copy.deepcopy(dual.head(name)) for name in HEADS}
    weights = {name: linear_head_weight(head) for name, head in heads.items()}
    if weights["softmax"] is None:
        fail("the shift needs a head of global average pooling and one linear layer: choose such a network.")
    delta = shift * sign_collapse_delta(weights["softmax"].detach(), class_idx)
    for weight in weights.values():
        if weight is not None:
            weight.data += delta
    return DualBranch(dual.backbone, heads["softmax"], heads["sigmoid"], input_format=dual.known_format)


@torch.no_grad()
def predicted_classes(dual: DualBranch, images: Tensor) -> list[int]:
    """Predict the class of each of N images, uint8 (N, D, S, S), with the softmax branch."""
    form = dual.input_format
    classes: list[int] = dual(normalize(images, form.mean, form.std)).softmax_logits.argmax(dim=1).tolist()
    return classes


@torch.no_grad()
def branch_probabilities(dual: DualBranch, images: Tensor, class_idx: int) -> dict[str, float]:
    """Compute the probability of a class by each branch, for one image, uint8 (1, D, S, S)."""
    form = dual.input_format
    out = dual(normalize(images, form.mean, form.std))
    softmax, sigmoid = out.softmax_logits.softmax(dim=1), out.sigmoid_logits.sigmoid()
    return {"softmax": float(softmax[0, class_idx]), "sigmoid": float(sigmoid[0, class_idx])}


@in_style
@torch.no_grad()
def explorer_figure(
    dual: DualBranch,
    images: Tensor,
    class_names: Sequence[str],
    class_idx: int,
    method: str,
    head: str,
    shift: float,
) -> Figure:
    """One image, its map under a shifted head, and both branches' probabilities before and after the shift.

    Args:
        dual: the network.
        images: uint8 (1, D, S, S).
        class_names: names of the C classes.
        class_idx: class to explain.
        method: name from :data:`sigcam_core.cams.methods.METHODS`.
        head: ``"softmax"`` or ``"sigmoid"``.
        shift: see :func:`shift_heads`.
    """
    check_choice("head", head, HEADS)
    form = dual.input_format
    shifted = shift_heads(dual, class_idx, shift) if shift else dual
    features = dual.extract(normalize(images, form.mean, form.std))
    check_class_idx(torch.tensor([class_idx]), dual.softmax_head(features).shape[1])
    options = MapOptions([method], [head], evidence_only=False)
    maps = maps_from_features(shifted, features, torch.tensor([class_idx]), options)
    score_map = normalize_maps(maps[head, method], (form.size, form.size))[0].numpy()
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.2), width_ratios=[1, 1, 1.25], layout="constrained")
    picture = to_pictures(images)[0]
    draw_panel(axes[0], Panel("image", picture))
    draw_panel(axes[1], Panel(f"{METHOD_TITLES[method]}, {head} head\n{class_names[class_idx]}", picture, score_map))
    bars = axes[2]
    positions = np.arange(2)
    for offset, network, hatch in ((-0.2, dual, ""), (0.2, shifted, "//")):
        softmax = network.softmax_head(features).softmax(dim=1)[0, class_idx]
        sigmoid = network.sigmoid_head(features).sigmoid()[0, class_idx]
        values = [float(softmax), float(sigmoid)]
        label = "after the shift" if hatch else "before"
        bars.bar(positions + offset, values, 0.36, color=list(COLORS.values()), hatch=hatch, edgecolor="white")
        for x, value in zip(positions + offset, values, strict=True):
            bars.text(x, value + 0.02, f"{value:.3f}\n{label}", ha="center", fontsize=7)
    bars.set_xticks(positions, ["softmax branch", "sigmoid branch"])
    bars.set_ylim(0, 1.25)
    bars.set_ylabel(f"probability of {class_names[class_idx]}", parse_math=False)
    bars.set_yticks([0, 0.5, 1])
    return figure


def explorer(
    dual: DualBranch,
    manifest: Manifest,
    heads: Sequence[str] = HEADS,
    class_names: Sequence[str] | None = None,
) -> object:
    """Widgets around :func:`explorer_figure`, for a live notebook.

    Args:
        dual: the network.
        manifest: images to choose from.
        heads: heads to offer; only the trained ones make sense.
        class_names: names of the network's classes, where they are not those of the manifest.
    """
    import ipywidgets as widgets

    names = tuple(class_names or manifest.class_names)
    images = load_images(manifest, dual.input_format.size, dual.input_format.channels)
    predicted = predicted_classes(dual, images)
    image = widgets.Dropdown(
        options=[(name, i) for i, name in enumerate(manifest.table["image_id"])], description="image"
    )
    choices = [(name, k) for k, name in enumerate(names)]
    class_idx = widgets.Dropdown(options=choices, value=predicted[0], description="class")
    method = widgets.Dropdown(
        options=[(METHOD_TITLES[name], name) for name in methods_of(dual.softmax_head)], description="method"
    )
    head = widgets.ToggleButtons(options=list(heads), description="head")
    shift = widgets.FloatSlider(value=0.0, min=-1.0, max=1.5, step=0.05, description="shift", continuous_update=False)
    shift.disabled = linear_head_weight(dual.softmax_head) is None

    picture = widgets.Image(format="png")

    def draw() -> None:
        one = images[image.value : image.value + 1]
        figure = explorer_figure(dual, one, names, class_idx.value, method.value, head.value, shift.value)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        plt.close(figure)
        picture.value = buffer.getvalue()

    def follow(change: dict[str, Any]) -> None:
        """Redraw once; a new image brings its predicted class along, whose own change redraws."""
        if change["owner"] is image and class_idx.value != predicted[image.value]:
            class_idx.value = predicted[image.value]
        else:
            draw()

    controls = (image, class_idx, method, head, shift)
    for control in controls:
        control.observe(follow, names="value")
    draw()
    # The figure is an Image, not an Output widget: those hang now and then when a notebook runs in batch.
    return widgets.VBox([*controls, picture])


def shift_sentence(class_name: str, before: Mapping[str, float], after: Mapping[str, float], shift: float) -> str:
    """Say what a shift of both heads does to each probability.

    Args:
        class_name: that the map explains.
        before: probability by head.
        after: the same, after the shift.
        shift: in units of the sign collapse.
    """
    stays = abs(after["softmax"] - before["softmax"]) <= 1e-4
    return (
        f"Shifted by {shift:g} times the sign collapse, the softmax probability of {in_markdown(class_name)} "
        f"{'stays at' if stays else 'moves from ' + format(before['softmax'], '.3f') + ' to'} {after['softmax']:.3f}, "
        f"and the sigmoid's moves from {before['sigmoid']:.3f} to {after['sigmoid']:.3f}."
    )
