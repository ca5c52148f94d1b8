"""One thread, one seed and no screen for every test, so that a run on any machine is the same run."""

import os

# Before torch, OpenCV and Matplotlib are imported: they read these once.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import random

import hypothesis
import numpy as np
import pytest
import torch

torch.set_num_threads(1)

# The machine's speed must not decide a test, and a failing example must come back on the next run.
hypothesis.settings.register_profile("reproducible", deadline=None, derandomize=True)
hypothesis.settings.load_profile("reproducible")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries under test still draw from the legacy generator)
    torch.manual_seed(0)
