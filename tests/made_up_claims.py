"""Made-up tables of the crossed controls, by which every claim of the paper would hold."""

from pathlib import Path

import pandas as pd

from sigcam_core.common.files import write_json
from sigcam_core.summarise.claims import METRICS, load_claims
from sigcam_core.summarise.saved import write_csv

CONTROLS = sorted({test.experiment for claim in load_claims() for test in claim.tests if test.table == "differences"})
SIDES = {
    "sigmoid_vs_softmax_signed": ("softmax/logit/signed", "sigmoid/logit/truncated"),
    "sigmoid_vs_softmax_truncated": ("softmax/logit/truncated", "sigmoid/logit/truncated"),
    "sigmoid_vs_softmax_centred": ("softmax/centred/signed", "sigmoid from softmax/logit/truncated"),
    "truncation_softmax": ("softmax optimum/logit/signed", "softmax optimum/logit/truncated"),
    "truncation_sigmoid": ("sigmoid/logit/signed", "sigmoid/logit/truncated"),
    "centring_softmax": ("softmax/logit/signed", "softmax/centred/signed"),
    "log_odds_softmax": ("softmax/logit/signed", "softmax/log_odds/signed"),
    "class_free_vs_sigmoid_truncated": ("none/class-free/signed", "sigmoid/logit/truncated"),
    "centre_vs_best": ("none/centre/signed", "sigmoid/logit/truncated"),
    "wrong_class_softmax_truncated": ("softmax/logit/truncated", "softmax/wrong class/truncated"),
}
"""Names as the measurement writes them, with what is subtracted first."""
LOWER_IS_BETTER = ("average_drop", "drop_at_50", "deletion_auc")


def made_up() -> pd.DataFrame:
    """Differences by which every claim of the paper would hold: two points better, give or take one."""
    rows = []
    for comparison, (first, second) in SIDES.items():
        for metric in METRICS:
            better = -2.0 if metric in LOWER_IS_BETTER else 2.0
            rows.append((comparison, first, second, metric, better, better - 0.5, better + 0.5, better - 1, better + 1))
    columns = ["comparison", "first", "second", "metric", "difference", "low", "high", "low_all", "high_all"]
    return pd.DataFrame(rows, columns=columns)


def write(folder: Path, table: pd.DataFrame, experiments: list[str] = CONTROLS) -> Path:
    for name in experiments:
        write_csv(folder / name / "differences.csv", table)
        write_json(folder / name / "record.json", {"gauge_energy": 0.1})
    return folder
