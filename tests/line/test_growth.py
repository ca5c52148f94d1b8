"""Growth: laws are found again, limits are kept, hours on other machines follow from what is counted and assumed."""

import sys
from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.growth import MACHINES, Machine, Run, Training, hours_on, law_of, longest_training
from companion.chapters.further_speed import GROWTH, read_growth
from companion.plan import Cost, Speed
from sigcam_core.common.errors import SigcamError

SPEED = Speed(100.0, 0.02, 1.0, 1.0, "one", 1)
SHORT = Training("short", 1.0)
COST = Cost(train_gflop=1e9, evaluate_gflop=2e9, located=1_000_000)


def test_a_law_is_found_again_whatever_the_number_of_processes() -> None:
    runs = [Run(n, n, w, 20 + 0.5 * n / w, 30 + 0.4 * n) for n in (30, 300, 3000) for w in (1, 2)]
    for workers in (1, 2):
        law = law_of(runs, workers)
        assert law["fixed_seconds"] == pytest.approx(20)
        assert law["seconds_per_image"] == pytest.approx(0.5 / workers)
        assert law["fixed_processor_seconds"] == pytest.approx(30)
        assert law["processor_seconds_per_image"] == pytest.approx(0.4)


def test_no_more_images_are_measured_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "draw_images", lambda *_: None)
    monkeypatch.setattr(growth, "_run", lambda _, asked, images, workers: Run(asked, images, workers, images, images))
    runs = growth.measure([10, 100, 1000, 10_000], limit=400)  # a second an image
    assert [(run.asked, run.images, run.workers) for run in runs] == [
        (asked, images, workers) for workers in (1, 2) for asked, images in ((10, 10), (100, 100), (1000, 400))
    ]


def test_hours_on_a_gpu_are_the_longer_of_what_goes_side_by_side() -> None:
    machine = Machine("GPU", gpus=2, tflops=10.0, nodes=1, cores=2)
    hours = hours_on(machine, COST, SHORT, SPEED)
    assert hours["hours_of_passes"] == pytest.approx(3e9 / 20_000 / 3600)
    assert hours["hours_of_localisation"] == pytest.approx(20_000 / 3600)
    assert (hours["hours"], hours["bottleneck"]) == (hours["hours_of_passes"], "passes of the GPUs")
    few = hours_on(machine, Cost(evaluate_gflop=1.0, located=10), SHORT, SPEED)
    assert (few["hours"], few["bottleneck"]) == (few["hours_of_localisation"], "maps to localise")


def test_hours_without_a_gpu_are_the_sum_over_all_cores() -> None:
    hours = hours_on(Machine("cluster", gpus=0, tflops=0.0, nodes=10, cores=4), COST, SHORT, SPEED)
    assert hours["hours_of_passes"] == pytest.approx(3e9 / 100 / 20 / 3600)
    assert hours["hours"] == pytest.approx(hours["hours_of_passes"] + 20_000 / 20 / 3600)


def test_nothing_ends_before_the_longest_training() -> None:
    machine = Machine("GPUs", gpus=1000, tflops=10.0, nodes=1, cores=10_000)
    hours = hours_on(machine, COST, Training("the longest", 1e9), SPEED)
    assert hours["hours"] == hours["hours_of_longest_training"] == pytest.approx(1e9 / 10_000 / 3600)
    assert hours["bottleneck"] == "the longest"
    node = Machine("nodes", gpus=0, tflops=0.0, nodes=1000, cores=4)
    assert hours_on(node, COST, Training("x", 1e9), SPEED)["hours_of_longest_training"] == pytest.approx(
        1e9 / 200 / 3600
    )


def test_the_longest_training_is_of_the_largest_data_set() -> None:
    longest = longest_training()
    assert longest.name.endswith("on imagenet")
    assert longest.gflop > 0


def test_the_profile_costs_less_on_more_machines_and_says_what_is_assumed() -> None:
    costs = growth.costs_on_machines()
    one, eight, cluster = (machine["hours"] for machine in costs["machines"])
    assert one >= eight >= one / 8.001
    assert cluster > 0
    assert len(costs["machines"]) == len(MACHINES)
    assert any("assumed, not measured" in line for line in costs["assumptions"])


@pytest.mark.parametrize("options", [["--sizes", "0"], ["--minutes", "0"], ["--minutes", "nan"]])
def test_wrong_options_of_growth_are_refused(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.growth", *options])
    with pytest.raises(SigcamError, match="are out of range: give positive numbers"):
        growth.main()


def test_a_part_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SigcamError, match="an evaluation of 4 images by 1 processes failed"):
        growth._run(tmp_path, 4, 4, 1)


def test_published_costs_say_where_they_come_from_and_what_is_assumed() -> None:
    result = read_growth(GROWTH)
    assert "+" not in result["provenance"]["commit"]  # of a clean tree
    assert result["profile"]["gflop"] > result["profile"]["longest_training"]["gflop"] > 0
    for machine in result["profile"]["machines"]:
        assert machine["hours"] >= machine["hours_of_longest_training"] > 0
        assert machine["bottleneck"]
    assert any("assumed, not measured" in line for line in result["profile"]["assumptions"])
