"""Equal maps are found, up to rounding and stretching, and only they."""

import numpy as np
import torch

from sigcam_core.cams.distinct import distinct_maps, same_as_earlier


def test_equal_maps_share_the_first_and_only_what_stands_for_itself_is_shared() -> None:
    ramp = torch.linspace(0, 1, 16).view(4, 4)
    nearly = ramp.clone()
    nearly[1, 1] += 9e-6
    further = ramp.clone()
    further[1, 1] += 1.8e-5  # close to `nearly`, not to `ramp`
    maps = torch.stack([ramp, 3 * ramp + 2, nearly, further, ramp.flip(0)])[None]
    np.testing.assert_array_equal(same_as_earlier(maps), [[0, 0, 0, 3, 4]])
    owners, rank = distinct_maps(maps.repeat(2, 1, 1, 1))
    assert owners.tolist() == [[0, 0], [0, 3], [0, 4], [1, 0], [1, 3], [1, 4]]
    assert rank.tolist() == [[0, 0, 0, 1, 2], [3, 3, 3, 4, 5]]
