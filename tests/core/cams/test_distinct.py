"""Equal maps are found, up to rounding and stretching, and only they."""

import numpy as np
import torch

from sigcam_core.cams.distinct import distinct_maps, same_as_earlier, same_up_to_scale


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


def test_raw_maps_are_the_same_up_to_a_positive_factor_alone() -> None:
    ramp = torch.linspace(-1, 1, 16).view(4, 4)
    nearly = ramp.clone()
    nearly[1, 1] += 9e-6
    zeros = torch.zeros(4, 4)
    maps = torch.stack([ramp, 1e-6 * ramp, ramp + 0.1, -ramp, nearly, zeros, zeros, ramp.relu(), ramp - 2, -ramp - 2])[
        None
    ]
    np.testing.assert_array_equal(same_up_to_scale(maps), [[0, 0, 2, 3, 0, 5, 5, 7, 8, 9]])
