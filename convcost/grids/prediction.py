"""The predicted columns of a part, read from the same products of factors as `convcost compare`."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from convcost.comparison.rows import Placed, Row, place_sizes
from convcost.convolution.blocks import find_block
from convcost.convolution.cost import Cost, cost, macs_and_params
from convcost.convolution.formula import MixedError
from convcost.grids.assembly import Piece, assembled
from convcost.grids.axis import DEFAULTS
from convcost.grids.box import Box, Fold, boxes
from convcost.grids.columns import COLUMNS, RATIOS, REFUSED, chosen_columns, schema
from convcost.grids.grid import layer_of
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from convcost.comparison.rows import Placement
    from convcost.convolution.layer import Layer
    from convcost.convolution.spec import Spec, Value
    from convcost.grids.columns import GridColumn
    from convcost.grids.configuration import Configuration
    from convcost.grids.grid import Part

_VALUE: Final = re.compile(r" \((?:=|about )[^()]*\)")
"""A value in the message of an error."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted rows of a part.

    Attributes:
        table: Rows that stay, in the order of their index, with the columns of `columns.schema`.
        refused: Number of rows that the block does not allow, by the rule that they break.
        excluded: Number of rows that a condition of `where` drops.
    """

    table: pa.Table
    refused: Mapping[str, int]
    excluded: int


def predict(configuration: Configuration, part: Part, numbers: str | None = None) -> Prediction:
    """The predicted rows of a part, each exactly as `convcost compare` predicts it alone.

    Args:
        configuration: Configuration of the sweep.
        part: Part of its grid.
        numbers: Name of one more column, with the index of each row in the grid; None for none.
    """
    import numpy as np

    work = _Work(configuration, part)
    # An error about arrays has them in its text, of which only the rule is kept: short texts are made fast.
    with np.printoptions(threshold=0, edgeitems=1):
        for box in boxes(part):
            work.add(box)
    table = assembled(work.pieces, part.last - part.first + 1, schema(configuration))
    if numbers is not None:
        rows = np.concatenate([np.zeros(0, np.int64), *(piece.rows for piece in work.pieces)])
        table = table.append_column(numbers, [part.first + np.sort(rows)])
    return Prediction(table, dict(work.refused), work.excluded)


def plain_table(table: pa.Table) -> pa.Table:
    """The table with dictionaries decoded, as a file has it."""
    import pyarrow as pa

    kinds = [one.type.value_type if pa.types.is_dictionary(one.type) else one.type for one in table.schema]
    return table.cast(pa.schema([one.with_type(kind) for one, kind in zip(table.schema, kinds, strict=True)]))


class _Work:
    """The prediction of a part; a box whose rows differ in a condition is split, and each half done anew.

    Args:
        configuration: Configuration of the sweep.
        part: Part of the grid.

    Attributes:
        pieces: Columns of the rows that stay, box by box.
        refused: Number of rows that the block does not allow, by the rule that they break.
        excluded: Number of rows that a condition drops.
    """

    def __init__(self, configuration: Configuration, part: Part) -> None:
        self._block = find_block(part.block)
        self._baseline = find_block(configuration.baseline)
        self._columns = chosen_columns(configuration)
        self._keeps_refused = configuration.illegal == "rows"
        known = {*DEFAULTS, "width", *(axis.name for axis in part.axes)}
        where = [one for one in configuration.where if one.applies_to(part.block)]
        self._early = [one for one in where if known.issuperset(one.names)]
        self._late = [one for one in where if not known.issuperset(one.names)]
        needed = {column.name for column in self._columns} | {name for one in self._late for name in one.names}
        self._has_ratios = not needed.isdisjoint(RATIOS)
        self.pieces: list[Piece] = []
        self.refused: Counter[str] = Counter()
        self.excluded = 0

    def add(self, box: Box) -> None:
        """Predict the rows of a box that meet the conditions on sizes and given parameters."""
        for one in self._early:
            mask = one.mask(_with_defaults(box.values))
            if not mask.all():
                kept, dropped = box.split(mask) if mask.any() else (None, box)
                self.excluded += dropped.size
                if kept is None:
                    return
                box = kept
        self._predict(box)

    def _predict(self, box: Box) -> None:
        """Predict the rows of a box, or of its parts."""
        try:
            spec, given, dtype = layer_of(box.values)
            sizes = place_sizes(self._block, spec, given)
            others = self._baseline_sizes(spec, given)
            unfolded, fold = box, Fold(box)
            box = fold.box  # a condition on costs splits the folded one
            placed = Placed(self._block, *fold(sizes), cost(fold(sizes[3]), dtype))
            baseline = None
            if others is not None:  # of which no column has the traffic
                baseline = Placed(self._baseline, *fold(others), _baseline_cost(unfolded, fold, others[3]))
            self.pieces.append(self._piece(box, Row(placed, dtype, baseline)))
        except MixedError as error:
            for half in box.split(error.condition):
                self._predict(half)
        except ConvcostError as error:
            self._refuse(box, _VALUE.sub("", str(error)).partition(";")[0].removesuffix("."))

    def _baseline_sizes(self, spec: Spec, given: Mapping[str, Value]) -> Placement | None:
        """The baseline on the same sizes; None if it does not allow them, if they overflow, or no column needs it."""
        try:
            return place_sizes(self._baseline, spec, given) if self._has_ratios else None
        except MixedError:
            raise
        except ConvcostError:
            return None

    def _piece(self, box: Box, row: Row) -> Piece:
        """The columns of the rows of a box that meet the other conditions."""
        import numpy as np

        axes = _with_defaults(box.values) | dict(row.placed.parameters)

        columns = {one.name: _value(one, axes, row) for one in self._columns}
        kept = np.ones(box.shape if self._late else (), dtype=bool)
        for one in self._late:
            values = {name: axes[name] if name in axes else _value(COLUMNS[name], axes, row) for name in one.names}
            kept &= one.mask({name: np.nan if value is None else value for name, value in values.items()})
        if kept.all():
            return Piece(box, columns)
        self.excluded += box.size - int(kept.sum())
        return Piece(box, columns, kept.ravel())

    def _refuse(self, box: Box, rule: str) -> None:
        """Count rows that the block does not allow, and keep what was requested if the user wants it."""
        self.refused[rule] += box.size
        if self._keeps_refused:
            box = Fold(box).box
            values = _with_defaults(box.values) | {"block": self._block.name, REFUSED.name: rule}
            self.pieces.append(Piece(box, {one.name: values.get(one.axis) for one in self._columns}))


def _baseline_cost(box: Box, fold: Fold, layers: Sequence[Layer]) -> Cost:
    """The cost of the baseline, without its traffic; that of large layers in Python ints, which have no limit.

    Args:
        box: Rows, before they are folded.
        fold: Fold of the box.
        layers: Layers of the baseline on the sizes of the box.
    """
    try:
        counts = macs_and_params(fold(layers))
    except MixedError:
        raise
    except ConvcostError:
        counts = macs_and_params(Fold(box, object)(layers))
    return Cost(*counts, 0)


def _value(column: GridColumn, axes: Mapping[str, Any], row: Row) -> Any:  # noqa: ANN401 - numbers, texts and arrays
    """The value of a column: that of compare, else that of its axis."""
    return axes.get(column.axis) if column.compared is None else column.compared.value(row)


def _with_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all sizes, with those of `convcost compare` for sizes without an axis."""
    made = {**DEFAULTS, **values}
    made.setdefault("width", made["height"])
    return made
