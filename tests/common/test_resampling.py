"""Draws of the bootstrap."""

import numpy as np

from sigcam_core.common.resampling import bootstrap_weights

NUM_IMAGES = 6


def test_bootstrap_weights_draw_as_many_images_as_there_are() -> None:
    weights = bootstrap_weights(NUM_IMAGES, 100, seed=3)
    assert (weights.sum(axis=1) == NUM_IMAGES).all()
    np.testing.assert_array_equal(weights, bootstrap_weights(NUM_IMAGES, 100, seed=3))
    assert (weights != bootstrap_weights(NUM_IMAGES, 100, seed=4)).any()
