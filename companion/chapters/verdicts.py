"""The chapter on the claims: each judged twice, and what its numbers rest on.

What is imported here under its own name (``as``) is handed on to the notebook.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..claims import claims as claims
from ..claims import judging as judging
from ..claims import page as page
from ..claims import registered as registered
from ..claims import told as told
from ..matrix import job_of
from ..paper import own as own
from ..paper.cells import committed_baselines, committed_cells


def read_cells(results: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every published cell with ours, and the rows of maps that know no class.

    Args:
        results: folder of all that was measured.
    """
    return committed_cells(results, job_of), committed_baselines(results)
