"""Table 3 of the paper's networks is measured on each of them, and says how."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from companion.studies import overhead
from sigcam_core.common.files import read_json


def test_overhead_is_measured_on_every_network_and_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[str, int]] = []
    small = overhead.build

    def build(name: str, num_classes: int) -> torch.nn.Module:
        built.append((name, num_classes))
        return small("small_cnn", num_classes)

    monkeypatch.setattr(overhead, "build", build)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    overhead.publish_overhead(tmp_path, lambda _: None, batch_size=2, repeats=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cpu.csv", "cpu.json", "cpu_head_training.csv"]
    networks = ["vgg16", "resnet50", "inception_v3"]
    assert built == [(name, 1000) for name in networks]
    rows = pd.read_csv(tmp_path / "cpu.csv")
    assert rows.columns.tolist() == ["network", "quantity", "unit", "baseline", "dual_branch", "ratio", "low", "high"]
    assert rows["network"].tolist() == [name for name in networks for _ in range(2)]
    assert (rows["low"] <= rows["ratio"]).all()
    assert (rows["ratio"] <= rows["high"]).all()
    parameters = rows[rows["quantity"] == "parameters"]
    assert parameters["low"].tolist() == parameters["ratio"].tolist() == parameters["high"].tolist()
    head = sum(parameter.numel() for parameter in small("small_cnn", 1000).classifier.parameters())
    assert 1e6 * (parameters["dual_branch"] - parameters["baseline"]).to_numpy() == pytest.approx(head)
    training = pd.read_csv(tmp_path / "cpu_head_training.csv")
    assert training["network"].tolist() == networks
    assert (training.drop(columns="network") > 0).all(axis=None)
    record = read_json(tmp_path / "cpu.json")
    assert (record["batch_size"], record["repeats"], record["epochs"]) == (2, 1, 10)
    assert record["resamples"] == 10_000
    assert {"device", "commit", "versions", "date", "threads", "weights"} <= record.keys()


def test_the_interval_is_of_the_paired_ratios() -> None:
    row = {"quantity": "inference_time_with_cam", "ratio": 1.02}
    ratios = [1.02 + 0.001 * number for number in range(-15, 16)]
    ends = overhead.with_ends(row, {"inference_ratios": ratios})
    # By the binomial distribution, the median of 31 lies between the 10th and the 22nd of them in 97 % of samples.
    assert 1.02 - 0.007 < ends["low"] < 1.02 - 0.003
    assert 1.02 + 0.003 < ends["high"] < 1.02 + 0.007
    disturbed = overhead.with_ends(row, {"inference_ratios": [*ratios[:-1], 9.0]})
    assert disturbed["high"] < 1.03  # one pair in which the machine did something else does not count
