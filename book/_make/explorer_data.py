"""What the pages that compute where they are read are given: heads, photos and feature maps, packed as scripts.

A page that was opened from a disk may load scripts and nothing else. So every file is the base64 text of its gzip
inside of a script (``book/_web/files.js`` reads it).
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sigcam_core.backbones.networks import build
from sigcam_core.cams.maps import MapOptions, maps_from_features
from sigcam_core.cams.score_maps import normalize_maps
from sigcam_core.dual.branch import DualBranch
from sigcam_core.dual.linear import linear_head_bias, linear_head_weight
from sigcam_core.dual.shipped import SHIPPED_HEADS, shipped_card, shipped_dual
from sigcam_core.prepare.images import load_images, load_inputs
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.summarise.drawing import Panel, panel_grid, to_pictures

SHOWN_CLASSES = 5
"""Likeliest classes whose weights go with the photo whose feature maps are computed beforehand."""
THUMBNAIL = 96  # pixels, side of the square


def whole_network() -> DualBranch:
    """EfficientNet-Lite0 with the softmax head of all of ImageNet's classes, and the sigmoid head that ships."""
    shipped, card = shipped_dual(SHIPPED_HEADS[0])
    model = build(card["backbone"], 1000, pretrained=True)
    whole = DualBranch.from_classifier(model, 1000)
    dual = DualBranch(whole.backbone, whole.softmax_head, shipped.sigmoid_head, input_format=shipped.known_format)
    return dual.eval()


def head_arrays(dual: DualBranch) -> dict[str, NDArray[Any]]:
    """Weights in 16 bits and biases in 32 of both heads."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in ("softmax", "sigmoid"):
        weight, bias = linear_head_weight(dual.head(name)), linear_head_bias(dual.head(name))
        assert weight is not None  # of a network that is made here
        assert bias is not None
        arrays[f"{name}_weight"] = weight.detach().numpy().astype(np.float16)
        arrays[f"{name}_bias"] = bias.detach().numpy().astype(np.float32)
    return arrays


@torch.no_grad()
def features_of(dual: DualBranch, manifest: Manifest) -> Tensor:
    """Feature maps (N, K, h, w) of all images of a manifest."""
    form = dual.input_format
    features: Tensor = dual.extract(load_inputs(manifest, form))
    return features


def one_photo(dual: DualBranch, features: Tensor, names: Sequence[str]) -> bytes:
    """All that pages need which show one photo without a network: packed feature maps, logits and some rows.

    Args:
        dual: of :func:`whole_network`.
        features: of the photo, (K, h, w).
        names: of the classes of the softmax head.
    """
    places = shipped_card(SHIPPED_HEADS[0])["imagenet_classes"]
    arrays = head_arrays(dual)
    softmax, sigmoid = arrays["softmax_weight"].astype(np.float64), arrays["sigmoid_weight"].astype(np.float64)
    halved = features.numpy().astype(np.float16)
    pooled = halved.astype(np.float64).mean(axis=(1, 2))  # (K,)
    logits = softmax @ pooled + arrays["softmax_bias"]
    likeliest = [int(k) for k in np.argsort(-logits)[:SHOWN_CLASSES]]
    facts = {
        "classes": likeliest,
        "names": [names[k] for k in likeliest],
        "sigmoid_classes": [places.index(k) if k in places else -1 for k in likeliest],
        "squared_norm": float((softmax**2).sum()),
    }
    # A class that the sigmoid head does not know has zeros there.
    rows = [sigmoid[places.index(k)] if k in places else np.zeros_like(pooled) for k in likeliest]
    biases = [arrays["sigmoid_bias"][places.index(k)] if k in places else 0.0 for k in likeliest]
    return pack(
        facts,
        {
            "features": halved,
            "logits": logits.astype(np.float32),
            "rows": arrays["softmax_weight"][likeliest],
            "sigmoid_rows": np.array(rows, np.float16),
            "sigmoid_bias": np.array(biases, np.float32),
            "mean_row": softmax.mean(axis=0).astype(np.float32),
        },
    )


def pack(facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bytes:
    """One file of facts and arrays of 16 or 32 bits: the length of the head, the head as JSON, then the numbers."""
    table, position = {}, 0
    for name, array in arrays.items():
        table[name] = {"type": array.dtype.name, "shape": list(array.shape), "offset": position}
        position += -(-array.nbytes // 4) * 4
    head = json.dumps({"facts": facts, "arrays": table}).encode()
    head += b" " * (-len(head) % 4)
    body = b"".join(array.tobytes() + b"\0" * (-array.nbytes % 4) for array in arrays.values())
    return struct.pack("<I", len(head)) + head + body


def write_script(folder: Path, name: str, content: bytes) -> int:
    """Write a file as a script that a page loads by its name; returns its size in bytes."""
    text = base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
    script = f'(globalThis.sigcamFiles??={{}})["{name}"]="{text}";\n'
    return (folder / f"{name}.js").write_text(script)


def photo_files(path: Path) -> tuple[bytes, bytes]:
    """Encode a photo without loss, and a small square of it as a thumbnail."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    whole, small = io.BytesIO(), io.BytesIO()
    picture.save(whole, "WEBP", lossless=True, quality=80, method=4)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((2 * THUMBNAIL, 2 * THUMBNAIL))
    square.save(small, "WEBP", quality=75)
    return whole.getvalue(), small.getvalue()


@torch.no_grad()
def still_picture(dual: DualBranch, photo: Manifest, features: Tensor, folder: Path) -> None:
    """Write ``still.webp``, what the page shows where scripts are off, and ``first.webp``, the photo alone.

    Args:
        dual: of :func:`whole_network`.
        photo: one image.
        features: of it, (1, K, h, w).
        folder: where the pictures go.
    """
    size = dual.input_format.size
    picture = to_pictures(load_images(photo, size))[0]
    with Image.open(photo.locate(photo.table["path"].iloc[0])) as image:
        image.convert("RGB").save(folder / "first.webp", quality=80)
    k = int(dual.softmax_head(features).argmax())
    place = shipped_card(SHIPPED_HEADS[0])["imagenet_classes"].index(k)
    panels = [Panel("photo", picture)]
    for head, idx, truncated in (("softmax", k, False), ("sigmoid", place, True)):
        options = MapOptions(["cam"], [head], evidence_only=truncated)
        maps = maps_from_features(dual, features, torch.tensor([idx]), options)
        score_map = normalize_maps(maps[head, "cam"], (size, size))[0].numpy()
        title = f"{photo.class_names[k]}: CAM, {head} head{', truncated' if truncated else ''}"
        panels.append(Panel(title, picture, score_map))
    figure = panel_grid([panels], width=3.2)
    figure.savefig(folder / "still.webp", dpi=120, bbox_inches="tight")
    plt.close(figure)
