"""The embedded default data set: textured shapes on clutter, drawn from a seed, with exact boxes and masks.

A class is a shape together with a texture. Every image also holds shapes without texture and textured capsules, so
neither alone tells the class, and a small coloured patch, the context cue: its colour agrees with the class with
an adjustable probability. So it is known where evidence for the class should lie, and where it should not.

Every machine draws the same pixels: image i has random numbers of its own, taken only as uniform doubles from
PCG64, and arrays pass only through operations that IEEE 754 defines exactly, then are rounded once.
"""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from rich.progress import track

from data_scripts.outlines import AREAS, SHAPES, TEXTURES, Array, Outline, Texture, capsule
from data_scripts.parts import MASK_COLUMN, PARTS, REMOVABLE, removed_column
from sigcam_core.common.errors import check_choice, fail
from sigcam_core.prepare.manifest import Manifest, write_manifest

Box = list[int]
T = TypeVar("T")

SPLITS = ("train", "val", "test")
# Raised whenever the same parameters would draw other pixels.
GENERATOR_VERSION = 1

# Areas as fractions of the image, lengths as fractions of its side, brightness from 0 to 1.
OBJECT_AREA = (0.10, 0.30)
DISTRACTOR_AREA = (0.02, 0.05)
TEXTURE_PERIOD = (0.09, 0.13)
CUE_RADIUS = 0.06
CUE_ATTEMPTS = 20
CONTOUR_WIDTH = 0.025
CONTOUR_VALUE = 0.05
# Cells a side, channels (1: brightness only), amplitude.
CLUTTER = ((3, 3, 0.14), (8, 1, 0.10), (24, 1, 0.10))
NOISE = 0.06


@dataclass(frozen=True)
class Scene:
    """One image with the truth about it. Boxes are x0, y0, x1, y1, inclusive pixel indices.

    ``parts`` says which part each pixel shows: its position in :data:`data_scripts.parts.PARTS`. Where a part
    was left out, only ``pixels`` differ: all else tells of the whole scene, and so where that part was.
    """

    pixels: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    parts: npt.NDArray[np.uint8]
    label: int
    box: Box
    context_class: int
    context_box: Box
    distractor_boxes: list[Box]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of :func:`prepare` to a command line."""
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices (default: %(default)s)")
    parser.add_argument("--train", type=int, default=3200, help="training images (default: %(default)s)")
    parser.add_argument("--val", type=int, default=400, help="validation images (default: %(default)s)")
    parser.add_argument("--test", type=int, default=300, help="test images (default: %(default)s)")
    parser.add_argument("--image-size", type=int, default=96, help="side in pixels (default: %(default)s)")
    parser.add_argument(
        "--context-correlation",
        type=float,
        default=0.6,
        help="0: the cue is independent of the class; 1: it always agrees (default: %(default)s)",
    )
    parser.add_argument(
        "--parts",
        action="store_true",
        help="also write which part each pixel of the test images shows, and these images without each part",
    )


def check_parameters(
    *, seed: int, train: int, val: int, test: int, image_size: int, context_correlation: float, parts: bool = False
) -> dict[str, Any]:
    """Return the parameters, with the generator's version, as the manifest records them.

    Raises:
        SigcamError: if one is out of range; the sentence names it.
    """
    counts = {"train": train, "val": val, "test": test}
    for split, count in counts.items():
        if not 1 <= count <= 1_000_000:
            fail(f"--{split} {count} is out of range: give between 1 and 1000000 images.")
    if seed < 0:
        fail(f"--seed {seed} is out of range: give 0 or a positive whole number.")
    if not 32 <= image_size <= 1024:
        fail(f"--image-size {image_size} is out of range: give between 32 and 1024 pixels.")
    if not 0 <= context_correlation <= 1:
        fail(f"--context-correlation {context_correlation} is out of range: give a number between 0 and 1.")
    return {
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        **counts,
        "image_size": image_size,
        "context_correlation": context_correlation,
        **({"parts": True} if parts else {}),  # a data set without them is recorded as it always was
    }


def prepare(folder: Path, parameters: dict[str, Any]) -> Manifest:
    """Draw all images and write them with their masks and manifest; the manifest comes last.

    Args:
        folder: where ``images/``, ``masks/`` and ``manifest.parquet`` go; it names the data set.
        parameters: from :func:`check_parameters`. With ``parts``, ``parts/`` and ``removed/`` hold what
            :func:`write_parts` writes.
    """
    size, correlation = parameters["image_size"], parameters["context_correlation"]
    with_parts = parameters.get("parts", False)
    jobs = [(split, index) for split in SPLITS for index in range(parameters[split])]
    for kind, split in product(("images", "masks"), SPLITS):
        (folder / kind / split).mkdir(parents=True, exist_ok=True)
    rows = []
    for split, index in track(jobs, description="drawing shapes"):
        scene = draw_scene(parameters["seed"], split, index, size, correlation)
        name = f"{split}/{index:06d}"
        image_path, mask_path = f"images/{name}.png", f"masks/{name}.png"
        write_png(folder / image_path, scene.pixels)
        write_png(folder / mask_path, scene.mask)
        row = {
            "image_id": name,
            "path": image_path,
            "label": scene.label,
            "split": split,
            "width": size,
            "height": size,
            "boxes": [scene.box],
            "mask": mask_path,
            "context_class": scene.context_class,
            "context_boxes": [scene.context_box],
            "distractor_boxes": scene.distractor_boxes,
            # PNG encoders differ between versions, decoded pixels do not.
            "pixels_sha256": hashlib.sha256(scene.pixels.tobytes() + scene.mask.tobytes()).hexdigest(),
        }
        if with_parts and split == "test":
            removed = {
                part: draw_scene(parameters["seed"], split, index, size, correlation, without=part).pixels
                for part in REMOVABLE
            }
            row |= write_parts(folder, name, scene.parts, removed)
        rows.append(row)
    path, table = folder / "manifest.parquet", pd.DataFrame(rows)
    return write_manifest(path, table, name=folder.name, class_names=CLASS_NAMES, parameters=parameters)


def write_parts(
    folder: Path, name: str, parts: npt.NDArray[np.uint8], removed: Mapping[str, npt.NDArray[np.uint8]]
) -> dict[str, str]:
    """Write which part each pixel of an image shows, and the image without each part.

    Args:
        folder: of the data set.
        name: of the image, such as ``test/000000``.
        parts: (H, W) positions in :data:`data_scripts.parts.PARTS`.
        removed: by part, the image (H, W, 3) without it.

    Returns:
        The columns of the manifest that name these files, and a checksum of what they hold.
    """
    pictures = {MASK_COLUMN: (f"parts/{name}.png", parts)}
    pictures |= {removed_column(part): (f"removed/{part}/{name}.png", pixels) for part, pixels in removed.items()}
    digest = hashlib.sha256()
    for path, pixels in pictures.values():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_png(folder / path, pixels)
        digest.update(pixels.tobytes())
    columns = {column: path for column, (path, _) in pictures.items()}
    return columns | {"parts_sha256": digest.hexdigest()}


def draw_scene(seed: int, split: str, index: int, size: int, context_correlation: float, *, without: str = "") -> Scene:
    """Draw image ``index`` of a split. It depends on nothing but the arguments.

    Args:
        seed: of the data set.
        split: one of ``SPLITS``.
        index: position in the split; classes take turns.
        size: side in pixels.
        context_correlation: probability that the cue is set to the class; otherwise its class is drawn uniformly
            from all C, so it agrees with probability ``q + (1 - q) / C`` for a correlation of q.
        without: a part to leave out, one of :data:`data_scripts.parts.REMOVABLE`. What it hid is seen then, and
            whatever it did not cover is the same to the last bit: the same random numbers are taken.

    Raises:
        SigcamError: for an unknown part.

    >>> scene = draw_scene(0, "train", 9, 96, 1.0)
    >>> CLASS_NAMES[scene.label], scene.pixels.shape, scene.context_class == scene.label
    ('checked disk', (96, 96, 3), True)
    """
    check_choice("part", without, ("", *REMOVABLE))
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, SPLITS.index(split), index])))
    label = index % len(CLASSES)
    agrees, other = rng.random() < context_correlation, int(rng.random() * len(CLASSES))
    context_class = label if agrees else other
    shape, texture = CLASSES[label]

    # Painted from back to front, so a later layer hides an earlier one.
    canvas = _clutter(rng, size)

    def layer(part: str) -> Array:
        """Choose where a part is painted: on the image, or on a copy, so that its random numbers are drawn."""
        return canvas.copy() if part == without else canvas

    # At least one distractor with texture and one without, so neither shape nor texture alone tells the class.
    kinds = (False, True, False)[: 2 + int(rng.random() * 2)]
    behind = layer("distractors")
    distractors = [_paint_distractor(rng, behind, is_textured) for is_textured in kinds]
    body = _paint_figure(rng, layer("object"), SHAPES[shape], TEXTURES[texture], _uniform(rng, *OBJECT_AREA))
    cue = _place_cue(rng, body)
    _paint(layer("cue"), cue, _colour(context_class / len(CLASSES), 1.0, 0.95))

    noise = NOISE * (rng.random((3, size, size)) - 0.5)
    pixels = np.floor(255 * np.clip(canvas * _light(rng, size) + noise, 0, 1) + 0.5).astype(np.uint8)
    mask = np.minimum(body, 1 - cue) > 0.5
    visible = [np.minimum(distractor, 1 - np.maximum(body, cue)) > 0.5 for distractor in distractors]
    return Scene(
        pixels=np.ascontiguousarray(pixels.transpose(1, 2, 0)),
        mask=mask.astype(np.uint8),
        parts=_parts({"object": mask, "cue": cue > 0.5, "distractors": np.any(visible, axis=0)}),
        label=label,
        box=_box(mask),
        context_class=context_class,
        context_box=_box(cue > 0.5),
        distractor_boxes=[_box(pixels) for pixels in visible if pixels.any()],
    )


def _parts(masks: Mapping[str, npt.NDArray[np.bool_]]) -> npt.NDArray[np.uint8]:
    """Label the part that each pixel shows; the rest is clutter."""
    parts = np.zeros(next(iter(masks.values())).shape, dtype=np.uint8)
    for part, mask in masks.items():
        parts[mask] = PARTS.index(part)
    return parts


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _choose(rng: np.random.Generator, items: Collection[T]) -> T:
    return list(items)[int(rng.random() * len(items))]


def _box(pixels: npt.NDArray[np.bool_]) -> Box:
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])]


def write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write an image (H, W) or (H, W, 3)."""
    # Run-length coding: textured clutter hardly compresses, and this is the fastest that zlib offers.
    Image.fromarray(pixels).save(path, compress_level=1, compress_type=3)


CLASSES = tuple(product(SHAPES, TEXTURES))
CLASS_NAMES = tuple(f"{texture} {shape}" for shape, texture in CLASSES)


def _grid(size: int) -> tuple[Array, Array]:
    """Pixel centres as x of shape (1, size) and y of shape (size, 1)."""
    centres = np.arange(size, dtype=np.float64) + 0.5
    return centres[None, :], centres[:, None]


def _rotated_grid(rng: np.random.Generator, size: int, x0: float, y0: float, unit: float) -> tuple[Array, Array]:
    x, y = _grid(size)
    angle = _uniform(rng, 0, 2 * math.pi)
    cosine, sine = math.cos(angle) / unit, math.sin(angle) / unit
    return (x - x0) * cosine + (y - y0) * sine, (y - y0) * cosine - (x - x0) * sine


def _place(rng: np.random.Generator, outline: Outline, size: int, area: float) -> Array:
    """Signed distance in pixels to an outline of about ``area`` of the image, at a random place and rotation."""
    radius = size * math.sqrt(area / AREAS[outline])
    margin = min(0.85 * radius, size / 2)
    x0, y0 = _uniform(rng, margin, size - margin), _uniform(rng, margin, size - margin)
    return radius * outline(*_rotated_grid(rng, size, x0, y0, radius))


def _cover(distance: Array) -> Array:
    """Part of each pixel inside an outline, from the signed distance of its centre."""
    covered: Array = np.clip(0.5 - distance, 0, 1)
    return covered


def _place_cue(rng: np.random.Generator, body: Array) -> Array:
    """Draw the coverage of a small disk next to the object; over it only where there is no space next to it."""
    size = len(body)
    x, y = _grid(size)
    radius = CUE_RADIUS * size
    for _ in range(CUE_ATTEMPTS):
        x0, y0 = _uniform(rng, radius, size - radius), _uniform(rng, radius, size - radius)
        cue = _cover(np.sqrt((x - x0) ** 2 + (y - y0) ** 2) - radius)
        if not (np.minimum(cue, body) > 0).any():
            break
    return cue


def _colour(hue: float, saturation: float, value: float) -> Array:
    """HSV to RGB, of shape (3, 1, 1)."""
    sector = (6 * hue + np.array([0.0, 4.0, 2.0])) % 6
    pure = np.clip(np.abs(sector - 3) - 1, 0, 1)
    colour: Array = value * (1 - saturation + saturation * pure)
    return colour[:, None, None]


def _surface(rng: np.random.Generator, texture: Texture | None, size: int) -> Array:
    """Colours (3, size, size) or (3, 1, 1): two random colours woven by a texture, or a plain one."""
    dark = _colour(rng.random(), _uniform(rng, 0.2, 0.7), _uniform(rng, 0.15, 0.4))
    light = _colour(rng.random(), _uniform(rng, 0.1, 0.6), _uniform(rng, 0.75, 1.0))
    if texture is None:
        return _choose(rng, (dark, light))
    period = size * _uniform(rng, *TEXTURE_PERIOD)
    x, y = _rotated_grid(rng, size, _uniform(rng, 0, size), _uniform(rng, 0, size), period)
    weight = texture(x, y, period / 2)
    return dark + weight * (light - dark)


def _paint(canvas: Array, coverage: Array, colours: Array) -> None:
    canvas += coverage * (colours - canvas)


def _paint_distractor(rng: np.random.Generator, canvas: Array, is_textured: bool) -> Array:
    outline = capsule if is_textured else _choose(rng, SHAPES.values())
    texture = _choose(rng, TEXTURES.values()) if is_textured else None
    return _paint_figure(rng, canvas, outline, texture, _uniform(rng, *DISTRACTOR_AREA))


def _paint_figure(
    rng: np.random.Generator, canvas: Array, outline: Outline, texture: Texture | None, area: float
) -> Array:
    """Paint a figure with a dark contour and return its coverage (size, size)."""
    size = canvas.shape[-1]
    distance = _place(rng, outline, size, area)
    coverage = _cover(distance)
    _paint(canvas, coverage, _colour(0, 0, CONTOUR_VALUE))
    _paint(canvas, _cover(distance + CONTOUR_WIDTH * size), _surface(rng, texture, size))
    return coverage


def _clutter(rng: np.random.Generator, size: int) -> Array:
    """Multi-scale noise (3, size, size) around a pale random colour: coarse in colour, fine in brightness."""
    canvas = np.broadcast_to(_colour(rng.random(), 0.3, _uniform(rng, 0.35, 0.75)), (3, size, size)).copy()
    for cells, channels, amplitude in CLUTTER:
        canvas += amplitude * _smooth_noise(rng, cells, channels, size)
    return canvas


def _smooth_noise(rng: np.random.Generator, cells: int, channels: int, size: int) -> Array:
    """Uniform noise in [-1, 1] on a grid of ``cells`` cells a side, bilinear between: (channels, size, size)."""
    knots = 2 * rng.random((channels, cells + 1, cells + 1)) - 1
    position = (np.arange(size) + 0.5) * cells / size
    below = np.floor(position).astype(np.int64)
    part = position - below
    rows = knots[:, below] * (1 - part)[:, None] + knots[:, below + 1] * part[:, None]
    smooth: Array = rows[:, :, below] * (1 - part) + rows[:, :, below + 1] * part
    return smooth


def _light(rng: np.random.Generator, size: int) -> Array:
    """Factor (size, size): a gain, and a gradient in a random direction."""
    x, _ = _rotated_grid(rng, size, size / 2, size / 2, size)
    light: Array = _uniform(rng, 0.75, 1.1) * (1 + _uniform(rng, 0, 0.5) * x)
    return light
