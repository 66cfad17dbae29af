"""How the columns of a sweep's files are encoded: fast to write, small, and readable by every reader of Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_ROWS: Final = 2**13
"""Rows that choose the encoding of the whole numbers of a file."""
MIN_GAIN: Final = 2
"""Factor by which plain numbers must be smaller than packed ones to be written so."""
MAX_PLAIN_BYTES: Final = SAMPLE_ROWS // 8
"""Bytes of the sample's plain numbers below which they are written so: zstd goes through 64 times as many at once."""
LEVEL: Final = -1
"""Level of zstd: 8 % less time than level 1, Arrow's default, and 2 % more bytes."""
BATCH_ROWS: Final = 2**16
"""Rows that are encoded at a time: 3 % less time than Arrow's default of 1024."""


def file_options(table: pa.Table) -> dict[str, Any]:
    """The arguments of `pyarrow.parquet.ParquetWriter` for a table; the same for equal tables.

    Arrow's default, a dictionary of each column's values, costs a look-up for each value and pays for few columns of a
    sweep. Here it is kept for texts, whose dictionaries a table has already. Floats are split by bytes, whole numbers
    are packed differences; those that repeat each other in long patterns, as counts do where few axes vary fast, are
    plain, since zstd finds the patterns. All this takes 60 % of the time and 75 to 95 % of the bytes of the default.

    Whole numbers that are split by bytes would be faster still, but DuckDB cannot read them before 2026-07.
    """
    import pyarrow as pa

    floats = [one.name for one in table.schema if one.type == pa.float64()]
    whole = [one.name for one in table.schema if one.type == pa.int64()]
    packed = dict.fromkeys(whole, "DELTA_BINARY_PACKED")
    if table.num_rows > SAMPLE_ROWS:
        sample = table.slice(0, SAMPLE_ROWS).select(whole)
        sizes = zip(whole, _column_bytes(sample, {}), _column_bytes(sample, packed), strict=True)
        for name, plain_size, packed_size in sizes:
            if plain_size < MAX_PLAIN_BYTES or plain_size * MIN_GAIN < packed_size:
                del packed[name]
    return _options(packed | dict.fromkeys(floats, "BYTE_STREAM_SPLIT")) | {
        "use_dictionary": [one.name for one in table.schema if one.name not in {*floats, *whole}]
    }


def _options(encodings: dict[str, str]) -> dict[str, Any]:
    return {
        "compression": "zstd",
        "compression_level": LEVEL,
        "use_dictionary": False,
        "column_encoding": encodings,
        "write_batch_size": BATCH_ROWS,
    }


def _column_bytes(table: pa.Table, encodings: dict[str, str]) -> list[int]:
    """The bytes of each column of a table in a file with these encodings, plain without one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pa.BufferOutputStream()
    pq.write_table(table, file, **_options(encodings))
    row_group = pq.read_metadata(pa.BufferReader(file.getvalue())).row_group(0)
    return [row_group.column(place).total_compressed_size for place in range(row_group.num_columns)]
