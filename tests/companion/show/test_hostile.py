"""Names that would run if they were markup, formulas or code stay text from the manifest to the notebook."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_parts
from hostile_names import FILE_NAMES, HOSTILE
from myst_parser.parsers.docutils_ import Parser
from papermill.translators import translate_parameters
from PIL import Image

from companion.chapters.explorer import shift_sentence
from companion.show.figures import invariance_figure
from companion.show.names import in_markdown
from companion.show.notebook import check_parameters
from companion.show.saved import save_values
from companion.show.shown import fold, show
from data_scripts.__main__ import main as data_scripts
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json, write_json
from sigcam_core.prepare.images import load_images
from sigcam_core.prepare.manifest import read_manifest
from sigcam_core.summarise.csv import csv_text, write_csv
from sigcam_core.summarise.drawing import Panel, panel_grid

TAG = re.compile(r"<(script|img|svg|a|iframe)\b")


def test_a_folder_of_such_names_becomes_a_data_set(tmp_path: Path) -> None:
    root = tmp_path / "[photos] of; $(touch owned)"
    for number, name in enumerate(FILE_NAMES):
        (root / name).mkdir(parents=True)
        for copy in range(6):
            pixels = np.full((8, 8, 3), 9 * number + copy, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{copy}{FILE_NAMES[-number]}.png", format="PNG")
    data_scripts(["image_folder", "--root", str(tmp_path / "[/data]"), "--name", "mine", "--source", str(root)])
    manifest = read_manifest(tmp_path / "[/data]" / "mine" / "manifest.parquet")
    assert sorted(manifest.class_names) == sorted(FILE_NAMES)
    assert len(load_images(manifest, 8)) == 6 * len(FILE_NAMES)
    data_scripts(["image_folder", "--root", str(tmp_path / "[/data]"), "--name", "mine", "--source", str(root)])
    assert not [path for path in (Path.cwd(), tmp_path, root) if (path / "owned").exists()]


def test_json_gives_back_what_was_saved(tmp_path: Path) -> None:
    assert read_json(write_json(tmp_path / "x.json", list(HOSTILE))) == list(HOSTILE)
    path = save_values(tmp_path, "x", dict(zip(map(str, range(99)), HOSTILE, strict=False)))
    assert list(json.loads(path.read_text())["values"].values()) == list(HOSTILE)


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    table = pd.DataFrame({name: [other] for name, other in zip(HOSTILE, reversed(HOSTILE), strict=True)})
    path = write_csv(tmp_path / "x.csv", table)
    header, row = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))
    for cell, name in zip([*header, *row], [*HOSTILE, *reversed(HOSTILE)], strict=True):
        assert cell in (name, f"'{name}")
        assert cell.strip()[0] not in "=+-@"
    numbers = pd.DataFrame({"a": [-1.5], "b": ["-0.4 [-1.0, 0.2]"], "c": ["+3.1 %"], "d": ["−2"], "e": ["-1e-05"]})
    assert csv_text(numbers) == 'a,b,c,d,e\n-1.5,"-0.4 [-1.0, 0.2]",+3.1 %,−2,-1e-05\n'


def test_tables_of_notebooks_hold_text_and_no_tags() -> None:
    table = pd.DataFrame({"method": HOSTILE, HOSTILE[0]: HOSTILE, "value": 1.5})
    html = fold(HOSTILE[1], show(table, HOSTILE[2]), name=HOSTILE[2]).data
    links = re.findall(r'<a class="csv" download="([^"]*)" href="data:text/csv;base64,', html)
    assert [unescape(link) for link in links] == [f"{HOSTILE[2]}.csv"]
    assert TAG.findall(html) == ["a"]
    for name in HOSTILE:
        assert unescape(html).count(name) >= 2


@pytest.mark.parametrize("name", HOSTILE)
def test_an_opening_in_markdown_holds_text_and_no_tags(name: str) -> None:
    text = shift_sentence(name, {"softmax": 0.5, "sigmoid": 0.5}, {"softmax": 0.5, "sigmoid": 0.1}, 1.0)
    assert "\n" not in text
    settings: dict[str, Any] = {"myst_enable_extensions": ["dollarmath", "amsmath", "colon_fence", "deflist"]}
    body = publish_parts(f"> **{text}**", parser=Parser(), writer_name="html5", settings_overrides=settings)["body"]
    assert not TAG.findall(body)
    assert " ".join(name.split()) in " ".join(unescape(re.sub(r"<[^>]*>", "", body)).split())
    assert in_markdown("Pembroke Welsh corgi, n02113023") == "Pembroke Welsh corgi, n02113023"


# Of a tab, and of signs that few fonts have; and long names leave no room for the picture.
@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout not applied")
def test_figures_show_such_names_as_they_are(tmp_path: Path) -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    for name in HOSTILE:
        for number, figure in enumerate(
            (
                panel_grid([[Panel(name, picture)]], [name]),
                invariance_figure([Panel(name, picture)], {"head": [0.5, 0.2]}, [name, "other"]),
            )
        ):
            with plt.rc_context({"svg.fonttype": "none"}):
                figure.savefig(tmp_path / f"{number}.svg")
            plt.close(figure)
            elements = list(ElementTree.parse(tmp_path / f"{number}.svg").iter())
            assert {element.tag.partition("}")[2] for element in elements}.isdisjoint({"script", "foreignObject", "a"})
            assert not [key for element in elements for key in element.attrib if key.startswith("on")]
            texts = {" ".join((element.text or "").split()) for element in elements}
            assert "\n" in name or " ".join(name.split()) in texts


@pytest.mark.parametrize("name", HOSTILE)
def test_parameters_of_notebooks_are_text_whatever_they_hold(name: str) -> None:
    namespace: dict[str, Any] = {"__annotations__": {"protocol": str}}
    exec(translate_parameters("python3", "python", {"protocol": name}, "Parameters"), {}, namespace)
    assert namespace["protocol"] == name
    with pytest.raises(SigcamError, match=r"parameter protocol is .*give one of"):
        check_parameters(namespace, protocol=("standard", "paper"))
