"""One thread, one seed and no screen for every test, so that a run on any machine is the same run."""

from __future__ import annotations

import os

# Before torch, OpenCV and Matplotlib are imported: they read these once.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import random
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
import torch

if TYPE_CHECKING:
    from small_measurement import Made

torch.set_num_threads(1)

# The machine's speed must not decide a test, and a failing example must come back on the next run.
hypothesis.settings.register_profile("reproducible", deadline=None, derandomize=True)
hypothesis.settings.load_profile("reproducible")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries under test still draw from the legacy generator)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One small measurement for all tests that read one; none writes to it."""
    import small_measurement

    return small_measurement.make(tmp_path_factory.mktemp("measurement"))
