"""Columns of Arrow tables as NumPy arrays; a column may be a dictionary of few values with an index for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from convcost.grids.prediction import plain_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"


def numbers(tables: Sequence[pa.Table], name: str) -> tuple[Array, Array]:
    """The numbers of a column, and which rows have one: none is missing, not a number, or infinite.

    Args:
        tables: Tables, one after the other.
        name: Name of a column of integers, floats or booleans.
    """
    import numpy as np

    parts = []
    for values, places in _chunks(tables, name):
        part = _plain_numbers(values)
        parts.append(part if places is None else (part[0][places], part[1][places]))
    values, known = map(np.concatenate, zip(*parts, strict=True))
    return values, known


def _plain_numbers(array: pa.Array) -> tuple[Array, Array]:
    import numpy as np
    import pyarrow.compute as pc

    known = np.ones(len(array), bool)
    if array.null_count:
        known = pc.is_valid(array).to_numpy(zero_copy_only=False)
        array = pc.fill_null(array, 0)
    values = array.to_numpy(zero_copy_only=False)
    return (values, known & np.isfinite(values)) if values.dtype.kind == "f" else (values, known)


def _chunks(tables: Sequence[pa.Table], name: str) -> Iterator[tuple[pa.Array, Array | None]]:
    """The values of a dictionary with the place of each row among them, or the values of the rows and None.

    A row of a dictionary without a value gets the place of one more value, which is missing. There is at least one
    chunk, which may be empty.
    """
    import pyarrow as pa

    for table in tables:
        for chunk in table[name].chunks or [pa.nulls(0, table[name].type)]:
            if not pa.types.is_dictionary(chunk.type):
                yield chunk, None
                continue
            values, indices = chunk.dictionary, chunk.indices
            if indices.null_count:
                indices = indices.fill_null(len(values))
                values = pa.concat_arrays([values, pa.nulls(1, values.type)])
            yield values, indices.to_numpy()


def group_numbers(tables: Sequence[pa.Table], names: Iterable[str]) -> Array:
    """The number of the group of each row, in the order in which groups appear: rows that are equal in some columns.

    Args:
        tables: Tables, one after the other.
        names: Names of the columns.
    """
    import numpy as np
    import pyarrow as pa

    groups = np.zeros(sum(table.num_rows for table in tables), np.int64)
    for name in names:
        chunks = list(_chunks(tables, name))
        values = pa.concat_arrays([chunk for chunk, _ in chunks]).dictionary_encode(null_encoding="encode")
        codes, start = values.indices.to_numpy().astype(np.int64), 0
        parts = []
        for chunk, places in chunks:
            part = codes[start : start + len(chunk)]
            parts.append(part if places is None else part[places])
            start += len(chunk)
        both = groups * len(values.dictionary) + np.concatenate(parts)
        groups = pa.array(both).dictionary_encode().indices.to_numpy().astype(np.int64)
    return groups


def taken(tables: Sequence[pa.Table], places: Array) -> pa.Table:
    """The rows at these places, in this order.

    Args:
        tables: Tables, one after the other.
        places: Places of the rows, each once.
    """
    import numpy as np
    import pyarrow as pa

    order = np.argsort(places)
    rising, start, parts = places[order], 0, []
    for table in tables:
        mine = rising[(rising >= start) & (rising < start + table.num_rows)]
        parts.append(plain_table(table.take(mine - start)))
        start += table.num_rows
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return pa.concat_tables(parts).take(back)
