"""The summary as the book reads it."""

from pathlib import Path

import pandas as pd
import pytest

from companion.show.saved import HEADLINE, flat_values, print_headline, save_values
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json


def test_a_file_carries_values_their_print_and_provenance(tmp_path: Path) -> None:
    path = save_values(tmp_path, "table9", {"a": 1.23456, "b": 12345, "c": "text"}, {"c": "set"}, seed=3)
    result = read_json(path)
    assert path == tmp_path / "summary" / "table9.json"
    assert result["values"] == {"a": 1.23456, "b": 12345, "c": "text"}
    assert result["formatted"] == {"a": "1.23", "b": "12,345", "c": "set"}
    assert result["provenance"]["seed"] == 3
    assert {"commit", "versions", "device", "date"} <= set(result["provenance"])


def test_nan_is_no_value(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nan"):
        save_values(tmp_path, "table9", {"a": float("nan")})
    assert not list((tmp_path / "summary").glob("*"))


def test_flat_names_tell_network_method_and_head_apart() -> None:
    table = pd.DataFrame(
        {"network": ["small_cnn-gap"], "method": ["gradcam++"], "head": ["sigmoid"], "pxap": [1.0], "gt_loc": [None]}
    )
    assert flat_values(table, ["pxap", "gt_loc"]) == {"gap_gradcam_plus_plus_sigmoid_pxap": 1.0}


def test_the_headline_prints_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_name: dict[str, dict[str, float]] = {}
    for i, (name, key, _) in enumerate(HEADLINE):
        by_name.setdefault(name, {})[key] = i + 0.5
    for name, values in by_name.items():
        save_values(tmp_path, name, values)
    print_headline(tmp_path)
    printed = capsys.readouterr().out
    assert all(f"{i}.50" in printed for i in range(len(HEADLINE)))
    assert "index.html" in printed
    (tmp_path / "summary" / "table2.json").unlink()
    with pytest.raises(SigcamError, match=r"table2\.json does not exist"):
        print_headline(tmp_path)
