"""Inputs and expected outputs of the protocol of Choe et al. 2020, computed with their reference evaluation."""

from pathlib import Path
from typing import Any

import numpy as np


def load() -> dict[str, Any]:
    """Arrays of the golden file; ``maps`` (19, 224, 224) float32, ``boxes`` one (M, 4) array per map.

    To be small, the file keeps the maps as byte planes of the differences between consecutive bit patterns.
    """
    with np.load(Path(__file__).parent / "golden" / "wsol.npz") as file:
        golden = dict(file)
    differences = np.ascontiguousarray(golden.pop("map_bytes").T).view(np.uint32).ravel()
    golden["maps"] = np.cumsum(differences, dtype=np.uint32).view(np.float32).reshape(-1, 224, 224)
    boxes = golden["gt_boxes_224_xyxy"]
    golden["boxes"] = [boxes[boxes[:, 0] == i, 1:] for i in range(len(golden["maps"]))]
    return golden
