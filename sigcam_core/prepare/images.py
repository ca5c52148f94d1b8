"""Images, masks and boxes of a manifest, decoded and scaled to the network's input."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..common.checks import BACKGROUND, IGNORE, OBJECT, check_object_value
from ..common.errors import fail
from .decode import check_channels, decode_image, decode_values
from .manifest import Manifest, is_file_name, plain_value
from .views import View, show

if TYPE_CHECKING:
    from ..backbones.formats import InputFormat

MASK_VALUES = (BACKGROUND, OBJECT, IGNORE)


def load_images(manifest: Manifest, size: int, channels: int = 3) -> Tensor:
    """Decode all images, squashed to a square as the paper does (antialiased bilinear).

    By the rules of :mod:`sigcam_core.prepare.decode`. The pixels of data sets stay as they are stored, since boxes
    refer to them; a photo of one's own is turned upright (:attr:`~sigcam_core.prepare.manifest.Manifest.upright`).

    Args:
        manifest: the N images.
        size: side wanted, pixels.
        channels: 1 for gray, 3 for RGB, 4 for RGB and opacity (:data:`sigcam_core.prepare.decode.CHANNELS`).

    Returns:
        uint8 tensor (N, channels, size, size).

    Raises:
        SigcamError: for another number of channels, or if an image is missing, lies outside of the manifest's folder,
            or cannot be decoded; the sentence names its path.
    """
    _check_size(size)
    with ThreadPoolExecutor(_decoder_threads()) as pool:
        decode = partial(decode_image, size=size, upright=manifest.upright, channels=channels)
        images = np.stack(list(pool.map(decode, _image_paths(manifest))))
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()  # (N, S, S, D) -> (N, D, S, S)


def load_masks(manifest: Manifest, size: int, column: str = "mask", values: Sequence[int] = MASK_VALUES) -> Tensor:
    """Decode all masks, resized with OpenCV's nearest neighbour as wsolevaluation does.

    Args:
        manifest: the N images.
        size: side wanted, pixels.
        column: of the manifest that names the masks.
        values: that their pixels may have.

    Returns:
        uint8 tensor (N, size, size); of the usual masks 1 object, 0 background, 255 ignore.

    Raises:
        SigcamError: if an image has no mask, or for a mask that :func:`known_masks` refuses.
    """
    masks = []
    for image_id, mask in zip(manifest.table["image_id"], known_masks(manifest, size, column, values), strict=True):
        if mask is None:
            fail(f"image {image_id} of {manifest.name} has no mask: use a data set or a split that has masks.")
        masks.append(mask)
    return torch.from_numpy(np.stack(masks))


def known_masks(
    manifest: Manifest, size: int, column: str = "mask", values: Sequence[int] = MASK_VALUES
) -> list[npt.NDArray[np.uint8] | None]:
    """Load the masks of :func:`load_masks` where not every image has one.

    Args:
        manifest: the N images.
        size: side wanted, pixels.
        column: of the manifest that names the masks.
        values: that their pixels may have.

    Returns:
        For each image, uint8 (size, size), or ``None`` where it has no mask.

    Raises:
        SigcamError: if a mask cannot be read, holds another value, or holds 255 but no 1, as masks do that mean the
            object by 255.
    """
    _check_size(size)
    masks: list[npt.NDArray[np.uint8] | None] = []
    for image_id, name in zip(manifest.table["image_id"], manifest.table[column], strict=True):
        if not is_file_name(name):
            if plain_value(name) is not None:
                fail(f"the mask of image {image_id} of {manifest.name} is {name!r}: give the path of a file, or None.")
            masks.append(None)
            continue
        path = manifest.locate(name)
        pixels = decode_values(path)
        if IGNORE in values:
            check_object_value(pixels, f"mask {path}")
        mask = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_NEAREST)
        if not np.isin(mask, values).all():
            known = f"{', '.join(map(str, values[:-1]))} and {values[-1]}"
            fail(f"mask {path} holds values other than {known}: prepare the data set again.")
        masks.append(mask.astype(np.uint8))
    return masks


def has_masks(manifest: Manifest) -> bool:
    """Say whether any image has a mask."""
    return bool(manifest.table["mask"].map(is_file_name).any())


def scale_boxes(
    boxes: npt.ArrayLike, image_size: tuple[int, int], target_size: tuple[int, int]
) -> npt.NDArray[np.int64]:
    """Scale boxes from one image size to another, truncating as wsolevaluation does (int(), not rounding).

    Args:
        boxes: (M, 4) x0, y0, x1, y1; M may be 0.
        image_size: (width, height) that the boxes refer to.
        target_size: (width, height) wanted.

    Returns:
        int64 array (M, 4).

    Raises:
        SigcamError: if the boxes do not have 4 numbers each, or are not finite, or a size is not positive.

    >>> scale_boxes([[10, 20, 59, 79]], (100, 80), (224, 224)).tolist()
    [[22, 56, 132, 221]]
    """
    array = np.asarray(boxes, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 4), dtype=np.int64)
    if array.ndim != 2 or array.shape[1] != 4:
        fail(f"boxes have shape {array.shape}: give one row x0, y0, x1, y1 a box.")
    if not np.isfinite(array).all():
        fail("boxes hold NaN or infinity: give pixel indices.")
    if min(*image_size, *target_size) <= 0:
        fail(f"cannot scale boxes from size {image_size} to {target_size}: sizes must be positive.")
    # Multiply before dividing: the other order differs from the reference in the last bit, hence after int().
    scaled: npt.NDArray[np.float64] = array * np.array(target_size * 2, dtype=np.float64) / np.array(image_size * 2)
    return scaled.astype(np.int64)


def scaled_boxes(manifest: Manifest, size: int) -> list[npt.NDArray[np.int64]]:
    """Scale the boxes of every image with :func:`scale_boxes` from the original image's pixels.

    Args:
        manifest: the N images.
        size: side of the square that the boxes shall refer to, pixels.

    Returns:
        N int64 arrays (M_i, 4) x0, y0, x1, y1; an image without a box has M_i = 0.

    Raises:
        SigcamError: if the size is below 1.
    """
    _check_size(size)
    columns = (manifest.table[column] for column in ("boxes", "width", "height"))
    return [
        scale_boxes(plain_value(boxes), (int(width), int(height)), (size, size))
        for boxes, width, height in zip(*columns, strict=True)
    ]


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn uint8 images into the network's input: ``(images / 255 - mean) / std``.

    Args:
        images: uint8 (N, D, H, W), of gray, RGB or any other channels.
        mean: of the D channels, in units of full scale.
        std: standard deviations of the D channels, in the same units.

    Returns:
        float32 (N, D, H, W), on the images' device.

    Raises:
        SigcamError: if the images are not uint8 (N, D, H, W), or mean or std are not D finite numbers, std > 0.

    >>> normalize(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8), [0.5] * 3, [0.25] * 3).flatten().tolist()
    [2.0, 2.0, 2.0]
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or not images.shape[1]:
        fail(f"images are {images.dtype} of shape {tuple(images.shape)}: give uint8 images of shape (N, D, H, W).")
    channels, numbers = images.shape[1], [*mean, *std]
    if len(mean) != channels or len(std) != channels or not all(map(math.isfinite, numbers)) or min(std) <= 0:
        given = f"mean {list(mean)} and std {list(std)} cannot normalise images of {channels} channels"
        fail(f"{given}: give {channels} finite numbers each, std above 0.")
    shift, scale = (torch.tensor(list(v), device=images.device).view(-1, 1, 1) for v in (mean, std))
    return images.float().div_(255).sub_(shift).div_(scale)


def load_inputs(manifest: Manifest, form: InputFormat) -> Tensor:
    """All images as a network takes them: decoded as :func:`load_images` does, then normalised.

    Args:
        manifest: the N images.
        form: what the network expects, such as :attr:`sigcam_core.dual.branch.DualBranch.input_format`.

    Returns:
        float32 (N, D, S, S).

    Raises:
        SigcamError: if an image cannot be decoded, see :func:`load_images`.
    """
    return normalize(load_images(manifest, form.size, form.channels), form.mean, form.std)


def image_batches(
    manifest: Manifest,
    batch_size: int,
    form: InputFormat,
    *,
    view: View | None = None,
    batches: Sequence[Tensor] | None = None,
    memory_budget: int = 512 * 2**20,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One pass over the images.

    Images are decoded once and kept as long as ``manifest`` lives if they fit in ``memory_budget`` bytes;
    otherwise threads decode them batch by batch, a few batches ahead, so memory does not grow with the data set.

    Args:
        manifest: images to go through.
        batch_size: images per batch; the last one may be smaller.
        form: side of the square input in pixels, and what :func:`normalize` takes, for each channel of the images.
        view: how the images are augmented; ``None`` shows them as they are.
        batches: rows in the manifest of each batch, int64 (B,), instead of all rows in their order.
        memory_budget: bytes of decoded images to keep.

    Yields:
        ``(indices, images, labels)``: rows in the manifest int64 (B,), normalised float32 (B, D, size, size),
        class indices int64 (B,).

    Raises:
        SigcamError: on a size or batch size below 1, or an unreadable image.
    """
    size, mean, std = form
    _check_size(size)
    if batch_size < 1:
        fail(f"batch size {batch_size} is not possible: give at least 1.")
    view = view or View()
    if batches is None:
        batches = torch.split(torch.arange(len(manifest)), batch_size)
    check_channels(form.channels)
    decoded_size = view.decoded_size(size)
    in_memory = form.channels * decoded_size**2 * len(manifest) <= memory_budget
    decode = _remembered_batches if in_memory else _streamed_batches
    labels = manifest.labels
    corners, mirrored = view.draw(len(manifest), size)
    for indices, images in zip(batches, decode(manifest, batches, (decoded_size, form.channels)), strict=True):
        shown = show(images, corners[indices], mirrored[indices], size)
        yield indices, normalize(shown, mean, std), labels[indices]


_decoded: WeakKeyDictionary[Manifest, dict[tuple[int, int], Tensor]] = WeakKeyDictionary()


def _remembered_batches(manifest: Manifest, batches: Sequence[Tensor], form: tuple[int, int]) -> Iterator[Tensor]:
    by_form = _decoded.setdefault(manifest, {})
    if form not in by_form:
        by_form[form] = load_images(manifest, *form)
    yield from (by_form[form][indices] for indices in batches)


def _streamed_batches(manifest: Manifest, batches: Sequence[Tensor], form: tuple[int, int]) -> Iterator[Tensor]:
    # Threads, not processes: PIL decodes outside the interpreter lock, and errors arrive as they were raised.
    paths = _image_paths(manifest)
    size, channels = form
    ahead = 2  # batches: decoding goes on while one is used, and memory holds no more than these
    pending: deque[list[Future[npt.NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor(_decoder_threads()) as pool:
        try:
            for position in range(len(batches) + ahead):
                if position < len(batches):
                    rows = batches[position].tolist()
                    decode = partial(decode_image, size=size, upright=manifest.upright, channels=channels)
                    pending.append([pool.submit(decode, paths[row]) for row in rows])
                if position >= ahead:
                    images = np.stack([future.result() for future in pending.popleft()])
                    yield torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()  # (B, S, S, D) -> (B, D, S, S)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _decoder_threads() -> int:
    return min(16, os.cpu_count() or 1)


def _image_paths(manifest: Manifest) -> list[Path]:
    for image_id, path in zip(manifest.table["image_id"], manifest.table["path"], strict=True):
        if not is_file_name(path):
            fail(f"the path of image {image_id} of {manifest.name} is {path!r}: give that of a file.")
    return [manifest.locate(path) for path in manifest.table["path"]]


def _check_size(size: int) -> None:
    if size < 1:
        fail(f"image size {size} is not possible: give at least 1 pixel.")
