"""Rows of small whole numbers in one column of a table: two bytes a number, and no Python object a row.

Arrow keeps such a column as one block of memory, which becomes an array without a copy; a row that is missing takes
no room there. A row is its numbers as unsigned 16-bit integers, little-endian: ``np.frombuffer(row, "<u2")``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from .errors import fail

NUMBER = np.dtype("<u2")


PACKED = pa.large_binary()
"""Arrow's type of such a column."""
PARQUET_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    pa.ArrowException,
)
"""What readers of Parquet raise on files that are damaged or made by somebody else.

Arrow's own errors come under several names, and pandas trips over its notes in the file in many ways.
"""


def is_packed(kind: pa.DataType) -> bool:
    """Say whether a type is that of packed columns."""
    return bool(kind == PACKED)


def pack(rows: Sequence[NDArray[Any] | None]) -> list[bytes | None]:
    """Pack the rows of a column, whole numbers from 0 to 65,535; ``None`` stays missing."""
    return [None if row is None else row.astype(NUMBER).tobytes() for row in rows]


def unpack(column: pd.Series[Any], count: int) -> NDArray[np.uint16]:
    """Unpack the numbers (N, count) of a column without missing rows.

    Raises:
        SigcamError: if a row has another number of them.

    >>> unpack(pd.Series(pack([np.array([1, 2]), np.array([3, 4])])), 2).tolist()
    [[1, 2], [3, 4]]
    """
    packed = pa.array(column, type=PACKED)
    if isinstance(packed, pa.ChunkedArray):
        packed = packed.combine_chunks()
    _, offsets, values = packed.buffers()
    ends = np.frombuffer(offsets, np.int64)[packed.offset : packed.offset + len(packed) + 1]
    if not (np.diff(ends) == NUMBER.itemsize * count).all():
        fail(
            f"column {column.name} does not hold {count} numbers in every row: delete the evidence and evaluate again."
        )
    return np.frombuffer(values, NUMBER)[ends[0] // NUMBER.itemsize : ends[-1] // NUMBER.itemsize].reshape(-1, count)


def to_pandas_type(kind: pa.DataType) -> pd.ArrowDtype | None:
    """For ``to_pandas(types_mapper=...)``: packed columns stay with Arrow."""
    return pd.ArrowDtype(kind) if is_packed(kind) else None
