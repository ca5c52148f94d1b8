"""A whole evaluation as one would join it from tools that exist: grad-cam, OpenCV and a forward pass per map.

Four methods come from grad-cam, a forward and a backward pass of the network a head and method; CAM is written by hand.
Boxes follow the protocol as its public code does: a contour search at each of 1,000 thresholds, and one table of IoUs.
Fidelity takes a forward pass of the explained image a map. Localisation asks for the maps of the labels, and fidelity
for those of the predicted classes: one set serves both where all labels are predicted, and else the peer makes two.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from benchmarks.localization import iou_of_pairs
from benchmarks.maps import GRAD_CAM
from sigcam_core import DualBranch
from sigcam_core.dual.branch import HEADS
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.localization.protocol import GT_LOC_IOU, IOU_PERCENTAGES, MAP_SIZE, THRESHOLDS
from sigcam_core.prepare.images import image_batches, scaled_boxes
from sigcam_core.prepare.manifest import Manifest

Figures = dict[tuple[str, str], dict[str, float]]
"""Values in % of each head and method, by the names of the tables."""
GT_LOC_THRESHOLD = 0.2


class Networks(NamedTuple):
    """A network with two heads as users of grad-cam have it."""

    dual: DualBranch
    by_head: dict[str, nn.Sequential]  #: whose parameters require gradients


def peer_networks(dual: DualBranch) -> Networks:
    """Classifiers whose gradients give the maps of an evaluation; the sigmoid one has its negative weights cut.

    Args:
        dual: a network whose heads are global average pooling and one linear layer; it is left as it is.
    """
    parts = copy.deepcopy(dual).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    truncated = copy.deepcopy(parts.sigmoid_head)
    weight = linear_head_weight(truncated)
    assert weight is not None
    weight.data.clamp_(min=0)
    heads = {"softmax": parts.softmax_head, "sigmoid": truncated}
    networks = {name: nn.Sequential(parts.backbone, head).requires_grad_(True) for name, head in heads.items()}
    return Networks(parts, networks)


def evaluate_by_peers(networks: Networks, manifest: Manifest, batch_size: int) -> Figures:
    """Figures of all maps of a manifest.

    Args:
        networks: from :func:`peer_networks`.
        manifest: N images with boxes and labels.
        batch_size: images per pass.
    """
    hits: dict[tuple[str, str], list[NDArray[np.bool_]]] = {}
    located: dict[tuple[str, str], list[bool]] = {}
    scores: dict[tuple[str, str], list[Tensor]] = {}
    before = []
    for rows, images, labels in image_batches(manifest, batch_size, networks.dual.input_format, memory_budget=0):
        boxes = scaled_boxes(manifest.take(rows.tolist()), MAP_SIZE)
        with torch.no_grad():
            out = networks.dual(images)
        predicted = out.softmax_logits.argmax(dim=1)
        before.append(_probability(out.softmax_logits, predicted))
        label_maps = _score_maps(networks, images, out.features, labels)
        same = torch.equal(labels, predicted)
        predicted_maps = label_maps if same else _score_maps(networks, images, out.features, predicted)
        for key in label_maps:
            for score_map, truth in zip(label_maps[key], boxes, strict=True):
                curve, gt_loc = iou_at_thresholds(score_map, truth)
                hits.setdefault(key, []).append(curve >= np.array(IOU_PERCENTAGES)[:, None] / 100)
                located.setdefault(key, []).append(bool(gt_loc >= GT_LOC_IOU))
            explained = images * torch.from_numpy(predicted_maps[key])[:, None].to(images)
            with torch.no_grad():
                logits = networks.dual(explained).softmax_logits
            scores.setdefault(key, []).append(_probability(logits, predicted))
    whole = torch.cat(before)
    return {key: _figures(np.stack(hits[key]), located[key], whole, torch.cat(scores[key])) for key in hits}


def passes_of_peer(same: bool) -> tuple[int, int]:
    """Forward and backward passes that the peer makes for an image.

    Those of grad-cam for a set of maps, one for CAM and the image's scores, and one per map.

    Args:
        same: whether one set of maps serves localisation and fidelity.
    """
    sets = 2 * len(GRAD_CAM) * (1 if same else 2)
    return sets + 1 + 10, sets


def iou_at_thresholds(
    score_map: NDArray[np.float64], boxes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], np.float64]:
    """Best IoU of any contour at each threshold (1000,), and of the largest contour at the threshold of GT-Loc.

    Args:
        score_map: (H, W) in [0, 1].
        boxes: (M, 4) at the size of the map.
    """
    height, width = score_map.shape
    gray = (score_map * 255).astype(np.uint8)
    top, found, largest = int(gray.max()), [], None
    for number, threshold in enumerate(THRESHOLDS):
        _, binary = cv2.threshold(gray, int(threshold * top), 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        rectangles = [cv2.boundingRect(contour) for contour in contours]
        estimated = [[x, y, min(x + w, width - 1), min(y + h, height - 1)] for x, y, w, h in rectangles]
        found.append(np.array(estimated or [[0, 0, 0, 0]]))
        if number == round(GT_LOC_THRESHOLD * len(THRESHOLDS)):
            areas = [cv2.contourArea(contour) for contour in contours]
            largest = found[-1][int(np.argmax(areas)) if areas else 0]
    assert largest is not None
    best = iou_of_pairs(np.concatenate(found), boxes).max(axis=1)
    starts = np.cumsum([0, *map(len, found[:-1])])
    return np.maximum.reduceat(best, starts), iou_of_pairs(largest[None], boxes).max()


def _score_maps(
    networks: Networks, images: Tensor, features: Tensor, class_idx: Tensor
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Make the maps (N, 224, 224) in [0, 1] of every head and method."""
    maps: dict[tuple[str, str], Any] = {}
    targets = [ClassifierOutputTarget(one) for one in class_idx.tolist()]
    size = (features.shape[3], features.shape[2])
    for head in HEADS:
        network = networks.by_head[head]
        weight = linear_head_weight(network[1])
        assert weight is not None
        maps[head, "cam"] = torch.einsum("nk,nkhw->nhw", weight.detach()[class_idx], features).numpy()
        for method, extractor_class in GRAD_CAM.items():
            with extractor_class(network, [network[0]]) as extractor:
                # The protocol resizes bicubically, and from the features' size; grad-cam would do so bilinearly.
                extractor.get_target_width_height = lambda _: size
                maps[head, method] = extractor(images, targets)
    return {key: np.stack([_stretched(one) for one in values]) for key, values in maps.items()}


def _stretched(values: NDArray[np.float32]) -> NDArray[np.float64]:
    resized = cv2.resize(values.astype(np.float64), (MAP_SIZE, MAP_SIZE), interpolation=cv2.INTER_CUBIC)
    low, high = resized.min(), resized.max()
    stretched: NDArray[np.float64] = (resized - low) / (high - low) if high > low else np.zeros_like(resized)
    return stretched


def _probability(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.double().softmax(dim=1).gather(1, labels[:, None])[:, 0]


def _figures(hits: NDArray[np.bool_], located: list[bool], before: Tensor, after: Tensor) -> dict[str, float]:
    """From hits (N, 3, 1000), and scores of the images and of the explained images, (N,) each."""
    return {
        "maxboxacc_v2": 100 * float(hits.mean(axis=0).max(axis=1).mean()),
        "gt_loc": 100 * float(np.mean(located)),
        "average_drop": 100 * float(((before - after).clamp(min=0) / before).mean()),
        "increase_in_confidence": 100 * float((after > before).double().mean()),
    }
