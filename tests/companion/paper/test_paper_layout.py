"""The paper's tables keep the paper's layout: method, + Ours, gain, and ours beside it."""

import re
from html import unescape

import pandas as pd
import pytest

from companion.matrix import job_of
from companion.paper import layout as module
from companion.paper.cells import committed_cells, with_own
from companion.show.results import MEASURED

CELLS = committed_cells(MEASURED, job_of)


def tables_of(html: str) -> list[list[list[str]]]:
    """Every table as rows of text."""
    found = []
    for table in re.findall(r"<table>.*?</table>", html):
        rows = re.findall(r"<tr>.*?</tr>", table)
        found.append(
            [[unescape(re.sub(r"<[^>]+>", "", one)) for one in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]
        )
    return found


def test_table_1_has_a_part_a_data_set_and_a_row_a_method_and_head() -> None:
    imagenet, openimages = tables_of(module.paper_layout(CELLS, "Table 1"))
    assert imagenet[0] == [
        "method",
        "VGG-16, paper",
        "ResNet-50, paper",
        "InceptionV3, paper",
        "ours: Tiny-ImageNet, EfficientNet-Lite0",
    ]
    assert imagenet[1][:4] == ["Top-1 Cls ↑", "Top-1 Loc ↑", "GT-Loc ↑", "MaxBoxAccV2 ↑"]
    assert [row[0] for row in imagenet[2:]] == ["CAM", "+ Ours", "Grad-CAM", "+ Ours"]
    assert imagenet[3][3] == "59.57 (+0.03)"
    assert openimages[3][2] == "60.11 (+1.94)"


def test_best_values_are_bold_and_undecided_gains_are_marked() -> None:
    html = module.paper_layout(CELLS, "Table 2")
    assert (
        "<strong>9.46 <br><small>(-30.17)</small></strong>" in html
    )  # the lowest average drop of VGG-16 on Stanford Cars
    assert "<strong>9.69 " not in html
    row = {"ours": 60.0, "our_gain": 0.1, "gain_low": -0.1, "gain_high": 0.3}
    assert module._text(row, "ours", 1) == "60.0 (+0.1°)"
    assert module._text(row | {"gain_low": 0.05}, "ours", 1) == "60.0 (+0.1)"
    assert module._text(row | {"our_gain": 0.0, "gain_low": 0.0, "gain_high": 0.0}, "ours", 1) == "60.0 (+0.0)"


def test_where_each_network_was_measured_ours_stands_beside_each() -> None:
    rows = [("cub", "vgg16", "cam", head, value) for head, value in (("softmax", 40.0), ("sigmoid", 30.0))]
    own = pd.DataFrame(rows, columns=["dataset", "network", "method", "head", "average_drop"])
    cub = tables_of(module.paper_layout(with_own(CELLS, own), "Table 2"))[0]
    assert cub[0][:3] == ["method", "VGG-16, paper", "ours: CUB-200-2011, VGG-16"]
    assert cub[3][3] == "30.0 (-10.0)"


def test_table_3_has_both_heads_and_their_ratio() -> None:
    (table,) = tables_of(module.paper_layout_of_overhead(CELLS))
    assert [row[0] for row in table[2:]] == ["VGG-16", "ResNet-50", "InceptionV3"]
    assert table[2][1:3] == ["17.67 → 20.87 (× 1.18)", "–"]
    assert table[0][1:] == ["training time, h", "inference with a map, ms per image", "parameters, million"]


@pytest.mark.parametrize("table", ["Table 1", "Table 2", "Table 3"])
def test_a_notebook_shows_it_as_html(table: str) -> None:
    html = module.laid_out(table, MEASURED, job_of, pd.DataFrame())._repr_html_()
    assert html.count("<caption>Table") == {"Table 1": 2, "Table 2": 2, "Table 3": 1}[table]
