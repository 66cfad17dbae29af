"""Reductions keep exactly the rows that a look at all rows keeps, whatever the order of the parts."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convcost.grids import reduction
from convcost.grids.columns import COLUMNS
from convcost.grids.configuration_file import read_configuration
from convcost.grids.front import front
from convcost.grids.grid import Grid
from convcost.grids.groups import Groups
from convcost.grids.prediction import plain_table, predict
from convcost.grids.reduction import Pareto, Top

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from convcost.grids.reduction import Reduction

Row = dict[str, Any]
MACS, PARAMS, RATIO = COLUMNS["macs"], COLUMNS["params"], COLUMNS["macs_ratio"]

at_leisure = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # no test judges the clock
small = st.integers(-3, 3)
rows = st.fixed_dictionaries(
    {
        "block": st.sampled_from(["ghost", "blueprint", "standard"]),
        "depth_multiplier": st.none() | st.integers(1, 2),
        "macs": st.none() | small | st.sampled_from([2**63 - 1, 2**63 - 2, -(2**63)]),
        "params": small,
        "macs_ratio": st.none() | st.sampled_from([0.1, 0.2, 0.3, -0.0, 1e-7, 12345.678, math.nan, math.inf]),
    }
)
SCHEMA = pa.schema(
    [
        ("block", pa.string()),
        ("depth_multiplier", pa.int64()),
        ("macs", pa.int64()),
        ("params", pa.int64()),
        ("macs_ratio", pa.float64()),
    ]
)


def as_dictionaries(table: pa.Table) -> pa.Table:
    """The table as a prediction hands it over: the values of a dictionary may be the same, or missing."""
    columns = []
    for column in table.columns:
        whole = column.combine_chunks()
        values = pa.concat_arrays([whole, whole])
        index = np.arange(len(whole)) + len(whole) * (np.arange(len(whole)) % 2)
        columns.append(pa.DictionaryArray.from_arrays(pa.array(index, pa.int32(), mask=index % 5 == 3), values))
    return pa.table(columns, names=table.schema.names)


@st.composite
def parts(draw: st.DrawFn) -> list[tuple[int, pa.Table]]:
    """Parts of a sweep in any order, each with the index of its first row."""
    tables, start = [], 0
    for part in draw(st.lists(st.lists(rows, max_size=12), min_size=1, max_size=6)):
        table = pa.Table.from_pylist(part, SCHEMA)
        tables.append((start, as_dictionaries(table) if draw(st.booleans()) else table))
        start += len(part) + draw(st.integers(0, 3))  # rows that are not legal have an index too
    return draw(st.permutations(tables))


def all_rows(given_parts: Sequence[tuple[int, pa.Table]]) -> list[Row]:
    return [row for _, table in sorted(given_parts, key=lambda one: one[0]) for row in plain_table(table).to_pylist()]


def reduced(make: Callable[[], Reduction], given_parts: Sequence[tuple[int, pa.Table]], folder: Path) -> list[Row]:
    """What is kept by two reductions that are merged, the first of which was stopped and started again."""
    halves = make(), make()
    for place, (first, table) in enumerate(given_parts):
        halves[place % 2].add(table, first)
    for one in halves:
        if one.state is not None:
            pq.write_table(one.state, folder / "state.parquet")
            one.state = pq.read_table(folder / "state.parquet")
    whole = make()
    for one in halves:
        whole.merge(one)
    in_one_go = make()
    for first, table in given_parts:
        in_one_go.add(table, first)
    assert same(whole.result().to_pylist(), in_one_go.result().to_pylist())
    return whole.result().to_pylist()


def same(ours: Sequence[Row], theirs: Sequence[Row]) -> bool:
    return repr(ours).replace("-0.0", "0.0") == repr(theirs).replace("-0.0", "0.0")  # not a number equals itself here


def left_out(front_of: Pareto) -> int:
    rows = front_of.result()
    return sum(rows[reduction.MORE_EQUAL].to_pylist()) if reduction.MORE_EQUAL in rows.schema.names else 0


def is_known(*values: float | None) -> bool:
    return all(value is not None and math.isfinite(value) for value in values)


def key(row: Row, group_by: Sequence[str]) -> tuple[object, ...]:
    return tuple(row[name] for name in group_by)


def beats(one: Row, other: Row) -> bool:
    ours, theirs = ((row["macs"], -row["macs_ratio"]) for row in (one, other))
    return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


GROUPS = st.sampled_from([(), ("block",), ("depth_multiplier",), ("block", "depth_multiplier"), ("params",)])


@at_leisure
@given(parts(), GROUPS)
def test_the_front_has_every_row_that_no_other_row_beats(folder, given_parts, group_by) -> None:
    known = [row for row in all_rows(given_parts) if is_known(row["macs"], row["macs_ratio"])]
    order = list(dict.fromkeys(key(row, group_by) for row in known))
    best = [
        row
        for row in known
        if not any(beats(other, row) for other in known if key(other, group_by) == key(row, group_by))
    ]
    best.sort(key=lambda row: (order.index(key(row, group_by)), row["macs"], -row["macs_ratio"]))
    assert same(reduced(lambda: Pareto([MACS, RATIO], group_by), given_parts, folder), best)


@at_leisure
@given(parts(), GROUPS, st.integers(1, 4))
def test_the_best_rows_are_the_first_of_all_rows_in_order(folder, given_parts, group_by, count) -> None:
    known = [row for row in all_rows(given_parts) if is_known(row["macs_ratio"])]
    groups = dict.fromkeys(key(row, group_by) for row in known)
    best = [
        row
        for group in groups
        for row in sorted((one for one in known if key(one, group_by) == group), key=lambda one: -one["macs_ratio"])[
            :count
        ]
    ]
    assert same(reduced(lambda: Top(count, RATIO, group_by), given_parts, folder), best)


@at_leisure
@given(parts(), GROUPS.filter(bool))
def test_the_mean_of_a_group_is_that_of_its_values_as_fractions(folder, given_parts, group_by) -> None:
    everything = all_rows(given_parts)
    numeric = [name for name in SCHEMA.names if name != "block" and name not in group_by]
    expected = []
    for group in dict.fromkeys(key(row, group_by) for row in everything):
        mine = [row for row in everything if key(row, group_by) == group]
        summary: Row = {**dict(zip(group_by, group, strict=True)), "rows": len(mine)}
        for name in numeric:
            values = [row[name] for row in mine if is_known(row[name])]
            mean = float(sum(map(Fraction, values)) / len(values)) if values else None
            of_name = {"min": min(values, default=None), "mean": mean, "max": max(values, default=None)}
            summary |= {f"{name}_{what}": value for what, value in of_name.items()}
        expected.append(summary)
    assert same(reduced(lambda: Groups(group_by), given_parts, folder), expected)


@at_leisure
@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 6)] * n), min_size=1, max_size=60)))
def test_a_front_of_any_number_of_costs_is_that_of_all_pairs(points) -> None:
    costs = [np.array(column) for column in zip(*points, strict=True)]
    with mock.patch.multiple("convcost.grids.front", SAMPLE=4, MAX_PAIRS=9):  # every step, however few points
        on_front = front(costs, np.zeros(len(points), int)) >= 0
    beaten = [any(a != b and all(x <= y for x, y in zip(a, b, strict=True)) for a in points) for b in points]
    assert list(on_front) == [not one for one in beaten]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_bounds_and_halves_change_nothing_in_a_large_part(count: int) -> None:
    rng = np.random.default_rng(0)
    names = ["macs", "params", "traffic_bytes", "macs_ratio", "flop_per_byte"][:count]
    values = {2: 40, 3: 12, 5: 4}[count]  # many ties; there are more rows than in a sample
    columns = [rng.integers(0, values, 30_000) for _ in names]
    groups = rng.integers(0, 3, 30_000)
    kept = Pareto([COLUMNS[name] for name in names], ["groups"])
    kept.add(pa.table({"groups": groups, **dict(zip(names, columns, strict=True))}), 0)
    signs = [1 if COLUMNS[name].better == "smaller" else -1 for name in names]
    expected = 0
    for group in range(3):
        mine = np.stack([sign * column[groups == group] for sign, column in zip(signs, columns, strict=True)], axis=1)
        different = np.unique(mine, axis=0)
        best = [one for one in different if not ((different <= one).all(axis=1) & (different < one).any(axis=1)).any()]
        expected += sum(int((mine == one).all(axis=1).sum()) for one in best)
    assert kept.result().num_rows + left_out(kept) == expected


def test_of_very_many_equal_rows_the_first_ones_stay_and_the_others_are_counted() -> None:
    kept = [Pareto([MACS]), Pareto([MACS])]
    for first in (4000, 0, 8000):
        table = pa.table({"macs": [7] * 3000, "in_channels": range(first, first + 3000)})
        kept[first == 0].add(table, first)
    kept[0].merge(kept[1])
    assert kept[0].result()["in_channels"].to_pylist() == list(range(reduction.MAX_EQUAL))
    assert left_out(kept[0]) == 3 * 3000 - reduction.MAX_EQUAL
    kept[0].add(pa.table({"macs": [6], "in_channels": [1]}), 11_000)
    assert kept[0].result().to_pylist() == [{"macs": 6, "in_channels": 1}]


def test_a_mean_of_counts_near_the_limit_of_int64_is_exact() -> None:
    groups = Groups(["block"])
    for first in range(0, 4000, 1000):
        groups.add(pa.table({"block": ["standard"] * 1000, "macs": [2**63 - 1] * 1000}), first)
    assert groups.result().to_pylist()[0]["macs_mean"] == float(2**63 - 1)


@pytest.mark.parametrize("make", [lambda: Pareto([MACS]), lambda: Top(2, MACS), lambda: Groups(["block"])])
def test_parts_without_rows_leave_a_table_without_rows(make: Callable[[], Reduction]) -> None:
    reductions = make()
    assert reductions.result().num_rows == 0
    reductions.add(SCHEMA.empty_table(), 0)
    reductions.add(pa.Table.from_batches([], SCHEMA), 5)
    assert reductions.result().num_rows == 0
    reductions.add(pa.Table.from_pylist([{"block": "standard", "macs": 1}], SCHEMA), 9)
    assert reductions.result().num_rows == 1


@pytest.mark.parametrize("illegal", ["count", "rows"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: Pareto([PARAMS]),  # many rows are equal
        lambda: Pareto([MACS, RATIO], ["kernel_size"]),
        lambda: Pareto([RATIO, PARAMS, COLUMNS["flop_per_byte"]], ["block"]),
        lambda: Top(3, RATIO),
        lambda: Top(2, MACS, ["in_height", "block"]),
        lambda: Groups(["block", "stride"]),
    ],
)
def test_a_part_of_which_few_columns_are_predicted_first_changes_what_all_its_columns_change(make, illegal) -> None:
    axes = {"c": [16, 8, 24], "o": [8, 9], "k": [3, 1, "3x5"], "h": [*range(9, 3, -1)], "stride": [1, 2]}
    blocks = ["standard", "ghost", "depthwise-separable"]
    configuration = read_configuration({"blocks": blocks, "axes": axes, "illegal": illegal, "where": ["c != 24"]})
    few, whole = make(), make()
    with mock.patch("convcost.grids.reduction.MAX_EQUAL", 5):
        for part in Grid(configuration).parts(17):
            prediction = predict(configuration, part)
            counts = few.add_part(configuration, part)
            assert (counts.table.num_rows, counts.refused, counts.excluded) == (
                prediction.table.num_rows,
                prediction.refused,
                prediction.excluded,
            )
            whole.add(prediction.table, part.first)
            assert few.state.equals(whole.state)
    assert few.result().num_rows > 0


@pytest.mark.parametrize("behind", [1, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda: Pareto([MACS, RATIO]),
        lambda: Pareto([MACS, PARAMS], ["kernel_size"]),
        lambda: Top(3, RATIO, ["block"]),
        lambda: Groups(["block"]),
    ],
)
def test_a_part_that_is_reduced_elsewhere_changes_what_it_changes_here(make, behind: int) -> None:
    axes = {"c": {"from": 4, "to": 24, "step": 2}, "o": {"from": 4, "to": 16, "step": 4}, "k": [1, 3], "h": [7, 14]}
    configuration = read_configuration({"axes": axes, "blocks": ["depthwise-separable", "standard"]})
    here, elsewhere, known, kept = make(), make(), [make()] * behind, 0
    for part in Grid(configuration).parts(8):
        here.add_part(configuration, part)
        prediction, own = known.pop(0).alone(configuration, part)
        assert prediction.table.num_rows == 8
        if own is not None:
            elsewhere.merge(own)
            kept += 1
        known.append(elsewhere.known())
    assert elsewhere.result().equals(here.result())
    is_selection = not isinstance(here, Groups)
    assert (kept < Grid(configuration).part_count(8)) == is_selection


def test_a_column_that_is_named_twice_counts_once() -> None:
    table = pa.table({"block": ["standard", "ghost"], "macs": [3, 2], "params": [1, 2]})
    once, twice = Groups(["block"]), Groups(["block", "block"])
    for groups in (once, twice):
        groups.add(table, 0)
    assert once.result().equals(twice.result())
    assert Pareto([MACS, PARAMS, MACS]).text == "the rows that no other row beats in smallest macs and smallest params"


def test_what_is_kept_is_said_with_its_better_ends() -> None:
    assert (
        Top(100, RATIO, ["block", "kernel_size"]).text
        == "the 100 rows with the largest macs_ratio of each block, kernel_size"
    )
    assert Pareto([MACS, RATIO]).text == "the rows that no other row beats in smallest macs and largest macs_ratio"
