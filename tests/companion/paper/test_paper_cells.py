"""Every published cell is there with its gain, what stands in is named, and the job is the one of the matrix."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from companion.matrix import GRADIENT, METHODS_OF_FORM, filled_by, job_of
from companion.paper import cells as module
from companion.paper.tables import PAPER_TABLES, paper_table
from companion.show.results import MEASURED, read_measured
from sigcam_core.common.files import read_json, write_json

CELLS = module.committed_cells(MEASURED, job_of)
KEYS = ["table", "dataset", "network", "method", "head", "metric"]
OWN_KEYS = ["dataset", "network", "method", "head"]


def cell(*key: str) -> pd.Series:
    (row,) = (row for _, row in CELLS.iterrows() if tuple(row[KEYS]) == key)
    return row


def test_every_published_cell_is_there_once() -> None:
    assert not CELLS.duplicated(KEYS).any()
    for number, name in enumerate(PAPER_TABLES, 1):
        table = paper_table(name).select_dtypes("number")
        assert (CELLS["table"] == f"Table {number}").sum() == table.notna().sum().sum()


def test_a_cell_has_the_papers_value_and_gain_by_hand() -> None:
    row = cell("Table 1", "imagenet-1k", "vgg16", "gradcam", "sigmoid", "gt_loc")
    assert row["paper"] == 59.43
    assert row["paper_gain"] == pytest.approx(59.43 - 49.02)
    row = cell("Table 3", "imagenet-1k", "resnet50", "cam", "sigmoid", "parameters")
    assert (row["paper"], row["unit"]) == (27.61, "M")
    assert row["paper_gain"] == pytest.approx(27.61 - 25.56)
    assert CELLS[CELLS["head"] == "softmax"]["paper_gain"].isna().all()


def test_ours_is_of_the_experiment_that_stands_in_and_says_so() -> None:
    row = cell("Table 1", "imagenet-1k", "vgg16", "cam", "sigmoid", "maxboxacc_v2")
    name = "tiny_imagenet-efficientnet_lite0-restricted"
    one = read_measured(MEASURED, [name])[name]
    wsol = one.tables["wsol"].query("method == 'cam' and metric == 'maxboxacc_v2' and protocol == 'standard'")
    by_head = wsol.set_index("head")["value"]
    assert row["ours"] == by_head["sigmoid"]
    assert row["our_gain"] == pytest.approx(by_head["sigmoid"] - by_head["softmax"])
    assert row["gain_low"] < row["our_gain"] < row["gain_high"]
    assert pd.isna(row["difference"])  # of other data it would mean nothing
    assert (row["status"], row["ours_on"]) == (module.OTHER_DATA, one.title)
    assert row["measured_by"] == f"python -m companion publish {one.name}"
    cars = cell("Table 2", "stanford-cars", "resnet50", "layercam", "sigmoid", "average_drop")
    assert (cars["status"], cars["scored_by"]) == (module.OTHER_NETWORK, "sigmoid branch")
    assert cars["difference"] == pytest.approx(cars["ours"] - cars["paper"])
    assert pd.isna(cars["gain_low"])  # it mixes two scorers


@pytest.mark.parametrize(
    ("method", "backbone"), [("cam", "vgg16"), *((name, "vgg16_mlp") for name in METHODS_OF_FORM[GRADIENT])]
)
def test_the_papers_own_network_on_its_own_data_says_in_what_it_differs(method: str, backbone: str) -> None:
    name = f"stanford_cars-{backbone}-finetune"
    if not (MEASURED / name / "record.json").exists():  # then another network stands in, and differs in more than words
        rows = CELLS.query("dataset == 'stanford-cars' and network == 'vgg16' and method == @method")
        assert set(rows["status"]) == {module.OTHER_NETWORK}
        assert set(rows["differs"]) == {""}
        return
    fidelity = read_measured(MEASURED, [name])[name].tables["fidelity"]
    for head in ("softmax", "sigmoid"):
        for metric in module.FIDELITY_OF_PAPER:
            row = cell("Table 2", "stanford-cars", "vgg16", method, head, metric)
            own = fidelity.query("method == @method and head == @head and scorer == @head and metric == @metric")
            assert (row["status"], row["ours"]) == (module.MEASURED_HERE, own["value"].item())
            assert "blocks 1 to 4 frozen" in row["differs"]
            assert row["measured_by"] == f"python -m companion publish {name} --weights wheel"
    others = CELLS[CELLS["status"] != module.MEASURED_HERE]
    assert set(others["differs"]) == {""}


def with_made_up(results: Path, experiment: dict[str, object]) -> pd.DataFrame:
    """The cells where an experiment with the tables of Stanford Cars is in a copy of what is committed."""
    for path in MEASURED.iterdir():
        (results / path.name).symlink_to(path)
    folder = results / "-".join(str(experiment[key]) for key in ("dataset", "backbone", "origin"))
    shutil.copytree(MEASURED / "stanford_cars-efficientnet_lite0-probe", folder)
    record = read_json(folder / "record.json")
    write_json(folder / "record.json", record | {"experiment": record["experiment"] | experiment})
    return module.committed_cells(results, job_of)


@pytest.mark.parametrize(
    ("backbone", "methods"), [("vgg16", {"cam"}), ("vgg16_mlp", {"gradcam", "gradcam++", "xgradcam", "layercam"})]
)
def test_a_measurement_on_the_papers_data_and_network_fills_its_cells(
    backbone: str, methods: set[str], tmp_path: Path
) -> None:
    cells = with_made_up(tmp_path, {"dataset": "cub", "backbone": backbone, "origin": "finetune"})
    rows = cells[(cells["dataset"] == "cub-200-2011") & (cells["network"] == "vgg16")]
    measured = rows[rows["status"] == module.MEASURED_HERE]
    assert set(measured["method"]) == methods
    assert set(measured["metric"]) == set(module.FIDELITY_OF_PAPER)
    assert set(measured["head"]) == {"softmax", "sigmoid"}
    assert (measured["low"] <= measured["ours"]).all()
    assert (measured["ours"] <= measured["high"]).all()
    assert measured["difference"].to_numpy() == pytest.approx((measured["ours"] - measured["paper"]).to_numpy())
    assert set(measured["measured_by"]) == {f"python -m companion publish cub-{backbone}-finetune"}
    # Other networks of the same data now have it for their stand-in, before that on other data.
    resnet = cells[(cells["dataset"] == "cub-200-2011") & (cells["network"] == "resnet50")]
    assert set(resnet["status"]) == {module.OTHER_NETWORK}
    untouched = cells[cells["dataset"] != "cub-200-2011"]
    pd.testing.assert_frame_equal(untouched, CELLS.loc[untouched.index])
    own = pd.DataFrame([("cub", "vgg16", next(iter(methods)), "softmax", 1.0)], columns=[*OWN_KEYS, "average_drop"])
    pd.testing.assert_frame_equal(module.with_own(cells, own), cells)  # what has an interval stays


def test_what_was_not_measured_says_so_and_how_to_get_it() -> None:
    assert set(CELLS["status"]) == set(module.STATUSES)
    missing = CELLS[CELLS["status"] == module.NOT_MEASURED]
    assert set(missing["metric"]) == {"training_time"}
    assert missing["ours"].isna().all()
    everything_missing = module.our_cell([], "imagenet-1k", "vgg16", "cam", "sigmoid", "gt_loc")
    assert everything_missing["status"] == module.NOT_MEASURED


def test_every_cell_names_the_job_of_the_matrix_that_fills_it() -> None:
    for row in CELLS.to_dict("records"):
        run = filled_by(row["dataset"], row["network"], row["method"]).run(Path("build/paper"))
        assert row["job"] == run.full_name
        assert row["command"].split()[:2] == ["snakemake", run.evidence.as_posix()]
        assert row["command"].endswith("--config profile=paper")


def test_runs_on_the_papers_own_data_take_the_place_of_what_stood_in() -> None:
    own = pd.DataFrame(
        [("imagenet", "vgg16", "cam", "softmax", 60.0), ("imagenet", "vgg16", "cam", "sigmoid", 63.0)],
        columns=["dataset", "network", "method", "head", "gt_loc"],
    )
    cells = module.with_own(CELLS, own)
    rows = cells[(cells["network"] == "vgg16") & (cells["method"] == "cam") & (cells["metric"] == "gt_loc")]
    assert rows["ours"].tolist() == [60.0, 63.0]
    assert rows["our_gain"].tolist()[1] == 3.0
    assert set(rows["status"]) == {module.MEASURED_HERE}
    assert set(rows["ours_on"]) == {"ImageNet, VGG-16"}
    others = cells[~cells.index.isin(rows.index)]
    pd.testing.assert_series_equal(others["ours"], CELLS.loc[others.index, "ours"])
    assert module.with_own(CELLS, own.drop(columns="dataset")) is CELLS


def test_maps_that_know_no_class_stand_beside_the_metrics_of_their_table() -> None:
    rows = module.committed_baselines(MEASURED)
    assert set(rows["method"]) == {"centre", "class-free"}
    centre = rows[rows["ours_on"].str.startswith("ImageNet,") & (rows["metric"] == "maxboxacc_v2")]
    assert centre["ours"].item() == pytest.approx(53.385, abs=1e-3)
    assert centre["status"].item() == module.MEASURED_HERE
    assert rows["paper"].isna().all()
    assert set(rows[rows["table"] == "Table 2"]["metric"]) == set(module.FIDELITY_OF_PAPER)
