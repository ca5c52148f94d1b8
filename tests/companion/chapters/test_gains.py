"""What softmax heads gain beside their gauge energy, on figures that are made up."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from companion.chapters.gains import METRIC, gain_figure, gains_figures, gains_forest, gains_sentences, gains_told
from companion.controls.names import GAINS
from companion.controls.tables import gains_table
from companion.show.results import Measured
from sigcam_core.common.resampling import FloatArray

ENERGIES = {"softmax": 0.126, "softmax optimum": 1e-16}
FIGURES = {
    "softmax/logit/signed": 56.0,
    "softmax/centred/signed": 61.0,
    "softmax/logit/truncated": 60.5,
    "softmax optimum/logit/signed": 61.1,
    "softmax optimum/centred/signed": 61.1,
    "softmax optimum/logit/truncated": 60.8,
    "sigmoid optimum/logit/truncated": 60.7,
    "sigmoid optimum/logit/signed": 10.0,
    "none/class-free/signed": 57.0,
}


def resampled() -> dict[str, dict[str, FloatArray]]:
    noise = np.random.default_rng(0).normal(size=(len(FIGURES), 200))
    noise -= noise.mean(axis=1, keepdims=True)
    return {
        row: {METRIC: np.concatenate([[value], value + draws])}
        for (row, value), draws in zip(FIGURES.items(), noise, strict=True)
    }


@pytest.fixture
def table() -> pd.DataFrame:
    return gains_table(resampled(), ENERGIES, "sigmoid optimum")


def measured(table: pd.DataFrame, dataset: str = "tiny_imagenet", origin: str = "probe") -> Measured:
    experiment = {"dataset": dataset, "backbone": "efficientnet_lite0", "origin": origin}
    return Measured(f"controls-{dataset}", {"gains": table}, {"experiment": experiment})


def test_each_softmax_head_gains_over_its_own_signed_map(table: pd.DataFrame) -> None:
    gains = table.set_index(["head", "gain"])["difference"]
    expected = {
        ("softmax", "centring"): 5.0,
        ("softmax", "truncation"): 4.5,
        ("softmax", "sigmoid"): 4.7,
        ("softmax optimum", "centring"): 0.0,
        ("softmax optimum", "truncation"): -0.3,
        ("softmax optimum", "sigmoid"): -0.4,
    }
    assert gains.to_dict() == pytest.approx(expected)
    assert table.set_index("head")["gauge_energy"].to_dict() == ENERGIES
    assert (table["low_all"] <= table["low"]).all()
    assert (table["high"] <= table["high_all"]).all()


def test_the_head_of_most_energy_comes_first(table: pd.DataFrame) -> None:
    shown = gains_figures({"probe": measured(table)})
    assert shown["gauge energy"].tolist() == ["0.13", "0"]
    assert shown["softmax head"].tolist() == ["softmax, as given or by AdamW", "softmax, at its optimum"]
    assert [shown[words].str.split(" ").str[0].tolist() for words in GAINS.values()] == [
        ["+5.0", "+0.0"],
        ["+4.5", "-0.3"],
        ["+4.7", "-0.4"],
    ]


def test_words_tell_both_kinds_of_head_and_leave_out_a_data_set_that_has_one(table: pd.DataFrame) -> None:
    alone = measured(table[table["head"] == "softmax"], "shapes", "scratch")
    told = gains_told({"probe": measured(table), "shapes": alone})
    assert "on Tiny-ImageNet (linear probe), +5.0, +4.5, +4.7 for the head of gauge energy 0.13" in told
    assert "+0.0, -0.3, -0.4 for one that has none." in told
    assert "shapes" not in told
    assert gains_told({"shapes": alone}).startswith("No data set has both")


def test_the_figure_has_a_mark_for_each_head_at_its_gain(table: pd.DataFrame) -> None:
    figure = gain_figure({"probe": measured(table)})
    for ax, gain in zip(figure.axes, GAINS, strict=True):
        energy, gained = ax.lines[0].get_data()
        rows = table[table["gain"] == gain].sort_values("gauge_energy")
        assert np.asarray(energy) == pytest.approx([0, 0.126])
        assert np.asarray(gained) == pytest.approx(rows["difference"].to_numpy())
    plt.close(figure)


def test_the_finding_is_said_with_intervals_and_turns_with_the_numbers(table: pd.DataFrame) -> None:
    assert gains_sentences({"a": measured(table)}) == (
        "On Tiny-ImageNet the paper's map gains "
        f"{_interval(table, 'softmax', 'sigmoid')} points over a softmax head with a gauge energy of 0.13 and "
        f"{_interval(table, 'softmax optimum', 'sigmoid')} over one that has none; centring the former, which needs no "
        f"second head, gains {_interval(table, 'softmax', 'centring')}."
    )
    alone = table[table["head"] == "softmax"]
    assert gains_sentences({"a": measured(alone)}) == ""


def _interval(table: pd.DataFrame, head: str, gain: str) -> str:
    row = table[(table["head"] == head) & (table["gain"] == gain)].iloc[0]
    return f"{row['difference']:+.1f} [{row['low_all']:.1f}, {row['high_all']:.1f}]"


def test_the_forest_has_a_row_per_data_set_head_and_change_and_each_value_in_words(table: pd.DataFrame) -> None:
    drawn = gains_forest({"a": measured(table), "b": measured(table, "stanford_cars")})
    texts = [text.get_text() for text in drawn.axes[0].texts]
    plt.close(drawn)
    assert [text for text in texts if ":" in text] == [
        "Tiny-ImageNet: softmax head with gauge energy 0.13",
        "Tiny-ImageNet: softmax head with gauge energy 0",
        "Stanford Cars: softmax head with gauge energy 0.13",
        "Stanford Cars: softmax head with gauge energy 0",
    ]
    assert [text for text in texts if ":" not in text] == ["+4.7", "+5.0", "-0.4", "+0.0"] * 2
