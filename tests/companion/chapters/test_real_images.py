"""The chapter on real images shows what is committed: each table is of the rows that its caption names."""

import pandas as pd
import pytest

from companion.chapters import real_images as page
from companion.experiments import EXPERIMENTS, OVERHEAD
from companion.show.results import MEASURED, Measured, read_measured, read_overhead
from sigcam_core.common.titles import FIDELITY_METRICS, WSOL_METRICS

COMMITTED = read_measured(MEASURED, list(EXPERIMENTS))


@pytest.fixture(params=COMMITTED.values(), ids=list(COMMITTED))
def one(request: pytest.FixtureRequest) -> Measured:
    return request.param


def number_of(text: str) -> tuple[float, int]:
    """The figure at the head of a cell, and how many decimals it has."""
    head = text.split(maxsplit=1)[0]
    return float(head), len(head.partition(".")[2])


def figure(table: pd.DataFrame, **where: str) -> float:
    for column, value in where.items():
        table = table[table[column] == value]
    (value,) = table["value"]
    return float(value)


def agrees(text: str, value: float) -> bool:
    shown, decimals = number_of(text)
    return shown == round(value, decimals) or abs(shown - value) <= 0.5 * 10**-decimals + 1e-9


def test_localisation_is_by_the_standard_protocol(one: Measured) -> None:
    shown = page.localization_figures(one).set_index(page.MAP)
    assert set(shown.columns) <= set(WSOL_METRICS)
    for (method, head), row in shown.iterrows():
        where = {"method": method, "head": head, "metric": "gt_loc", "protocol": "standard"}
        assert agrees(row["gt_loc"], figure(one.tables["wsol"], **where))
    assert "top1_cls" not in page.localization_gains(one)


def test_fidelity_is_scored_by_the_softmax_branch_or_by_each_maps_own(one: Measured) -> None:
    tables = {"softmax": page.fidelity_figures(one), "own": page.fidelity_by_own_branch(one)}
    for scorer, shown in tables.items():
        assert shown.columns.tolist() == [*page.MAP, *FIDELITY_METRICS]
        for row in shown.to_dict("records"):
            where = {name: row[name] for name in page.MAP} | {"metric": "average_drop"}
            where["scorer"] = row["head"] if scorer == "own" else scorer
            assert agrees(row["average_drop"], figure(one.tables["fidelity"], **where))


PERTURBED = page.with_table(COMMITTED, "matched_coverage")


def test_images_were_perturbed_unless_a_line_of_the_table_says_otherwise() -> None:
    without = [name for name, line in EXPERIMENTS.items() if line.measured and not line.measured.perturbed_images]
    assert set(COMMITTED) - set(PERTURBED) == set(without) & set(COMMITTED)


@pytest.mark.parametrize("one", PERTURBED.values(), ids=list(PERTURBED))
def test_equal_coverage_stands_beside_the_areas(one: Measured) -> None:
    shown = page.equal_coverage_figures(one)
    assert shown.columns[:6].tolist() == [*page.MAP, *(f"drop at {share} %" for share in (10, 20, 30, 50))]
    assert len(shown) == 2 * len(page.COVERAGE_METHODS)
    points = one.tables["matched_coverage"].round({"coverage": 0}).query("method == 'cam' and coverage == 20")
    cam = shown[shown["method"] == "cam"].set_index("head")["drop at 20 %"]
    assert cam.to_dict() == points.set_index("head")["average_drop"].to_dict()


def test_the_gains_of_all_are_told_apart_by_their_labels() -> None:
    gains = page.all_localization_gains(COMMITTED)
    assert set(gains["network"]) == {one.label for one in COMMITTED.values()}
    assert set(gains["protocol"]) == {"standard"}


def test_one_recipe_of_each_comparison_is_marked(one: Measured) -> None:
    choices = dict(page.recipe_choices(one))
    assert {f"choice_{head}" for head in choices} == {name for name in one.tables if name.startswith("choice_")}
    assert all((table["chosen"] == "chosen").sum() == 1 for table in choices.values())


def test_seeds_and_freezing_are_shown_where_they_were_measured() -> None:
    seeds, freezing = (page.with_table(COMMITTED, name) for name in ("seeds", "freezing"))
    assert list(freezing) == sorted(name for name in COMMITTED if "freezing" in EXPERIMENTS[name].controls)
    assert list(seeds) == sorted(name for name in COMMITTED if len(EXPERIMENTS[name].seeds) > 1)
    for one in freezing.values():
        shown = page.freezing_figures(one)
        assert set(shown["method"].dropna()) == {"cam"}
        assert shown["metric"].tolist().count("sigmoid_top1") == 1
    for one in seeds.values():
        assert set(page.seeds_figures(one)["metric"]) <= set(WSOL_METRICS)


def test_each_table_says_what_it_is_of() -> None:
    tables = page.each(COMMITTED, page.localization_figures, "{title}, {images:,} images, {seeds} seeds", decimals=4)
    for one, table in zip(COMMITTED.values(), tables, strict=True):
        assert f"{one.title}, {one.record['test_images']:,} images, " in table.to_html()


def test_what_is_on_photographs_is_read_with_its_baselines() -> None:
    everything = page.read_experiments(MEASURED)
    assert list(everything) == list(COMMITTED)
    measured = page.read_on_photographs(MEASURED, everything)
    assert list(measured) == [name for name in everything if EXPERIMENTS[name].dataset != "shapes"]
    assert len(measured) < len(everything)
    with_controls = [name for name in measured if (MEASURED / f"controls-{name}").is_dir()]
    assert [name for name, one in measured.items() if "baselines" in one.tables] == with_controls


def test_what_is_missing_is_what_has_no_table() -> None:
    one = dict(list(COMMITTED.items())[:1])
    expected = [name for name in EXPERIMENTS if name not in one]
    assert page.missing_measurements(one, {"cuda": (pd.DataFrame(), pd.DataFrame(), {})}) == expected
    assert page.missing_measurements(one, {}) == [*expected, f"{OVERHEAD} (GPU)"]


def test_what_is_left_to_measure_comes_with_its_command() -> None:
    table = page.not_measured(["cub-vgg16-probe", f"{OVERHEAD} (GPU)"])
    assert table["experiment"].tolist() == ["cub-vgg16-probe", "overhead (GPU)"]
    assert table["command"].tolist() == [
        f"python -m companion publish {name}" for name in ("cub-vgg16-probe", OVERHEAD)
    ]


def test_every_number_has_a_source() -> None:
    overhead = read_overhead(MEASURED / OVERHEAD)
    lines = page.sources(COMMITTED, overhead).splitlines()
    assert len(lines) == 4 * len(COMMITTED) + 2 * len(overhead)
    for one in COMMITTED.values():
        assert one.name in lines
        assert one.record["evidence"]["manifest_checksum"][:12] in "\n".join(lines)


def test_fidelity_gains_of_the_paper_stand_beside_ours_scored_alike() -> None:
    table = page.fidelity_gains_beside_paper(COMMITTED)
    ours = table[table["source"] == "this book"]
    assert ours["scored by"].value_counts().nunique() == 1
    for one in COMMITTED.values():
        rows = ours[(ours["dataset"] == one.label) & (ours["method"] == "layercam")].set_index("scored by")
        scored = one.tables["fidelity"].query("method == 'layercam' and metric == 'average_drop'")
        own = [scored.query("head == @head and scorer == @head")["value"].item() for head in ("softmax", "sigmoid")]
        assert rows.loc["own branch", "average_drop"] == pytest.approx(own[1] - own[0])
        same = [
            scored.query("head == @head and scorer == 'softmax'")["value"].item() for head in ("softmax", "sigmoid")
        ]
        assert rows.loc["softmax branch", "average_drop"] == pytest.approx(same[1] - same[0])
    assert set(table[table["source"] == "paper"]["scored by"]) == {"own branch"}


def test_recipes_and_times_have_a_table_each() -> None:
    assert len(page.recipe_tables(COMMITTED)) == sum(len(dict(page.recipe_choices(one))) for one in COMMITTED.values())
    overhead = read_overhead(MEASURED / OVERHEAD)
    first, second = page.overhead_tables(overhead)
    assert "VGG-16" in first.to_html()
    assert overhead["cpu"][2]["device"] in second.to_html()
