"""The columns of a sweep's files: the predicted columns of `convcost compare`, with their types and directions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.comparison.rows import Row, place_block
from convcost.convolution.blocks import BLOCKS
from convcost.convolution.spec import Spec, short_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from convcost.grids.configuration import Configuration
    from convcost.text.columns import Column


@dataclass(frozen=True, slots=True)
class GridColumn:
    """One column of a sweep's files.

    Attributes:
        name: Name of the column, as in `convcost compare`.
        kind: Type of its values.
        better: Which of two values is the better one; None for a column that only describes the layer.
        optional: Whether a row that a block allows may have no value.
    """

    name: str
    kind: Literal["int", "float", "text", "bool"]
    better: Literal["smaller", "larger"] | None = None
    optional: bool = field(default=False, kw_only=True)

    @property
    def compared(self) -> Column[Row] | None:
        """The column of `convcost compare`; None for an axis that it has no column for."""
        return _COMPARED.get(self.name)

    @property
    def axis(self) -> str:
        """The axis whose requested value the column shows in a row that a block does not allow."""
        return {"in_height": "height", "in_width": "width"}.get(self.name, self.name.removeprefix(_REQUESTED))


_REQUESTED: Final = "requested_"
RATIOS: Final = frozenset({"params_ratio", "macs_ratio"})
"""The columns that need the baseline."""
_COMPARED: Final = {column.name: column for column in COMPARE_COLUMNS}
EXTRA: Final = (
    GridColumn("bias", "bool"),
    GridColumn("rank", "int", optional=True),
    GridColumn("ghost_ratio", "int", optional=True),
    GridColumn("partial", "text", optional=True),
)
"""Axes that `convcost compare` has no column for: a sweep over one has the column too."""
REQUESTED: Final = (
    GridColumn(f"{_REQUESTED}out_channels", "int"),
    GridColumn(f"{_REQUESTED}kernel_size", "text"),
    GridColumn(f"{_REQUESTED}dilation", "text"),
)
"""Axes that some blocks do not use while the baseline does: the 7x7 beside a 1x1 convolution that is in its place."""
REFUSED: Final = GridColumn("refused", "text", optional=True)
"""The rule that a row breaks, where rows that a block does not allow are kept."""
_PREDICTED: Final = (
    GridColumn("block", "text"),
    GridColumn("in_channels", "int"),
    GridColumn("out_channels", "int"),
    GridColumn("kernel_size", "text"),
    GridColumn("stride", "text"),
    GridColumn("padding", "text"),
    GridColumn("dilation", "text"),
    GridColumn("groups", "int"),
    GridColumn("depth_multiplier", "int", optional=True),
    GridColumn("expansion", "int", optional=True),
    GridColumn("mid_channels", "int", optional=True),
    GridColumn("batch", "int"),
    GridColumn("in_height", "int"),
    GridColumn("in_width", "int"),
    GridColumn("out_height", "int"),
    GridColumn("out_width", "int"),
    GridColumn("params", "int", "smaller"),
    GridColumn("macs", "int", "smaller"),
    GridColumn("flops", "int", "smaller"),
    GridColumn("traffic_bytes", "int", "smaller"),
    GridColumn("flop_per_byte", "float", "larger"),
    GridColumn("params_ratio", "float", "larger", optional=True),
    GridColumn("macs_ratio", "float", "larger", optional=True),
    GridColumn("dtype", "text"),
)
COLUMNS: Final = {column.name: column for column in (*_PREDICTED, *EXTRA, *REQUESTED, REFUSED)}
"""Every column that a sweep's files may have, in order."""


SIZES: Final = frozenset(
    {"kernel_size", "stride", "padding", "dilation", f"{_REQUESTED}kernel_size", f"{_REQUESTED}dilation"}
)
"""The columns of two sizes, `3x3` in files and a list of whole numbers in JSON."""


def column_name(name: str) -> str:
    """The name of a column from its own name or the short name of an option: c is in_channels, h is in_height."""
    full = {short: full for full, short in short_names().items()}.get(name, name)
    return {"height": "in_height", "width": "in_width"}.get(full, full)


def chosen_columns(configuration: Configuration) -> tuple[GridColumn, ...]:
    """The columns of a sweep's files, in order."""
    axes = {axis.name for axis in configuration.axes}
    names: Sequence[str] = configuration.columns or (
        *(column.name for column in _PREDICTED),
        *(column.name for column in EXTRA if column.name in axes),
        *(
            column.name
            for column in REQUESTED
            if column.axis in axes and _is_changed(column.axis, configuration.blocks)
        ),
    )
    kept = configuration.illegal == "rows" and REFUSED.name not in names
    return tuple(COLUMNS[name] for name in (*names, *((REFUSED.name,) if kept else ())))


@cache  # asked for every part
def _is_changed(axis: str, blocks: tuple[str, ...]) -> bool:
    """Whether one of the blocks may use another value than that of the axis."""
    sizes = Spec(8, 16, (3, 3), dilation=(2, 2))
    requested = {"out_channels": 16, "kernel_size": (3, 3), "dilation": (2, 2)}[axis]
    rows = (Row(place_block(name, sizes, {}), "float32") for name in blocks)
    return any(_COMPARED[axis].value(row) != requested for row in rows)


def schema(configuration: Configuration) -> pa.Schema:
    """The Arrow schema of a sweep's files, the same for all parts."""
    import pyarrow as pa

    # A column that never lacks a value takes a tenth less time to write if its file says so.
    return pa.schema(
        pa.field(one.name, arrow_type(one), nullable=_may_lack(one, configuration))
        for one in chosen_columns(configuration)
    )


def arrow_type(column: GridColumn) -> pa.DataType:
    """The Arrow type of a column's values."""
    import pyarrow as pa

    return {"int": pa.int64(), "float": pa.float64(), "text": pa.string(), "bool": pa.bool_()}[column.kind]


def _may_lack(column: GridColumn, configuration: Configuration) -> bool:
    """Whether a row of the sweep may lack a value of the column."""
    if configuration.illegal == "rows":
        return column.name != "block"
    if column.name in RATIOS:
        return configuration.baseline != "standard"  # which allows every shape that has a row
    return column.optional and not all(column.name in BLOCKS[name].defaults for name in configuration.blocks)
