"""What was measured as the book shows it: intervals, the paper's differences, flat names."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from companion.paper.beside import gains_beside_paper
from companion.paper.tables import paper_table
from companion.show.results import (
    Measured,
    figures_with_intervals,
    flat_measured,
    provenance_line,
    read_measured,
    read_overhead,
)
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import write_json
from sigcam_core.common.provenance import provenance
from sigcam_core.summarise.csv import write_csv

NAME = "shapes-small_cnn-probe"
VARIANTS = {"wsol": ("protocol", "standard", "paper"), "fidelity": ("scorer", "softmax", "sigmoid")}
METRICS = {"wsol": ("gt_loc", "maxboxacc@50", "maxboxacc_v2"), "fidelity": ("average_drop",)}


def made_up_tables() -> dict[str, pd.DataFrame]:
    """Every figure is another number; those of the unusual protocol and scorer are above 1,000."""
    tables: dict[str, pd.DataFrame] = {}
    for kind, (column, *variants) in VARIANTS.items():
        for suffix, heads in (("", ("softmax", "sigmoid")), ("_differences", (None,))):
            rows: list[dict[str, Any]] = []
            for number, variant in enumerate(variants):
                # The methods are in the order of the evidence, which is not that of the alphabet.
                for method in ("gradcam++", "cam"):
                    for head in heads:
                        for metric in METRICS[kind]:
                            value = 1000 * number + len(rows) + 0.25 - 2 * (head is None)
                            row = {"network": "small_cnn-gap", "method": method, "head": head, "metric": metric}
                            figure = {"value" if head else "difference": value, "low": value - 1, "high": value + 0.5}
                            rows.append(row | figure | {column: variant})
            tables[kind + suffix] = pd.DataFrame(rows).dropna(axis="columns", how="all")
    return tables


def made_up(gauge_energy: float | None = 0.1234) -> Measured:
    experiment = {"dataset": "shapes", "backbone": "small_cnn", "origin": "probe"}
    record = {"experiment": experiment, "sigmoid_top1": 61.5, "gauge_energy": gauge_energy, "test_images": 24}
    return Measured(NAME, made_up_tables(), record)


def test_what_was_measured_is_read_in_the_order_of_the_names(tmp_path: Path) -> None:
    result = made_up()
    for name in (NAME, "another"):
        write_json(tmp_path / name / "record.json", result.record)
    for name, table in result.tables.items():
        write_csv(tmp_path / NAME / f"{name}.csv", table)
    write_csv(tmp_path / "unfinished" / "wsol.csv", result.tables["wsol"])  # its record, the last file, is missing
    found = read_measured(tmp_path, ["unfinished", "another", "never", NAME])
    assert list(found) == ["another", NAME]
    assert found[NAME].record == result.record
    assert found[NAME].tables.keys() == result.tables.keys()
    for name, table in result.tables.items():
        pd.testing.assert_frame_equal(found[NAME].tables[name], table)
    with pytest.raises(
        SigcamError, match=r"nothing that was measured is in .*: run `python -m companion publish never`"
    ):
        read_measured(tmp_path, ["never", "unfinished"])


def test_titles_say_where_the_classifier_comes_from() -> None:
    assert made_up().label == "shapes (linear probe)"
    assert made_up().title == "shapes, small CNN, GAP head (linear probe on a frozen ImageNet backbone)"


@pytest.mark.parametrize(
    ("record", "label", "title"),
    [
        ({"classifier": {"recipe": {"optimizer": "adamw"}}}, "linear probe by AdamW", ", by AdamW"),
        ({"classifier": {"recipe": {"optimizer": "sgd"}}}, "linear probe by SGD", ", by SGD"),
        (
            {"classifier": {"recipe": {"optimizer": "adamw"}}, "softmax": "softmax optimum"},
            "linear probe at its optimum",
            ", at its optimum",
        ),
        (
            {"classifier": {"recipe": {"optimizer": "adamw"}}, "softmax": "softmax"},
            "linear probe by AdamW",
            ", by AdamW",
        ),
        ({"classifier": {}}, "linear probe", ""),
    ],
)
def test_labels_say_which_softmax_head_it_is(record: dict[str, Any], label: str, title: str) -> None:
    result = made_up()
    result.record.update(record)
    assert result.label == f"shapes ({label})"
    assert result.place == "shapes (linear probe)"
    assert result.title == f"shapes, small CNN, GAP head (linear probe on a frozen ImageNet backbone{title})"


def test_networks_trained_from_scratch_name_themselves_and_their_optimiser() -> None:
    result = made_up()
    result.record["classifier"] = {"recipe": {"optimizer": "sgd"}}
    result.record["experiment"]["origin"] = "scratch"
    assert result.label == "shapes (softmax by SGD)"
    result.record["experiment"]["backbone"] = "resnet50_64px"
    assert result.label == "shapes (ResNet-50 at 64 pixels, from scratch by SGD)"


def test_figures_stand_beside_their_intervals_in_the_order_of_the_evidence() -> None:
    rows = made_up_tables()["wsol"].query("protocol == 'standard'")
    table = figures_with_intervals(rows, ["maxboxacc_v2", "pxap", "gt_loc"], ["network", "method", "head"])
    assert table.columns.tolist() == ["network", "method", "head", "maxboxacc_v2", "gt_loc"]  # there is no pxap
    pairs = [(method, head) for method in ("gradcam++", "cam") for head in ("softmax", "sigmoid")]
    assert list(zip(table["method"], table["head"], strict=True)) == pairs
    assert table["gt_loc"].tolist() == [f"{v:.2f} [{v - 1:.2f}, {v + 0.5:.2f}]" for v in (0.25, 3.25, 6.25, 9.25)]
    assert table["maxboxacc_v2"].tolist()[0] == "2.25 [1.25, 2.75]"


def test_differences_carry_their_sign() -> None:
    rows = made_up_tables()["wsol_differences"].query("protocol == 'standard'")
    table = figures_with_intervals(rows, ["gt_loc", "maxboxacc_v2"], ["method"])
    assert table.to_dict("list") == {
        "method": ["gradcam++", "cam"],
        "gt_loc": ["-1.75 [-2.75, -1.25]", "+1.25 [+0.25, +1.75]"],
        "maxboxacc_v2": ["+0.25 [-0.75, +0.75]", "+3.25 [+2.25, +3.75]"],
    }


@pytest.mark.parametrize(
    ("half", "text"), [(0.25, "50.12 [49.88, 50.38]"), (2.0, "50.1 [48.1, 52.1]"), (20.0, "50 [30, 70]")]
)
def test_a_figure_has_no_more_digits_than_its_interval_carries(half: float, text: str) -> None:
    row = {"method": "cam", "metric": "gt_loc", "value": 50.125, "low": 50.125 - half, "high": 50.125 + half}
    assert figures_with_intervals(pd.DataFrame([row]), ["gt_loc"], ["method"])["gt_loc"].tolist() == [text]


def test_our_differences_stand_above_those_of_the_paper() -> None:
    table = gains_beside_paper({NAME: made_up()}, "wsol_differences", "table1_wsol", ["gt_loc", "maxboxacc_v2", "pxap"])
    assert table.columns.tolist() == ["source", "dataset", "network", "method", "gt_loc", "maxboxacc_v2", "pxap"]
    ours, theirs = table[table["source"] == "this book"], table[table["source"] == "paper"]
    assert table["source"].tolist() == ["this book"] * 2 + ["paper"] * len(theirs)
    assert ours["method"].tolist() == ["gradcam++", "cam"]
    assert ours["gt_loc"].tolist() == [-1.75, 1.25]  # of the standard protocol
    assert set(ours["dataset"]) == {"shapes (linear probe)"}
    assert set(ours["network"]) == {"small_cnn"}
    assert ours["pxap"].isna().all()
    # By hand, from the printed table.
    rows = theirs.set_index(["dataset", "network", "method"])
    assert rows.loc[("imagenet-1k", "vgg16", "gradcam"), "gt_loc"] == pytest.approx(59.43 - 49.02)
    assert rows.loc[("imagenet-1k", "vgg16", "gradcam"), "maxboxacc_v2"] == pytest.approx(60.17 - 52.49)
    assert rows.loc[("imagenet-1k", "vgg16", "cam"), "gt_loc"] == pytest.approx(59.57 - 59.54)
    printed = paper_table("table1_wsol")
    assert list(rows.index) == list(dict.fromkeys(printed.set_index(["dataset", "backbone", "method"]).index))


@pytest.mark.parametrize("metric", ["gt_loc", "maxboxacc_v2", "pxap"])
def test_rows_of_the_paper_that_print_none_of_the_metrics_are_left_out(metric: str) -> None:
    table = gains_beside_paper({NAME: made_up()}, "wsol_differences", "table1_wsol", [metric])
    theirs = table[table["source"] == "paper"]
    printed = paper_table("table1_wsol").dropna(subset=metric)
    assert theirs[metric].notna().all()
    assert 2 * len(theirs) == len(printed)
    heads = printed.groupby("head")[metric].sum()
    assert theirs[metric].sum() == pytest.approx(heads["sigmoid"] - heads["softmax"])


def test_fidelity_beside_the_paper_is_scored_by_the_softmax_branch() -> None:
    table = gains_beside_paper({NAME: made_up()}, "fidelity_differences", "table2_fidelity", ["average_drop"])
    assert table["average_drop"].tolist()[:2] == [-1.75, -0.75]
    row = table.query("dataset == 'cub-200-2011' and network == 'vgg16' and method == 'cam'")
    assert row["average_drop"].item() == pytest.approx(37.20 - 45.36)


def test_flat_names_tell_every_figure_apart() -> None:
    training = pd.DataFrame([{"network": "resnet50", "on_the_fly_passes": 11.0, "cached_passes": 1.5, "cached": 9.0}])
    values, formatted = flat_measured({NAME: made_up()}, {"cpu": (pd.DataFrame(), training, {})})
    name = "shapes_small_cnn_probe"
    expected = {
        f"{name}_sigmoid_top1": 61.5,
        f"{name}_gauge_energy": 0.1234,
        f"{name}_test_images": 24,
        f"{name}_gradcam_plus_plus_softmax_gt_loc": 0.25,
        f"{name}_gradcam_plus_plus_softmax_maxboxacc_50": 1.25,
        f"{name}_cam_sigmoid_maxboxacc_v2": 11.25,
        f"{name}_cam_sigmoid_maxboxacc_v2_interval": "[10.25, 11.75]",
        f"{name}_cam_difference_gt_loc": 1.25,
        f"{name}_cam_difference_gt_loc_interval": "[0.25, 1.75]",
        f"{name}_cam_difference_average_drop": -0.75,
        "cpu_resnet50_on_the_fly_passes": 11.0,
        "cpu_resnet50_cached_passes": 1.5,
    }
    assert {key: values[key] for key in expected} == expected
    # Two methods, two heads and the difference, each metric with its interval, of the usual protocol and scorer alone.
    assert len(values) == 3 + 2 * 2 * 3 * 4 + 2
    assert max(value for value in values.values() if not isinstance(value, str)) < 1000
    assert formatted == {f"{name}_gauge_energy": "0.12"}


def test_a_head_without_gauge_has_no_gauge_energy() -> None:
    values, formatted = flat_measured({NAME: made_up(gauge_energy=None)}, {})
    assert not [key for key in values if key.endswith("gauge_energy")]
    assert formatted == {}


def test_overhead_is_read_for_each_device_that_was_measured(tmp_path: Path) -> None:
    folder = tmp_path / "overhead"
    with pytest.raises(SigcamError, match=r"no measurements of overhead in .*: run `python -m companion publish over"):
        read_overhead(folder)
    rows, training = pd.DataFrame({"ratio": [1.5]}), pd.DataFrame({"cached_passes": [2.5]})
    write_csv(folder / "cuda.csv", rows)
    write_csv(folder / "cuda_head_training.csv", training)
    write_json(folder / "cuda.json", {"repeats": 7})
    found = read_overhead(folder)
    assert list(found) == ["cuda"]
    pd.testing.assert_frame_equal(found["cuda"][0], rows)
    pd.testing.assert_frame_equal(found["cuda"][1], training)
    assert found["cuda"][2] == {"repeats": 7}


def test_a_line_says_where_a_record_comes_from() -> None:
    record = provenance() | {"device": "a CPU", "commit": "0123456789abcdef", "date": "2025-01-01"}
    line = provenance_line(record)
    versions = record["versions"]
    assert line.startswith(f"a CPU; 2025-01-01; commit 0123456789ab; torch {versions['torch']}, numpy ")


def test_a_figure_of_fewer_images_says_of_how_many() -> None:
    rows = made_up_tables()["wsol"].query("protocol == 'standard'")
    counts = rows["metric"].map({"gt_loc": 23, "maxboxacc@50": 24, "maxboxacc_v2": 24})
    table = figures_with_intervals(rows.assign(images=counts), ["maxboxacc_v2", "gt_loc"], ["method", "head"])
    assert table["gt_loc"].str.endswith("], 23 images").all()
    assert table["maxboxacc_v2"].str.endswith("]").all()
