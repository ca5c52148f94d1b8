"""Figures hold what they say: the panels asked for, boxes where they belong, axes with names and units."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color, to_rgba
from matplotlib.figure import Figure

from companion.show.figures import (
    coverage_figure,
    difference_figure,
    gains_figure,
    invariance_figure,
    matched_coverage_figure,
    overhead_figure,
    training_figure,
)
from sigcam_core import EXTRA_METHODS, METHODS, SigcamError
from sigcam_core.common.titles import METHOD_TITLES
from sigcam_core.dual.branch import HEADS
from sigcam_core.summarise.drawing import Panel, draw_panel, panel_grid
from sigcam_core.summarise.style import COLORS, METHOD_MARKERS

IMAGE = np.full((8, 10, 3), 128, dtype=np.uint8)
SCORE_MAP = np.linspace(0, 1, 80).reshape(8, 10)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def texts(figure: Figure) -> set[str]:
    figure.canvas.draw()
    return {text.get_text() for text in figure.findobj(plt.Text) if text.get_text()}


def test_every_method_and_head_has_a_name_a_marker_and_a_colour() -> None:
    assert set(METHOD_TITLES) == set(METHOD_MARKERS) == {*METHODS, *EXTRA_METHODS}
    assert set(COLORS) == set(HEADS)
    assert len(set(METHOD_MARKERS.values())) == len(METHOD_MARKERS)


def test_boxes_are_drawn_at_their_place() -> None:
    _, ax = plt.subplots()
    true_boxes, estimated = np.array([[1, 2, 5, 6], [0, 0, 3, 3]]), np.array([2, 1, 9, 7])
    draw_panel(ax, Panel("title", IMAGE, SCORE_MAP, true_boxes, estimated))
    drawn = [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in ax.patches]
    assert drawn == [(1, 2, 4, 4), (0, 0, 3, 3), (2, 1, 7, 6)]
    assert [patch.get_linestyle() for patch in ax.patches] == ["-", "-", "--"]
    assert same_color(ax.patches[0].get_edgecolor(), "white")
    assert not any(patch.get_fill() for patch in ax.patches)
    image, overlay = ax.images
    np.testing.assert_array_equal(image.get_array(), IMAGE)
    np.testing.assert_array_equal(overlay.get_array(), SCORE_MAP)
    assert overlay.get_clim() == (0, 1)  # not stretched again to the map's own extremes
    assert ax.get_title() == "title"


def test_a_map_of_another_size_is_refused() -> None:
    _, ax = plt.subplots()
    with pytest.raises(SigcamError, match=r"the map of panel 'CAM' must be as large as its image \(8, 10\)"):
        draw_panel(ax, Panel("CAM", IMAGE, SCORE_MAP[:4]))


def test_grid_has_its_rows_labels_and_one_colour_bar() -> None:
    rows = [[Panel(f"{i}{j}", IMAGE, SCORE_MAP if j else None) for j in range(3)] for i in range(2)]
    figure = panel_grid(rows, ["first", "second"])
    *panels, bar = figure.axes
    assert [ax.get_title() for ax in panels] == ["00", "01", "02", "10", "11", "12"]
    assert [ax.get_ylabel() for ax in panels] == ["first", "", "", "second", "", ""]
    assert bar.get_ylabel() == "score map (each stretched to 0–1)"
    assert len(panel_grid([[Panel("image", IMAGE)]]).axes) == 1  # no map, no colour bar


@pytest.mark.parametrize("rows", [[], [[]], [[Panel("a", IMAGE)], []]])
def test_ragged_and_empty_grids_are_refused(rows: list[list[Panel]]) -> None:
    with pytest.raises(SigcamError, match="panel_grid needs rows of equal length, at least one panel each"):
        panel_grid(rows)


def test_invariance_figure_shows_each_heads_probabilities() -> None:
    panels = [Panel("image", IMAGE), Panel("original", IMAGE, SCORE_MAP), Panel("shifted", IMAGE, SCORE_MAP)]
    probabilities = {"original": [0.7, 0.2], "shifted": [0.7, 0.2]}
    figure = invariance_figure(panels, probabilities, ["cat", "dog"])
    *maps, bars = figure.axes
    assert [ax.get_title() for ax in maps] == ["image", "original", "shifted"]
    assert bars.get_xlabel() == "softmax probability"
    assert bars.get_xlim() == (0, 1)
    assert [[bar.get_width() for bar in container] for container in bars.containers] == [[0.7, 0.2], [0.7, 0.2]]
    assert {"cat", "dog", "original", "shifted"} <= texts(figure)


def test_training_figure_draws_loss_and_accuracy_of_each_run() -> None:
    history = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "val_top1": [30.0, 60.0]})
    figure = training_figure({"softmax": history, "sigmoid": history.assign(loss=[4.0, 3.0])})
    loss, accuracy = figure.axes
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "training loss")
    assert (accuracy.get_xlabel(), accuracy.get_ylabel()) == ("epoch", "validation Top-1 (%)")
    assert [line.get_ydata().tolist() for line in loss.lines] == [[2, 1], [4, 3]]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[30, 60], [30, 60]]
    assert [text.get_text() for text in figure.legends[0].texts] == ["softmax", "sigmoid"]
    assert len({line.get_linestyle() for line in loss.lines}) == 2  # apart without colour, too


def differences() -> pd.DataFrame:
    row = {"network": "net", "method": "cam", "metric": "pxap", "difference": 1.0, "low": 0.5, "high": 2.0}
    return pd.DataFrame(
        [row, row | {"method": "layercam", "difference": -1.0, "low": -3.0, "high": -0.5}, row | {"metric": "gt_loc"}]
    )


def test_difference_figure_draws_one_interval_a_row() -> None:
    figure = difference_figure(differences(), ["gt_loc", "maxboxacc_v2", "pxap"])
    first, second = figure.axes  # maxboxacc_v2 is not in the table
    assert [first.get_title(), second.get_title()] == ["GT-Loc", "PxAP"]
    assert second.get_xlabel() == "sigmoid − softmax (points)"
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["net  CAM", "net  Layer-CAM"]
    points, _, (bars,) = second.containers[0]
    assert points.get_xdata().tolist() == [1, -1]
    assert points.get_ydata().tolist() == [0, 1]
    assert [segment[:, 0].tolist() for segment in bars.get_segments()] == [[0.5, 2], [-3, -0.5]]
    assert first.containers[0][0].get_ydata().tolist() == [0]


def test_difference_figure_without_its_metrics_is_refused() -> None:
    with pytest.raises(SigcamError, match="none of the metrics top1_loc is in the table: choose among pxap, gt_loc"):
        difference_figure(differences(), ["top1_loc"])


def test_coverage_figure_puts_each_method_and_head_at_its_place() -> None:
    rows = [
        {"network": network, "method": method, "head": head, "coverage": 10.0 * i, "average_drop": 20.0 + i}
        for network in ("a", "b")
        for i, (method, head) in enumerate([("cam", "softmax"), ("cam", "sigmoid"), ("layercam", "softmax")])
    ]
    figure = coverage_figure(pd.DataFrame(rows))
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    for ax in figure.axes:
        assert ax.get_xlabel() == "coverage: mean of the maps (%)"
        assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines] == [(0, 20), (10, 21), (20, 22)]
        assert [line.get_marker() for line in ax.lines] == [METHOD_MARKERS[m] for m in ("cam", "cam", "layercam")]
        colors = [to_rgba(line.get_color()) for line in ax.lines]
        assert colors == [to_rgba(COLORS[head]) for head in ("softmax", "sigmoid", "softmax")]
    assert figure.axes[0].get_ylabel() == "average drop (%), lower is better"
    legend = [text.get_text() for text in figure.legends[0].texts]
    assert legend == ["CAM", "Layer-CAM", "softmax head", "sigmoid head"]


def test_overhead_figure_draws_one_bar_a_network_and_quantity() -> None:
    rows = [
        {"network": network, "quantity": quantity, "ratio": ratio}
        for network, ratios in (("a", (1.1, 1.2)), ("b", (1.3, 1.4)))
        for quantity, ratio in zip(("parameters", "training_time"), ratios, strict=True)
    ]
    (ax,) = overhead_figure(pd.DataFrame(rows)).axes
    assert ax.get_xlabel() == "dual branch / baseline"
    assert [[bar.get_width() for bar in container] for container in ax.containers] == [[1.1, 1.2], [1.3, 1.4]]
    assert [line.get_xdata() for line in ax.lines if line.get_color() == "gray"] == [[1, 1]]


def test_curves_at_matched_coverage_have_a_panel_a_network_and_a_line_a_map() -> None:
    coverage = np.array([0.0, 50.0, 100.0])
    points = pd.concat(
        pd.DataFrame(
            {
                "network": network,
                "method": method,
                "head": head,
                "coverage": coverage,
                "average_drop": 80 - 0.8 * coverage + HEADS.index(head),
            }
        )
        for network, methods in (("small_cnn-gap", ("cam", "gradcam")), ("small_cnn-mlp", ("gradcam",)))
        for method in methods
        for head in HEADS
    )
    figure = matched_coverage_figure(points)
    gap, mlp = figure.axes
    assert [ax.get_title() for ax in (gap, mlp)] == ["small CNN, GAP head", "small CNN, MLP head"]
    assert (len(gap.lines), len(mlp.lines)) == (4, 2)
    softmax, sigmoid = mlp.lines
    np.testing.assert_array_equal(softmax.get_xydata(), np.stack([coverage, 80 - 0.8 * coverage], axis=1))
    assert same_color(softmax.get_color(), COLORS["softmax"])
    assert same_color(sigmoid.get_color(), COLORS["sigmoid"])
    assert softmax.get_linestyle() != sigmoid.get_linestyle()  # told apart without colour too
    assert {"CAM", "Grad-CAM", "softmax head", "sigmoid head", "coverage: pixels kept (%)"} <= texts(figure)
    assert "Layer-CAM" not in texts(figure)


def test_a_mark_of_gains_stands_at_the_papers_and_at_ours() -> None:
    cells = pd.DataFrame(
        [
            ("gt_loc", "cam", "imagenet-1k", 1.0, 2.0, 1.5, 2.5),
            ("gt_loc", "gradcam", "imagenet-1k", -1.0, 3.0, float("nan"), float("nan")),
            ("average_drop", "cam", "cub-200-2011", 4.0, -5.0, float("nan"), float("nan")),
        ],
        columns=["metric", "method", "dataset", "paper_gain", "our_gain", "gain_low", "gain_high"],
    )
    figure = gains_figure(cells)
    where, faithful = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["GT-Loc", "average drop"]
    marks = [line.get_xydata().tolist() for line in where.lines if line.get_marker() != "None"]
    assert marks == [[[1.0, 2.0]], [[-1.0, 3.0]]]
    assert [[1.0, 1.5], [1.0, 2.5]] in [line.get_xydata().tolist() for line in where.lines]
    assert [[4.0, -5.0]] in [line.get_xydata().tolist() for line in faithful.lines]
    assert {"Grad-CAM", "ImageNet", "CUB-200-2011"} <= texts(figure)
