"""What readers of Parquet raise on files that are damaged or made by somebody else."""

import pyarrow as pa

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
"""Arrow's own errors come under several names, and pandas trips over its notes in the file in many ways."""
