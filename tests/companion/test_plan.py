"""The plan: passes as training and evaluation make them, networks as torch counts them, an error that is told."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from companion.matrix import PROFILES
from companion.plan import (
    COSTS,
    DATA_SETS,
    MINIATURE,
    Cost,
    DataSet,
    Observation,
    cost_of_classifier,
    cost_of_evaluation,
    cost_of_head,
    costs_of,
    fitted_speed,
    minutes_of,
    notes,
    observations,
    papers_gpu,
    print_plan,
)
from sigcam_core.backbones import build
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import write_json
from sigcam_core.dual.branch import DualBranch
from sigcam_core.evaluate.overhead import count_parameters
from sigcam_core.run import Extent, Run
from sigcam_core.train.recipes import CLASSIFIER_RECIPES, SIGMOID_RECIPES

DATA = DataSet(100, 10, 20)
PAPER = Run("cub", "vgg16", 0, Path("w"), "finetune", "paper", "paper-vgg16-cam")


@pytest.mark.parametrize("name", COSTS)
def test_networks_cost_what_torch_counts(name: str) -> None:
    with torch.device("meta"):
        network = build(name, 1000 if COSTS[name].parameters > 1 else 8)
        images = torch.zeros(1, 3, network.input_format.size, network.input_format.size)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(images)
    assert counter.get_total_flops() / 1e9 == pytest.approx(COSTS[name].gflop, rel=5e-3)
    assert count_parameters(network) / 1e6 == pytest.approx(COSTS[name].parameters, rel=1e-2, abs=5e-3)


@pytest.mark.parametrize("name", ["small_cnn", "small_cnn_mlp", "resnet50"])
def test_a_second_head_costs_what_it_has(name: str) -> None:
    dual = DualBranch.from_classifier(build(name, 1000 if name == "resnet50" else 8))
    assert count_parameters(dual.sigmoid_head) / 1e6 == pytest.approx(COSTS[name].head_parameters, rel=2e-2)


def test_passes_of_training_are_those_of_the_recipes() -> None:
    classifier, head = cost_of_classifier(PAPER, DATA), cost_of_head(PAPER, DATA)
    assert classifier.train_gflop == pytest.approx(10 * (3 * 100 + 10) * 32.54)
    assert head.train_gflop == pytest.approx((10 * 100 + 10) * 32.54)  # on the fly: a pass per epoch
    cached = cost_of_head(replace(PAPER, sigmoid_recipe=""), DATA)  # 20 epochs on one view
    assert SIGMOID_RECIPES["cached"].cached
    assert cached.train_gflop == pytest.approx((100 + 10) * 32.54)
    assert cached.disk - head.disk == pytest.approx(100 * 1024 * 2 / 1e9)
    assert (CLASSIFIER_RECIPES["paper"].epochs, SIGMOID_RECIPES["paper-vgg16-cam"].epochs) == (10, 10)


def test_passes_of_the_evaluation_are_one_and_one_a_map() -> None:
    maps = COSTS["vgg16"].maps
    plain = cost_of_evaluation(PAPER, DATA, Extent(False, 0))
    whole = cost_of_evaluation(PAPER, DATA, Extent(True, 0))
    perturbed = cost_of_evaluation(PAPER, DATA, Extent(True, 100, 10))  # of 20 images only 20 are perturbed
    assert plain.evaluate_gflop == pytest.approx(20 * 32.54)
    assert whole.evaluate_gflop == pytest.approx(20 * (1 + maps) * 32.54)
    assert perturbed.evaluate_gflop - whole.evaluate_gflop == pytest.approx(20 * 19 * maps * 32.54)
    assert plain.located == 20


def test_what_two_runs_share_is_counted_once() -> None:
    costs = costs_of(PROFILES["paper"])
    for cost in costs.values():
        assert (cost.classifiers, cost.heads, cost.evaluations) == (5, 6, 6)
    assert {(one.classifiers, one.heads) for one in costs_of(PROFILES["miniature"]).values()} == {(5, 5)}
    assert {(one.classifiers, one.heads) for one in costs_of(PROFILES["trial"]).values()} == {(2, 2)}
    assert sum(costs.values(), Cost()).classifiers == 20
    assert costs["imagenet"].train_gflop > 30 * costs["openimages"].train_gflop
    assert costs["imagenet"].evaluate_gflop < costs["imagenet"].train_gflop / 100


def test_a_scheduler_allows_twice_the_time() -> None:
    speed = fitted_speed([Observation("one", 1.0, 0, 1.0), Observation("two", 0.0, 100, 6.0)])
    assert minutes_of(Cost(train_gflop=20e3 * 600, located=1000), speed) == pytest.approx(30 + 2 * (10 + 1), abs=1)
    assert minutes_of(Cost(train_gflop=20e3 * 600), speed, devices=4) == 30 + 2 * 10 / 4


def test_every_data_set_of_a_profile_has_its_size() -> None:
    assert {name for profile in PROFILES.values() for name in profile.data_sets} == set(DATA_SETS)
    imagenet = DATA_SETS["imagenet"]
    assert (imagenet.train + imagenet.val, imagenet.test) == (1_281_167, 50_000)
    assert (DATA_SETS["cub"].train + DATA_SETS["cub"].val + DATA_SETS["cub"].test) == 11_788
    assert sum(DATA_SETS["stanford_cars"][:3]) == 8144
    assert sum(MINIATURE[:3]) < 10


def test_the_model_finds_the_speed_that_made_the_records() -> None:
    found = [
        Observation(str(gflop), gflop, located, gflop / 200 + located * 0.02)
        for gflop, located in [(10.0, 0), (5000.0, 1000), (100.0, 5000), (9e4, 10)]
    ]
    speed = fitted_speed(found)
    assert speed.gflop_per_second == pytest.approx(200, rel=0.06)
    assert speed.seconds_per_image == pytest.approx(0.02, rel=0.06)
    assert speed.worst < 1.06
    assert speed.seconds(5000, 1000) == pytest.approx(45, rel=0.06)


def test_the_error_that_is_told_is_that_of_the_records() -> None:
    found = observations()
    speed = fitted_speed(found)
    ratios = {one.name: one.seconds / speed.seconds(one.gflop, one.located) for one in found}
    assert speed.records == len(found) >= 8
    assert speed.worst == pytest.approx(max(max(ratio, 1 / ratio) for ratio in ratios.values()))
    assert ratios[speed.worst_name] in (pytest.approx(speed.worst), pytest.approx(1 / speed.worst))
    assert 1 < speed.typical < speed.worst < 10
    told = " ".join(notes(PROFILES["paper"], Path("w"), speed, 20.0))
    assert f"factor of {speed.typical:.1f} at the median and {speed.worst:.1f} at worst" in told
    assert "ASSUMPTION" in told
    assert "by hand: imagenet, openimages" in told


def test_what_is_prepared_needs_no_archive(tmp_path: Path) -> None:
    speed = fitted_speed([Observation("one", 1.0, 0, 1.0)])
    for name in ("imagenet", "openimages"):
        (tmp_path / "data" / name).mkdir(parents=True)
        write_json(tmp_path / "data" / name / "manifest.parquet", {})
    assert "by hand" not in " ".join(notes(PROFILES["paper"], tmp_path, speed, 20.0))
    assert "by hand" not in " ".join(notes(PROFILES["open"], Path("w"), speed, 20.0))


def test_the_papers_hours_are_what_its_table_says() -> None:
    implied = papers_gpu()
    assert set(implied) == {"vgg16", "resnet50", "inception_v3"}
    gflop = cost_of_classifier(replace(PAPER, dataset="imagenet"), DATA_SETS["imagenet"]).gflop
    assert implied["vgg16"] == pytest.approx(gflop / (17.67 * 3600) / 1000)


@pytest.mark.parametrize("name", PROFILES)
def test_a_plan_is_printed_for_every_profile(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(PROFILES[name], Path("w"))
    printed = capsys.readouterr().out
    assert f"Profile {name}" in printed
    assert all(dataset in printed for dataset in PROFILES[name].data_sets)


def test_twice_the_flops_are_half_the_hours(capsys: pytest.CaptureFixture[str]) -> None:
    hours = []
    for tflops in (10.0, 20.0):
        print_plan(PROFILES["paper"], Path("w"), tflops)
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("│ all"))
        hours.append(float(line.split("│")[3].replace(",", "")))
    assert hours[0] == pytest.approx(2 * hours[1], rel=0.02)


@pytest.mark.parametrize("tflops", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_gpu_gets_one_sentence(tflops: float) -> None:
    with pytest.raises(SigcamError, match=r"--gpu-tflops .* is out of range: give a positive number"):
        print_plan(PROFILES["paper"], Path("w"), tflops)


def test_without_records_there_is_no_plan(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match="has no records to fit a model of the time to"):
        observations(tmp_path)
