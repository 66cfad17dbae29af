"""The fastest set of replacements of a network's layers: exact, from the measured time of each layer alone."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from convcost.text.errors import ConvcostError, as_text
from convcost.text.quantities import MACS, PARAMS, quantity
from convcost.text.units import human_count, human_time, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Cost: TypeAlias = Literal["params", "macs"]
MAX_SELECTIONS: Final = 6
"""Maximum number of selections that are listed."""


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

    @property
    def text(self) -> str:
        """What it costs: `ghost 569 M MACs 1.2 ms`."""
        return f"{self.block or 'as it is'} {human_count(self.macs)} MACs {human_time(self.seconds)}"

    @property
    def record(self) -> dict[str, Any]:
        """The option as a JSON object."""
        return {"block": self.block, "params": self.params, "macs": self.macs, "time_s": self.seconds}


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

    @property
    def only(self) -> dict[str, str]:
        """The regular expression of the layers in whose place each block stands, by block."""
        names: dict[str, list[str]] = {}
        for name, block in self.blocks.items():
            names.setdefault(block, []).append(re.escape(name))
        return {block: f"^({'|'.join(layers)})$" for block, layers in names.items()}

    @property
    def text(self) -> str:
        """What it replaces and costs: `3 layers replaced, 4.23 M parameters, 569 M MACs, about 12.3 ms`."""
        layers = f"{number_of('layer', len(self.blocks)) if self.blocks else 'no layer'} replaced"
        costs = f"{human_count(self.params)} parameters, {human_count(self.macs)} MACs"
        return f"{layers}, {costs}, about {human_time(self.seconds)}"

    @property
    def record(self) -> dict[str, Any]:
        """The selection as a JSON object."""
        return {
            "params": self.params,
            "macs": self.macs,
            "time_s": self.seconds,
            "blocks": dict(self.blocks),
            "only": self.only,
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on a whole network.

    Attributes:
        max_params: Maximum number of parameters; None for any.
        max_macs: Maximum number of multiply-accumulates; None for any.
    """

    max_params: int | None = None
    max_macs: int | None = None

    @property
    def given(self) -> dict[Cost, int]:
        """The limits that there are."""
        limits: dict[Cost, int | None] = {"params": self.max_params, "macs": self.max_macs}
        return {cost: limit for cost, limit in limits.items() if limit is not None}


def parse_limits(max_params: str | int | None, max_macs: str | int | None, *, pareto: bool) -> Limits | None:
    """The limits from texts such as `4.3 M`; None if no set of replacements is to be looked for.

    Raises:
        ConvcostError: A limit is no quantity of its kind, or there is one without such a set.
    """
    numbers = []
    for name, given, kind in (("max_params", max_params, PARAMS), ("max_macs", max_macs, MACS)):
        if given is not None and not pareto:
            raise ConvcostError(f"{name} (={as_text(given)}) limits the fastest set of replacements; turn pareto on.")
        try:
            numbers.append(None if given is None else int(quantity(given, kind)))
        except ConvcostError as error:
            raise ConvcostError(f"{name} {error}") from error
    return Limits(*numbers) if pareto else None


@dataclass(frozen=True, slots=True)
class TradeOff:
    """Costs against times, over all sets of replacements in a network.

    Attributes:
        limits: Limits on the network.
        layers: Options of each layer, all its calls together: as it is, then each block in its place.
        fastest: The fastest selection within the limits.
        cost: The cost of the front: the parameters if they alone are limited, else the MACs.
        front: The selections that no other one beats in both the cost and the time, fastest first.
    """

    limits: Limits
    layers: Mapping[str, Sequence[Option]]
    fastest: Selection
    cost: Cost
    front: tuple[Selection, ...]

    def lines(self) -> Iterator[str]:
        """The fastest selection, and some of the front."""
        words = {"params": "parameters", "macs": "MACs"}
        limits = " and ".join(f"{human_count(limit)} {words[cost]}" for cost, limit in self.limits.given.items())
        yield f"fastest{f' within {limits}' if limits else ''}: {self.fastest.text}"
        patterns = self.fastest.only
        if len(patterns) > 1 or len(self.fastest.blocks) < len(self.layers):
            yield from (f"to make it: to {block}, only '{pattern}'" for block, pattern in patterns.items())
        if any(len(options) > 2 for options in self.layers.values()):  # noqa: PLR2004 - more than the table's one block
            yield "each layer alone, all its calls together:"
            yield from (f"  {name}: {', '.join(one.text for one in ways)}" for name, ways in self.layers.items())
        if len(self.front) > 1:
            step = max(1, -(-len(self.front) // MAX_SELECTIONS))
            yield f"sets of replacements that no other beats in {words[self.cost]} and time ({len(self.front)}):"
            yield from (f"  {one.text}" for one in self.front[::step])

    @property
    def record(self) -> dict[str, Any]:
        """The trade-off as a JSON object."""
        return {
            "max_params": self.limits.max_params,
            "max_macs": self.limits.max_macs,
            "layers": {name: [one.record for one in options] for name, options in self.layers.items()},
            "fastest": self.fastest.record,
            "cost": self.cost,
            "front": [one.record for one in self.front],
        }


def trade_off(layers: Mapping[str, Sequence[Option]], rest: Option, limits: Limits) -> TradeOff:
    """The fastest selection within the limits, and the front of the limited cost.

    Args:
        layers: Options by layer.
        rest: Costs and seconds of all that has no options.
        limits: Limits on the whole network.

    Raises:
        ConvcostError: No selection is within the limits.
    """
    cost: Cost = "params" if limits.max_macs is None and limits.max_params is not None else "macs"
    return TradeOff(limits, layers, fastest_selection(layers, rest, limits), cost, pareto_front(layers, rest, cost))


def pareto_front(layers: Mapping[str, Sequence[Option]], rest: Option, cost: Cost) -> tuple[Selection, ...]:
    """The selections that no other one beats in both a cost and the time, fastest first.

    Args:
        layers: Options by layer.
        rest: Costs and seconds of all that has no options.
        cost: The cost to hold against the time.
    """
    return tuple(_selection(state, layers) for state in _states(layers, rest, (cost,), {}))


def fastest_selection(layers: Mapping[str, Sequence[Option]], rest: Option, limits: Limits) -> Selection:
    """The fastest of all selections within the limits.

    Args:
        layers: Options by layer.
        rest: Costs and seconds of all that has no options.
        limits: Limits on the whole network.

    Raises:
        ConvcostError: No selection is within the limits.
    """
    given = limits.given
    for cost, limit in given.items():
        least = _of(rest, cost) + sum(_least(options, cost) for options in layers.values())
        if least > limit:
            raise _unreachable(cost, limit, least)
    states = _states(layers, rest, tuple(given), given)
    if not states:  # each limit can be met, but not both
        timeless = {name: [replace(option, seconds=0.0) for option in options] for name, options in layers.items()}
        within = _states(timeless, rest, ("params", "macs"), {"params": given["params"]})
        least = min(state.macs for state in within)
        raise _unreachable("macs", given["macs"], least, f" within max_params (={limits.max_params})")
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
