"""An Arrow table from the columns of boxes, each of which varies along some dimensions of its box only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from convcost.text.sizes import format_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from convcost.grids.box import Booleans, Box, Integers

    Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """The columns of a box of two dimensions.

    Attributes:
        box: Rows of the part.
        columns: Value of each column: one for all rows, or an array that broadcasts to the box; sizes as a tuple of
            them; None for a column without values.
        kept: Which rows stay; None for all.
    """

    box: Box
    columns: Mapping[str, Any]
    kept: Booleans | None = None

    @property
    def rows(self) -> Integers:
        """The number of each row that stays in its part."""
        return self.box.rows if self.kept is None else self.box.rows[self.kept]

    def full(self, value: Any) -> Array:  # noqa: ANN401 - a number or an array of any type
        """A value in each row that stays."""
        import numpy as np

        array: Array = np.broadcast_to(value, self.box.shape).ravel()
        return array if self.kept is None else array[self.kept]


def assembled(pieces: Sequence[Piece], rows: int, schema: pa.Schema) -> pa.Table:
    """The rows of all pieces in the order of their numbers; a column of texts is a dictionary with indices.

    Args:
        pieces: Boxes of different rows of a part.
        rows: Number of rows of the part.
        schema: Names and types of the columns.
    """
    import pyarrow as pa

    places = _places(pieces, rows)
    columns = [
        (_texts if pa.types.is_string(one.type) else _numbers)(pieces, places, one.name, one.type) for one in schema
    ]
    fields = [one.with_type(column.type) for one, column in zip(schema, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _places(pieces: Sequence[Piece], rows: int) -> list[Integers] | None:
    """The place of each row of each piece in the table; None for one piece that is the whole part in order."""
    import numpy as np

    if len(pieces) == 1 and pieces[0].box.size == rows and pieces[0].kept is None:
        return None
    numbers = [piece.rows for piece in pieces]
    is_there = np.zeros(rows, dtype=bool)
    for one in numbers:
        is_there[one] = True
    rank = np.cumsum(is_there) - 1
    return [rank[one] for one in numbers]


def _placed(parts: Sequence[Array], places: Sequence[Integers] | None) -> Array:
    """The values of all pieces, each in its place."""
    import numpy as np

    if places is None:
        return parts[0]
    array = np.empty(sum(map(len, places)), dtype=parts[0].dtype if parts else np.int64)
    for part, place in zip(parts, places, strict=True):
        array[place] = part
    return array


def _numbers(pieces: Sequence[Piece], places: Sequence[Integers] | None, name: str, kind: pa.DataType) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    values = [piece.columns[name] for piece in pieces]
    if all(value is None for value in values):
        return pa.nulls(sum(map(len, places)) if places is not None else pieces[0].box.size, kind)
    dtype = np.dtype(str(kind))  # double, int64 and bool are names of both libraries
    pairs = list(zip(pieces, values, strict=True))
    numbers = _placed(
        [piece.full(0 if value is None else value).astype(dtype, copy=False) for piece, value in pairs], places
    )
    has_gaps = any(value is None for value in values)
    mask = _placed([piece.full(value is None) for piece, value in pairs], places) if has_gaps else None
    return pa.array(numbers, kind, mask=mask)


def _texts(pieces: Sequence[Piece], places: Sequence[Integers] | None, name: str, kind: pa.DataType) -> pa.Array:
    """The texts of a column, each different one once, with an index for each row."""
    import numpy as np
    import pyarrow as pa

    known: dict[str, int] = {}
    parts = []
    for piece in pieces:
        texts, codes = _coded(piece.columns[name])
        numbers = [-1 if text is None else known.setdefault(text, len(known)) for text in texts]
        parts.append(piece.full(np.array(numbers, dtype=np.int32)[codes]))
    indices = _placed(parts, places).astype(np.int32, copy=False)
    return pa.DictionaryArray.from_arrays(pa.array(indices, mask=indices < 0), pa.array(list(known), kind))


def _coded(value: object) -> tuple[Sequence[str | None], Array]:
    """The different texts of a value, and which of them each row has."""
    import numpy as np

    if not isinstance(value, tuple):
        return [None if value is None else str(value)], np.zeros(1, dtype=np.int32)
    if all(isinstance(size, int) for size in value):
        return [format_sizes(value)], np.zeros(1, dtype=np.int32)
    vertical, horizontal = np.broadcast_arrays(*value)
    pairs, codes = np.unique((vertical << np.int64(32)) | horizontal, return_inverse=True)
    texts = [format_sizes((int(pair) >> 32, int(pair) & 0xFFFFFFFF)) for pair in pairs]
    return texts, codes.reshape(vertical.shape)
