"""Store timings in the history: each run as a session with one entry for each layer.

If the history cannot be written, the timings are still shown, with a note that has the reason.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from convcost.archive.rows import FORWARD, Entry, Session
from convcost.text.errors import ConvcostError
from convcost.text.units import now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from convcost.comparison.rows import Placed
    from convcost.kernels.demonstration import Candidate
    from convcost.kernels.row import KernelRow
    from convcost.models.call import Call
    from convcost.models.report import ModelReport
    from convcost.timing.conditions import Conditions, Setup
    from convcost.timing.measured import Measured, ModelTiming
    from convcost.timing.statistics import Timing


def keep(blocks: Sequence[Placed], measured: Measured, baseline: str, budget_s: float, setup: Setup) -> tuple[str, ...]:
    """Store the timings of one device as one run.

    Args:
        blocks: Blocks that were to be timed; those without a timing are left out.
        measured: Their timings.
        baseline: Name of the block that speed-ups are relative to.
        budget_s: Time budget on this device, seconds.
        setup: Machine, versions and switches of the run.

    Returns:
        The reason why nothing was stored; empty if it was.
    """
    placed = {one.block.name: one for one in blocks}

    def run() -> tuple[Session, list[Entry]]:
        entries = [_entry(placed[name], timing) for name, timing in measured.timings.items()]
        session = Session(now(), "compare", None, baseline, budget_s, measured.conditions, setup, measured.notes)
        return session, entries

    return _store(run)


def keep_model(
    counted: ModelReport, timed: ModelTiming, budget_s: float, arguments: Mapping[str, Any], setup: Setup
) -> tuple[str, ...]:
    """Store the timings of a model as one run: the whole forward, and each distinct layer once.

    Args:
        counted: Rows of the model.
        timed: Timings of these rows.
        budget_s: Time budget of the whole timing, seconds.
        arguments: Arguments that the model was made with.
        setup: Machine, versions and switches of the run.

    Returns:
        The reason why nothing was stored; empty if it was.
    """

    def run() -> tuple[Session, list[Entry]]:
        session = Session(now(), "model", counted.target, None, budget_s, timed.conditions, setup, timed.notes)
        distinct: dict[str, Call] = {}
        for call in counted.layers:
            if call.name in timed.layers:
                distinct.setdefault(timed.kinds[call.name].text, call)
        layers = [_entry_of_call(kind, call, timed.layers[call.name]) for kind, call in distinct.items()]
        return session, [_entry_of_forward(counted, arguments, timed.whole), *layers]

    return _store(run)


def keep_check(  # noqa: PLR0913, PLR0917 - the parts of a stored run
    counted: ModelReport,
    timing: Timing,
    conditions: Conditions,
    budget_s: float,
    arguments: Mapping[str, Any],
    base: str | None,
    setup: Setup,
) -> tuple[str, ...]:
    """Store the forward pass of a budget that limits latency.

    Args:
        counted: Counted model.
        timing: Timing of its forward pass.
        conditions: Conditions of the timing.
        budget_s: Time budget of the timing, seconds.
        arguments: Arguments that the model was made with.
        base: Revision that the speed-up is relative to; None without one.
        setup: Machine, versions and switches of the run.

    Returns:
        The reason why nothing was stored; empty if it was.
    """

    def run() -> tuple[Session, list[Entry]]:
        session = Session(now(), "check", counted.target, base, budget_s, conditions, setup)
        return session, [_entry_of_forward(counted, arguments, timing)]

    return _store(run)


def _entry_of_forward(counted: ModelReport, arguments: Mapping[str, Any], timing: Timing) -> Entry:
    written = {name: repr(value) for name, value in arguments.items()}
    whole = {"target": counted.target, "inputs": counted.inputs, "arguments": written}
    first = counted.layers[0].input_shape if counted.layers else ()
    params, macs = sum(call.params for call in counted.layers), counted.totals.macs
    return Entry(FORWARD, _text(whole), params, macs, first, None, None, None, None, None, timing)


def keep_kernel(row: KernelRow, budget_s: float, notes: tuple[str, ...], setup: Setup) -> tuple[str, ...]:
    """Store the timings of a kernel and of its factors as one run.

    Args:
        row: Timed row; nothing is stored of one that was refused.
        budget_s: Time budget of this kernel, seconds.
        notes: Remarks about the machine.
        setup: Machine, versions and switches of the run.

    Returns:
        The reason why nothing was stored; empty if it was.
    """
    timing = row.timing
    if timing is None or timing.kernel is None or timing.factors is None:
        return ()
    pair = ((row.kernel, timing.kernel, ""), (row.factors, timing.factors, " (factors)"))

    def run() -> tuple[Session, list[Entry]]:
        session = Session(now(), "kernel", None, row.separation.name, budget_s, timing.conditions, setup, notes)
        return session, [_entry_of_kernel(row, *one) for one in pair]

    return _store(run)


def _entry_of_kernel(row: KernelRow, candidate: Candidate, timing: Timing, suffix: str) -> Entry:
    name = f"{row.separation.name}{suffix}"
    numbers = [[str(entry) for entry in line] for line in row.matrix.entries]
    layer = _text({"kernel": numbers, "factors": bool(suffix), "rank": row.separation.rank, "input": row.input_shape})
    first, cost = candidate.layers[0], candidate.cost
    channels = int(first.input.channels)
    sizes = tuple(map(int, row.input_shape))
    return Entry(
        name, layer, int(cost.params), int(cost.macs), sizes, channels, channels, row.size, (1, 1), channels, timing
    )


def _store(run: Callable[[], tuple[Session, list[Entry]]]) -> tuple[str, ...]:
    """Store a run; an error becomes a note, so that the timings are not lost."""
    try:
        from convcost.archive.database import add, database_path

        session, entries = run()
        if entries:
            add(database_path(), session, entries)
    except ConvcostError as error:
        return (f"these timings are not stored: {error}",)
    except Exception as error:  # noqa: BLE001 - any error is reported in a note, and the timings are still shown
        return (f"these timings are not stored: {type(error).__name__}: {error}; turn store off to avoid this.",)
    return ()


def layer_identity(placed: Placed) -> str:
    """The identity of a placed block as JSON: the requested shape, the parameters and the cost."""
    spec, cost = placed.spec, placed.cost
    return _text(
        {
            "block": placed.block.name,
            "in_channels": spec.in_channels,
            "out_channels": spec.out_channels,
            "kernel_size": spec.kernel_size,
            "input_shape": spec.input.sizes,
            "stride": spec.stride,
            "padding": spec.padding,
            "dilation": spec.dilation,
            "bias": spec.bias,
            "parameters": {name: str(value) for name, value in placed.parameters.items()},
            "params": cost.params,
            "macs": cost.macs,
            "traffic_bytes": cost.traffic_bytes,
        }
    )


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _entry(placed: Placed, timing: Timing) -> Entry:
    return Entry(
        placed.block.name,
        layer_identity(placed),
        int(placed.cost.params),
        int(placed.cost.macs),
        tuple(map(int, placed.spec.input.sizes)),
        int(placed.spec.in_channels),
        int(placed.output.channels),
        placed.kernel_size,
        placed.stride,
        int(placed.groups),
        timing,
    )


def _entry_of_call(kind: str, call: Call, timing: Timing) -> Entry:
    layer = _text({"op": call.op, "module": kind, "input_shape": call.input_shape})
    names = ("in_channels", "out_channels", "kernel_size", "stride", "groups")
    of_conv: dict[str, Any] = {name: getattr(call.conv, name, None) for name in names}
    return Entry(call.name, layer, call.params, call.macs, call.input_shape, **of_conv, timing=timing)
