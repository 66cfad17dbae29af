"""The fastest set of replacements, against all sets written out."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from math import inf
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convcost.changes.pareto import Cost, Limits, Option, Selection, fastest_selection, pareto_front, trade_off
from convcost.text.errors import ConvcostError
from convcost.text.units import human_count, human_time

if TYPE_CHECKING:
    from collections.abc import Sequence

COSTS: tuple[Cost, ...] = ("params", "macs")
Layers = dict[str, list[Option]]

REST = Option(None, 100, 1000, 0.25)
KEEP_A, SEPARABLE_A = Option(None, 90, 900, 4.0), Option("depthwise-separable", 10, 100, 1.0)
KEEP_B, SEPARABLE_B = Option(None, 90, 900, 1.0), Option("depthwise-separable", 10, 100, 2.0)
TWO: Layers = {"a": [KEEP_A, SEPARABLE_A], "b": [KEEP_B, SEPARABLE_B]}

options = st.builds(
    Option, st.just("block"), st.integers(0, 9), st.integers(0, 9), st.integers(0, 16).map(lambda n: n / 4)
)
networks = st.lists(st.lists(options, min_size=1, max_size=3), max_size=6).map(
    lambda lists: {str(number): one for number, one in enumerate(lists)}
)


def all_sums(layers: Layers) -> list[tuple[float, int, int]]:
    """Seconds, parameters and MACs of every selection."""
    return [sums((REST, *chosen)) for chosen in product(*layers.values())]


def sums(chosen: Sequence[Option]) -> tuple[float, int, int]:
    return sum(one.seconds for one in chosen), sum(one.params for one in chosen), sum(one.macs for one in chosen)


def test_a_replacement_that_is_slower_is_taken_for_a_limit_alone() -> None:
    """a pays; b does not, and is replaced only where 200 parameters are too many."""
    assert fastest_selection(TWO, REST, Limits()) == Selection({"a": "depthwise-separable"}, 200, 2000, 2.25)
    both = Selection({"a": "depthwise-separable", "b": "depthwise-separable"}, 120, 1200, 3.25)
    assert fastest_selection(TWO, REST, Limits(max_params=200)) == fastest_selection(TWO, REST, Limits())
    assert fastest_selection(TWO, REST, Limits(max_params=199)) == both
    assert fastest_selection(TWO, REST, Limits(max_macs=1999)) == both


def test_the_front_leaves_out_what_costs_more_and_is_slower() -> None:
    front = pareto_front(TWO, REST, "macs")
    assert [(one.macs, one.seconds) for one in front] == [(2000, 2.25), (1200, 3.25)]


def test_without_layers_there_is_the_rest_alone() -> None:
    assert fastest_selection({}, REST, Limits(max_params=100)) == Selection({}, 100, 1000, 0.25)


@pytest.mark.parametrize(
    ("max_params", "max_macs", "message"),
    [
        (119, None, "max_params (=119) must be at least 120, the smallest that the replacements reach"),
        (None, 1199, "max_macs (=1199) must be at least 1200, the smallest that the replacements reach"),
        (119, 1199, "max_params (=119) must be at least 120, the smallest that the replacements reach"),
    ],
)
def test_a_limit_that_no_set_meets_names_the_smallest(
    max_params: int | None, max_macs: int | None, message: str
) -> None:
    with pytest.raises(ConvcostError) as raised:
        fastest_selection(TWO, REST, Limits(max_params=max_params, max_macs=max_macs))
    assert str(raised.value) == f"{message}; raise it, or allow more blocks or layers."


def test_two_limits_that_can_be_met_only_one_at_a_time() -> None:
    layers = {"a": [Option("x", 1, 9, 0.0), Option("y", 9, 1, 0.0)]}
    with pytest.raises(
        ConvcostError, match=r"^max_macs \(=1001\) must be at least 1009, .* within max_params \(=101\); "
    ):
        fastest_selection(layers, REST, Limits(max_params=101, max_macs=1001))


@given(networks, st.none() | st.integers(100, 130), st.none() | st.integers(1000, 1030))
def test_no_selection_within_the_limits_is_faster(layers: Layers, max_params: int | None, max_macs: int | None) -> None:
    params, macs = inf if max_params is None else max_params, inf if max_macs is None else max_macs
    within = [one for one in all_sums(layers) if one[1] <= params and one[2] <= macs]
    if within:
        best = fastest_selection(layers, REST, Limits(max_params=max_params, max_macs=max_macs))
        assert best.seconds == min(within)[0]
        assert best.params <= params
        assert best.macs <= macs
    else:
        with pytest.raises(ConvcostError, match=r" must be at least \d+, the smallest that the replacements reach"):
            fastest_selection(layers, REST, Limits(max_params=max_params, max_macs=max_macs))


@given(networks, st.sampled_from(COSTS))
def test_the_front_is_all_that_nothing_beats(layers: Layers, cost: Cost) -> None:
    points = {(one[0], one[1 if cost == "params" else 2]) for one in all_sums(layers)}
    undominated = {
        (seconds, least)
        for seconds, least in points
        if not any(a <= seconds and b <= least and (a, b) != (seconds, least) for a, b in points)
    }
    front = pareto_front(layers, REST, cost)
    assert [(one.seconds, getattr(one, cost)) for one in front] == sorted(undominated)


@given(networks)
def test_the_blocks_of_a_selection_are_those_of_its_sums(layers: Layers) -> None:
    named = {
        name: [Option(f"{i}", o.params, o.macs, o.seconds) for i, o in enumerate(each)] for name, each in layers.items()
    }
    for one in pareto_front(named, REST, "params"):
        chosen = [named[name][int(block)] for name, block in one.blocks.items()]
        assert sums((REST, *chosen)) == (one.seconds, one.params, one.macs)


def test_sixty_layers_of_four_kinds_have_few_states() -> None:
    """Of 3^60 selections, layers of one kind, which share a timing, leave few that differ."""
    kinds = [
        [
            Option(None, 900 * n, 9000 // n, 1.0 / n),
            Option("x", 100 * n, 1000 // n, 0.7 / n),
            Option("y", 50 * n, 2000 // n, 0.5),
        ]
        for n in (1, 2, 4, 8)
    ]
    layers = {f"{number}": kinds[number % 4] for number in range(60)}
    best = fastest_selection(layers, REST, Limits(max_params=100_000, max_macs=100_000))
    assert best.params <= 100_000
    assert best.macs <= 100_000


def test_the_lines_say_what_is_fastest_and_how_to_make_it() -> None:
    assert list(trade_off(TWO, REST, Limits(max_macs=2000)).lines()) == [
        "fastest within 2.00 k MACs: 1 layer replaced, 200 parameters, 2.00 k MACs, about 2.25 s",
        "to make it: to depthwise-separable, only '^(a)$'",
        "sets of replacements that no other beats in MACs and time (2):",
        "  1 layer replaced, 200 parameters, 2.00 k MACs, about 2.25 s",
        "  2 layers replaced, 120 parameters, 1.20 k MACs, about 3.25 s",
    ]


def test_a_set_of_all_layers_needs_no_pattern_but_one_of_several_blocks_does() -> None:
    layers = {"a": [KEEP_A, SEPARABLE_A]}
    assert not any(line.startswith("to make it") for line in trade_off(layers, REST, Limits()).lines())
    layers["b"] = [KEEP_B, replace(SEPARABLE_B, block="ghost", seconds=0.5)]
    assert [line for line in trade_off(layers, REST, Limits()).lines() if line.startswith("to make it")] == [
        "to make it: to depthwise-separable, only '^(a)$'",
        "to make it: to ghost, only '^(b)$'",
    ]


def test_the_times_of_several_blocks_of_a_layer_are_lines() -> None:
    layers = {"a": [KEEP_A, SEPARABLE_A, replace(SEPARABLE_A, block="ghost", seconds=0.5)]}
    lines = list(trade_off(layers, REST, Limits()).lines())
    start = lines.index("each layer alone, all its calls together:")
    ways = [f"{one.block or 'as it is'} {human_count(one.macs)} MACs {human_time(one.seconds)}" for one in layers["a"]]
    assert lines[start + 1] == f"  a: {', '.join(ways)}"


def test_where_nothing_pays_the_fastest_replaces_nothing() -> None:
    found = trade_off({"b": [KEEP_B, SEPARABLE_B]}, REST, Limits())
    assert next(found.lines()) == "fastest: no layer replaced, 190 parameters, 1.90 k MACs, about 1.25 s"
    assert found.fastest.record == {"params": 190, "macs": 1900, "time_s": 1.25, "blocks": {}, "only": {}}


def test_the_pattern_matches_the_replaced_layers_alone() -> None:
    only = Selection({"body.0": "x", "a+b": "x", "c": "y"}, 0, 0, 0.0).only
    pattern = only.pop("x")
    assert only == {"y": "^(c)$"}
    assert [name for name in ("body.0", "bodyX0", "a+b", "aab", "body.01") if re.search(pattern, name)] == [
        "body.0",
        "a+b",
    ]


@pytest.mark.parametrize(
    ("limits", "cost"),
    [(Limits(), "macs"), (Limits(max_params=200), "params"), (Limits(max_params=200, max_macs=2000), "macs")],
)
def test_the_front_is_of_the_limited_cost(limits: Limits, cost: str) -> None:
    assert trade_off(TWO, REST, limits).cost == cost
