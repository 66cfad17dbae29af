"""The columns of a sweep's files: the predicted columns of `convcost compare`, with their types and directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.convolution.spec import short_names
from convcost.text.errors import ConvcostError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from convcost.comparison.rows import Row
    from convcost.grids.configuration import Configuration
    from convcost.text.columns import Column


@dataclass(frozen=True, slots=True)
class GridColumn:
    """One column of a sweep's files.

    Attributes:
        name: Name of the column, as in `convcost compare`.
        kind: Type of its values.
        better: Which of two values is the better one; None for a column that only describes the layer.
    """

    name: str
    kind: Literal["int", "float", "text", "bool"]
    better: Literal["smaller", "larger"] | None = None

    @property
    def compared(self) -> Column[Row] | None:
        """The column of `convcost compare`; None for an axis that it has no column for."""
        return _COMPARED.get(self.name)


_COMPARED: Final = {column.name: column for column in COMPARE_COLUMNS}
_TEXTS: Final = frozenset({"block", "kernel_size", "stride", "padding", "dilation", "dtype"})
_BETTER: Final[dict[str, tuple[Literal["int", "float"], Literal["smaller", "larger"]]]] = {
    "params": ("int", "smaller"),
    "macs": ("int", "smaller"),
    "flops": ("int", "smaller"),
    "traffic_bytes": ("int", "smaller"),
    "flop_per_byte": ("float", "larger"),
    "params_ratio": ("float", "larger"),
    "macs_ratio": ("float", "larger"),
}
_PREDICTED: Final = (
    *("block", "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    *("depth_multiplier", "expansion", "mid_channels", "batch", "in_height", "in_width", "out_height", "out_width"),
    *_BETTER,
    "dtype",
)
EXTRA: Final = (
    GridColumn("bias", "bool"),
    GridColumn("rank", "int"),
    GridColumn("ghost_ratio", "int"),
    GridColumn("partial", "text"),
)
"""Axes that `convcost compare` has no column for: a sweep over one has the column too."""
REFUSED: Final = GridColumn("refused", "text")
"""The reason why a block does not allow a row, where such rows are kept."""
COLUMNS: Final = {
    column.name: column
    for column in (
        *(GridColumn(name, *_BETTER.get(name, ("text" if name in _TEXTS else "int",))) for name in _PREDICTED),
        *EXTRA,
        REFUSED,
    )
}
"""Every column that a sweep's files may have, in order."""


def column_name(name: str) -> str:
    """The name of a column from its own name or the short name of an option: c is in_channels, h is in_height.

    Raises:
        ConvcostError: There is no such column.
    """
    full = {short: full for full, short in short_names().items()}.get(name, name)
    full = {"height": "in_height", "width": "in_width"}.get(full, full)
    if full not in COLUMNS:
        raise ConvcostError(f"column (={name}) must be one of a sweep's columns; {did_you_mean(name, COLUMNS)}")
    return full


def chosen_columns(configuration: Configuration) -> tuple[GridColumn, ...]:
    """The columns of a sweep's files, in order."""
    axes = {axis.name for axis in configuration.axes}
    names: Sequence[str] = configuration.columns or (
        *_PREDICTED,
        *(column.name for column in EXTRA if column.name in axes),
    )
    kept = configuration.illegal == "rows" and REFUSED.name not in names
    return tuple(COLUMNS[name] for name in (*names, *((REFUSED.name,) if kept else ())))


def schema(configuration: Configuration) -> pa.Schema:
    """The Arrow schema of a sweep's files, the same for all parts."""
    import pyarrow as pa

    types = {"int": pa.int64(), "float": pa.float64(), "text": pa.string(), "bool": pa.bool_()}
    return pa.schema([(column.name, types[column.kind]) for column in chosen_columns(configuration)])
