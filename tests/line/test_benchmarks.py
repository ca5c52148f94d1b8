"""Every benchmark runs, compares equal things, and says so; the page shows what was measured and nothing else.

How fast anything is, is no test: it depends on what else the machine does.
"""

import copy
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import NETWORKS, calibrate

from benchmarks import __main__ as command
from benchmarks import head_training
from benchmarks.case import Case, make_case
from benchmarks.fidelity import measure_fidelity
from benchmarks.localization import measure_localization
from benchmarks.maps import measure_maps
from benchmarks.memory import peak_mebibytes
from benchmarks.timing import ForwardPass, Pairs, Row, side_by_side
from benchmarks.training import measure_training
from companion.chapters.speed import (
    NOT_MEASURED,
    head_training_table,
    peak_memories,
    read_benchmarks,
    read_head_training,
    sources,
    speed_figure,
    speed_table,
    speed_values,
    written_speeds,
)
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import write_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def case() -> Case:
    torch.manual_seed(0)
    model = NETWORKS["resnet10"]()
    calibrate(model, torch.randn(16, 3, 64, 64))
    return make_case(model.eval(), "ResNet-10", batch_size=4, size=64, device=torch.device("cpu"))


def test_maps_are_measured_against_three_libraries_and_equal_theirs(case: Case) -> None:
    rows = measure_maps(case, repeats=1)
    assert [row.peer for row in rows] == ["one forward pass", "grad-cam", "torchcam", "captum"]
    assert [row.max_difference is None for row in rows] == [True, False, False, False]
    assert all(row.max_difference < 1e-4 for row in rows[1:])
    assert not any(parameter.requires_grad for parameter in case.dual.backbone.parameters())


def test_fidelity_is_measured_and_equals_the_libraries(case: Case) -> None:
    rows = measure_fidelity(case, repeats=1)
    assert len(rows) == 3
    assert all(row.max_difference < 1e-5 for row in rows[1:])


def test_localisation_is_measured_and_equals_the_plain_way(case: Case) -> None:
    rows = measure_localization(num_maps=2, repeats=1, forward=case.forward)
    assert len({row.task for row in rows}) == len(rows) >= 5
    assert all(row.unit == "map" and row.speed_up > 0 for row in rows)
    assert all(row.max_difference < 1e-12 for row in rows if row.max_difference is not None)


def test_the_memory_of_an_evaluation_does_not_grow_with_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")  # with one for each thread, runs of one size differ by up to 80 MiB
    # Both are more than one shard, which is all that an evaluation holds. On a busy machine its threads now and then
    # overlap as they do not usually, which adds to one peak; what grows with the images adds to every one.
    few = min(peak_mebibytes(2100) for _ in range(2))
    assert few > 100
    assert any(peak_mebibytes(7500) - few < 100 for _ in range(3))  # MiB; the images alone, decoded, would be 149


def test_training_is_measured_and_equals_that_on_the_fly(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Pairs] = []

    def noted(*arguments: Any) -> Pairs:
        measured.append(side_by_side(*arguments))
        return measured[-1]

    monkeypatch.setattr("benchmarks.training.BACKBONE", "small_cnn")
    monkeypatch.setattr("benchmarks.training.side_by_side", noted)
    cached, on_the_fly = measure_training(torch.device("cpu"), repeats=1, num_images=16)
    assert (cached.peer, cached.goal, cached.max_difference) == ("one forward pass", 1 / 1.2, None)
    assert on_the_fly.peer == "a forward pass per epoch"
    assert on_the_fly.max_difference < 1e-4
    assert [16 * row.seconds for row in (cached, on_the_fly)] == pytest.approx([pairs.ours for pairs in measured])
    assert all(row.unit == "image" and row.speed_up > 0 for row in (cached, on_the_fly))


def test_every_training_measures_with_features_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    monkeypatch.setattr("benchmarks.training.BACKBONE", "small_cnn")
    monkeypatch.setattr("benchmarks.training.train_head", lambda *arguments, **_: folders.append(arguments[4]))
    measure_training(torch.device("cpu"), repeats=2, num_images=8)
    assert len(set(folders)) == len(folders) == 3 + 2 * 2


def test_a_head_of_imagenets_size_is_measured_on_few_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_training, "FEATURES", 32)  # 2,048 take seconds
    result = head_training.measure(tmp_path, "cpu", 5000, 1)
    assert (result["images"], result["features"], result["classes"], result["epochs"]) == (5000, 32, 1000, 1)
    assert result["seconds"] == result["seconds_per_epoch"] > 0
    assert result["seconds_per_epoch_of_products_alone"] > 0
    assert 5000 * 32 * 2 < 1e9 * result["cache_gigabytes"] < 5000 * 32 * 2 + 1000


def test_the_training_of_a_head_is_written_with_its_provenance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row("training", "here", "peer", 1.0, 2.0, "image", 1.1, 2.2, 2.0, 0.8, None)
    monkeypatch.setattr(head_training, "measure_training", lambda *_: [row, row])
    monkeypatch.setattr(head_training, "FEATURES", 32)
    path = tmp_path / "head" / "cpu.json"
    options = ["--device", "cpu", "--images", "500", "--epochs", "1", "--folder", str(tmp_path), "--output", str(path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks.head_training", *options])
    head_training.main()
    result = json.loads(path.read_text())
    assert result["rows"] == [asdict(row)] * 2
    assert result["imagenet"]["images"] == 500
    assert {"device", "commit", "versions", "seed", "threads", "environment"} <= result["provenance"].keys()
    assert [entry.name for entry in tmp_path.iterdir()] == ["head"]  # the cache is gone
    table = head_training_table(read_head_training(tmp_path))
    assert table["CPU"].tolist()[:2] == ["0.50", "2.0"]
    assert table["GPU"].tolist() == [NOT_MEASURED] * 4


def test_synthetic_features_are_like_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_training, "ROWS_AT_A_TIME", 100)
    cache = head_training.synthetic_cache(tmp_path, 250)
    inputs = cache.open(0)
    assert (inputs.shape, inputs.dtype) == ((250, 2048), torch.float16)
    assert (cache.labels.shape, cache.labels.dtype) == ((250,), torch.int64)
    assert 0 <= cache.labels.min() < cache.labels.max() < 1000
    assert inputs.min() >= 0
    assert inputs.float().mean().item() == pytest.approx(np.sqrt(2 / np.pi), abs=0.01)  # of half a normal
    assert len(inputs.unique(dim=0)) == 250


def test_a_cache_that_the_disk_has_no_room_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000 * 2 * 2048))
    with pytest.raises(SigcamError, match=r"has no room for 4\.1 GB: name another folder with --folder"):
        head_training.synthetic_cache(tmp_path, 1_000_000)
    assert not list(tmp_path.iterdir())
    head_training.synthetic_cache(tmp_path, 100)


def test_pairs_take_turns_after_a_turn_that_does_not_count() -> None:
    calls: list[str] = []
    forward = ForwardPass(lambda: calls.append("pass"), 2, torch.device("cpu"))
    pairs = side_by_side(lambda: calls.append("ours"), lambda: calls.append("peer"), 2, forward)
    assert calls == ["ours", "peer", "peer", "ours", "pass", "ours", "peer", "pass"]
    assert pairs.ours > 0
    row = Pairs(2.0, 6.0, 20.0, 60.0, 3.5, (None, None)).row("task", "setting", "peer", 4, goal=3.0)
    assert (row.seconds, row.peer_seconds, row.passes, row.peer_passes) == (0.5, 1.5, 5.0, 15.0)
    assert (row.speed_up, row.is_met) == (3.5, True)
    with pytest.raises(SigcamError, match="at least 1 pair of runs, not 0"):
        side_by_side(list, list, 0, forward)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--device", "tpu"], "unknown device 'tpu': choose cpu or cuda"),
        (["--repeats", "0"], "--repeats 0 and --batch-size 16 must be at least 1"),
        (["--fast"], "unrecognized arguments: --fast: see `python -m benchmarks --help`"),
    ],
)
def test_wrong_options_are_refused(options: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options])
    with pytest.raises(SigcamError, match=sentence):
        command.main()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--device", "tpu"], "unknown device 'tpu': choose cpu or cuda"),
        (["--images", "0"], "--images 0, --epochs 10 and --repeats 5 must be at least 1"),
        (["--epochs", "-1", "--images", "5"], "--images 5, --epochs -1 and --repeats 5 must be at least 1"),
    ],
)
def test_wrong_options_of_the_large_head_are_refused(
    options: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.head_training", *options])
    with pytest.raises(SigcamError, match=sentence):
        head_training.main()


# What was measured


def published() -> dict[str, Any]:
    return json.loads((ROOT / "results" / "benchmarks" / "cpu.json").read_text())


def test_published_results_are_complete_and_say_where_they_come_from() -> None:
    result = published()
    rows = [Row(**row) for row in result["rows"]]
    assert sum(row.goal is not None for row in rows) >= 6
    assert {"grad-cam", "torchcam", "captum", "np.histogram", "OpenCV at each threshold"} <= {row.peer for row in rows}
    assert {"device", "commit", "versions", "date", "peers", "threads", "environment"} <= result["provenance"].keys()
    assert "+" not in result["provenance"]["commit"]  # of a clean tree
    peaks = result["peak_memory_mebibytes"]
    assert peaks["10000"] < 1.05 * peaks["1000"]


def test_the_table_shows_each_device_and_says_what_was_not_measured(tmp_path: Path) -> None:
    result = published()
    write_json(tmp_path / "cpu.json", result)
    table = speed_table(read_benchmarks(tmp_path))
    assert len(table) == len(result["rows"])
    assert table.loc[0, "CPU"] == f"{result['rows'][0]['speed_up']:.2f} ×"
    assert (table["GPU"] == NOT_MEASURED).all()

    on_gpu = copy.deepcopy(result)
    on_gpu["rows"] = [{**on_gpu["rows"][1], "speed_up": 123.0}]
    write_json(tmp_path / "cuda.json", on_gpu)
    table = speed_table(read_benchmarks(tmp_path))
    assert table["GPU"].tolist()[:3] == [NOT_MEASURED, "123.00 ×", NOT_MEASURED]
    assert len(table) == len(result["rows"])


def test_a_page_writes_differences_with_one_digit_and_says_what_is_faster() -> None:
    table = speed_table({"cpu": published()}).head(3).assign(difference=[0.0, 1.26e-7, None])
    shown = written_speeds(table)
    assert shown["difference"].tolist()[:2] == ["0", "1e-07"]
    assert shown["difference"].isna().tolist() == [False, False, True]
    assert shown["times faster, CPU"].tolist() == table["CPU"].tolist()
    assert {"CPU", "GPU"}.isdisjoint(shown.columns)


def test_the_prose_has_a_name_for_every_pair_and_each_device_a_source() -> None:
    result = published()
    values = speed_values({"cpu": result, "cuda": result})
    assert len(values) == 2 * len(result["rows"])
    row = result["rows"][0] | {"task": "Ten maps", "setting": "32 × 224", "peer": "grad-cam", "speed_up": 7.0}
    assert speed_values({"cpu": result | {"rows": [row]}}) == {"cpu_ten_maps_32_224_grad_cam": 7.0}
    record = result["provenance"]
    first, *versions = sources({"cpu": result}).splitlines()
    assert first == f"cpu: {record['device']}, {record['date']}, commit {record['commit'][:12]}"
    assert f"torch {record['versions']['torch']}" in " ".join(versions)
    assert max(map(len, versions)) <= 70


def test_peak_memory_is_told_where_it_was_measured() -> None:
    peaks = {"1000": 832.4, "10000": 1870.1}
    results = {"cpu": {"peak_memory_mebibytes": peaks}, "cuda": {"peak_memory_mebibytes": {}}}
    assert peak_memories(results) == ["CPU: 832 MiB at 1,000 images, 1,870 MiB at 10,000 images"]


def test_the_figure_draws_a_pair_of_marks_a_row() -> None:
    result = published()
    (ax,) = speed_figure(result).axes
    assert len(ax.get_yticklabels()) == len(result["rows"])
    drawn = {round(float(line.get_xdata()[0]), 9) for line in ax.lines if len(line.get_xdata()) == 1}
    assert {round(row[key], 9) for row in result["rows"] for key in ("passes", "peer_passes")} <= drawn


def test_missing_and_broken_results_get_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match=r"there are no benchmark results in .*: run `make bench` first"):
        read_benchmarks(tmp_path)
    write_json(tmp_path / "cpu.json", [1])
    with pytest.raises(SigcamError, match=r"cpu\.json is not a benchmark result: delete it"):
        read_benchmarks(tmp_path)
