"""The page of all cells: one row per cell, what it sorts by, and where its links and commands lead."""

import re
from html import unescape
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from companion.matrix import job_of
from companion.paper import against as page
from companion.paper.cells import STATUSES, committed_baselines, committed_cells
from companion.show.results import MEASURED

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"
CELLS, BASELINES = committed_cells(MEASURED, job_of), committed_baselines(MEASURED)
HTML = page.against_table(CELLS, BASELINES)


def test_cells_are_read_and_stand_above_what_knows_no_class() -> None:
    cells, baselines = page.read_cells(MEASURED)
    pd.testing.assert_frame_equal(cells, CELLS)
    pd.testing.assert_frame_equal(baselines, BASELINES)
    whole = page.whole_table(cells, baselines)
    assert whole.index.tolist() == list(range(len(cells) + len(baselines)))
    assert whole["network"].tolist() == [*cells["network"], *baselines["network"]]


def test_every_cell_and_every_baseline_has_a_row_that_sorts() -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", HTML)[1:]
    assert len(rows) == len(CELLS) + len(BASELINES)
    assert {len(re.findall(r"<t[hd][ >]", row)) for row in rows} == {len(page.HEADINGS)}
    first = CELLS.iloc[0]
    assert f'data-sort="{first["paper"]}">{first["paper"]:.2f}' in rows[0]
    assert '<th scope="row">CAM, Top-1 Cls ↑</th>' in rows[0]
    assert "Grad-CAM++ + Ours, average drop ↓" in HTML
    assert max(page.FILTERS) < len(page.HEADINGS)


@pytest.mark.parametrize("link", sorted({*CELLS["page"], *BASELINES["page"]} - {""}))
def test_links_lead_to_headings_that_are_there(link: str) -> None:
    name, _, anchor = link.partition("#")
    notebook = nbformat.read(NOTEBOOKS / name.replace(".html", ".ipynb"), as_version=4)
    headings = re.findall(r"^#+ (.*)$", "\n".join(cell.source for cell in notebook.cells), flags=re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") for heading in headings}
    assert not anchor or anchor in anchors


def test_commands_make_ours_and_the_papers_own() -> None:
    rows = CELLS[CELLS["network"] == "resnet50"].iloc[[1]]
    text, row = unescape(page.against_table(rows, BASELINES.iloc[:0])), rows.iloc[0]
    assert f"<p>Ours: <code>{row['measured_by']}</code></p>" in text
    assert f"<code>{row['command']}</code>" in text
    assert f'href="{row["page"]}"' in text
    missing = CELLS[CELLS["metric"] == "training_time"].iloc[[0]]
    assert "Needs a GPU and data" in page.against_table(missing, BASELINES.iloc[:0])


def test_the_opening_counts_and_turns() -> None:
    counts = page.cell_values(CELLS)
    sentence = page.opening_of_cells(CELLS)
    assert f"{counts['gains_of_same_sign']} of the {counts['gains']} cells" in sentence
    assert sum(int(counts[status.replace(" ", "_")]) for status in STATUSES) == counts["cells"] == len(CELLS)
    turned = page.cell_values(CELLS.assign(our_gain=-CELLS["our_gain"]))
    rows = page.gains_of_maps(CELLS)
    zeros = int((rows["paper_gain"] * rows["our_gain"] == 0).sum())
    assert turned["gains_of_same_sign"] == counts["gains"] - counts["gains_of_same_sign"] - zeros
    assert pd.notna(rows["our_gain"]).all()


def test_each_number_of_ours_counts_once() -> None:
    rows = pd.DataFrame(
        {
            "ours_on": ["A", "A", "A", "B"],
            "metric": ["gt_loc"] * 4,
            "our_gain": [1.0, 1.0 + 1e-9, -2.0, 1.0],  # two of A are one number
            "paper_gain": [1.0, -1.0, -3.0, 2.0],
        }
    )
    distinct = page.distinct_gains(rows).set_index(["ours_on", "our_gain"])[["cells", "same_sign"]]
    assert distinct.T.to_dict("list") == {("A", 1.0): [2, 1], ("A", -2.0): [1, 1], ("B", 1.0): [1, 1]}
    committed = page.gains_of_maps(CELLS)
    assert page.distinct_gains(committed)["cells"].sum() == len(committed)
    told = page.opening_of_cells(CELLS)
    assert f"hold {len(page.distinct_gains(committed))} different numbers of ours" in told
