"""Measured rows as the latency table that the estimators of ProxylessNAS and once-for-all read.

The table is YAML: by a key for each layer, `count`, `mean` and `var`, in milliseconds, as in the table of a phone that
both projects use (mobile_trim.yaml), of which they read `mean` alone. The keys are those of `LatencyEstimator.predict`
in mit-han-lab/proxylessnas, and of `ProxylessNASLatencyTable.query` and `MBv3LatencyTable.query` in
mit-han-lab/once-for-all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from convcost._version import __version__
from convcost.comparison.rows import place_block
from convcost.convolution.tree import Residual
from convcost.grids.grid import Grid
from convcost.grids.measured import INDEX
from convcost.text.errors import one_line
from convcost.text.sizes import format_sizes
from convcost.text.units import human_share, listed, number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from convcost.comparison.rows import Placed
    from convcost.grids.configuration import Configuration
    from convcost.grids.measured import Timed

IQR_OF_NORMAL: Final = 1.349
"""Interquartile range of a normal distribution, in standard deviations."""
MS: Final = 1e3
_DEFAULTS: Final = {"batch": 1, "dilation": (1, 1), "padding": "same", "bias": False, "dtype": "float32"}
"""The sizes that no key of the two projects has: a row with another value has a key of its own, if they vary."""


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """A latency table.

    Attributes:
        text: The file, with the conditions in its head.
        notes: Remarks on it.
    """

    text: str
    notes: tuple[str, ...]


def latency_table(configuration: Configuration, rows: Sequence[Mapping[str, Any]], timed: Timed) -> LatencyTable:
    """The latency table of the rows with a time; of rows that are one layer, the first.

    Args:
        configuration: Configuration of the sweep.
        rows: Measured rows.
        timed: Conditions of the rows, and their share of the grid.
    """
    grid, varying = Grid(configuration), {axis.name for axis in configuration.axes if len(axis.values) > 1}
    layers: dict[str, Mapping[str, Any]] = {}
    repeated = 0
    own: Counter[str] = Counter()
    timed_rows = [row for row in rows if row["time_s"] is not None]
    for row in timed_rows:
        block, spec, parameters, dtype = grid.layer(row[INDEX])
        placed = place_block(block, spec, parameters, dtype)
        sizes = {name: dtype if name == "dtype" else getattr(spec, name) for name in _DEFAULTS if name in varying}
        extra = {name: value for name, value in sizes.items() if value != _DEFAULTS[name]}
        keys = () if extra else tuple(_keys(placed))
        if not keys:
            own[block] += 1
        keys = keys or (_own_key(placed, extra),)
        repeated += layers.keys() >= set(keys)
        for key in keys:
            layers.setdefault(key, row)
    notes = []
    if own:
        which = f"{number_of('row', own.total())} of {listed(tuple(own))}"
        notes.append(f"the two projects have no keys for {which}; theirs are in the same style.")
    if len(rows) > len(timed_rows):
        notes.append(f"{number_of('row', len(rows) - len(timed_rows))} without a time left out.")
    if repeated:
        notes.append(f"{number_of('row', repeated)} of a layer that is there already left out.")
    if others := sum(timed.statuses.values()) - len(rows):
        notes.append(f"{number_of('measured row', others)} not among the best left out.")
    head = [*_head(configuration, timed_rows, timed), *notes]
    lines = [f"# {one_line(line)}" for line in head]
    lines += [line for key, row in layers.items() for line in _entry(key, row)]
    return LatencyTable("".join(f"{line}\n" for line in lines), tuple(f"the latency table: {note}" for note in notes))


def _keys(placed: Placed) -> Iterator[str]:
    """The keys of the two projects for a layer; none for a layer that they do not have."""
    spec, block = placed.spec, placed.block.name
    shapes = _shapes(placed)
    is_square = spec.kernel_size[0] == spec.kernel_size[1] and spec.stride[0] == spec.stride[1]
    if block == "standard" and (spec.kernel_size, spec.stride) == ((3, 3), (2, 2)):
        yield f"Conv-{shapes}"
    elif block == "pointwise" and spec.stride == (1, 1):
        yield f"Conv_1-{shapes}"
        if (spec.height, spec.width) == (1, 1):
            yield f"Conv_2-{shapes}"
    elif block == "inverted-residual" and is_square and placed.depth_multiplier == 1 and placed.expansion is not None:
        rest = f"kernel:{spec.kernel_size[0]}-stride:{spec.stride[0]}-idskip:{int(isinstance(placed.tree, Residual))}"
        yield f"expanded_conv-{shapes}-expand:{placed.expansion}-{rest}"
        yield f"expanded_conv-{shapes}-expand:{placed.expansion * spec.in_channels}-{rest}-se:0-hs:0"


def _own_key(placed: Placed, extra: Mapping[str, object]) -> str:
    """The key, in the same style, of a layer that the two projects do not have."""
    sizes = {"kernel": placed.kernel_size, "stride": placed.spec.stride, **placed.parameters, **extra}
    return "-".join([placed.block.name, _shapes(placed), *(f"{name}:{_text(value)}" for name, value in sizes.items())])


def _shapes(placed: Placed) -> str:
    """The input and the output as height x width x channels."""
    spec, output = placed.spec, placed.output
    ends = {"input": (spec.height, spec.width, spec.in_channels), "output": (*output.spatial, output.channels)}
    return "-".join(f"{name}:{format_sizes(sizes)}" for name, sizes in ends.items())


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return str(value[0]) if len(set(value)) == 1 else format_sizes(value)
    return str(int(value)) if isinstance(value, bool) else str(value)


def _entry(key: str, row: Mapping[str, Any]) -> Iterator[str]:
    """The lines of one layer; a decimal point in each number, without which YAML 1.1 reads a text."""
    yield f"{key}:"
    yield f"  count: {row['time_runs']}"
    yield f"  mean: {MS * row['time_s']:.6f}"
    spread = _range(row)
    yield f"  var: {'null' if spread is None else f'{(MS * spread / IQR_OF_NORMAL) ** 2:.6e}'}"


def _range(row: Mapping[str, Any]) -> float | None:
    """The interquartile range of a time; None for a single block of calls."""
    return None if row["time_q25_s"] is None else float(row["time_q75_s"] - row["time_q25_s"])


def _head(configuration: Configuration, rows: Sequence[Mapping[str, Any]], timed: Timed) -> Iterator[str]:
    """The lines above the layers."""
    yield f"Latency of convolutional layers, without normalisation and activation; measured by convcost {__version__}."
    yield f"mean: median of the blocks of calls, ms; var: (interquartile range / {IQR_OF_NORMAL})^2; count: calls."
    yield f"Conditions: {timed.conditions.summary()}."
    given = {axis.name: axis.values for axis in configuration.axes}
    sizes = {name: " or ".join(map(_text, given.get(name, (default,)))) for name, default in _DEFAULTS.items()}
    yield ", ".join(f"{name} {texts}" for name, texts in sizes.items()) + "."
    yield f"Measured: {timed.share}."
    spreads = [spread / row["time_s"] for row in rows if (spread := _range(row)) is not None]
    if unknown := len(rows) - len(spreads):
        yield f"{number_of('layer', unknown)} of a single block of calls, whose spread is not known: var is null."
    if spreads:
        middle, most = human_share(median(spreads)), human_share(max(spreads))
        yield f"Spread: interquartile range / median is {middle} for the middle layer, {most} for the least steady one."
