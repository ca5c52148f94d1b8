"""Tables of whole evaluations, of evidence and of growth say what was measured, met and missed."""

from pathlib import Path
from typing import Any

import pytest

from companion.chapters import further_speed as further
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import write_json

NETWORK = {
    "network": "efficientnet_lite0",
    "labels": "others",
    "passes": {"ours": 6.5, "peer_forward": 19, "peer_backward": 8},
    "rows": [
        {"setting": "a network, passes plain", "speed_up": 9.0, "goal": 20.0, "max_difference": 0.001},
        {"setting": "a network, passes compiled", "speed_up": 21.0, "goal": 20.0, "max_difference": 0.0},
    ],
    "processor_seconds_per_image": {"peer": 2.0, "plain": 0.25, "compiled": 0.1},
    "shares": {"plain": 0.8, "compiled": 0.6},
    "seconds_of_first_turn": {"peer": 0.6, "compiled": 19.2},
}
EVIDENCE = {
    "megabytes": 251.0,
    "seconds_to_load": 1.0,
    "seconds_of_tables": 60.0,
    "peak_mebibytes": 1000.0,
    "targets": {"megabytes": 250, "seconds_to_load": 3, "peak_mebibytes": 2000, "seconds_of_tables": 60},
}


def growth() -> dict[str, Any]:
    runs = [
        {"asked": n, "images": n, "workers": w, "seconds": n / w, "processor_seconds": n / 2.0}
        for w in (1, 2)
        for n in (10, 100)
    ]
    law = {"fixed_seconds": 1.0, "fixed_processor_seconds": 3.0, "processor_seconds_per_image": 0.5}
    laws = {"1": law | {"seconds_per_image": 1.0}, "2": law | {"seconds_per_image": 0.5}}
    machine = {
        "hours_of_passes": 30.0,
        "hours_of_localisation": 2.0,
        "hours": 30.0,
        "hours_of_longest_training": 9.0,
        "bottleneck": "passes of the GPUs",
    }
    return {"runs": runs, "laws": laws, "profile": {"name": "paper", "machines": [{"name": "one H100"} | machine]}}


def test_a_whole_evaluation_says_what_is_met_and_what_is_missed() -> None:
    table = further.whole_line_table({"networks": [NETWORK]})
    assert table["verdict"].tolist() == ["MISSED", "met"]
    assert table["passes"].tolist() == ["plain", "compiled"]
    assert table["in processor seconds"].tolist() == pytest.approx([8.0, 20.0])
    assert table["our time in passes, %"].tolist() == pytest.approx([80.0, 60.0])
    assert set(table["network"]) == {"EfficientNet-Lite0"}
    turns = further.first_turns({"networks": [NETWORK]})
    assert turns == ["EfficientNet-Lite0, labels others: peer 1 s, compiled 19 s"]
    assert further.rows_of({"networks": [NETWORK, NETWORK]}) == [*NETWORK["rows"], *NETWORK["rows"]]


def test_a_whole_evaluation_names_the_passes_that_were_made() -> None:
    rows = [row | {"setting": "a network, passes plain (compiled asked for)"} for row in NETWORK["rows"]]
    table = further.whole_line_table({"networks": [NETWORK | {"rows": rows}]})
    assert table["passes"].tolist() == ["plain (compiled asked for)"] * 2


def test_evidence_stands_beside_its_targets() -> None:
    table = further.evidence_table(EVIDENCE).set_index("quantity")
    assert table.loc["size of the file, MB", "verdict"] == "MISSED"
    assert table.loc["all tables with their intervals, seconds", "verdict"] == "met"  # the target itself is allowed
    assert len(table) == 4


def test_published_experiments_stand_beside_their_earlier_times() -> None:
    one = {"name": "a", "images": 10, "before": {"seconds": 100.0}, "now": {"seconds": 50.0, "passes": "compiled"}}
    more = {"share": 0.5, "max_difference": 0.0}
    slow = one | {"name": "b", "now": {"seconds": 51.0, "passes": "plain"}, "share": 0.51, "max_difference": 0.2}
    table = further.published_table({"goal": 0.5, "experiments": [one | more, slow]})
    assert table["verdict"].tolist() == ["met", "MISSED"]
    assert table["before, s"].tolist() == [100.0, 100.0]
    assert table["now, s"].tolist() == [50.0, 51.0]


def test_what_was_not_measured_gives_empty_tables(tmp_path: Path) -> None:
    assert further.read_further(tmp_path, "evidence") == {}
    assert len(further.evidence_table({})) == len(further.whole_line_table({})) == 0
    assert len(further.published_table({})) == 0
    assert further.rows_of({}) == []
    assert further.records_of(one={}, other={"provenance": 1}) == {"other": 1}
    with pytest.raises(SigcamError, match=r"no measurement of growth in .*: run `python -m benchmarks.growth` first"):
        further.read_growth(tmp_path)


def test_what_was_measured_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "evidence" / "cpu.json", EVIDENCE)
    write_json(tmp_path / "cpu.json", growth())
    assert further.read_further(tmp_path, "evidence") == EVIDENCE
    assert further.read_growth(tmp_path) == growth()


def test_growth_is_told_with_its_laws_and_hours() -> None:
    runs, laws = further.runs_table(growth()), further.laws_table(growth())
    assert runs["images per second"].tolist() == [1, 1, 2, 2]
    assert runs["images a processor second"].tolist() == [2] * 4
    assert laws["an image, s"].tolist() == [1.0, 0.5]
    assert further.machines_table(growth())["waits for"].tolist() == ["passes of the GPUs"]
    text = further.opening_of_growth(growth())
    assert "two processes are 2.0 times as fast as one" in text
    assert "30 hours on one H100" in text


def test_growth_tells_hours_assumptions_and_the_machine() -> None:
    assert further.growth_values(growth()) == {"hours_one_H100": 30.0}
    record = {"device": "a machine", "date": "2026-01-01", "commit": "0123456789abcdef"}
    load = {"before": 0.24, "after": 1.06}
    profile = growth()["profile"] | {"assumptions": ["one", "two"]}
    lines = further.growth_sources({"profile": profile, "provenance": record, "load_of_the_machine": load})
    assert lines.splitlines() == [
        "assumed: one",
        "assumed: two",
        "a machine, 2026-01-01, commit 0123456789ab",
        "processes that waited for a core, before and after: 0.2 and 1.1",
    ]


def test_growth_that_was_not_measured_says_so_and_still_tells_the_costs() -> None:
    result = growth() | {"runs": [], "laws": {}}
    assert len(further.runs_table(result)) == len(further.laws_table(result)) == 0
    text = further.opening_of_growth(result)
    assert text.startswith("The growth of an evaluation was not measured yet; under stated assumptions")
    (ax,) = further.growth_figure(result).axes
    assert [one.get_text() for one in ax.texts] == ["not measured"]


def test_the_figure_of_growth_draws_every_run_and_every_law() -> None:
    (ax,) = further.growth_figure(growth()).axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[10, 100], [11.0, 101.0], [5, 50], [6.0, 51.0]]
