"""The timing of two models side by side: their forward passes, and each layer that differs between them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from torch.utils._pytree import tree_map

from convcost.nn.count.tensors import tensor_text
from convcost.nn.load.user_code import running_user_code
from convcost.nn.measure.models import conditions_of, distinct_calls, filled, model_failure, require_memory, tensors_in
from convcost.nn.measure.session import timing_session
from convcost.text.errors import ConvcostError
from convcost.timing.measured import WHOLE, ModelTiming, PairTiming
from convcost.timing.statistics import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from torch import nn

    from convcost.nn.measure.models import Forward
    from convcost.nn.measure.session import TimingSession
    from convcost.timing.conditions import Conditions, TimingOptions
    from convcost.timing.measured import Kind
    from convcost.timing.statistics import Timing


def measure_side_by_side(
    a: Forward,
    b: Forward,
    pairs: Sequence[tuple[str | None, str | None]],
    options: TimingOptions,
    progress: Callable[[str], None] = lambda _: None,
) -> PairTiming:
    """Time the forward passes of two models, and the layers that differ, all next to each other.

    Args:
        a: Model with real weights, which is moved to the device and to eval mode.
        b: The model to compare with it.
        pairs: Row names of the layers to time alone: a layer of a with its counterpart in b, None without one. A layer
            may have submodules; layers of one kind share a timing. A row that is no module's has no timing.
        options: Conditions and time budget.
        progress: Called with lines of progress.

    Raises:
        ConvcostError: A device that is not there, too little memory, or a model that does not run.
    """
    require_memory([a[0], b[0]], options, "turn time off")
    with timing_session(options, progress) as session:
        first = _side("a", a, [name for name, _ in pairs if name is not None], session)
        second = _side("b", b, [name for _, name in pairs if name is not None], session)
        with running_user_code(model_failure):
            series, probes = session.run(_in_turn(first, second, pairs), lambda _, __, line: progress(line))

    @cache
    def beside(base: str, one: str) -> dict[str, Timing]:
        return summarise({base: series[base], one: series[one]}, probes, base, pinned=session.pinned)

    alone = summarise(series, probes, None, pinned=session.pinned)
    wholes = beside(first.whole, second.whole)
    timed_a, timed_b = (
        ModelTiming(
            side.conditions,
            wholes[side.whole],
            {name: alone[candidate] for name, candidate in side.layers.items()},
            session.notes,
            side.kinds,
        )
        for side in (first, second)
    )
    speedups = {
        (x, y): beside(first.layers[x], second.layers[y])[second.layers[y]]
        for x, y in pairs
        if x in first.layers and y in second.layers
    }
    return PairTiming(timed_a, timed_b, speedups)


class _Side(NamedTuple):
    """One of the two models on the device.

    Attributes:
        conditions: Conditions of its timings.
        kinds: Kinds of all layers, by row name.
        whole: Name of the candidate that is the forward pass.
        layers: Names of the candidates that are layers, by row name.
        candidates: The calls to time, by name.
    """

    conditions: Conditions
    kinds: dict[str, Kind]
    whole: str
    layers: dict[str, str]
    candidates: dict[str, Callable[[], object]]


def _side(label: str, forward: Forward, names: Collection[str], session: TimingSession) -> _Side:
    """A model on the device; the label tells its layers from the other's, whose code may look the same."""
    _require_values(*forward)
    model = forward[0].to(session.device).eval()
    args, kwargs = tree_map(lambda value: filled(value, session.device), (tuple(forward[1]), dict(forward[2])))
    kinds, calls = distinct_calls(model, (args, kwargs), names)
    whole = f"{label}: {WHOLE}"
    return _Side(
        conditions_of(session.conditions, set(kinds.values()), [*model.parameters(), *tensors_in((args, kwargs))]),
        kinds,
        whole,
        {name: f"{label}: {kinds[name].text}" for name in names if name in kinds},
        {whole: lambda: model(*args, **kwargs), **{f"{label}: {kind.text}": call for kind, call in calls.items()}},
    )


def _require_values(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse a model without weights, and inputs whose values cannot be random.

    Raises:
        ConvcostError: A tensor on the meta device has no values.
    """
    empty = next((name for name, one in (*model.named_parameters(), *model.named_buffers()) if one.is_meta), None)
    if empty is not None:
        msg = f"model must have weights to be timed, and {empty} is on the meta device; make it on the CPU."
        raise ConvcostError(msg)
    for one in tensors_in((args, kwargs)):
        if one.is_meta and not one.is_floating_point():
            text = tensor_text(one)
            msg = f"inputs must have values to be timed, and {text} is on the meta device; make it on the CPU."
            raise ConvcostError(msg)


def _in_turn(a: _Side, b: _Side, pairs: Sequence[tuple[str | None, str | None]]) -> dict[str, Callable[[], object]]:
    """The calls to time; those of a pair run next to each other, so that a slow phase of the machine slows both."""
    order = [a.whole, b.whole]
    for one, other in pairs:
        order += [a.layers[one]] if one in a.layers else []
        order += [b.layers[other]] if other in b.layers else []
    calls = a.candidates | b.candidates
    return {name: calls[name] for name in dict.fromkeys(order)}
