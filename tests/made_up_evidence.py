"""Evidence of random numbers, for tests of what is computed from it."""

import numpy as np
import pandas as pd

from sigcam_core.common.packed import pack
from sigcam_core.localization.hits import in_ten_thousandths
from sigcam_core.localization.protocol import NUM_BINS

NUM_IMAGES = 6


def made_up_evidence(head: str = "softmax", method: str = "cam", seed: int = 0) -> pd.DataFrame:
    """Evidence of random numbers."""
    generator = np.random.default_rng(seed)
    outer = np.random.default_rng(seed + 1).random((NUM_IMAGES, 255))
    rows = []
    for i in range(NUM_IMAGES):
        rows.append(
            {
                "network": "small_cnn-gap",
                "image_id": f"image{i}",
                "label": i % 2,
                "predicted": 0,
                "head": head,
                "method": method,
                "best_iou_multi": packed(in_ten_thousandths(generator.random(255))),
                "best_iou_outer": packed(in_ten_thousandths(outer[i])),
                "best_iou_otsu": np.float32(0.25 + 0.1 * i),
                "best_iou_half": np.float32(0.1 + 0.1 * i),
                "gt_loc_iou_any": np.float32(0.3 + 0.1 * i),
                "gt_loc_iou_first": np.float32(0.2 + 0.1 * i),
                "object_histogram": packed(generator.integers(0, 50, NUM_BINS)),
                "background_histogram": packed(generator.integers(0, 50, NUM_BINS)),
                "pointing_hit": i % 2 == 0,
                "energy_in_box": np.float32(0.1 * i),
                "energy_in_mask": np.float32(0.05 * i),
                "coverage": generator.random(),
                "coherency": 0.7,
                "image_score_softmax": 0.8,
                "explained_score_softmax": 0.4 if i < 3 else 0.9,
                "image_score_sigmoid": 0.5,
                "explained_score_sigmoid": 0.5,
                "insertion_auc": np.float32(0.2 * i) if i < 4 else np.nan,
                "deletion_auc": np.float32(0.1) if i < 4 else np.nan,
                "insertion_fractions": np.array([0, 0.5, 1], dtype=np.float32) if i < 4 else None,
                "insertion_curve": np.array([0.2, 0.2 + 0.1 * i, 0.4], dtype=np.float32) if i < 4 else None,
            }
        )
    return pd.DataFrame(rows)


def packed(numbers: np.ndarray) -> bytes | None:
    """The numbers of one row, as the evidence keeps them."""
    return pack([numbers])[0]


def value(statistics: dict[str, np.ndarray], name: str) -> float:
    """A metric in the first resample."""
    return float(statistics[name][0])
