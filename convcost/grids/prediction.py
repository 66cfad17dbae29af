"""The predicted columns of a part, read from the same products of factors as `convcost compare`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from convcost.grids.configuration import Configuration
    from convcost.grids.grid import Part


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted rows of a part.

    Attributes:
        table: Rows that stay, in the order of their index, with the columns of `columns.schema`; a column of few
            distinct values is a dictionary array, which `plain_table` decodes.
        refused: Number of rows that no block allows, by the rule that they break.
        excluded: Number of rows that a condition of `where` drops.
    """

    table: pa.Table
    refused: Mapping[str, int]
    excluded: int


def predict(configuration: Configuration, part: Part) -> Prediction:
    """The predicted rows of a part."""
    raise NotImplementedError


def plain_table(table: pa.Table) -> pa.Table:
    """The table with dictionary arrays decoded, so that a library needs not know of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [pc.cast(one, one.type.value_type) if pa.types.is_dictionary(one.type) else one for one in table.columns]
    return pa.table(columns, names=table.column_names)
