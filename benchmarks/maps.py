"""Maps of ResNet-50: ours against one forward pass, and against the libraries that people use."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_grad_cam
import torch
import torchcam.methods
from captum.attr import LayerGradCam
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from benchmarks.case import Case
from benchmarks.timing import Row, side_by_side
from sigcam_core import METHODS, cam_maps, normalize_maps
from sigcam_core.dual.branch import HEADS

Maps = dict[tuple[str, str], Any]
ByLibrary = Callable[[dict[str, nn.Sequential], Tensor, Tensor], Maps]

GRAD_CAM: dict[str, Any] = {
    "gradcam": pytorch_grad_cam.GradCAM,
    "gradcam++": pytorch_grad_cam.GradCAMPlusPlus,
    "xgradcam": pytorch_grad_cam.XGradCAM,
    "layercam": pytorch_grad_cam.LayerCAM,
}
TORCHCAM: dict[str, Any] = {  # without Grad-CAM++, in which it computes something else
    "gradcam": torchcam.methods.GradCAM,
    "xgradcam": torchcam.methods.XGradCAM,
    "layercam": torchcam.methods.LayerCAM,
}
METHODS_OF = {"grad-cam": tuple(GRAD_CAM), "torchcam": tuple(TORCHCAM), "captum": ("gradcam",)}
LIBRARY_EPS = 1e-6  # grad-cam's in the denominator of Grad-CAM++


def by_grad_cam(networks: dict[str, nn.Sequential], images: Tensor, class_idx: Tensor) -> Maps:
    """Make maps with grad-cam, stretched to [0, 1] at the size of the image, as it returns them."""
    targets = [ClassifierOutputTarget(k) for k in class_idx.tolist()]
    maps: Maps = {}
    for head, network in networks.items():
        for method, extractor_class in GRAD_CAM.items():
            with extractor_class(network, [network[0]]) as extractor:
                maps[head, method] = extractor(images, targets)
    return maps


def by_torchcam(networks: dict[str, nn.Sequential], images: Tensor, class_idx: Tensor) -> Maps:
    """Make maps with torchcam at the size of the features."""
    maps: Maps = {}
    for head, network in networks.items():
        for method, extractor_class in TORCHCAM.items():
            with extractor_class(network, network[0]) as extractor:
                (maps[head, method],) = extractor(class_idx.tolist(), network(images), normalized=False)
    return maps


def by_captum(networks: dict[str, nn.Sequential], images: Tensor, class_idx: Tensor) -> Maps:
    """Grad-CAM by captum at the size of the features."""
    return {
        (head, "gradcam"): LayerGradCam(network, network[0]).attribute(
            images, target=class_idx, relu_attributions=True
        )[:, 0]
        for head, network in networks.items()
    }


def measure_maps(case: Case, repeats: int) -> list[Row]:
    """Rows for the maps of a network.

    Args:
        case: the network and the images.
        repeats: pairs of runs.
    """

    def ten_maps() -> Maps:
        return cam_maps(case.dual, case.images, case.class_idx, METHODS, HEADS, evidence_only=False)

    pairs = side_by_side(ten_maps, case.forward.run, repeats, case.forward)
    count = len(case.images)
    rows = [pairs.row("ten maps: 5 methods, 2 heads", case.setting, "one forward pass", count, goal=1 / 1.10)]
    libraries: list[tuple[str, ByLibrary, float | None]] = [
        ("grad-cam", by_grad_cam, 20.0),
        ("torchcam", by_torchcam, None),
        ("captum", by_captum, None),
    ]
    rows += [_library_row(case, peer, make, goal, repeats) for peer, make, goal in libraries]
    return rows


def _library_row(case: Case, peer: str, make: ByLibrary, goal: float | None, repeats: int) -> Row:
    # As their users have it: parameters require gradients, which these libraries need. Copies, to leave ours frozen.
    parts = copy.deepcopy(case.dual)
    networks = {head: nn.Sequential(parts.backbone, parts.head(head)).requires_grad_(True) for head in HEADS}
    methods = METHODS_OF[peer]

    def ours() -> Maps:
        maps = cam_maps(case.dual, case.images, case.class_idx, methods, HEADS, False, LIBRARY_EPS)
        if peer == "grad-cam":  # it gives its maps at the size of the image, stretched; so shall ours
            for values in maps.values():
                normalize_maps(values, case.size)
        return maps

    def theirs() -> Maps:
        return make(networks, case.images, case.class_idx)

    pairs = side_by_side(ours, theirs, repeats, case.forward)
    ours_maps, their_maps = pairs.results
    difference = max(_difference(peer, values, their_maps[key]) for key, values in ours_maps.items())
    task = f"{len(their_maps)} maps: {len(methods)} method{'s' * (len(methods) > 1)}, 2 heads"
    return pairs.row(task, case.setting, peer, len(case.images), goal, difference)


def _difference(peer: str, ours: Tensor, theirs: Any) -> float:
    """Greatest difference between maps that are each stretched to a maximum of 1."""
    if peer == "grad-cam":
        # It resizes and stretches its maps; so are ours, by the same function.
        resized = scale_cam_image(ours.cpu().numpy(), theirs.shape[:0:-1])
        return float(np.abs(scale_cam_image(resized.clip(min=0)) - theirs).max())
    top = theirs.detach().flatten(1).amax(dim=1)[:, None, None].clamp(min=torch.finfo(ours.dtype).tiny)
    return float(((ours - theirs.detach()) / top).abs().max())
