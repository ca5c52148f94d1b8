"""One thread, one seed and no screen for every test, so that a run on any machine is the same run."""

from __future__ import annotations

import os

# Before torch, OpenCV and Matplotlib are imported: they read these once.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
import torch
from needs import NEEDS, folder_of

if TYPE_CHECKING:
    from small_measurement import Made

    from sigcam_core.run import Run


torch.set_num_threads(1)

# The machine's speed must not decide a test, and a failing example must come back on the next run.
hypothesis.settings.register_profile("reproducible", deadline=None, derandomize=True)
hypothesis.settings.load_profile("reproducible")


@pytest.hookimpl(tryfirst=True)  # before -m chooses by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by where they lie, and begin with those that take long, so that none is alone at the end."""
    order = [*NEEDS, None]
    items.sort(key=lambda item: order.index(folder_of(item.path)))
    for item in items:
        if folder := folder_of(item.path):
            item.add_marker(NEEDS[folder])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries under test still draw from the legacy generator)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One small measurement for all tests that read one; none writes to it."""
    import small_measurement

    return small_measurement.shared(tmp_path_factory)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """A function that gives the small run of a network, for all tests that read one; none writes to it."""
    import small_run

    return lambda backbone: small_run.shared(backbone, tmp_path_factory)
