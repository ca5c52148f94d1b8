"""Where a map's evidence lies, and what each part of an image is worth to the network: measured on known parts.

A map of a class says which places speak for it. On images whose parts are known (``data_scripts.parts``)
that can be checked: the share of the map's positive evidence on each part is compared with what removing that part
does to the class. Nothing is averaged here.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_scripts.parts import PARTS, REMOVABLE, load_parts, without_part
from sigcam_core.cams.methods import cam
from sigcam_core.cams.scalars import log_odds
from sigcam_core.cams.score_maps import resize_maps
from sigcam_core.common.errors import fail
from sigcam_core.common.progress import Report, print_to_stderr, progress_bar
from sigcam_core.dual.branch import DualBranch
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.prepare.images import image_batches
from sigcam_core.prepare.manifest import Manifest

HEADS = ("softmax", "softmax centred", "sigmoid")
"""``softmax centred`` is the softmax head with weights and logits that sum to zero over the classes, the one member of
its orbit that the predictions determine (:func:`sigcam_core.invariance.center_weights`)."""
MAPS = ("signed", "truncated", "uniform")
"""CAM with its sign, CAM without negative weights, and a map that is the same everywhere and so knows nothing. Its
shares are the areas of the parts."""
BATCH_SIZE = 64


def measure_parts(dual: DualBranch, manifest: Manifest, report: Report = print_to_stderr) -> pd.DataFrame:
    """Measure every image by every head and map: shares of evidence by part, and effects of removing each part.

    Args:
        dual: a network whose heads are global average pooling and one linear layer.
        manifest: the N images, with known parts. The class is that of the label.
        report: called with a line from time to time.

    Returns:
        One row per image, head of :data:`HEADS`, map of :data:`MAPS` and part of
        ``data_scripts.parts.PARTS``, with columns ``image_id, label, head, map, part`` and

        - ``share``: of the map's positive evidence on the part, 0 to 1; NaN where the map has none;
        - ``logit_drop``, ``log_odds_drop``: the head's value for the whole image minus that without the part; NaN for
          clutter, which cannot be removed;
        - ``is_correct``, ``is_correct_without``: whether the head ranks the label first, for the whole image and
          without the part (for clutter, the whole image again).

    Raises:
        SigcamError: for another kind of head, or images whose parts are not known.
    """
    weights = _weights(dual)
    form = dual.input_format
    versions = [manifest, *(without_part(manifest, part) for part in REMOVABLE)]
    masks = load_parts(manifest, form.size)
    passes = [image_batches(version, BATCH_SIZE, form, memory_budget=0) for version in versions]
    ids = manifest.table["image_id"].to_numpy()
    frames = []
    with progress_bar(len(manifest), "measuring parts", report) as advance:
        for batches in zip(*passes, strict=True):
            indices, labels = batches[0][0], batches[0][2]
            features = [dual.extract(images) for _, images, _ in batches]
            frame = _rows(dual, weights, features, labels, masks[indices])
            frame.insert(0, "image_id", np.repeat(ids[indices.numpy()], len(HEADS) * len(MAPS) * len(PARTS)))
            frames.append(frame)
            advance(len(indices))
    return pd.concat(frames, ignore_index=True)


def positive_shares(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of each map's positive evidence on each part.

    Args:
        maps: (N, H, W), with their sign.
        masks: (N, H, W) positions in ``data_scripts.parts.PARTS``.

    Returns:
        (N, 4) float64, rows of sum 1; NaN where a map has no positive value.

    >>> positive_shares(torch.tensor([[[3.0, -2.0], [0.0, 1.0]]]), torch.tensor([[[1, 1], [0, 2]]])).tolist()
    [[0.0, 0.75, 0.25, 0.0]]
    """
    evidence = maps.double().clamp(min=0)
    on_parts = torch.stack([(evidence * (masks == part)).sum(dim=(1, 2)) for part in range(len(PARTS))], dim=1)
    return on_parts / on_parts.sum(dim=1, keepdim=True)


def _weights(dual: DualBranch) -> dict[str, Tensor]:
    """Weights (C, K) of each head."""
    softmax, sigmoid = linear_head_weight(dual.softmax_head), linear_head_weight(dual.sigmoid_head)
    if softmax is None or sigmoid is None:
        fail("shares on parts need heads of global average pooling and one linear layer: choose such a network.")
    softmax = softmax.detach()
    return {"softmax": softmax, "softmax centred": _centred(softmax, dim=0), "sigmoid": sigmoid.detach()}


def _centred(values: Tensor, dim: int) -> Tensor:
    return values - values.mean(dim=dim, keepdim=True)


@torch.no_grad()
def _values(dual: DualBranch, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """By head, the class logit, its log-odds, and whether the label ranks first: (3, N) in float64."""
    softmax, sigmoid = dual.softmax_head(features).double(), dual.sigmoid_head(features).double()  # (N, C)
    by_head = {}
    for head, logits in zip(HEADS, (softmax, _centred(softmax, dim=1), sigmoid), strict=True):
        own = logits.gather(1, labels[:, None])[:, 0]
        odds = own if head == "sigmoid" else log_odds(logits, labels)  # a sigmoid's logit is its log-odds
        by_head[head] = torch.stack([own, odds, (logits.argmax(dim=1) == labels).double()])
    return by_head


def _rows(
    dual: DualBranch, weights: dict[str, Tensor], versions: list[Tensor], labels: Tensor, masks: Tensor
) -> pd.DataFrame:
    """Measure N images, rows image-major: features of whole images and without each part, classes (N,), masks."""
    values = [_values(dual, features, labels) for features in versions]
    maps_of_whole = dual.feature_maps(versions[0])
    parts = {}  # by head and map: (N, 4) shares, (N, 4) effects
    for head, kind in product(HEADS, MAPS):
        class_weights = weights[head][labels]  # (N, K)
        maps = cam(maps_of_whole, class_weights, truncated=kind == "truncated")
        resized = resize_maps(maps if kind != "uniform" else torch.ones_like(maps), (masks.shape[1], masks.shape[2]))
        whole = values[0][head]
        without = torch.stack([whole, *(value[head] for value in values[1:])], dim=2)  # (3, N, 4), clutter is kept
        drops = whole[:2, :, None] - without[:2]
        drops[:, :, 0] = torch.nan
        parts[head, kind] = {
            "share": positive_shares(resized, masks),
            "logit_drop": drops[0],
            "log_odds_drop": drops[1],
            "is_correct": whole[2, :, None].expand(-1, len(PARTS)),
            "is_correct_without": without[2],
        }
    keys = list(parts)
    count = len(labels)
    table: dict[str, object] = {
        "label": np.repeat(labels.numpy(), len(keys) * len(PARTS)),
        "head": np.tile(np.repeat([head for head, _ in keys], len(PARTS)), count),
        "map": np.tile(np.repeat([kind for _, kind in keys], len(PARTS)), count),
        "part": np.tile(PARTS, count * len(keys)),
    }
    for column in next(iter(parts.values())):
        stacked = torch.stack([parts[key][column] for key in keys], dim=1)  # (N, maps, 4)
        table[column] = stacked.flatten().numpy()
    frame = pd.DataFrame(table)
    return frame.astype({"is_correct": bool, "is_correct_without": bool})
