"""Published experiments are compared with what was measured once more."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import published
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json, write_json


def experiment(folder: Path, seconds: float, value: float, **facts: Any) -> None:
    """Results of one experiment, by two variants of the protocol."""
    evidence = {"seconds": seconds, "date": "today", "commit": "abc", "device": "this", **facts}
    write_json(folder / "record.json", {"test_images": 7, "evidence": evidence})
    row = {"network": "n", "method": "cam", "head": "softmax", "metric": "maxboxacc_v2", "low": 0.0, "high": 1.0}
    wsol = [row | {"value": value, "protocol": "standard"}, row | {"value": 1.0, "protocol": "paper"}]
    pd.DataFrame(wsol).to_csv(folder / "wsol.csv", index=False)
    fidelity = [row | {"metric": "average_drop", "value": 3.0, "scorer": "softmax"}]
    pd.DataFrame(fidelity).to_csv(folder / "fidelity.csv", index=False)


def test_times_and_figures_of_both_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now, target = tmp_path / "before", tmp_path / "now", tmp_path / "out.json"
    experiment(before / "a", 100.0, 60.0)
    experiment(now / "a", 40.0, 60.25, passes="compiled")
    experiment(before / "only-before", 1.0, 1.0)
    experiment(now / "only-now", 1.0, 1.0)
    arguments = ["published", "--before", str(before), "--now", str(now), "--output", str(target)]
    monkeypatch.setattr(sys, "argv", arguments)
    published.main()
    (found,) = read_json(target)["experiments"]
    assert (found["name"], found["images"], found["share"], found["max_difference"]) == ("a", 7, 0.4, 0.25)
    assert found["before"]["passes"] is None
    assert found["now"]["passes"] == "compiled"
    assert found["now"]["commit"] == "abc"


def test_nothing_in_common_is_refused(tmp_path: Path) -> None:
    experiment(tmp_path / "now" / "a", 1.0, 1.0)
    write_json(tmp_path / "now" / "b" / "record.json", {})
    write_json(tmp_path / "before" / "b" / "record.json", {})
    with pytest.raises(SigcamError, match=r"now has no experiment that .*before has: run `python -m companion"):
        published.compare(tmp_path / "before", tmp_path / "now")
