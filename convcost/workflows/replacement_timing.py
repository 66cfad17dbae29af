"""The times of replacements: the model beside its altered copy, each layer beside its block, and the fastest set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from convcost.changes.pareto import Limits, Option, TradeOff, trade_off
from convcost.system.terminal import show_progress
from convcost.text.errors import ConvcostError
from convcost.workflows.side_by_side import time_side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from convcost.changes.replace_report import ReplaceReport
    from convcost.changes.replaced_layer import ReplacedLayer
    from convcost.changes.replacement import Rules
    from convcost.nn.alter.altered import Altered
    from convcost.nn.measure.models import Forward
    from convcost.timing.conditions import TimingOptions
    from convcost.workflows.side_by_side import TimedPair

Variant: TypeAlias = "tuple[ReplaceReport, Altered]"
"""A way to replace the layers of a model: the report, and the altered model with real weights."""


@dataclass(frozen=True, slots=True)
class ReplacementTiming:
    """What to time of replacements, and how.

    Attributes:
        options: Device, threads and time budget of all timings together.
        limits: Limits for the fastest set of replacements; None if no such set is requested.
        tell: Function that is called with lines of progress.
    """

    options: TimingOptions
    limits: Limits | None
    tell: Callable[[str], None]


def time_replacements(
    chosen: Variant, forward: Forward, rules: Rules, timing: ReplacementTiming
) -> Iterator[ReplaceReport]:
    """The report with times, then with the fastest set, then after each account.

    Args:
        chosen: Report of the altered model, and the model itself.
        forward: The model before with real weights on the CPU, and its inputs.
        rules: Which layers were replaced, and by what; for the fastest set, every block is timed in every layer.
        timing: What to time, and how.

    Raises:
        ConvcostError: No set of replacements is within the limits; or as `time_side_by_side`.
    """
    report, limits = chosen[0], timing.limits
    others: list[Variant] = []
    if limits is not None:
        others = list(_each_block_alone(report, forward, rules))
        _fastest([report, *(other for other, _ in others)], limits, timed=False)  # before the clock runs
    share = replace(timing.options, time_budget=timing.options.time_budget / (1 + len(others)))
    steps = _timed(chosen, forward, share, timing.tell)
    first = next(steps)
    yield first
    found = None
    if limits is not None:
        alone = replace(share, why=False)
        timed = [next(_timed(other, forward, alone, timing.tell)) for other in others]
        found = _fastest([first, *timed], limits, timed=True)
        yield _with_fastest(first, found)
    for step in steps:
        yield step if found is None else _with_fastest(step, found)


def time_copies(
    chosen: Variant, given: tuple[object, object, Mapping[str, Any] | None], rules: Rules, timing: ReplacementTiming
) -> Iterator[ReplaceReport]:
    """As `time_replacements`, with copies of both models, so that they themselves keep their device and mode.

    Args:
        chosen: As in `time_replacements`.
        given: The user's module, inputs and keyword arguments.
        rules: As in `time_replacements`.
        timing: As in `time_replacements`.

    Raises:
        ConvcostError: As `time_replacements`.
    """
    from convcost.nn.alter.altered import replaced
    from convcost.nn.count.counted_call import call_of, module_of
    from convcost.nn.count.cpu_trial import with_values
    from convcost.nn.count.model_report import with_zeros

    report, altered = chosen
    model, inputs, kwargs = given
    forward = (with_values(replaced(module_of(model), {})), *with_zeros(call_of(inputs, kwargs)))
    own = replace(altered, model=with_values(replaced(altered.model, {})))
    yield from time_replacements((report, own), forward, rules, timing)


def _each_block_alone(report: ReplaceReport, forward: Forward, rules: Rules) -> Iterator[Variant]:
    """The model with each of several blocks of the rules wherever it may stand and does not stand already."""
    from convcost.nn.alter.altered import alter

    for block in rules.to if len(rules.to) > 1 else ():
        show_progress(f"replacing layers by {block} ...")
        there = {row.name for row in report.replaced if row.block == block}
        try:
            altered = alter(
                forward[0], (tuple(forward[1]), dict(forward[2])), report.before, replace(rules, to=(block,))
            )
        except ConvcostError:  # no layer allows this block
            continue
        if layers := tuple(row for row in altered.layers if row.block is not None and row.name not in there):
            yield replace(report, after=altered.counted, layers=layers), altered


def _timed(
    variant: Variant, forward: Forward, options: TimingOptions, tell: Callable[[str], None]
) -> Iterator[ReplaceReport]:
    """The report with times, then after each account."""
    report, altered = variant
    parts, root = dict(altered.model.named_modules()), type(altered.model).__name__
    names = {row.name: row.name if row.name in parts else root for row in report.replaced}
    pairs: list[tuple[str | None, str | None]] = list(names.items())
    if options.why:  # the account of a block is that of its stages
        known = {call.name for call in report.before.layers}
        pairs += [(None, call.name) for call in report.after.layers if call.conv and call.name not in known]
    after = (altered.model, *forward[1:])
    for pair in time_side_by_side((report.before, report.after), (forward, after), pairs, options, tell):
        yield _with_times(report, pair, names)


def _with_times(report: ReplaceReport, pair: TimedPair, names: Mapping[str, str]) -> ReplaceReport:
    """The report with the times of a pair.

    Args:
        report: Report of the altered model.
        pair: The two models with their times.
        names: Names of the blocks in the altered model by those of the layers.
    """
    alone = pair.timing.a.layers
    layers = [
        replace(row, time_before_s=alone[row.name].time_s, timing=pair.timing.pairs.get((row.name, names[row.name])))
        if row.name in alone
        else row
        for row in report.layers
    ]
    counted = {*report.before.notes, *report.after.notes}
    notes = [note for note in (*pair.a.notes, *pair.b.notes) if note not in counted]
    return replace(
        report, before=pair.a, after=pair.b, layers=tuple(layers), notes=(*report.notes, *dict.fromkeys(notes))
    )


def _fastest(reports: Iterable[ReplaceReport], limits: Limits, *, timed: bool) -> TradeOff:
    """The trade-off over the blocks of all reports; without times, every option takes none.

    Raises:
        ConvcostError: No set of replacements is within the limits.
    """
    first, *others = reports
    layers: dict[str, list[Option]] = {}
    for row in (row for report in (first, *others) for row in report.replaced):
        before, after = _seconds(row) if timed else (0.0, 0.0)
        if row.block is not None and before is not None and after is not None:
            options = layers.setdefault(row.name, [Option(None, row.params_before, row.macs_before, before)])
            after *= options[0].seconds / before if before else 1.0  # as fast as in the run of the first report
            options.append(Option(row.block, row.params_after, row.macs_after, after))
    totals, kept = first.before.totals, [options[0] for options in layers.values()]
    if totals.params is None and limits.max_params is not None:
        raise ConvcostError(
            f"max_params (={limits.max_params}) must limit parameters that can be counted, and those of the model are "
            "quantised or packed; limit max_macs instead."
        )
    whole = first.before.forward.time_s if first.before.forward is not None and timed else 0.0
    rest = Option(
        None,
        (totals.params or 0) - sum(one.params for one in kept),
        totals.macs - sum(one.macs for one in kept),
        whole - sum(one.seconds for one in kept),
    )
    return trade_off(layers, rest, limits)


def _seconds(row: ReplacedLayer) -> tuple[float | None, float | None]:
    """Seconds of a layer and of its block, all calls together, whose ratio is the median over interleaved pairs."""
    if row.time_before_s is None or row.timing is None or row.timing.speedup is None:
        return None, None
    before = row.calls * row.time_before_s
    return before, before / row.timing.speedup


def _with_fastest(report: ReplaceReport, found: TradeOff) -> ReplaceReport:
    """The report with the trade-off, and with the block of each layer in the fastest set."""
    blocks = found.fastest.blocks
    layers = (
        replace(row, fastest=blocks.get(row.name, "as it is")) if row.timing is not None else row
        for row in report.layers
    )
    return replace(report, layers=tuple(layers), trade_off=found)
