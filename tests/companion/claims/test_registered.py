"""Which rules were in force when a measurement ran."""

from pathlib import Path

import pytest

from companion.claims.claims import rules_digest
from companion.claims.registered import BEFORE, MISSING, OTHER, SAME, order_table
from sigcam_core.common.files import write_json

CONTROLS, CARS = "controls-stanford_cars-efficientnet_lite0-probe", "stanford_cars-efficientnet_lite0-probe"


@pytest.mark.parametrize(
    ("record", "order"),
    [
        ({"rules": rules_digest(), "date": "2026-12-02T10:00:00"}, SAME),
        ({"tables": {"rules": rules_digest(), "date": "2026-12-02T10:00:00"}}, SAME),
        ({"rules": "0" * 64, "date": "2026-12-02T10:00:00"}, OTHER),
        ({"date": "2026-12-02T10:00:00"}, BEFORE),
    ],
)
def test_the_record_says_which_rules_were_in_force(record: dict[str, object], order: str, tmp_path: Path) -> None:
    write_json(tmp_path / CONTROLS / "record.json", record)
    table = order_table(tmp_path).set_index("measurement")
    assert table.loc[CONTROLS].tolist() == ["2026-12-02", order]
    assert set(table.drop(CONTROLS)["rules"]) == {MISSING}


def test_tables_with_a_record_of_their_own_have_a_line_of_their_own(tmp_path: Path) -> None:
    write_json(tmp_path / CARS / "freezing.json", {"rules": rules_digest()})
    table = order_table(tmp_path).set_index("measurement")["rules"]
    assert table[f"{CARS}, freezing"] == SAME
    assert table[CARS] == MISSING
    assert table["overhead"] == MISSING
