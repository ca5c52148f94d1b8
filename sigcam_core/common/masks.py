"""Masks of objects: what their values mean, and the mistake that they invite.

Many masks elsewhere are black and white, 0 and 255, with the object in white. Here 255 says that a pixel does not
count, so that such a mask would have no object, and no word would say so.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from .errors import fail

OBJECT, BACKGROUND, IGNORE = 1, 0, 255


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
