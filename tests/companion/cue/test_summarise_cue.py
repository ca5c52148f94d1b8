"""Tables of the cue are weighted means and rank correlations of evidence that plain loops find too."""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from scipy.stats import spearmanr

from companion.cue.measured import HEADS, MAPS
from companion.cue.tables import EFFECTS, PART_COLORS, agreement_table, cue_figure, cue_table, shares_table
from data_scripts.parts import PARTS, REMOVABLE

IMAGES, SEEDS, CORRELATIONS = 40, (0, 1), (0.0, 1.0)


@pytest.fixture(scope="module")
def evidence() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    names = [f"test/{i:06d}" for i in range(IMAGES)]
    keys = list(product(CORRELATIONS, SEEDS, names, HEADS))
    effects = rng.normal(size=(len(keys), 4, 2))
    effects[:, 0] = np.nan  # clutter stays
    correct = rng.random((len(keys), 5)) < 0.7
    rows = []
    for key, effect, hits in zip(keys, effects, correct, strict=True):
        for kind in MAPS:
            shares = rng.dirichlet(np.ones(4)) if rng.random() < 0.95 else np.full(4, np.nan)
            for i, part in enumerate(PARTS):
                rows.append((*key, kind, part, shares[i], *effect[i], hits[4], hits[4] if i == 0 else hits[i]))
    columns = ["correlation", "seed", "image_id", "head", "map", "part", "share", *EFFECTS]
    return pd.DataFrame(rows, columns=[*columns, "is_correct", "is_correct_without"])


def of(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    return table[np.all([table[name] == value for name, value in values.items()], axis=0)]


def test_shares_are_means_of_the_seeds_means(evidence: pd.DataFrame) -> None:
    table = shares_table(evidence, resamples=50)
    assert len(table) == 2 * 9 * (4 + 3 * 3)
    key = {"correlation": 1.0, "head": "sigmoid", "map": "signed", "part": "cue"}
    rows = of(evidence, **key)
    found = of(table, **key).set_index("metric")
    lost = rows["is_correct"].astype(int) - rows["is_correct_without"].astype(int)
    for metric, values in {"share": rows["share"], "logit_drop": rows["logit_drop"], "top1_drop": lost}.items():
        scale = 1 if metric == "logit_drop" else 100
        means = scale * values.groupby(rows["seed"]).mean()
        assert found.loc[metric, "value"] == pytest.approx(means.mean())
        assert found.loc[metric, ["least", "greatest"]].tolist() == pytest.approx([means.min(), means.max()])
        assert found.loc[metric, "low"] < found.loc[metric, "value"] < found.loc[metric, "high"]


def test_agreement_is_scipys_rank_correlation_over_images_or_images_and_parts(evidence: pd.DataFrame) -> None:
    table = agreement_table(evidence, resamples=20)
    assert len(table) == 2 * 9 * 4 * 2
    for row in table.to_dict("records"):
        key = {name: row[name] for name in ("correlation", "head", "map")}
        rows = of(evidence, **key)
        rows = rows[rows["part"].isin(REMOVABLE if row["part"] == "all" else (row["part"],))].dropna()
        seeds = [spearmanr(one["share"], one[row["metric"]]).statistic for _, one in rows.groupby("seed")]
        assert row["value"] == pytest.approx(np.mean(seeds))
        assert (row["least"], row["greatest"]) == pytest.approx((min(seeds), max(seeds)))
        assert -1 <= row["low"] <= row["high"] <= 1


def test_agreement_is_one_where_effects_are_what_the_map_says(evidence: pd.DataFrame) -> None:
    """A linear network whose parts do not interact: removing one takes away just the evidence that lies on it."""
    linear = evidence.assign(logit_drop=3 * evidence["share"], log_odds_drop=-evidence["share"])
    linear.loc[linear["part"] == "clutter", list(EFFECTS)] = np.nan
    table = agreement_table(linear, resamples=20)
    for metric, expected in (("logit_drop", 1.0), ("log_odds_drop", -1.0)):
        found = table[table["metric"] == metric][["value", "low", "high", "least", "greatest"]].to_numpy()
        assert found == pytest.approx(np.full(found.shape, expected))


def test_the_order_of_rows_does_not_matter(evidence: pd.DataFrame) -> None:
    mixed = evidence.sample(frac=1, random_state=0)
    keys = ["correlation", "head", "map", "part", "metric"]
    for make in (shares_table, agreement_table):
        first, second = (make(one, resamples=20).sort_values(keys, ignore_index=True) for one in (evidence, mixed))
        pd.testing.assert_frame_equal(first, second)


def test_the_interval_is_of_images_that_all_seeds_share(evidence: pd.DataFrame) -> None:
    """Seeds that say the same add nothing: the interval stays that of one seed."""
    one = evidence[evidence["seed"] == 0]
    twice = pd.concat([one, one.assign(seed=1)])
    for make in (shares_table, agreement_table):
        pd.testing.assert_frame_equal(make(one, resamples=20), make(twice, resamples=20))


def test_pages_show_one_row_a_map_or_a_head(evidence: pd.DataFrame) -> None:
    shares = shares_table(evidence, resamples=20)
    page = cue_table(shares)
    assert page.columns.tolist() == ["correlation", "head", "map", "object", "cue", "distractors", "clutter"]
    assert len(page) == 2 * 9
    row = of(shares, correlation=0.0, head="softmax", map="truncated", part="cue", metric="share").iloc[0]
    shown = of(page, correlation=0.0, head="softmax", map="truncated")["cue"].item()
    assert float(shown.split(" [")[0]) == pytest.approx(row["value"], abs=0.5)
    assert shown.endswith("]")
    effects = cue_table(shares, "log_odds_drop")
    assert effects.columns.tolist() == ["correlation", "head", "object", "cue", "distractors"]
    assert len(effects) == 2 * 3
    agreement = cue_table(agreement_table(evidence, resamples=20), "logit_drop")
    assert agreement.columns.tolist() == ["correlation", "head", "map", "object", "cue", "distractors", "all"]


def test_the_figure_draws_every_part_and_map_of_every_head(evidence: pd.DataFrame) -> None:
    shares = shares_table(evidence, resamples=20)
    figure = cue_figure(shares)
    above, below = figure.axes[:3], figure.axes[3:]
    assert [ax.get_title() for ax in above] == [f"{head} head" for head in HEADS]
    assert [len(ax.lines) for ax in figure.axes] == [12] * 3 + [4] * 3  # and the line at 0
    expected = of(shares, head="sigmoid", map="truncated", part="object", metric="share")["value"].tolist()
    found = [
        line.get_ydata().tolist()
        for line in above[2].lines
        if line.get_linestyle() == "--" and same_color(line.get_color(), PART_COLORS["object"])
    ]
    assert found == [expected]
    drops = of(shares, head="softmax", map="signed", part="cue", metric="log_odds_drop")["value"].tolist()
    assert drops in [list(line.get_ydata()) for line in below[0].lines]
    assert above[0].get_ylabel().endswith("(%)")
    plt.close(figure)
