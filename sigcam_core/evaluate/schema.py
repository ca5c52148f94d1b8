"""The evidence: one row per image, head and method, with the columns of every family of metrics."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..common.errors import fail
from ..common.families import MetricFamily
from ..common.packed import PARQUET_DAMAGE, to_pandas_type
from ..common.paths import user_path
from ..fidelity.evidence import FIDELITY, PERTURBATION
from ..localization.evidence import LOCALIZATION
from ..pointing.evidence import POINTING

FAMILIES: tuple[MetricFamily, ...] = (LOCALIZATION, POINTING, FIDELITY, PERTURBATION)
"""Every family of metrics; evaluation, tables and pages loop over them."""
SCHEMA = pa.schema(
    [
        ("network", pa.string()),
        ("image_id", pa.string()),
        ("label", pa.int32()),
        ("predicted", pa.int32()),  # by the softmax branch
        ("head", pa.string()),
        ("method", pa.string()),
        *(column for family in FAMILIES for column in family.columns),
    ]
)
"""Columns of the evidence. Localisation and pointing are of the map of the label, fidelity is of that of the predicted
class."""
NEEDS = {name: need for family in FAMILIES for name, need in family.needs.items()}
"""What an image must have for a metric, where that is more than the image itself."""


def read_evidence(*paths: Path) -> pd.DataFrame:
    """Read evidence files into one table.

    Returns:
        One row per image, head and method, with the columns of :data:`SCHEMA`; what was not measured is missing.
        Columns of many numbers per row are read by :func:`sigcam_core.common.packed.unpack`.

    Raises:
        SigcamError: if a file is missing, is not evidence, or was written by a version with other columns.
    """
    frames: list[pd.DataFrame] = []
    for path in map(user_path, paths):
        if not path.exists():
            fail(f"evidence {path} does not exist: run `python -m sigcam_core evaluate` first.")
        try:
            columns = pq.read_schema(path).names
            # In one piece: to take some rows of a column in many pieces, Arrow first puts these together.
            table = pq.read_table(path, schema=SCHEMA).combine_chunks()
            table.validate(full=True)  # or text of other bytes than of text would be found out later
        except PARQUET_DAMAGE as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            fail(f"{path} is not an evidence file ({reason}): delete it and evaluate again.")
        if missing := set(SCHEMA.names) - set(columns):  # they have been read as nulls
            fail(f"{path} lacks column {min(missing)}, as another version wrote it: delete it and evaluate again.")
        frames.append(table.to_pandas(types_mapper=to_pandas_type, self_destruct=True))
        del table
    pa.default_memory_pool().release_unused()  # what decompression took
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
