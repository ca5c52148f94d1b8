"""The bias of a maximum over thresholds, against populations in which it is known exactly."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_evidence import NUM_IMAGES, made_up_evidence
from safetensors.numpy import save_file
from scipy.stats import binom

from companion.controls.maps import Control
from companion.controls.study import located_pairs
from companion.studies.threshold_bias import COLUMNS, Simulation, estimates, publish_threshold_bias, simulate
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json, write_json
from sigcam_core.common.packed import unpack
from sigcam_core.evaluate.schema import SCHEMA
from sigcam_core.localization.hits import pack_hits
from sigcam_core.run import Run

NUM_TIED = 6
SIMULATION = Simulation(data_sets=300, resamples=200)
NUM_DRAWN = 100
COVERAGE_ERROR = 100 * 3 * np.sqrt(0.95 * 0.05 / SIMULATION.data_sets)  # three standard deviations of the binomial
MAXIMUM = [f"maximum_{name}" for name in ("percentile", "centred", "corrected", "basic")]


def tied(num_levels: int = NUM_TIED) -> np.ndarray:
    """Every pattern of hits at the first levels, once: independent hits of probability 1/2 at each."""
    patterns = (np.arange(2**NUM_TIED)[:, None] >> np.arange(NUM_TIED)) & 1
    best_iou = np.zeros((len(patterns), 255))
    best_iou[:, :num_levels] = patterns[:, :num_levels]
    return pack_hits(best_iou)


def expected_maximum(num_levels: int) -> float:
    """Of as many independent binomials, in %."""
    counts = np.arange(NUM_DRAWN + 1)
    below = binom.cdf(counts, NUM_DRAWN, 0.5) ** num_levels
    return float(100 * (counts * np.diff(below, prepend=0)).sum() / NUM_DRAWN)


@pytest.fixture(scope="module")
def of_ties() -> pd.DataFrame:
    """Of a map that has its maximum at six levels, and one that has it at one of them."""
    return simulate(tied(), tied(1), NUM_DRAWN, SIMULATION)


def lines(table: pd.DataFrame, quantity: str, target: str = "maximum") -> pd.DataFrame:
    part = table[(table["quantity"] == quantity) & (table["target"] == target) & (table["metric"] == "maxboxacc_v2")]
    return part.set_index("estimator")


def test_the_bias_of_a_maximum_over_ties_is_that_of_independent_binomials(of_ties: pd.DataFrame) -> None:
    assert of_ties.columns.tolist() == COLUMNS
    figure, difference = lines(of_ties, "figure"), lines(of_ties, "difference")
    error = 3 * 100 * 0.5 / np.sqrt(NUM_DRAWN * SIMULATION.data_sets)  # of one binomial; a maximum has less
    bias = expected_maximum(NUM_TIED) - 50
    assert bias > 6  # 1.27 standard deviations of 5 points
    for name in ("maximum_percentile", "maximum_centred"):
        assert figure.loc[name, "bias"] == pytest.approx(bias, abs=error)
        assert difference.loc[name, "bias"] == pytest.approx(-bias, abs=1.5 * error)
    for name in ("maximum_corrected", "maximum_basic"):
        assert figure.loc[name, "bias"] == pytest.approx(bias - figure.loc[name, "bootstrap_bias"], abs=error)
    # Resamples lean further upwards, so that intervals miss, and the bootstrap sees only part of it.
    assert 0.2 * bias < figure.loc["maximum_percentile", "bootstrap_bias"] < 0.9 * bias
    assert figure.loc["maximum_percentile", "coverage"] < 60
    assert figure.loc["maximum_percentile", "coverage"] < figure.loc["maximum_corrected", "coverage"]


@pytest.mark.parametrize("quantity", ["figure", "difference"])
def test_held_out_thresholds_have_no_bias_and_cover_as_they_say(quantity: str, of_ties: pd.DataFrame) -> None:
    error = 3 * 100 * np.sqrt(2) * 0.5 / np.sqrt(NUM_DRAWN * SIMULATION.data_sets)
    for target in ("maximum", "at_thresholds"):  # all ties are alike, so that both are 50 %
        row = lines(of_ties, quantity, target).loc["held_out_percentile"]
        assert row["bias"] == pytest.approx(0, abs=error)
        assert row["bootstrap_bias"] == pytest.approx(0, abs=0.1)
        assert row["coverage"] == pytest.approx(95, abs=COVERAGE_ERROR)


def test_without_a_choice_all_estimators_agree() -> None:
    figure = lines(simulate(tied(1), tied(1), NUM_DRAWN, SIMULATION), "figure").loc[[*MAXIMUM, "held_out_percentile"]]
    assert np.ptp(figure["bias"]) < 0.1
    assert np.ptp(figure["mean_width"]) < 1e-9
    assert figure["mean_width"].mean() == pytest.approx(2 * 1.96 * 5, rel=0.05)  # in steps of 1 %
    assert figure["coverage"].to_numpy() == pytest.approx(95, abs=COVERAGE_ERROR)


def test_a_threshold_that_suits_only_the_held_out_images_falls_short_of_the_maximum() -> None:
    # Level 0 hits in 10 of 20 images, level 1 in 9: often the worse one is chosen.
    best_iou = np.zeros((20, 255))
    best_iou[:10, 0] = best_iou[11:, 1] = 1
    table = simulate(pack_hits(best_iou), pack_hits(best_iou), 30, SIMULATION)
    shortfall = lines(table, "figure").loc["held_out_percentile", "bias"]
    own = lines(table, "figure", "at_thresholds").loc["held_out_percentile", "bias"]
    assert -5 < shortfall - own < -1
    assert own == pytest.approx(0, abs=3 * 50 / np.sqrt(30 * SIMULATION.data_sets))


def test_a_map_differs_from_itself_by_nothing() -> None:
    difference = simulate(tied(), tied(), 20, Simulation(data_sets=5, resamples=20))
    difference = difference[difference["quantity"] == "difference"]
    assert len(difference) == 4 * 6
    assert (difference[["bias", "bootstrap_bias", "mean_width"]] == 0).all(axis=None)
    assert (difference["coverage"] == 100).all()


def test_intervals_by_hand() -> None:
    resamples = np.arange(0.0, 41.0) + 5  # percentiles 2.5 and 97.5 are 6 and 44, the mean 25
    values = np.append(22.0, resamples)[None]  # so that the bias is 3
    found = {name: [end.item() for end in ends] for name, ends in estimates(values).items()}
    assert found == {
        "percentile": [22, 6, 44],
        "centred": [22, 3, 41],
        "corrected": [19, 0, 38],
        "basic": [19, 0, 38],
    }


def test_the_same_seed_gives_the_same_table_and_another_does_not() -> None:
    one, again, other = (
        simulate(tied(), tied(2), 20, Simulation(data_sets=5, resamples=20, seed=seed)) for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(one, again)
    assert (one["bias"] != other["bias"]).any()


def test_maps_of_other_images_get_one_sentence() -> None:
    with pytest.raises(SigcamError, match="both maps must be of the same images"):
        simulate(tied(), tied()[:5], 10, SIMULATION)


def test_the_table_and_its_record_say_where_they_come_from(tmp_path: Path) -> None:
    run, missing = Run("shapes", "small_cnn", work_dir=tmp_path), Run("shapes", "small_cnn", 1, tmp_path)
    kinds = [(head, method) for head in ("softmax", "sigmoid") for method in ("cam", "layercam", "gradcam")]
    parts = [made_up_evidence(head, method, seed) for seed, (head, method) in enumerate(kinds)]
    parts[0] = parts[0].iloc[::-1]  # pairs are by image, not by the order of rows
    run.evidence.parent.mkdir()
    pq.write_table(pa.Table.from_pandas(pd.concat(parts), schema=SCHEMA, preserve_index=False), run.evidence)
    run.sigmoid_head.parent.mkdir()
    write_json(run.sigmoid_head.with_suffix(".json"), {"sha256": "of the head"})
    said: list[str] = []
    simulation = Simulation(data_sets=4, resamples=10)
    publish_threshold_bias({"one": run, "other": missing}, tmp_path / "results", said.append, simulation)
    table = pd.read_csv(tmp_path / "results" / "bias.csv")
    assert table.columns.tolist() == ["experiment", "method", "population", *COLUMNS]
    assert said == [f"one, {method}: 4 data sets of {NUM_IMAGES} images" for method in ("cam", "layercam")]
    for method, part in table.groupby("method"):
        evidence = [made_up_evidence(head, method, kinds.index((head, method))) for head in ("softmax", "sigmoid")]
        first, second = (pack_hits(unpack(rows["best_iou_multi"], 255)) for rows in evidence)
        expected = simulate(first, second, NUM_IMAGES, simulation)
        pd.testing.assert_frame_equal(part[COLUMNS].reset_index(drop=True), expected)
        assert set(part["population"]) == {NUM_IMAGES}
    record = read_json(tmp_path / "results" / "record.json")
    assert record["sigmoid_heads"] == {"one": {"sha256": "of the head"}}
    assert record["simulation"] == {"data_sets": 4, "resamples": 10, "seed": 0}


def test_crossed_controls_are_drawn_from_where_they_were_measured(tmp_path: Path) -> None:
    run = Run("shapes", "small_cnn", work_dir=tmp_path)
    generator = np.random.default_rng(0)
    names = [Control(head, "logit", weights).name for head in ("one", "other") for weights in ("truncated", "signed")]
    folder = tmp_path / "controls" / run.full_name
    folder.mkdir(parents=True)
    hits = pack_hits(generator.random((40, len(names), 255)))
    save_file({"hits": hits}, folder / "located_test.safetensors")
    assert located_pairs(run) == {}
    write_json(folder / "rows.json", {"rows": names, "softmax": "one", "sigmoid": "other"})
    run.sigmoid_head.parent.mkdir()
    write_json(run.sigmoid_head.with_suffix(".json"), {})
    simulation = Simulation(data_sets=4, resamples=10)
    publish_threshold_bias({"one": run}, tmp_path / "results", lambda _: None, simulation)
    table = pd.read_csv(tmp_path / "results" / "bias.csv")
    for method, columns in {"signed": (1, 3), "truncated": (0, 2)}.items():
        expected = simulate(hits[:, columns[0]], hits[:, columns[1]], 40, simulation)
        part = table[table["method"] == method].reset_index(drop=True)
        pd.testing.assert_frame_equal(part[COLUMNS], expected)


def test_without_evidence_a_sentence_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match="run `python -m companion publish one` first"):
        publish_threshold_bias({"one": Run("shapes", "small_cnn", work_dir=tmp_path)}, tmp_path / "results", print)
    assert not (tmp_path / "results").exists()


def test_a_population_is_of_the_images_that_have_boxes(tmp_path: Path) -> None:
    run = Run("shapes", "small_cnn", work_dir=tmp_path)
    parts = [made_up_evidence(head, method) for head in ("softmax", "sigmoid") for method in ("cam", "layercam")]
    evidence = pd.concat(parts, ignore_index=True)
    boxes = evidence["best_iou_multi"]
    run.evidence.parent.mkdir()
    run.sigmoid_head.parent.mkdir()
    write_json(run.sigmoid_head.with_suffix(".json"), {"sha256": "of the head"})

    def publish(there: pd.Series) -> None:
        part = evidence.assign(best_iou_multi=boxes.where(there, None))
        pq.write_table(pa.Table.from_pandas(part, schema=SCHEMA, preserve_index=False), run.evidence)
        publish_threshold_bias({"one": run}, tmp_path, lambda _: None, Simulation(data_sets=3, resamples=5))

    publish(evidence["image_id"] != "image3")
    assert set(pd.read_csv(tmp_path / "bias.csv")["population"]) == {NUM_IMAGES - 1}
    with pytest.raises(SigcamError, match="no image of this evidence has a box"):
        publish(evidence["image_id"] == "none")
