"""The centre beside the paper's rows: what lies below it is counted, and none of it is typed."""

from pathlib import Path

import pandas as pd
import pytest

from companion.paper.centre import (
    centre_caption,
    centre_chapter,
    centre_tables,
    mark_centre,
    paper_beside_centre,
    read_boxes,
    read_centre,
)
from companion.show.results import MEASURED
from companion.show.shown import show
from sigcam_core.common.errors import SigcamError


def made_up(value: float) -> pd.DataFrame:
    """Figures of two collections, MaxBoxAccV2 of ImageNet being ``value``."""
    rows = [("imagenet", 50, "gt_loc", 40.0), ("imagenet", 50, "maxboxacc_v2", value), ("cub", 7, "maxboxacc_v2", 99.0)]
    table = pd.DataFrame(rows, columns=["dataset", "images", "metric", "value"])
    return table.assign(low=table["value"] - 1, high=table["value"] + 2)


BOXES = pd.DataFrame([{"dataset": "cub", "images": 7, "boxes": 9, "flat": 1, "median_iou": 0.5, "maxboxacc@30": 99.0}])


@pytest.mark.parametrize(
    ("value", "below", "gradcam", "below_interval"),
    [(10, 0, 0, 0), (52.4, 1, 1, 0), (60.17, 6, 5, 5), (60.2, 7, 6, 5), (99, 12, 6, 12)],
)
def test_the_papers_rows_below_the_centre_are_counted(
    value: float, below: int, gradcam: int, below_interval: int
) -> None:
    # Its rows, sorted: 52.30 52.49 53.06 57.04 57.98 60.00 60.17 60.25 63.51 63.53 64.73 64.98; 60.00 and those from
    # 60.25 on are CAM. The made-up interval begins a point below the figure.
    values = centre_chapter(made_up(value), BOXES).values
    assert (values["paper_rows"], values["paper_rows_below"]) == (12, below)
    assert (values["paper_gradcam_rows"], values["paper_gradcam_rows_below"]) == (6, gradcam)
    assert values["paper_rows_below_interval"] == below_interval
    assert values["paper_most_above"] == pytest.approx(64.98 - value)


def test_the_rows_stand_in_order_and_the_centre_parts_them() -> None:
    table = paper_beside_centre(made_up(58.5))
    assert len(table) == 13
    assert table["maxboxacc_v2"].is_monotonic_decreasing
    (place,) = table.index[table["method"] == "centre"]
    assert (table["above the centre"].iloc[:place] > 0).all()
    assert (table["above the centre"].iloc[place + 1 :] < 0).all()
    row = table.query("network == 'resnet50' and method == 'cam' and head == 'sigmoid'")
    assert row["above the centre"].item() == pytest.approx(64.73 - 58.5)
    html = mark_centre(show(table, "caption")).to_html()
    assert html.count("font-weight: 700") == 1  # one style, of the cells of one row
    assert f"row{place}_col0" in html.split("font-weight: 700")[0].rsplit("}", 1)[1]


def test_the_page_counts_rows_below_and_shows_both_tables() -> None:
    chapter = centre_chapter(made_up(60.2), BOXES)
    assert "of the paper's 12 rows 7 lie below the centre, 5 of them below" in centre_caption(chapter.values)
    beside, figures, boxes = (style.to_html() for style in centre_tables(chapter))
    assert "centre, no image" in beside
    assert "CUB-200-2011" in figures
    assert "CUB-200-2011" in boxes
    assert "median iou" in boxes


def test_every_figure_has_a_value_with_its_interval() -> None:
    values = centre_chapter(made_up(58.5), BOXES).values
    assert (values["imagenet_gt_loc"], values["imagenet_maxboxacc_v2"], values["cub_maxboxacc_v2"]) == (40, 58.5, 99)
    assert values["imagenet_maxboxacc_v2_interval"] == "[57.50, 60.50]"
    assert (values["imagenet_images"], values["cub_images"]) == (50, 7)
    assert (values["boxes_cub_flat"], values["boxes_cub_median_iou"], values["boxes_cub_maxboxacc_30"]) == (1, 0.5, 99)


def test_what_is_committed_is_what_the_published_boxes_give() -> None:
    table, record = read_centre(MEASURED)
    found = table[table["metric"] == "maxboxacc_v2"].set_index("dataset")
    # Computed independently from the same text files.
    expected = {"imagenet": 53.39, "imagenetv2": 50.32, "cub": 56.83, "cubv2": 47.43, "stanford_cars": 78.1}
    expected |= {"tiny_imagenet": 56.0}
    assert found["value"].to_dict() == pytest.approx(expected, abs=0.05)
    assert found["images"].to_dict() == dict(zip(expected, (50_000, 10_000, 5_794, 1_000, 2_056, 10_000), strict=True))
    assert all(file["published"] for file in record["manifest"]["archives"])
    assert not record["commit"].endswith("dirty")


def test_what_the_committed_boxes_are_was_counted_another_way_too() -> None:
    tiny = read_boxes(MEASURED).set_index("dataset").loc["tiny_imagenet"]
    # Counted in the text of the archive, without this package.
    counts = {"images": 10_000, "boxes": 10_000, "flat": 41, "whole_image": 572, "past_the_edge": 0}
    assert tiny[list(counts)].to_dict() == counts
    assert tiny["median_iou"] == pytest.approx(0.95399, abs=5e-6)
    assert tiny["maxboxacc_v2"] == pytest.approx(99.0967, abs=5e-5)


def test_what_was_not_measured_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match="run `python -m companion publish centre`"):
        read_boxes(tmp_path)
    with pytest.raises(SigcamError, match="run `python -m companion publish centre`"):
        read_centre(tmp_path)
