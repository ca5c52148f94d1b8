"""The comparison of rounding: either column is the evidence of passes of its kind, and their difference is paired."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_run

from companion.studies import rounding
from companion.studies.rounding import compare_rounding
from sigcam_core.evaluate.schema import read_evidence
from sigcam_core.run import Run


def test_either_kind_of_pass_has_its_own_values(
    trained: Callable[[str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounding, "IMAGES", 9)
    run = small_run.copy_of(trained("small_cnn"), tmp_path / "work")
    table = compare_rounding(run, lambda _: None)
    assert table["difference"].to_numpy() == pytest.approx((table["bfloat16"] - table["float32"]).to_numpy(), abs=1e-9)
    assert (table["low"] <= table["high"]).all()
    assert set(table["scorer"]) == {"", "softmax", "sigmoid"}
    kinds = [
        read_evidence(run.evidence.with_name(f"{run.full_name}-{kind}.parquet")) for kind in ("float32", "bfloat16")
    ]
    whole = read_evidence(run.evidence)
    own = whole[whole["image_id"].isin(kinds[0]["image_id"])]
    assert own["image_id"].nunique() == 9
    np.testing.assert_allclose(kinds[0]["coverage"], own["coverage"], atol=1e-5)
    assert not np.array_equal(kinds[1]["coverage"], kinds[0]["coverage"])
    rows = kinds[1].query("head == 'sigmoid' and method == 'cam'")
    expected = 100 * rows["coverage"].mean()
    found = table.query("metric == 'coverage' and head == 'sigmoid' and method == 'cam' and scorer == 'softmax'")
    assert found["bfloat16"].item() == pytest.approx(expected, rel=1e-5)
