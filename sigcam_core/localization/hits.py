"""MaxBoxAcc from hits: a map is 3 x 255 bits, whether its best box passes each IoU at each gray level.

Nothing else of a map enters MaxBoxAcc (Choe et al. 2020), so that 96 bytes an image and map suffice for its figures,
their resamples, and those at thresholds that were chosen on other images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import fail
from ..common.resampling import FloatArray, Statistics, drawn_images
from .contours import NUM_LEVELS
from .protocol import IOU_PERCENTAGES

NUM_BITS = len(IOU_PERCENTAGES) * NUM_LEVELS
NUM_BYTES = -(-NUM_BITS // 8)
NAMES = (*(f"maxboxacc@{percentage}" for percentage in IOU_PERCENTAGES), "maxboxacc_v2")
HELD_OUT = "_held_out"
"""Suffix to the name of a value whose thresholds were chosen on other images."""
IMAGES_AT_ONCE = 1024
WHOLE_IN_FLOAT32 = 2**24  # up to here, sums of whole numbers are exact in float32
ROUNDING = 1e-6  # of 10,000 times a float64 ratio; unequal ratios of pixel counts differ there by 1e-5 at least


def in_ten_thousandths(iou: NDArray[np.float64]) -> NDArray[np.uint16]:
    """IoUs as floor(10,000 IoU), which decides exactly whether one passes any percentage with two decimals.

    An IoU is a ratio of two counts of pixels, of at most 2 x 224 x 224, so one that differs from k / 10,000 does so by
    at least 1 / (10,000 x 100,352), some thousand times the rounding of float64.

    Args:
        iou: (...) of 0 to 1, in float64.

    >>> in_ten_thousandths(np.array([0.0, 1 / 3, 7 / 10, 1.0])).tolist()
    [0, 3333, 7000, 10000]
    """
    return np.floor(10_000 * iou + ROUNDING).astype(np.uint16)


def pack_hits(best_iou: NDArray[np.floating[Any] | np.uint16]) -> NDArray[np.uint8]:
    """Say whether the best box passes IoU .3, .5 and .7, at each gray level, in bits.

    Args:
        best_iou: (..., 255) best IoU at the gray levels; or 10,000 times as much in whole numbers, as in the column
            ``best_iou_multi`` of the evidence.

    Returns:
        (..., 96): 3 x 255 bits, and 3 bits of padding.

    Raises:
        SigcamError: if there are not 255 levels, or one is NaN.

    >>> packed = pack_hits(np.linspace(0, 1, 255))
    >>> packed.shape, unpack_hits(packed).sum(axis=-1).tolist()
    ((96,), [178, 128, 77])
    """
    if best_iou.shape[-1:] != (NUM_LEVELS,):
        fail(f"best IoUs must be of {NUM_LEVELS} gray levels, (..., {NUM_LEVELS}), got shape {best_iou.shape}.")
    if np.isnan(best_iou).any():
        fail("best IoUs hold NaN: leave out images without boxes.")
    percentages = np.array(IOU_PERCENTAGES)[:, None]
    if best_iou.dtype == np.uint16:
        hits = best_iou[..., None, :] >= (100 * percentages).astype(np.uint16)
    else:  # in float32 on both sides: two unequal ratios of pixel counts differ by far more than its rounding
        hits = best_iou.astype(np.float32)[..., None, :] >= (percentages / 100).astype(np.float32)
    packed: NDArray[np.uint8] = np.packbits(hits.reshape(*best_iou.shape[:-1], NUM_BITS), axis=-1)
    return packed


def unpack_hits(packed: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Unpack the hits (..., 3, 255) from :func:`pack_hits`: by IoU .3, .5 and .7, then by gray level.

    Raises:
        SigcamError: if ``packed`` is not (..., 96) bytes.
    """
    if packed.shape[-1:] != (NUM_BYTES,) or packed.dtype != np.uint8:
        fail(f"packed hits must be uint8 of shape (..., {NUM_BYTES}), got {packed.dtype} of {packed.shape}.")
    bits = np.unpackbits(packed, axis=-1, count=NUM_BITS).view(np.bool_)
    return bits.reshape(*packed.shape[:-1], len(IOU_PERCENTAGES), NUM_LEVELS)


def hit_rates(packed: NDArray[np.uint8], weights: FloatArray) -> FloatArray:
    """BoxAcc in % at every IoU and gray level, in each of B resamples.

    Counts of images are exact: whole weights are multiplied in float32, where sums of whole numbers below 2^24 are,
    and added up in float64; other weights are multiplied in float64. Images are taken by the thousand, so that next to
    the arguments and the result, 10,000 images in 1,001 resamples take some 20 MB.

    Args:
        packed: (N, 96), what :func:`pack_hits` gave.
        weights: (B, N) resampling weights, see :mod:`sigcam_core.common.resampling`.

    Returns:
        (B, 3, 255) rates.

    Raises:
        SigcamError: if shapes do not fit, or a row of weights adds up to nothing.
    """
    if packed.ndim != 2 or weights.ndim != 2 or weights.shape[1] != len(packed):
        fail(f"packed hits must be (N, {NUM_BYTES}) and weights (B, N), got {packed.shape} and {weights.shape}.")
    total = weights.sum(axis=1)
    if not (total > 0).all():
        fail("every row of weights must draw an image: the sum of one is not positive.")
    counts = np.zeros((len(weights), NUM_BITS))
    for start in range(0, len(packed), IMAGES_AT_ONCE):
        part = weights[:, start : start + IMAGES_AT_ONCE]
        is_whole = bool((part == np.rint(part)).all()) and np.abs(part).sum(axis=1).max() < WHOLE_IN_FLOAT32
        kind = np.float32 if is_whole else np.float64
        hits = unpack_hits(packed[start : start + IMAGES_AT_ONCE]).reshape(-1, NUM_BITS)
        counts += part.astype(kind) @ hits.astype(kind)
    rates: FloatArray = 100 * counts / total[:, None]
    return rates.reshape(-1, len(IOU_PERCENTAGES), NUM_LEVELS)


def drawn_hit_rates(packed: NDArray[np.uint8], weights: FloatArray) -> FloatArray:
    """:func:`hit_rates` (B, 3, 255), NaN in a resample that draws none of the images."""
    is_drawn = weights.sum(axis=1) > 0
    if is_drawn.all():  # or all weights would be copied
        return hit_rates(packed, weights)
    rates = np.full((len(weights), len(IOU_PERCENTAGES), NUM_LEVELS), np.nan)
    rates[is_drawn] = hit_rates(packed, weights[is_drawn])
    return rates


def mean_box_acc(best_iou: NDArray[np.float32], weights: FloatArray) -> FloatArray:
    """BoxAcc where each map has one threshold of its own: the mean over IoU .3, .5 and .7, in each of B resamples.

    Args:
        best_iou: (N,) best IoU of each map at its threshold, in float32.
        weights: (B, N) resampling weights.

    Returns:
        (B,) in %; NaN in a resample that draws none of the images.

    >>> mean_box_acc(np.array([0.4, 0.8], dtype=np.float32), np.ones((1, 2))).round(1)
    array([66.7])
    """
    limits = np.array(IOU_PERCENTAGES, dtype=np.float32) / np.float32(100)
    passed = (best_iou[:, None] >= limits).sum(axis=1).astype(np.float64)  # (N,) of the three; sums are exact
    values: FloatArray = 100 * (weights @ passed) / (len(limits) * drawn_images(weights))
    return values


def max_box_acc(rates: FloatArray) -> Statistics:
    """MaxBoxAcc: each IoU at the gray level that is best for these very images.

    Args:
        rates: (..., 3, 255) of :func:`hit_rates`.

    Returns:
        ``maxboxacc@30/50/70`` and their mean ``maxboxacc_v2``, (...) in %.
    """
    return _named(rates.max(axis=-1))


def best_levels(rates: FloatArray) -> NDArray[np.int64]:
    """Find the gray level at which each IoU is passed most often, the lowest of ties.

    Level k stands for the thresholds of the protocol with floor(255 tau) = k, the first of which is
    ``THRESHOLDS[FIRST_THRESHOLD_OF_LEVEL[k]]`` of :mod:`sigcam_core.localization.protocol`.

    Args:
        rates: (..., 3, 255) of :func:`hit_rates`.

    Returns:
        (..., 3) levels.
    """
    levels: NDArray[np.int64] = rates.argmax(axis=-1)
    return levels


def box_acc_at(rates: FloatArray, levels: NDArray[np.int64]) -> Statistics:
    """MaxBoxAcc without its maximum: each IoU at a gray level that was chosen on other images.

    Args:
        rates: (..., 3, 255) of :func:`hit_rates`.
        levels: (3,) of :func:`best_levels` of other images.

    Returns:
        The names of :func:`max_box_acc` with ``_held_out``, (...) in %.

    Raises:
        SigcamError: if there is not one level for each IoU, or one is out of range.
    """
    if np.shape(levels) != (len(IOU_PERCENTAGES),) or not ((levels >= 0) & (levels < NUM_LEVELS)).all():
        fail(f"give one gray level from 0 to {NUM_LEVELS - 1} for each IoU of {IOU_PERCENTAGES}, got {levels}.")
    chosen = rates[..., np.arange(len(IOU_PERCENTAGES)), levels]
    return {name + HELD_OUT: values for name, values in _named(chosen).items()}


def _named(accuracies: FloatArray) -> Statistics:
    """Name the accuracies (..., 3) of the three IoUs, and add their mean."""
    each = [accuracies[..., index] for index in range(len(IOU_PERCENTAGES))]
    return dict(zip(NAMES, [*each, np.mean(each, axis=0)], strict=True))
