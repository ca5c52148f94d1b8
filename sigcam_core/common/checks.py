"""What more than one module refuses: class indices, score maps and masks. Checked once, in the public function."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import fail

OBJECT, BACKGROUND, IGNORE = 1, 0, 255
"""What the values of a mask mean.

Many masks elsewhere are black and white, 0 and 255, with the object in white. Here 255 says that a pixel does not
count, so that such a mask would have no object, and no word would say so.
"""
Array = Tensor | NDArray[Any]
"""Numbers as they come from this package, or from other tools."""


def check_class_idx(class_idx: Tensor, num_classes: int) -> None:
    """Refuse class indices (N,) that are not int64 or outside [0, num_classes).

    Raises:
        SigcamError: naming the type, or the first bad index and its position.
    """
    if class_idx.dtype != torch.int64:
        fail(f"class indices must be int64, got {class_idx.dtype}: convert them with `.long()`.")
    outside = (class_idx < 0) | (class_idx >= num_classes)
    if bool(outside.any()):
        position = int(outside.nonzero()[0, 0])
        fail(
            f"class index {int(class_idx[position])} at position {position} is out of range: "
            f"there are {num_classes} classes, 0 to {num_classes - 1}."
        )


def check_score_maps(score_maps: Array) -> Tensor:
    """Return the maps if they are (N, H, W), finite and within [0, 1]; half precision and whole numbers as float32.

    Raises:
        SigcamError: naming the first map that is not.
    """
    score_maps = to_tensor(score_maps)
    if score_maps.ndim != 3 or 0 in score_maps.shape[1:]:
        fail(f"score maps must have shape (N, height, width), at least one pixel each, got {tuple(score_maps.shape)}.")
    # One look at every pixel; NaN is passed on, and compares false.
    low, high = score_maps.aminmax() if len(score_maps) else (torch.zeros(()), torch.zeros(()))
    if not bool((low >= 0) & (high <= 1)):
        inside = ((score_maps >= 0) & (score_maps <= 1)).flatten(1).all(dim=1)
        position = int((~inside).nonzero()[0, 0])
        fail(f"score map {position} holds NaN or values outside [0, 1]: pass maps through normalize_maps first.")
    return score_maps if score_maps.dtype in (torch.float32, torch.float64) else score_maps.float()


def to_tensor(values: Any) -> Tensor:
    """Return a tensor as it is; convert anything else, such as an array or nested lists, to a tensor on the CPU.

    Arrays that PyTorch does not take as they are (mirrored, read-only, or in the byte order of other machines) are
    copied.

    Raises:
        SigcamError: if the values are no numbers, or rows differ in length.

    >>> to_tensor(np.array([1.0, 2.0])[::-1])
    tensor([2., 1.], dtype=torch.float64)
    """
    if isinstance(values, Tensor):
        return values
    try:
        array = np.asarray(values)
        return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C_CONTIGUOUS", "WRITEABLE"]))
    except (RuntimeError, TypeError, ValueError):
        fail(f"a {type(values).__name__} cannot be read as numbers: pass a tensor, or an array of numbers.")


def check_object_value(mask: NDArray[Any], name: str) -> None:
    """Refuse a mask that ignores pixels but has no object. A mask of 0 alone passes: it shows that there is none.

    Args:
        mask: any shape, at its own resolution, where no object is too small to be seen.
        name: of the mask, for the sentence.

    Raises:
        SigcamError: if 255 is among its values and 1 is not.

    >>> import numpy as np
    >>> check_object_value(np.array([0, 1, 255]), "mask a.png")
    """
    if bool((mask == IGNORE).any()) and not bool((mask == OBJECT).any()):
        fail(
            f"{name} holds 255 but no 1: 255 is ignored here, so store objects as 1; if the image has none, store 0 "
            "alone, or leave the mask out."
        )
