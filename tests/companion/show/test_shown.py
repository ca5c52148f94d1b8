"""What a notebook shows: names, best values, folds with their CSV, figures with words."""

import base64
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from companion.controls import names as controls
from companion.paper.tables import PAPER_TABLES, paper_table
from companion.show.names import DATA_SET_TITLES, NETWORK_TITLES, SCALAR_TITLES
from companion.show.shown import csv_link, fold, show, show_figure, written
from sigcam_core.common.errors import SigcamError
from sigcam_core.summarise.style import STYLE, in_style

TABLE = pd.DataFrame(
    {
        "dataset": ["stanford_cars", "tiny_imagenet"],
        "network": ["vgg16", "small_cnn-mlp"],
        "method": ["gradcam++", "class-free, truncated"],
        "head": ["sigmoid", "none"],
        "average_drop": [20.0, 30.0],
        "gt_loc": ["61.2 [60.0, 62.0]", "–"],
    }
)


def test_names_are_written_as_people_write_them() -> None:
    table = written(TABLE)
    assert table.columns.tolist() == ["data set", "network", "method", "head", "average drop", "GT-Loc"]
    assert table["data set"].tolist() == ["Stanford Cars", "Tiny-ImageNet"]
    assert table["network"].tolist() == ["VGG-16", "small CNN, MLP head"]
    assert table["method"].tolist() == ["Grad-CAM++", "class-free: sum of feature maps, truncated"]
    assert table["head"].tolist() == ["sigmoid", "–"]


def test_every_name_of_the_papers_tables_and_every_control_has_a_title() -> None:
    for name in PAPER_TABLES:
        assert set(paper_table(name)["dataset"]) <= set(DATA_SET_TITLES)
        assert set(paper_table(name)["backbone"]) <= set(NETWORK_TITLES)
    names = {controls.CENTRE, controls.CLASS_FREE, controls.RANDOM, controls.RANDOM_POSITIVE, controls.SHIFTED}
    assert names | {controls.WRONG_CLASS} <= set(SCALAR_TITLES)


def test_the_best_value_is_bold_the_lower_where_lower_is_better() -> None:
    html = show(TABLE, "caption", best=["average_drop", "gt_loc"]).to_html()
    bold = re.search(r"((?:#T_\w+, )*#T_\w+) \{\s*font-weight: 700", html)
    assert bold is not None
    cells = re.findall(r"_row(\d)_col(\d)", bold[1])
    assert cells == [("0", "4"), ("0", "5")]  # a drop of 20, and the one figure of GT-Loc


def test_a_fold_holds_its_tables_and_their_csv() -> None:
    html = fold("what it is", show(TABLE, "caption"), name="some").data
    assert html.startswith('<details class="tables"><summary>what it is</summary>')
    data = re.search(r'download="some.csv" href="data:text/csv;base64,([^"]+)"', html)
    assert data is not None
    rows = base64.b64decode(data[1]).decode().splitlines()
    assert rows[0] == "data set,network,method,head,average drop,GT-Loc"
    assert rows[1].startswith("Stanford Cars,VGG-16,Grad-CAM++,sigmoid,20.0,")
    two = fold("two", show(TABLE, "a"), show(TABLE, "b"), name="some").data
    assert re.findall(r'download="([^"]+)"', two) == ["some_1.csv", "some_2.csv"]
    assert "&quot;" in csv_link(TABLE, 'a "name"')


def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_photograph: bool) -> tuple[dict, dict]:
    found: list[tuple[dict, dict]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata, raw: found.append((data, metadata)))
    figure, ax = plt.subplots(figsize=(2, 1))
    if has_photograph:
        ax.imshow(np.zeros((4, 4, 3), dtype=np.uint8))
    show_figure(tmp_path, "one", figure, "words that tell what the figure finds, at some length")
    assert (tmp_path / "summary" / "one.png").is_file()
    assert not plt.fignum_exists(figure.number)
    return found[0]


def test_lines_are_drawn_as_vectors_and_photographs_as_jpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data, metadata = shown(monkeypatch, tmp_path, has_photograph=False)
    assert "<svg" in data["image/svg+xml"]
    assert metadata["image/svg+xml"]["alt"].startswith("words that tell")
    data, metadata = shown(monkeypatch, tmp_path, has_photograph=True)
    assert base64.b64decode(data["image/jpeg"])[:3] == b"\xff\xd8\xff"
    assert metadata["image/jpeg"] == {"alt": data["text/plain"], "width": 192}


def test_a_figure_without_words_is_refused(tmp_path: Path) -> None:
    figure, _ = plt.subplots()
    with pytest.raises(SigcamError, match="figure one needs words"):
        show_figure(tmp_path, "one", figure, "a chart")
    plt.close(figure)


def test_a_figure_is_drawn_in_the_style_of_the_book_and_others_in_their_own() -> None:
    before = plt.rcParams["axes.titlesize"]
    assert in_style(lambda: plt.rcParams["axes.titlesize"])() == STYLE["axes.titlesize"]
    assert plt.rcParams["axes.titlesize"] == before
