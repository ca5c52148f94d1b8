"""The sentence that opens a page turns when its numbers do."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from companion.chapters import (
    coverage,
    explorer,
    orbit,
    panels,
    real_images,
    speed,
    table1,
    table2,
    table3,
    training,
    what_maps_know,
)
from companion.claims import page
from companion.controls.names import CENTRE, NO_HEAD
from companion.paper.tables import paper_table
from companion.show import notebook, sentences
from companion.show.results import Measured

UP, DOWN, BOTH = (1.0, 2.0), (-2.0, -1.0), (-1.0, 1.0)


def differences(metric: str, *intervals: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame([(metric, *ends) for ends in intervals], columns=["metric", "low", "high"])


def test_heads_agree_or_do_not() -> None:
    values = {"max_probability_difference": 1e-16, "map_correlation_after_collapse": -1.0, "num_classes": 1000}
    sentence = orbit.invariance_sentence(values)
    assert "Five heads agree on all 1,000 probabilities" in sentence
    assert "one of which is the negative" in sentence
    turned = orbit.invariance_sentence(
        values | {"max_probability_difference": 0.1, "map_correlation_after_collapse": 0.9}
    )
    assert "do not agree" in turned
    assert "is not the negative" in turned


@pytest.mark.parametrize(
    ("sigmoid", "way"), [((99.0, 98.0), "better"), ((80.0, 79.0), "worse"), ((99.0, 79.0), "now better, now worse")]
)
def test_the_second_head_classifies_as_it_does(sigmoid: tuple[float, float], way: str) -> None:
    names = ["network", "softmax branch, test Top-1 (%)", "sigmoid branch, test Top-1 (%)"]
    table = pd.DataFrame(zip(["small_cnn-gap", "small_cnn-mlp"], [90.0, 90.0], sigmoid, strict=True), columns=names)
    sentence = training.training_sentence(table, 100)
    assert f"classifies {way} than softmax" in sentence
    assert f"by at most {max(abs(value - 90) for value in sigmoid):.0f} of 100 test images" in sentence


def test_better_and_worse_trade_places_where_lower_is_better() -> None:
    table = differences("average_drop", UP, UP, DOWN, BOTH)
    assert sentences.sides(table, "average_drop") == (2, 1, 1)
    assert sentences.sides(table, "average_drop", lower_is_better=True) == (1, 2, 1)
    nothing = pd.concat([table, differences("average_drop", (float("nan"), float("nan")))])
    assert sentences.sides(nothing, "average_drop") == (2, 1, 1)


def test_localisation_counts_sides_and_sets_them_beside_the_centre() -> None:
    table = pd.DataFrame(
        [("cam", "softmax", 60.0), ("cam", "sigmoid", 70.0), (CENTRE, NO_HEAD, 50.0), ("class-free", "softmax", 1.0)],
        columns=["method", "head", "maxboxacc_v2"],
    )
    sentence = table1.localization_sentence(differences("maxboxacc_v2", UP, DOWN, BOTH, BOTH), table, ["stanford_cars"])
    assert sentence.startswith("On Stanford Cars, MaxBoxAccV2 of the sigmoid head's map is higher than softmax's in 1")
    assert "lower in 1 and not distinguishable in 2 of 4 rows" in sentence
    assert "has 50.0 %, below them all." in sentence
    table.loc[table["method"] == CENTRE, "maxboxacc_v2"] = 65.0
    assert "above some of them" in table1.localization_sentence(differences("maxboxacc_v2", UP), table, ["shapes"])
    assert "lower in 1 of 1 rows" in table1.localization_sentence(differences("maxboxacc_v2", DOWN), table, ["shapes"])


def test_fidelity_turns_with_the_sign_of_the_drop() -> None:
    for drop, keep, words in (
        (DOWN, UP, ("better in 1", "more of the image")),
        (UP, DOWN, ("worse in 1", "less in 1")),
    ):
        table = pd.concat([differences("average_drop", drop), differences("coverage", keep)])
        sentence = table2.fidelity_sentence(table, "softmax")
        assert all(word in sentence for word in words)


def test_coverage_and_equal_coverage_are_told_with_their_signs() -> None:
    table = pd.DataFrame({"network": "vgg16", "coverage": [1.0, 2.0, 3.0], "average_drop": [30.0, 20.0, 10.0]})
    assert "-1.00 (VGG-16)" in coverage.trend_sentence(table)
    assert "+1.00 (VGG-16)" in coverage.trend_sentence(table.assign(average_drop=[1.0, 2.0, 3.0]))
    equal = pd.DataFrame({"head": ["softmax", "sigmoid"], "keep 10 %": [50.0, 45.0], "keep 50 %": [20.0, 21.0]})
    assert "-5.0 points where maps keep 10 % and +1.0 points where maps keep 50 %" in coverage.equal_coverage_sentence(
        equal
    )


@pytest.mark.parametrize(
    ("ratios", "word"), [((1.15, 1.17), "inside"), ((1.0, 1.15), "partly inside"), ((1.0, 1.0), "outside")]
)
def test_times_lie_where_they_lie_beside_the_papers(ratios: tuple[float, float], word: str) -> None:
    rows = [("inference_time_with_cam", ratio) for ratio in ratios] + [("parameters", 1.05), ("parameters", 1.05)]
    sentence = table3.overhead_sentence(
        pd.DataFrame(rows, columns=["quantity", "ratio"]), paper_table("table3_overhead")
    )
    assert f"the times are {word} the range that the paper prints for its networks, 1.14 to 1.19" in sentence
    assert "parameters are 1.05 times as many" in sentence


def test_pictures_are_told_by_what_they_show() -> None:
    assert "3 of 5 (CAM, softmax) and 4 of 5" in panels.boxes_sentence({"CAM, softmax": (3, 5), "CAM, sigmoid": (4, 5)})
    scores = pd.DataFrame({"head": ["softmax", "sigmoid"], "before": [0.8, 0.8], "after": [0.2, 0.5]})
    assert "which keeps more of it than softmax does" in panels.explained_sentence(scores)
    assert "less of it than" in panels.explained_sentence(scores.assign(after=[0.5, 0.2]))
    still, moved = {"softmax": 0.7, "sigmoid": 0.9}, {"softmax": 0.7, "sigmoid": 0.1}
    assert "stays at 0.700" in explorer.shift_sentence("cat", still, moved, 1)
    assert "moves from 0.700 to 0.300" in explorer.shift_sentence("cat", still, moved | {"softmax": 0.3}, 1)


def test_likeness_is_told_map_by_map() -> None:
    sentence = panels.likeness_sentence({"CAM, softmax": 0.614, "Layer-CAM, softmax": 0.95}, 7)
    assert "On these 7 photos" in sentence
    assert "0.61 with CAM, softmax and 0.95 with Layer-CAM, softmax." in sentence


def test_a_goal_that_is_missed_is_named() -> None:
    rows = [
        {"task": "maps", "peer": "x", "speed_up": 5.0, "goal": 2.0},
        {"task": "b", "peer": "y", "speed_up": 9.0, "goal": None},
    ]
    head = [{"task": "head", "peer": "z", "speed_up": 0.5, "goal": 0.8}]
    assert speed.speed_sentence(rows).startswith(
        "1 of 1 goals of speed are met; the largest gain is 9 times (b, against y)"
    )
    assert "missed: head, 0.5 times where 0.8 was aimed at" in speed.speed_sentence(rows, head)
    twice = [*head, head[0] | {"speed_up": 0.7}]
    assert "missed: head, 0.5 to 0.7 times where 0.8 were aimed at" in speed.speed_sentence(rows, twice)


def experiment(low: float) -> Measured:
    rows = [(m, "maxboxacc_v2", low + 1, low, low + 2, "standard") for m in ("cam", "layercam")]
    table = pd.DataFrame(rows, columns=["method", "metric", "difference", "low", "high", "protocol"])
    facts = {"dataset": "stanford_cars", "backbone": "efficientnet_lite0", "origin": "probe"}
    return Measured("cars", {"wsol_differences": table}, {"experiment": facts})


def test_real_images_give_the_gain_and_what_is_left_when_both_are_cut() -> None:
    sentence = real_images.real_images_sentence({"a": experiment(2.0), "b": experiment(0.5)})
    assert sentence.count("is higher in 2 of 2 (+1.5 to +3.0 points)") == 2
    turned = real_images.real_images_sentence({"a": experiment(-5.0), "b": experiment(-1.0)})
    assert "CAM against softmax's is lower in 1 and not distinguishable in 1 of 2 (-4.0 to +0.0 points);" in turned


def crossed(centre: float, box: tuple[float, float], grid: tuple[float, float]) -> Measured:
    figures = [(NO_HEAD, CENTRE, "maxboxacc_v2", centre), ("softmax", "logit", "maxboxacc_v2", 60.0)]
    moves = [("truncation_sigmoid", "maxboxacc_v2_held_out", *box), ("truncation_sigmoid", "grid_2x2", *grid)]
    tables = {
        "figures": pd.DataFrame(figures, columns=["head", "scalar", "metric", "value"]),
        "differences": pd.DataFrame(moves, columns=["comparison", "metric", "low_all", "high_all"]),
    }
    facts = {"dataset": "shapes", "backbone": "small_cnn", "origin": "scratch"}
    return Measured("controls-shapes", tables, {"experiment": facts})


def test_controls_count_data_sets_by_their_intervals() -> None:
    sentence = what_maps_know.controls_sentence({"a": crossed(70.0, UP, DOWN), "b": crossed(50.0, BOTH, BOTH)})
    assert "every map of every head in 1 of 2 measurements; truncating" in sentence
    assert (
        "raises MaxBoxAccV2 in 1 of 2, and lowers the share of evidence in the right cell of a grid in 1 of 2"
        in sentence
    )
    turned = what_maps_know.controls_sentence({"a": crossed(50.0, DOWN, UP)})
    assert "in 0 of 1 measurements; truncating" in turned
    assert "raises MaxBoxAccV2 in 0 of 1" in turned


def judged(word: str, wording: str = "paraphrase") -> Any:
    return SimpleNamespace(claim=SimpleNamespace(wording=wording), verdict=lambda side: SimpleNamespace(word=word))


def test_verdicts_are_counted_of_the_papers_claims_alone() -> None:
    claims = [judged("holds"), judged("does not hold"), judged("does not hold"), judged("holds", "ours")]
    assert page.opening(claims).startswith("Of the paper's 3 claims: ")
    assert "1 holds and 2 do not hold" in page.opening(claims)
    assert notebook.bold("a sentence")._repr_markdown_() == "**a sentence**"
