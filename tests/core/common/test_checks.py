"""Masks whose object is stored as 255, and those that legitimately have none."""

import numpy as np
import pytest

from sigcam_core.common.checks import check_object_value
from sigcam_core.common.errors import SigcamError


@pytest.mark.parametrize("values", [[0, 1, 255], [0, 1], [1, 255], [1], [0]])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_masks_with_an_object_or_with_nothing_pass(values: list[int], dtype: type) -> None:
    check_object_value(np.array(values, dtype=dtype).reshape(1, -1), "mask a.png")


@pytest.mark.parametrize("values", [[0, 255], [255]])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_masks_that_ignore_and_have_no_object_get_one_sentence(values: list[int], dtype: type) -> None:
    with pytest.raises(
        SigcamError, match=r"^mask a\.png holds 255 but no 1: 255 is ignored here, so store objects as 1"
    ):
        check_object_value(np.array(values, dtype=dtype).reshape(1, -1), "mask a.png")
