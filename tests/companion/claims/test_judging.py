"""Both verdicts on made-up measurements: one number flips one, sides are turned, what is missing does not fail."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_claims import Interval, favourable, mark_of, write_claims

from companion.claims.claims import Claim, Test, load_claims
from companion.claims.judging import SIDES, UNCHECKED, judge, judge_all, letters, paper_agrees, paper_changes
from companion.claims.verdicts import WORDS

BY_ID = {claim.id: claim for claim in load_claims()}
CARS = "controls-stanford_cars-efficientnet_lite0-probe"
Number = Callable[[Test], Interval | None]


def but(change: Number) -> Number:
    """Favourable numbers, but where ``change`` gives another one."""
    return lambda test: change(test) or favourable(test)


def is_of(test: Test, **where: str) -> bool:
    return all(test.keys.get(name, "") == value for name, value in where.items())


def words(claim: Claim, folder: Path) -> tuple[str, str]:
    judged = judge(claim, folder)
    return judged.protocol.word, judged.control.word


@pytest.mark.parametrize("claim", BY_ID.values(), ids=list(BY_ID))
def test_every_claim_holds_by_favourable_numbers_from_two_data_sets(claim: Claim, tmp_path: Path) -> None:
    write_claims(tmp_path, [claim])
    expected = "not tested" if claim.id == "pixels_better" else "holds"  # masks are there for one data set
    assert words(claim, tmp_path) == (expected, expected)


def test_one_number_flips_its_own_verdict_alone(tmp_path: Path) -> None:
    claim = BY_ID["localises_better"]

    def equal_heads(test: Test) -> Interval | None:
        is_it = is_of(test, comparison="sigmoid_vs_softmax_truncated", metric="gt_loc") and test.experiment == CARS
        return (0.1, -0.2, 0.4) if is_it else None

    judged = judge(claim, write_claims(tmp_path / "control", [claim], number=but(equal_heads)))
    assert (judged.protocol.word, judged.control.word) == ("holds", "holds only under")
    assert "not everywhere for GT-Loc" in judged.control.detail

    def worse(test: Test) -> Interval | None:
        return (-3.0, -3.1, -2.9) if is_of(test, head="softmax sgd", metric="gt_loc") else None

    judged = judge(claim, write_claims(tmp_path / "protocol", [claim], number=but(worse)))
    assert (judged.protocol.word, judged.control.word) == ("holds only under", "holds")


def test_a_baseline_is_of_the_controls(tmp_path: Path) -> None:
    claim = BY_ID["localises_better"]

    def centre_wins(test: Test) -> Interval | None:
        return (-16.0, -16.5, -15.5) if is_of(test, comparison="centre_vs_sigmoid_truncated") else None

    judged = judge(claim, write_claims(tmp_path, [claim], number=but(centre_wins)))
    assert judged.protocol.word == "holds"
    assert judged.control.detail == "comparison with maps that look at the image, not with one centred square"


def test_sides_are_turned_with_the_numbers(tmp_path: Path) -> None:
    def turned(test: Test) -> Interval | None:
        value, low, high = favourable(test)
        return None if test.table in ("record", "gauge") else (-value, -high, -low)

    for name in ("more_faithful", "truncation_softmax_helps"):
        folder = write_claims(tmp_path / name, [BY_ID[name]], number=turned)
        assert words(BY_ID[name], folder) == ("does not hold", "does not hold")


def test_numbers_too_small_to_matter_are_equivalent(tmp_path: Path) -> None:
    def tiny(test: Test) -> Interval | None:
        return (0.3, 0.2, 0.4) if test.table == "differences" else favourable(test)

    write_claims(tmp_path, number=tiny)
    assert words(BY_ID["truncation_costs_specificity"], tmp_path) == ("equivalent", "equivalent")


def test_one_family_over_all_data_sets_of_a_claim(tmp_path: Path) -> None:
    """Ten numbers with an interval that one would favour by, and that a family of ten makes too wide."""
    claim = BY_ID["truncation_helps"]

    def narrow(test: Test) -> Interval | None:
        value = 2.0 + 0.01 * mark_of(test)
        return (value, value - 1.9, value + 1.9)

    judged = judge(claim, write_claims(tmp_path, [claim], number=narrow))
    assert set(judged.rows["family"]) == {12}
    assert (judged.rows["high"] - judged.rows["value"]).round(3).nunique() == 1
    assert judged.rows["low"].max() < 0
    assert judged.protocol.word == "undecided"
    fewer = replace(claim, tests=tuple(test for test in claim.tests if is_of(test, metric="maxboxacc_v2"))[:2])
    one_family = judge(fewer, tmp_path)
    assert set(one_family.rows["family"]) == {2}
    assert one_family.rows["low"].min() > judged.rows["low"].max()


def test_decisions_at_the_edge_need_ten_thousand_draws(tmp_path: Path) -> None:
    whole = BY_ID["truncation_costs_specificity"]
    claim = replace(whole, tests=whole.tests[:12])

    def at_the_edge(test: Test) -> Interval | None:
        value = -3 - 0.01 * mark_of(test)
        return (value, value - 1, value + 2.036)  # in a family of 12, to about -0.02

    few = judge(claim, write_claims(tmp_path / "few", [claim], number=at_the_edge, resamples=1000))
    many = judge(claim, write_claims(tmp_path / "many", [claim], number=at_the_edge))
    low_side = few.rows["high"]
    assert -0.05 < low_side.min() <= low_side.max() < 0
    assert few.rows["edge"].all()
    assert many.rows["edge"].all()
    assert (few.protocol.word, many.protocol.word) == ("undecided", "holds")


def test_a_number_counts_once_in_each_verdict(tmp_path: Path) -> None:
    """XGrad-CAM has Grad-CAM's numbers, and counts with it."""

    def of_gradcam(test: Test) -> Interval | None:
        is_it = test.where.get("method") == "xgradcam"
        return favourable(replace(test, where={**test.where, "method": "gradcam"})) if is_it else None

    claim = BY_ID["cam_variants"]
    judged = judge(claim, write_claims(tmp_path, [claim], number=but(of_gradcam)))
    repeated = judged.rows[judged.rows["same"] > 0]
    assert set(repeated["measured"]) == {"MaxBoxAccV2 of XGrad-CAM"}
    assert len(repeated) == 3
    for row in repeated.to_dict("records"):
        assert judged.rows.iloc[row["same"] - 1]["measured"] == "MaxBoxAccV2 of Grad-CAM"
        assert judged.rows.iloc[row["same"] - 1]["where"] == row["where"]
        assert row["why"] == "On a linear head XGrad-CAM is Grad-CAM."
        assert row["theorem"] == "cam_family#thm-coincide"
    assert letters(judged.rows, "protocol").count("=") == 3
    assert set(judged.rows["family"]) == {len(judged.rows) - 3}


def test_most_counts_distinct_numbers(tmp_path: Path) -> None:
    """Three of five names favour, but two of these are one number: two of four is no majority."""
    claim = BY_ID["cam_variants"]

    def as_measured(test: Test) -> Interval | None:
        method = str(test.where.get("method", ""))
        if method in ("cam", "gradcam", "xgradcam"):
            value = 4.0 if method == "cam" else 5.0
            return value, value - 0.1, value + 0.1
        return 0.2, 0.1 + 1e-3 * len(method), 0.3

    write_claims(tmp_path, [claim], number=as_measured)
    assert judge(claim, tmp_path).protocol.word == "does not hold"


def test_independent_data_sets_are_counted_by_images(tmp_path: Path) -> None:
    judged = judge(BY_ID["localises_better"], write_claims(tmp_path))
    assert judged.sources == {
        "protocol": ["Stanford Cars", "Tiny-ImageNet"],
        "control": ["Stanford Cars", "Tiny-ImageNet"],
    }
    wide = judge(BY_ID["localises_better"], write_claims(tmp_path / "wide", number=lambda _: (0.5, -9.0, 9.0)))
    assert wide.sources == {"protocol": [], "control": []}


def test_two_heads_on_the_same_images_are_one_data_set(tmp_path: Path) -> None:
    on_tiny = write_claims(tmp_path, number=lambda test: favourable(test) if "tiny" in test.experiment else None)
    judged = judge(BY_ID["localises_better"], on_tiny)
    assert judged.protocol.word == judged.control.word == "not tested"
    assert "one data set only, Tiny-ImageNet" in judged.protocol.detail


def test_what_was_not_measured_is_told_and_does_not_fail(tmp_path: Path) -> None:
    for one in judge_all(tmp_path):
        assert {one.protocol.word, one.control.word} == ({"holds"} if one.claim.kind == "theorem" else {"not tested"})
        assert set(one.rows.get("decision", [])) <= {"missing"}
        assert set(one.conditions.values()) == {""}
    localises = judge(BY_ID["localises_better"], tmp_path)
    assert localises.control.detail == f"not measured yet: python -m companion publish {CARS} and 7 more"


def test_a_condition_is_shown_for_the_decisions_that_it_was_checked_for(tmp_path: Path) -> None:
    claim = BY_ID["truncation_costs_specificity"]
    write_claims(tmp_path, [claim])
    checked = replace(claim, conditions={"protocol": "on both"}, checked={"protocol": "ffffff"})
    assert judge(checked, tmp_path).conditions == {"protocol": "on both", "control": ""}
    stale = replace(checked, checked={"protocol": "fffffe"})
    assert judge(stale, tmp_path).conditions == {"protocol": UNCHECKED, "control": ""}


def test_verdicts_come_first_where_the_paper_is_right() -> None:
    judged = judge_all(Path("results"))
    order = [(WORDS.index(one.protocol.word), WORDS.index(one.control.word)) for one in judged]
    assert order == sorted(order)
    assert len(set(order)) > 2


def test_rows_name_all_evidence_and_the_protocol_s_come_first(tmp_path: Path) -> None:
    for one in judge_all(write_claims(tmp_path)):
        assert len(one.rows) == len(one.claim.tests)
        roles = list(one.rows.get("role", []))
        assert roles[: roles.count("protocol")] == ["protocol"] * roles.count("protocol")
        assert "".join(letters(one.rows, side) for side in SIDES) == letters(one.rows, "protocol") + letters(
            one.rows, "control"
        )


def gauge(tmp_path: Path, by_sgd: float, by_adamw: float) -> tuple[str, str]:
    claim = BY_ID["gauge_in_practice"]

    def energy(test: Test) -> Interval:
        value = by_sgd if test.role == "protocol" else by_adamw
        return value, value, value

    return words(claim, write_claims(tmp_path, [claim], number=energy))


def test_gauge_energy_is_compared_with_that_of_independent_weights(tmp_path: Path) -> None:
    chance = {test.reference for test in BY_ID["gauge_in_practice"].tests}
    assert chance == {2 / 200, 2 / 196, 2 / 8}
    assert gauge(tmp_path / "more", 0.011, 0.3) == ("holds", "holds")
    assert gauge(tmp_path / "less", 0.006, 0.3) == ("does not hold", "holds")  # more than 1/C, less than 2/C
    assert gauge(tmp_path / "some", 0.006, 0.2)[1] == "holds only under"  # 0.2 is below 2/8


def overhead(tmp_path: Path, high: float) -> str:
    claim = BY_ID["little_overhead"]

    def ratio(test: Test) -> Interval:
        return (1.01, 0.99, high) if test.where["network"] == "vgg16" else (1.01, 1.0, 1.02)

    return str(judge(claim, write_claims(tmp_path, [claim], number=ratio)).protocol)


def test_overhead_is_judged_by_the_whole_interval_against_five_percent(tmp_path: Path) -> None:
    assert {test.reference for test in BY_ID["little_overhead"].tests} == {5.0}
    assert overhead(tmp_path / "within", 1.03) == "holds"
    assert overhead(tmp_path / "beyond", 1.07).endswith("on resnet50 and inception_v3, not on vgg16")


def test_official_freezing_bounds_what_holds_by_construction(tmp_path: Path) -> None:
    claim = BY_ID["accuracy_untouched"]
    for change, word in ((-5.0, "holds only under"), (-0.1, "holds"), (0.0, "holds")):
        folder = write_claims(tmp_path / str(change), [claim], lambda _, c=change: (c, c - 0.1, c + 0.1))  # type: ignore[misc]
        assert judge(claim, folder).protocol.word == word


def changes(claim: Claim) -> list[float]:
    return sorted(paper_changes(claim).round(2))


def test_the_paper_s_own_cells_are_counted() -> None:
    # By hand, from the printed Table 1: Top-1 Loc falls for two of six pairs of rows, and Top-1 Cls never changes.
    assert changes(BY_ID["top1_localisation"]) == [-0.85, -0.8, 0.01, 1.75, 1.95, 7.64]
    assert set(changes(BY_ID["accuracy_untouched"])) == {0.0}
    assert changes(BY_ID["pixels_better"]) == [1.13, 1.4, 1.94]
    assert paper_agrees(BY_ID["top1_localisation"]) == (4, 6)
    # From the printed Table 3: 101.2 ms for 84.7, 138.4 for 117.4 and 123.4 for 108.1 are 14 to 19 % more.
    assert changes(BY_ID["little_overhead"]) == [14.15, 17.89, 19.48]
    assert paper_agrees(BY_ID["little_overhead"]) == (0, 3)


def test_tables_of_what_was_measured_are_read(tmp_path: Path) -> None:
    """The committed results answer; a row that appears twice or is missing would be refused or told."""
    localises = judge(BY_ID["localises_better"], Path("results"))
    row = localises.rows.iloc[0]
    table = pd.read_csv(Path("results") / CARS / "gains.csv")
    found = table[(table["head"] == "softmax sgd") & (table["gain"] == "sigmoid") & (table["metric"] == "maxboxacc_v2")]
    assert row["value"] == pytest.approx(found["difference"].item())
    assert row["low"] < found["low"].item()
    measured = localises.rows[localises.rows["decision"] != "missing"]
    assert len(measured) > 30
    assert np.isfinite(measured[["value", "low", "high"]].to_numpy(float)).all()
