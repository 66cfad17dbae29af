"""The timing of two models side by side: their forward passes, and each layer that differs between them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from torch.utils._pytree import tree_map

from convcost.nn.load.user_code import running_user_code
from convcost.nn.measure.models import conditions_of, distinct_calls, filled, model_failure, require_memory, tensors_in
from convcost.nn.measure.session import timing_session
from convcost.timing.measured import WHOLE, ModelTiming, PairTiming
from convcost.timing.statistics import RUN_TO_RUN, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from convcost.nn.measure.models import Forward
    from convcost.nn.measure.session import TimingSession
    from convcost.timing.conditions import Conditions, TimingOptions
    from convcost.timing.measured import Kind
    from convcost.timing.statistics import Timing


def measure_side_by_side(
    models: tuple[Forward, Forward],
    pairs: Sequence[tuple[str | None, str | None]],
    options: TimingOptions,
    progress: Callable[[str], None] = lambda _: None,
    *,
    run_to_run: float = RUN_TO_RUN,
) -> PairTiming:
    """Time the forward passes of two models, and the layers that differ, all next to each other.

    Args:
        models: Models a and b with real weights, which are moved to the device and to eval mode, and their inputs.
        pairs: Row names of the layers to time alone: a layer of a with its counterpart in b, None without one. A layer
            may have submodules; layers of one kind share a timing. A row that is no module's has no timing.
        options: Conditions and time budget.
        progress: Called with lines of progress.
        run_to_run: Standard deviation of a speed-up between processes, as a share.

    Raises:
        ConvcostError: A device that is not there, too little memory, or a model that does not run.
    """
    require_memory([model for model, _, _ in models], options, "turn time off")
    with timing_session(options, progress) as session:
        first = _side("a", models[0], [name for name, _ in pairs if name is not None], session)
        second = _side("b", models[1], [name for _, name in pairs if name is not None], session)
        with running_user_code(model_failure):
            series, probes = session.run(_in_turn(first, second, pairs), lambda _, __, line: progress(line))

    @cache
    def beside(base: str, one: str) -> dict[str, Timing]:
        both = {base: series[base], one: series[one]}
        return summarise(both, probes, base, pinned=session.pinned, run_to_run=run_to_run)

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


def _in_turn(a: _Side, b: _Side, pairs: Sequence[tuple[str | None, str | None]]) -> dict[str, Callable[[], object]]:
    """The calls to time; those of a pair run next to each other, so that a slow phase of the machine slows both."""
    order = [a.whole, b.whole]
    for one, other in pairs:
        order += [a.layers[one]] if one in a.layers else []
        order += [b.layers[other]] if other in b.layers else []
    calls = a.candidates | b.candidates
    return {name: calls[name] for name in dict.fromkeys(order)}
