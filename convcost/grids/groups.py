"""Rows, least, mean and greatest of each group of a sweep's rows, while the sweep runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from convcost.grids.arrays import group_numbers, numbers, taken
from convcost.grids.reduction import INDEX, Reduction
from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
MAX_GROUPS: Final = 100_000
"""Maximum number of groups; all columns of one have 1 kB in memory."""
ROWS: Final = "rows"
"""Column with the number of rows of a group."""
LOWER_BITS: Final = (32, 40, 40)
"""Bits of the lower parts of a sum."""
MAX_FLOAT: Final = 2.0**62
"""Limit of a float that has a place in the sums."""


class Groups(Reduction):
    """The number of rows of each group, and the least, mean and greatest of each numeric column.

    The sums are exact, so that a mean does not depend on the order of the parts. A sum is several int64: that of whole
    numbers is high x 2**32 + low, which holds 10**12 values of 2**54; that of floats has two more for what is behind
    the point, to 80 binary places.
    """

    def __init__(self, group_by: Sequence[str]) -> None:
        super().__init__((), group_by)

    @property
    def text(self) -> str:
        """What is kept."""
        return self._grouped("number of rows, least, mean and greatest")

    def add(self, table: pa.Table, first: int) -> None:
        """Take in the rows of a part; arguments as of `Reduction.add`.

        Raises:
            ConvcostError: A float is too large for the sums.
        """
        if table.num_rows or self.state is None:
            self._take(self._aggregated(table, _summands(table, first, self.group_by)))

    def _take(self, table: pa.Table) -> None:
        import pyarrow as pa

        if self.state is not None:
            both = pa.concat_tables([self.state, table])
            names = both.schema.names[len(self.group_by) :]
            table = self._aggregated(both, ((name, both[name].to_numpy()) for name in names))
        self._require_few(table.num_rows, MAX_GROUPS, "groups")
        self.state = table.sort_by(INDEX)

    def _aggregated(self, table: pa.Table, columns: Iterable[tuple[str, Array]]) -> pa.Table:
        """One row for each group, with its columns put together."""
        import numpy as np
        import pyarrow as pa

        groups = group_numbers([table], self.group_by)
        order = np.argsort(
            groups.astype(np.min_scalar_type(groups.max(initial=0))), kind="stable"
        )  # radix sort of small types
        is_sorted = bool((groups[1:] >= groups[:-1]).all())
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        keys = taken([table.select(self.group_by)], order[starts])
        sums = {}
        for name, values in columns:
            least, greatest = name == INDEX or name.endswith("_min"), name.endswith("_max")
            operation = np.minimum if least else np.maximum if greatest else np.add
            sums[name] = operation.reduceat(values if is_sorted else values[order], starts)
        _carry(sums)
        return pa.table({**dict(zip(keys.schema.names, keys.columns, strict=True)), **sums})

    def result(self) -> pa.Table:
        """One row for each group, in the order in which they begin."""
        import numpy as np
        import pyarrow as pa

        if self.state is None:
            return pa.table({})
        columns = {name: self.state[name] for name in (*self.group_by, ROWS)}
        for name in (one.removesuffix("_count") for one in self.state.schema.names if one.endswith("_count")):
            count = self.state[f"{name}_count"].to_numpy()
            is_known = count > 0
            total, bits = self.state[f"{name}_sum0"].to_numpy().astype(object), 0
            for part, more in enumerate(LOWER_BITS, 1):
                if f"{name}_sum{part}" in self.state.schema.names:
                    total, bits = total * 2**more + self.state[f"{name}_sum{part}"].to_numpy(), bits + more
            mean = np.full(len(count), np.nan)
            mean[is_known] = total[is_known] / (count[is_known].astype(object) * 2 ** (bits - LOWER_BITS[0]))
            of_name = {"min": self.state[f"{name}_min"].to_numpy(), "mean": mean}
            of_name["max"] = self.state[f"{name}_max"].to_numpy()
            columns |= {f"{name}_{what}": pa.array(one, mask=~is_known) for what, one in of_name.items()}
        return pa.table(columns)


def _summands(table: pa.Table, first: int, group_by: Sequence[str]) -> Iterator[tuple[str, Array]]:
    """The columns of the state for single rows."""
    import numpy as np
    import pyarrow as pa

    ones = np.ones(table.num_rows, np.int64)
    yield INDEX, np.arange(first, first + table.num_rows)
    yield ROWS, ones
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name in group_by or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            continue
        values, known = numbers([table], field.name)
        limits = np.iinfo(values.dtype) if values.dtype.kind == "i" else np.finfo(values.dtype)
        yield f"{field.name}_min", values if known.all() else np.where(known, values, limits.max)
        yield f"{field.name}_max", values if known.all() else np.where(known, values, limits.min)
        yield f"{field.name}_count", known.astype(np.int64)
        values = values if known.all() else np.where(known, values, 0)
        whole = values
        if values.dtype.kind == "f":
            if (np.abs(values) >= MAX_FLOAT).any():
                raise ConvcostError(f"column (={field.name}) must be below 2**62 to have a mean; leave it out.")
            whole = np.floor(values).astype(np.int64)
            behind = (values - whole) * 2.0 ** LOWER_BITS[1]
            middle = np.floor(behind)
            yield f"{field.name}_sum2", middle.astype(np.int64)
            yield f"{field.name}_sum3", np.rint((behind - middle) * 2.0 ** LOWER_BITS[2]).astype(np.int64)
        yield f"{field.name}_sum0", whole >> LOWER_BITS[0]
        yield f"{field.name}_sum1", whole & (2 ** LOWER_BITS[0] - 1)


def _carry(sums: dict[str, Array]) -> None:
    """Move what a lower part of a sum has above its bits to the part before it."""
    for part, bits in reversed(list(enumerate(LOWER_BITS, 1))):
        for name in [one for one in sums if one.endswith(f"_sum{part}")]:
            sums[f"{name[:-1]}{part - 1}"] += sums[name] >> bits
            sums[name] &= 2**bits - 1
