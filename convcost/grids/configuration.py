"""The configuration of a sweep: its blocks, axes and conditions, and the columns of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from convcost.convolution.blocks import BLOCKS, PARAMETERS
from convcost.convolution.spec import short_names
from convcost.grids.axis import DEFAULTS
from convcost.text.errors import as_text
from convcost.text.sizes import format_sizes

if TYPE_CHECKING:
    from convcost.grids.axis import Axis
    from convcost.grids.constraint import Constraint


@dataclass(frozen=True, slots=True)
class Configuration:
    """The rows and columns of a sweep.

    Attributes:
        blocks: Names of the blocks, in the order of the rows.
        axes: Axes in the order of the file; the last one varies fastest.
        where: Conditions that the rows meet.
        illegal: Whether combinations that a block does not allow are counted only, or kept as rows with their reason.
        columns: Full names of the columns, in order; () for all predicted columns.
        baseline: Block that ratios are relative to.
    """

    blocks: tuple[str, ...]
    axes: tuple[Axis, ...]
    where: tuple[Constraint, ...] = ()
    illegal: Literal["count", "rows"] = "count"
    columns: tuple[str, ...] = ()
    baseline: str = "standard"

    @property
    def notes(self) -> tuple[str, ...]:
        """Axes and conditions without effect on some or all of the blocks."""
        notes = []
        for axis in self.axes:
            if axis.name in PARAMETERS and not any(axis.name in BLOCKS[block].defaults for block in self.blocks):
                owners = ", ".join(one.name for one in PARAMETERS[axis.name].owners)
                notes.append(f"axis {axis.name} has no effect here: it is a parameter of {owners}.")
        for one in self.where:
            free = [block for block in self.blocks if not one.applies_to(block)]
            if free:
                notes.append(f'where "{one.text}" is not applied to {", ".join(free)}: it names a parameter of others.')
        return tuple(notes)

    @property
    def common(self) -> tuple[str, ...]:
        """The sizes and the dtype of all rows, by the names of a sweep's file, such as `k = 3x3`."""
        axes = {axis.name: axis.values for axis in self.axes}
        fixed: dict[str, object] = {name: values[0] for name, values in axes.items() if len(values) == 1}
        fixed |= {name: DEFAULTS[name] for name in ("height", "batch", "dtype") if name not in axes}
        texts = []
        for name, value in fixed.items():
            short = short_names().get(name, name)
            sizes = [short if len(short) == 1 else name]
            sizes += ["w"] if name == "height" and "width" not in axes else []
            text = format_sizes(value) if isinstance(value, tuple) else as_text(value)
            texts.append(text if name == "dtype" else " = ".join([*sizes, text]))
        return tuple(texts) if "height" in fixed or "width" in axes else (*texts, "w = h")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as a mapping with its defaults, which `configuration_file` reads back."""
        return {
            "blocks": list(self.blocks),
            "where": [one.text for one in self.where],
            "illegal": self.illegal,
            **({"columns": list(self.columns)} if self.columns else {}),
            "baseline": self.baseline,
            "axes": {axis.name: axis.to_json() for axis in self.axes},
        }
