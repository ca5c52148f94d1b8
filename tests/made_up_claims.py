"""Made-up tables of the crossed controls, by which every claim of the paper would hold."""

from pathlib import Path

import pandas as pd

from companion.claims.claims import load_claims
from companion.controls.names import COMPARISONS, TITLES
from sigcam_core.common.files import write_json
from sigcam_core.summarise.csv import write_csv

CONTROLS = sorted({test.experiment for claim in load_claims() for test in claim.tests if test.table == "differences"})
LOWER_IS_BETTER = ("average_drop", "drop_at_50", "deletion_auc")


def made_up() -> pd.DataFrame:
    """Differences by which every claim of the paper would hold: two points better, give or take one."""
    rows = []
    for name, comparison in COMPARISONS.items():
        first, second = ("/".join(side) for side in (comparison.first, comparison.second))
        for metric in TITLES:
            better = -2.0 if metric in LOWER_IS_BETTER else 2.0
            rows.append((name, first, second, metric, better, better - 0.5, better + 0.5, better - 1, better + 1))
    columns = ["comparison", "first", "second", "metric", "difference", "low", "high", "low_all", "high_all"]
    return pd.DataFrame(rows, columns=columns)


def write(folder: Path, table: pd.DataFrame, experiments: list[str] = CONTROLS) -> Path:
    for name in experiments:
        write_csv(folder / name / "differences.csv", table)
        write_json(folder / name / "record.json", {"gauge_energy": 0.1})
    return folder
