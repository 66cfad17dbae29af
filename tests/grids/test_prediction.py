"""Every predicted row against `place_block` and the columns of `convcost compare`, one layer at a time."""

import re
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.comparison.rows import Row, place_block
from convcost.convolution.blocks import BLOCKS
from convcost.grids.columns import COLUMNS, EXTRA
from convcost.grids.configuration import Configuration, read_configuration
from convcost.grids.grid import Grid
from convcost.grids.prediction import plain_table, predict
from convcost.text.errors import ShapeError

COMPARED = {column.name: column for column in COMPARE_COLUMNS if column.name in COLUMNS}
OVERFLOW = "a count in this sweep must be below 2**63"
PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4)).map(lambda pair: f"{pair[0]}x{pair[1]}")


def alone(grid, index, baseline="standard"):
    """The row of one layer as `convcost compare` predicts it, or the rule that it breaks."""
    try:
        block, spec, parameters, dtype = grid.layer(index)
        placed = place_block(block, spec, parameters, dtype)
    except ShapeError as error:
        return re.sub(r" \([^)]*\)", "", str(error)).partition(";")[0].rstrip(".")
    try:
        other = place_block(baseline, spec, parameters, dtype)
    except ShapeError:
        other = None
    counts = [placed.cost, *([] if other is None else [other.cost])]
    if max(count for one in counts for count in (one.macs, one.flops, one.params, one.traffic_bytes)) >= 2**63:
        return OVERFLOW
    row = Row(placed, dtype, other)
    return {name: column.in_file(row) for name, column in COMPARED.items()}


def assert_rows_are_those_of_compare(configuration):
    grid = Grid(configuration)
    for part in grid.parts(rows=500):
        prediction = predict(configuration, part)
        rows = plain_table(prediction.table).select(list(COMPARED)).to_pylist()
        expected = [alone(grid, index, configuration.baseline) for index in range(part.first, part.last + 1)]
        assert rows == [row for row in expected if isinstance(row, dict)]
        assert prediction.refused == Counter(row for row in expected if isinstance(row, str))
        assert prediction.excluded == 0


@st.composite
def grids(draw):
    few = {"min_size": 1, "max_size": 3, "unique": True}
    sizes = st.one_of(st.integers(1, 9), st.sampled_from([12, 16, 64]))
    axes = {
        "c": draw(st.lists(sizes, **few)),
        "o": draw(st.lists(sizes, **few)),
        "k": draw(st.lists(PAIRS, **few)),
        "h": draw(st.lists(st.integers(1, 9), **few)),
    }
    optional = {
        "w": st.integers(1, 9),
        "bs": st.integers(1, 3),
        "stride": PAIRS,
        "dilation": PAIRS,
        "padding": st.one_of(st.sampled_from(["same", "valid"]), st.integers(0, 2), PAIRS),
        "bias": st.booleans(),
        "dtype": st.sampled_from(["float32", "float64", "bfloat16"]),
        "m": st.integers(1, 3),
        "groups": st.integers(1, 4),
        "expansion": st.integers(1, 3),
        "mid": st.integers(1, 5),
        "rank": st.integers(1, 4),
        "ghost_ratio": st.integers(2, 4),
        "partial": st.sampled_from(["1/4", "1/2", "1", "1/9"]),
    }
    for name in draw(st.lists(st.sampled_from(sorted(optional)), max_size=4, unique=True)):
        axes[name] = draw(st.lists(optional[name], min_size=1, max_size=2, unique=True))
    shuffled = dict(draw(st.permutations(list(axes.items()))))
    blocks = draw(st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=2, unique=True))
    baseline = draw(st.sampled_from(["standard", "grouped", "inverted-residual", "partial"]))
    return read_configuration({"blocks": blocks, "baseline": baseline, "axes": unique(shuffled)})


def unique(axes):
    """The axes without values that are equal in two writings, such as 1 and 1x1."""

    def normal(value):
        return value.partition("x")[0] if isinstance(value, str) and re.fullmatch(r"(\d+)x\1", value) else str(value)

    return {name: list({normal(value): value for value in values}.values()) for name, values in axes.items()}


@given(grids())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_row_is_that_of_compare(configuration):
    assert_rows_are_those_of_compare(configuration)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_has_the_rows_of_compare(block):
    axes = {
        "c": [4, 6, 8, 9],
        "k": [1, 2, "3x5"],
        "o": [4, 8, 12],
        "stride": [1, "2x1"],
        "h": [1, 5, 8],
        "padding": ["same", "valid", "1x2"],
        "expansion": [1, 6],
        "groups": [1, 2, 3],
        "ghost_ratio": [2, 3],
        "m": [1, 2],
        "mid": [1, 8],
        "rank": [2],
        "partial": ["1/4", "1/3", "1"],
        "bias": [True],
    }
    assert_rows_are_those_of_compare(read_configuration({"blocks": [block], "axes": axes}))


@pytest.mark.parametrize("block", BLOCKS)
def test_counts_beyond_int64_are_refused_not_wrapped(block):
    huge = [1, 2**20, 10**9]
    axes = {"c": huge, "o": huge, "h": [1, 10**9], "k": [1, 10**9], "bs": [1, 2**20], "dilation": [1, 10**9]}
    own = {"m": huge, "expansion": huge, "mid": huge, "rank": huge, "groups": huge}
    names = BLOCKS[block].defaults
    full = {"m": "depth_multiplier", "mid": "mid_channels"}
    axes |= {name: values for name, values in own.items() if full.get(name, name) in names}
    configuration = read_configuration({"blocks": [block], "axes": axes})
    grid = Grid(configuration)
    for part in grid.parts():
        prediction = predict(configuration, part)
        rows = plain_table(prediction.table).select(list(COMPARED)).to_pylist()
        expected = [alone(grid, index) for index in range(part.first, part.last + 1)]
        assert rows == [row for row in expected if isinstance(row, dict)]
        assert sum(prediction.refused.values()) == sum(isinstance(row, str) for row in expected)
        assert prediction.refused[OVERFLOW] > 0
