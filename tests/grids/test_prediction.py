"""Every predicted row against `place_block` and the columns of `convcost compare`, one layer at a time."""

import re
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convcost.comparison.columns import COMPARE_COLUMNS
from convcost.comparison.rows import Row, place_block
from convcost.convolution.blocks import BLOCKS
from convcost.grids.columns import COLUMNS, chosen_columns, schema
from convcost.grids.configuration_file import read_configuration
from convcost.grids.grid import Grid
from convcost.grids.prediction import plain_table, predict
from convcost.text.errors import ShapeError

COMPARED = {column.name: column for column in COMPARE_COLUMNS if column.name in COLUMNS}
SMALL = {"c": [4, 6, 8], "o": [4, 6], "k": [1, 3, "3x5"], "h": [2, 5], "m": [1, 2], "groups": [1, 2], "stride": [1, 2]}
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
    cost = placed.cost  # that of the baseline may be larger
    if max(cost.macs, cost.flops, cost.params, cost.traffic_bytes) >= 2**63:
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
    sizes = st.one_of(st.integers(1, 9), st.sampled_from([12, 16, 64]))
    required = {"c": sizes, "o": sizes, "k": PAIRS, "h": st.integers(1, 9)}
    axes = {name: draw(st.lists(values, min_size=1, max_size=3, unique=True)) for name, values in required.items()}
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
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
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


def test_a_row_whose_baseline_alone_overflows_has_its_exact_ratios():
    huge = 10**9
    given = {"blocks": ["depthwise"], "axes": {"c": [2, huge], "o": [huge], "k": [3], "h": [1000]}}
    rows = plain_table(predict(read_configuration(given), next(Grid(read_configuration(given)).parts())).table)
    # depthwise: one 3x3 kernel a channel; standard: one for each pair of channels, 9e24 MACs where c is huge
    assert rows["macs"].to_pylist() == [2 * 9 * 1000**2, huge * 9 * 1000**2]
    assert rows["macs_ratio"].to_pylist() == rows["params_ratio"].to_pylist() == [huge, huge]


def test_a_chosen_column_is_the_same_as_among_all():
    sizes = {"blocks": ["inverted-residual"], "axes": SMALL}
    every, some = read_configuration(sizes), read_configuration(sizes | {"columns": ["macs_ratio", "c", "h", "macs"]})
    part = next(Grid(every).parts())
    names = ["macs_ratio", "in_channels", "in_height", "macs"]
    table = predict(some, part).table
    assert table.column_names == names
    assert table.equals(predict(every, part).table.select(names))


def assert_kept(condition, meets):
    """A condition keeps the rows of some blocks that a function of the layer and the row takes."""
    for block in ("standard", "depthwise", "grouped", "bottleneck", "tucker-2"):
        sizes = {"blocks": [block], "axes": SMALL}
        every, some = read_configuration(sizes), read_configuration(sizes | {"where": [condition]})
        grid = Grid(every)
        expected = []
        for index in range(grid.size):
            row = alone(grid, index)
            if isinstance(row, dict):
                _, spec, parameters, _ = grid.layer(index)
                if meets(SimpleNamespace(spec=spec, parameters=parameters, row=row)):
                    expected.append(row)
        [part] = Grid(some).parts()
        prediction = predict(some, part)
        rows = plain_table(prediction.table).select(list(COMPARED)).to_pylist()
        assert rows == expected
        assert len(rows) + sum(prediction.refused.values()) + prediction.excluded == grid.size


@pytest.mark.parametrize(
    ("condition", "meets"),
    [
        ("c <= o", lambda one: one.spec.in_channels <= one.spec.out_channels),
        ("o == 4", lambda one: one.spec.out_channels == 4),
        ("k == 3", lambda one: one.spec.kernel_size == (3, 3)),
        ("w == h", lambda _: True),
        ("bs > 1", lambda _: False),
        ("c % groups == 0 and groups > 1", lambda one: one.parameters.get("groups", 2) > 1),
        ("mid_channels == 1", lambda one: one.row["mid_channels"] in {None, 1}),
        ("macs < 2e4", lambda one: one.row["macs"] < 20_000),
        ("macs_ratio > 1 or h == 2", lambda one: one.row["macs_ratio"] > 1 or one.spec.height == 2),
    ],
)
def test_a_condition_drops_the_rows_that_do_not_meet_it(condition, meets):
    assert_kept(condition, meets)


def test_rows_that_a_condition_on_sizes_drops_are_not_refused_too():
    configuration = read_configuration(
        {"blocks": ["grouped"], "axes": {"c": [4, 5, 6], "o": [8], "k": [3], "groups": [2]}, "where": ["c % 2 == 0"]}
    )
    [part] = Grid(configuration).parts()
    prediction = predict(configuration, part)
    assert (prediction.table.num_rows, prediction.refused, prediction.excluded) == (2, {}, 1)


def test_a_row_that_a_block_does_not_allow_is_kept_with_its_rule_and_what_was_requested():
    axes = SMALL | {"padding": ["valid", "same"], "ghost_ratio": [3, 4]}
    configuration = read_configuration({"blocks": ["ghost"], "axes": axes, "illegal": "rows"})
    grid = Grid(configuration)
    [part] = grid.parts()
    prediction = predict(configuration, part)
    rows = plain_table(prediction.table).to_pylist()
    assert len(rows) == grid.size
    assert prediction.refused == {
        "kernel_size must be at most the padded input height": 3 * 2 * 2 * 2 * 2,  # 3 and 3x5 in 2 without padding
        "out_channels must be divisible by ghost_ratio": (3 * 2 * 3 * 2 * 2 * 2 * 2 - 48) // 2,  # 4 by 3 and 6 by 4
    }
    for index, row in enumerate(rows):
        expected = alone(grid, index)
        if isinstance(expected, str):
            assert row["refused"] == expected
            assert row["macs"] is None
            assert row["padding"] in {"valid", "same"}
        else:
            assert row["refused"] is None
            assert {name: row[name] for name in COMPARED} == expected


def test_a_part_without_rows_has_the_same_schema():
    sizes = {"axes": SMALL, "blocks": ["standard"], "where": ["macs < 0"]}
    configuration = read_configuration(sizes)
    [part] = Grid(configuration).parts()
    prediction = predict(configuration, part)
    assert prediction.excluded == Grid(configuration).size
    assert plain_table(prediction.table).schema == schema(configuration)
    assert prediction.table.num_rows == 0


def test_an_axis_that_compare_has_no_column_for_has_one_of_its_own():
    axes = {"c": [8], "o": [8], "k": [3], "bias": [False, True], "partial": ["1/4", "1/2"], "rank": [2, 4]}
    configuration = read_configuration({"blocks": ["partial", "low-rank"], "axes": axes})
    assert [column.name for column in chosen_columns(configuration)][-3:] == ["bias", "rank", "partial"]
    tables = [plain_table(predict(configuration, part).table) for part in Grid(configuration).parts()]
    assert [table.select(["bias", "partial", "rank"]).to_pylist()[1] for table in tables] == [
        {"bias": False, "partial": "1/2", "rank": None},
        {"bias": False, "partial": None, "rank": 4},
    ]


def test_rows_of_blocks_that_do_not_use_an_axis_show_what_was_requested() -> None:
    grid = {"blocks": ["depthwise", "pointwise"], "axes": {"c": [8], "o": [16, 32], "k": [3, 5], "dilation": [2]}}
    configuration = read_configuration(grid)
    rows = [row for part in Grid(configuration).parts() for row in predict(configuration, part).table.to_pylist()]
    requested = [(o, k) for _ in range(2) for o in (16, 32) for k in ("3x3", "5x5")]
    assert [(row["requested_out_channels"], row["requested_kernel_size"]) for row in rows] == requested
    assert [(row["out_channels"], row["kernel_size"]) for row in rows[4:]] == [(o, "1x1") for o, _ in requested[4:]]
    assert {row["requested_dilation"] for row in rows} == {"2x2"}


def test_rows_of_blocks_that_use_every_axis_have_no_requested_columns() -> None:
    configuration = read_configuration({"blocks": ["standard"], "axes": {"c": [8], "o": [16], "k": [3]}})
    assert not [name for name in schema(configuration).names if name.startswith("requested")]
