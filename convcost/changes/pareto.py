"""The fastest set of replacements of a network's layers: exact, from the measured time of each layer alone."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from convcost.text.errors import ConvcostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Cost: TypeAlias = Literal["params", "macs"]


@dataclass(frozen=True, slots=True)
class Option:
    """One way to build a layer.

    Attributes:
        block: Name of the block in its place; None for the layer as it is.
        params: Number of parameters.
        macs: Multiply-accumulates.
        seconds: Measured seconds per call.
    """

    block: str | None
    params: int
    macs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Selection:
    """One option for each layer of a network.

    Attributes:
        blocks: Block in the place of each layer that is replaced, by layer.
        params: Parameters of the whole network.
        macs: Multiply-accumulates of the whole network.
        seconds: Estimate of the seconds of a forward pass: the times of the layers alone, and those of the rest.
    """

    blocks: Mapping[str, str]
    params: int
    macs: int
    seconds: float


def pareto_front(layers: Mapping[str, Sequence[Option]], rest: Option, cost: Cost) -> tuple[Selection, ...]:
    """The selections that no other one beats in both a cost and the time, fastest first.

    Args:
        layers: Options by layer.
        rest: Costs and seconds of all that has no options.
        cost: The cost to hold against the time.
    """
    return tuple(_selection(state, layers) for state in _states(layers, rest, (cost,), {}))


def fastest_selection(
    layers: Mapping[str, Sequence[Option]], rest: Option, *, max_params: int | None = None, max_macs: int | None = None
) -> Selection:
    """The fastest of all selections within the limits.

    Args:
        layers: Options by layer.
        rest: Costs and seconds of all that has no options.
        max_params: Maximum number of parameters of the whole network; None for any.
        max_macs: Maximum number of multiply-accumulates of the whole network; None for any.

    Raises:
        ConvcostError: No selection is within the limits.
    """
    given: dict[Cost, int | None] = {"params": max_params, "macs": max_macs}
    limits = {cost: limit for cost, limit in given.items() if limit is not None}
    for cost, limit in limits.items():
        least = _of(rest, cost) + sum(_least(options, cost) for options in layers.values())
        if least > limit:
            raise _unreachable(cost, limit, least)
    states = _states(layers, rest, tuple(limits), limits)
    if not states:  # each limit can be met, but not both
        timeless = {name: [replace(option, seconds=0.0) for option in options] for name, options in layers.items()}
        within = _states(timeless, rest, ("params", "macs"), {"params": limits["params"]})
        least = min(state.macs for state in within)
        raise _unreachable("macs", limits["macs"], least, f" within max_params (={max_params})")
    return _selection(states[0], layers)


def _unreachable(cost: Cost, limit: int, least: int, within: str = "") -> ConvcostError:
    return ConvcostError(
        f"max_{cost} (={limit}) must be at least {least}, the smallest that the replacements reach{within}; raise it, "
        "or allow more blocks or layers."
    )


class _State(NamedTuple):
    """The options of the first layers, with their sums."""

    seconds: float
    params: int
    macs: int
    chosen: tuple[int, ...]
    """Positions of the options, one for each layer so far."""


def _states(
    layers: Mapping[str, Sequence[Option]], rest: Option, costs: Sequence[Cost], limits: Mapping[Cost, int]
) -> list[_State]:
    """The states of all layers within the limits that no other one beats in seconds and costs, fastest first.

    A state of the first layers that another one beats stays beaten, whatever the options of the other layers are, so
    it is dropped at once; so is a state that cannot come within the limits any more. Hence the result is exact.
    """
    states = [_State(rest.seconds, rest.params, rest.macs, ())]
    left = {cost: sum(_least(options, cost) for options in layers.values()) for cost in limits}
    for options in layers.values():
        left = {cost: least - _least(options, cost) for cost, least in left.items()}
        longer = (
            _State(
                state.seconds + option.seconds,
                state.params + option.params,
                state.macs + option.macs,
                (*state.chosen, position),
            )
            for state in states
            for position, option in enumerate(options)
        )
        possible = (one for one in longer if all(_of(one, cost) + left[cost] <= limits[cost] for cost in limits))
        states = _undominated(possible, costs)
    return states


def _undominated(states: Iterable[_State], costs: Sequence[Cost]) -> list[_State]:
    """The states that no other one equals or beats in seconds and in all of one or two costs, fastest first.

    `stairs` has the costs of the kept states that no other kept one beats: the first rises, the second falls.
    """
    kept: list[_State] = []
    stairs: list[tuple[int, int]] = []
    for state in sorted(states, key=lambda state: (state.seconds, *(_of(state, cost) for cost in costs))):
        first, second = (*(_of(state, cost) for cost in costs), 0, 0)[:2]
        place = bisect_right(stairs, first, key=itemgetter(0))
        if place and stairs[place - 1][1] <= second:
            continue
        start = place - 1 if place and stairs[place - 1][0] == first else place
        stop = start
        while stop < len(stairs) and stairs[stop][1] >= second:
            stop += 1
        stairs[start:stop] = [(first, second)]
        kept.append(state)
    return kept


def _of(costs: Option | _State, cost: Cost) -> int:
    return costs.params if cost == "params" else costs.macs


def _least(options: Sequence[Option], cost: Cost) -> int:
    return min(_of(option, cost) for option in options)


def _selection(state: _State, layers: Mapping[str, Sequence[Option]]) -> Selection:
    chosen = {name: options[i].block for (name, options), i in zip(layers.items(), state.chosen, strict=True)}
    blocks = {name: block for name, block in chosen.items() if block is not None}
    return Selection(blocks, state.params, state.macs, state.seconds)
