"""Packed columns come back as they were, from memory and from Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sigcam_core.common.errors import SigcamError
from sigcam_core.common.packed import PACKED, pack, to_pandas_type, unpack

NUMBERS = np.random.default_rng(0).integers(0, 2**16, (6, 5))


def test_numbers_come_back_after_files_filters_and_sorting(tmp_path: Path) -> None:
    rows = [*NUMBERS[:3], None, *NUMBERS[3:]]
    table = pa.table({"row": range(7), "values": pa.array(pack(rows), PACKED)})
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=2)
    read = pd.concat([pq.read_table(tmp_path / "table.parquet").to_pandas(types_mapper=to_pandas_type)] * 2)
    there = read[read["values"].notna()]
    np.testing.assert_array_equal(unpack(there["values"], 5), np.tile(NUMBERS, (2, 1)))
    backwards = there.iloc[:6].sort_values("row", ascending=False)
    np.testing.assert_array_equal(unpack(backwards["values"], 5), NUMBERS[::-1])
    np.testing.assert_array_equal(unpack(there["values"].iloc[2:4], 5), NUMBERS[2:4])


def test_a_column_in_memory_needs_no_object_a_row() -> None:
    column = pa.table({"values": pa.array(pack(list(NUMBERS)), PACKED)}).to_pandas(types_mapper=to_pandas_type)
    assert column["values"].dtype == pd.ArrowDtype(PACKED)
    assert column["values"].memory_usage(index=False) <= NUMBERS.size * 2 + 8 * 7 + 1


def test_missing_rows_take_no_room() -> None:
    column = pa.array(pack([None] * 1000), PACKED)
    assert column.nbytes < 10_000


def test_rows_of_another_length_get_one_sentence() -> None:
    with pytest.raises(SigcamError, match="column histogram does not hold 5 numbers in every row"):
        unpack(pd.Series(pack([NUMBERS[0], NUMBERS[1][:4]]), name="histogram"), 5)
