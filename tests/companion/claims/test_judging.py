"""Verdicts on made-up measurements: one number flips one, sides are turned, what is missing does not fail."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_claims import CONTROLS, made_up, write

from companion.claims.claims import Claim, load_claims
from companion.claims.judging import judge, judge_all, paper_changes, reference_of
from companion.claims.verdicts import WORDS
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import write_json
from sigcam_core.summarise.csv import write_csv

BY_ID = {claim.id: claim for claim in load_claims()}


def set_number(folder: Path, experiment: str, comparison: str, metric: str, value: float) -> None:
    path = folder / experiment / "differences.csv"
    table = pd.read_csv(path)
    is_it = (table["comparison"] == comparison) & (table["metric"] == metric)
    assert is_it.sum() == 1
    table.loc[is_it, ["difference", "low_all", "high_all"]] = [value, value - 1, value + 1]
    write_csv(path, table)


def test_one_number_flips_a_verdict(tmp_path: Path) -> None:
    write(tmp_path, made_up())
    claim = BY_ID["localises_better"]
    assert str(judge(claim, tmp_path).verdict) == "holds"
    cars = "controls-stanford_cars-efficientnet_lite0-probe"
    set_number(tmp_path, cars, "sigmoid_vs_softmax_truncated", "maxboxacc_v2", 0.5)
    under = "holds only under the paper's comparison, where the sigmoid head's weights alone are truncated"
    assert str(judge(claim, tmp_path).verdict) == under
    set_number(tmp_path, cars, "sigmoid_vs_softmax_truncated", "maxboxacc_v2", 1.5)
    assert str(judge(claim, tmp_path).verdict) == "holds"
    set_number(tmp_path, cars, "sigmoid_as_published", "gt_loc", -3.0)
    judged = judge(claim, tmp_path)
    assert judged.verdict.word == "holds only under"
    assert "not everywhere for GT-Loc" in judged.verdict.detail
    assert "8 for it and 1 against it, from -3 to +2" in judged.reason


def test_all_against_does_not_hold(tmp_path: Path) -> None:
    table = made_up()
    for columns in (["difference"], ["low_all", "high_all"]):
        table[columns] = -table[columns[::-1]].to_numpy()
    write(tmp_path, table)
    assert judge(BY_ID["more_faithful"], tmp_path).verdict.word == "does not hold"
    assert judge(BY_ID["truncation_softmax_helps"], tmp_path).verdict.word == "does not hold"


def test_intervals_are_the_simultaneous_ones(tmp_path: Path) -> None:
    table = made_up().assign(low_all=-9.0, high_all=9.0)  # while every single interval favours
    write(tmp_path, table)
    assert "undecided" in judge(BY_ID["truncation_softmax_helps"], tmp_path).verdict.detail


def test_one_data_set_is_not_enough(tmp_path: Path) -> None:
    two_of_one = [name for name in CONTROLS if "tiny_imagenet" in name]
    assert len(two_of_one) == 2
    write(tmp_path, made_up(), two_of_one)
    for name in ("localises_better", "centring_helps"):
        verdict = judge(BY_ID[name], tmp_path).verdict
        assert verdict.word == "not tested"
        assert "one data set only, Tiny-ImageNet" in verdict.detail
    write(tmp_path, made_up())
    assert "one data set only, shapes" in judge(BY_ID["pixels_better"], tmp_path).verdict.detail


def test_rows_that_are_not_told_apart_and_columns_that_lack_are_refused(tmp_path: Path) -> None:
    claim = BY_ID["truncation_softmax_helps"]
    with pytest.raises(SigcamError, match=r"has 2 rows of .*: name more columns"):
        judge(claim, write(tmp_path, pd.concat([made_up(), made_up()])))
    with pytest.raises(SigcamError, match="lacks column low_all"):
        judge(claim, write(tmp_path, made_up().drop(columns="low_all")))


def test_what_was_not_measured_is_told_and_does_not_fail(tmp_path: Path) -> None:
    judged = judge_all(tmp_path)
    for one in judged:
        assert one.verdict.word == ("holds" if one.claim.kind == "theorem" else "not tested")
        assert set(one.rows.get("decision", [])) <= {"missing"}
    localises = next(one for one in judged if one.claim.id == "localises_better")
    command = f"not measured yet: python -m companion publish {CONTROLS[1]} and 2 more"
    assert localises.verdict.detail == command


def test_a_measurement_without_its_record_or_number_does_not_count(tmp_path: Path) -> None:
    claim = BY_ID["centring_helps"]
    write(tmp_path, made_up().assign(difference=np.nan))
    assert set(judge(claim, tmp_path).rows["decision"]) == {"missing"}
    write(tmp_path, made_up())
    assert judge(claim, tmp_path).verdict.word == "holds"
    for name in CONTROLS:
        (tmp_path / name / "record.json").unlink()
    assert set(judge(claim, tmp_path).rows["decision"]) == {"missing"}


def test_verdicts_come_first_where_the_paper_is_right(tmp_path: Path) -> None:
    words = [one.verdict.word for one in judge_all(write(tmp_path, made_up()))]
    assert words == sorted(words, key=WORDS.index)
    assert len(set(words)) > 1


def gauge(tmp_path: Path, probe: float, other: float, by_sgd: float) -> str:
    claim = BY_ID["gauge_in_practice"]
    for test in claim.tests:
        folder = tmp_path / test.experiment
        if test.table == "gauge":
            write_csv(
                folder / "gauge.csv",
                pd.DataFrame([{"optimizer": "SGD", "start": "zero", "seed": 0, "gauge_energy": by_sgd}]),
            )
        write_json(folder / "record.json", {"gauge_energy": probe if test.role == "main" else other})
    return judge(claim, tmp_path).verdict.word


def test_gauge_energy_is_compared_with_that_of_independent_weights(tmp_path: Path) -> None:
    assert gauge(tmp_path, 0.2, 0.3, 0.1) == "holds"
    assert gauge(tmp_path, 0.2, 0.3, 0.006) == "holds only under"  # more than 1/C, less than 2/C
    assert gauge(tmp_path, 0.001, 0.3, 0.1) == "does not hold"
    chance = [reference_of(test) for test in BY_ID["gauge_in_practice"].tests]
    assert sorted(set(chance)) == [2 / 200, 2 / 196, 2 / 8]


def overhead(tmp_path: Path, ratio: float) -> str:
    networks = ("vgg16", "resnet50", "inception_v3")
    rows = [(name, "inference_time_with_cam", ratio if name == "vgg16" else 1.0) for name in networks]
    write_csv(tmp_path / "overhead" / "cpu.csv", pd.DataFrame(rows, columns=["network", "quantity", "ratio"]))
    write_json(tmp_path / "overhead" / "cpu.json", {})
    return str(judge(BY_ID["little_overhead"], tmp_path).verdict)


def test_overhead_is_compared_with_the_paper_s(tmp_path: Path) -> None:
    assert [round(reference_of(test), 2) for test in BY_ID["little_overhead"].tests] == [1.19, 1.18, 1.14]
    assert overhead(tmp_path, 101 / 84.7) == "holds"
    assert overhead(tmp_path, 102 / 84.7).endswith("on resnet50 and inception_v3, not on vgg16")


def test_official_freezing_bounds_what_holds_by_construction(tmp_path: Path) -> None:
    claim = BY_ID["accuracy_untouched"]
    for low, word in ((-5.0, "holds only under"), (-0.5, "holds")):
        for name in {test.experiment for test in claim.tests}:
            row = {"metric": "top1_cls", "method": "cam", "head": "softmax"} | {"difference": 0.0, "low": low}
            write_csv(tmp_path / name / "freezing.csv", pd.DataFrame([row | {"high": low + 1}]))
            write_json(tmp_path / name / "record.json", {})
        assert judge(claim, tmp_path).verdict.word == word


def changes(claim: Claim) -> list[float]:
    return sorted(paper_changes(claim).round(2))


def test_the_paper_s_own_cells_are_counted() -> None:
    # By hand, from the printed Table 1: Top-1 Loc falls for two of six pairs of rows, and Top-1 Cls never changes.
    assert changes(BY_ID["top1_localisation"]) == [-0.85, -0.8, 0.01, 1.75, 1.95, 7.64]
    assert set(changes(BY_ID["accuracy_untouched"])) == {0.0}
    assert changes(BY_ID["pixels_better"]) == [1.13, 1.4, 1.94]
    reason = judge(BY_ID["top1_localisation"], Path("nowhere")).reason
    assert "In the paper's own Table 1, 4 of 6 differences are as claimed." in reason
