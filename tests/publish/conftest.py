"""One small measurement for all tests of this room: it is read, and never written to."""

import pytest
import small_measurement
from small_measurement import Made


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return small_measurement.make(tmp_path_factory.mktemp("measurement"))
