"""`convcost replace`: a model counted, altered, and counted again."""

from __future__ import annotations

from contextlib import chdir, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from convcost.changes.replace_report import ReplaceReport
from convcost.system.git_revision import checked_out
from convcost.system.terminal import show_progress
from convcost.text.errors import ConvcostError
from convcost.text.units import human_percent
from convcost.workflows.diff import parse_side
from convcost.workflows.model import inputs_of, load_as_counted, require_count_device
from convcost.workflows.replacement_timing import time_replacements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from convcost.changes.rank_choice import RankChoice
    from convcost.changes.replacement import Rules
    from convcost.nn.alter.altered import Altered
    from convcost.nn.load.target import Loaded
    from convcost.nn.measure.models import Forward
    from convcost.text.sizes import Input
    from convcost.workflows.replacement_timing import ReplacementTiming

T = TypeVar("T")


def replace_in_target(  # noqa: PLR0913 - the options of `convcost replace`
    name: str,
    inputs: tuple[Input, ...],
    args: Mapping[str, object],
    rules: Rules,
    *,
    cross_check: bool,
    device: str,
    timing: ReplacementTiming | None = None,
) -> Iterator[ReplaceReport]:
    """Load a target and replace layers in it; the report, again with the results of the other counters, and with times.

    Args:
        name: Target as the user names it; TARGET@REV for one at a git revision.
        inputs: Inputs of the model; empty for its own.
        args: Arguments of the callable.
        rules: Which layers are replaced, and by what.
        cross_check: Whether to run torch's FlopCounterMode and fvcore on the altered model too.
        device: Device of the count, as in `convcost model`.
        timing: What to time, and how; None for no times.

    Raises:
        ConvcostError: The target does not load or refuses its input, or no layer is left to replace.
    """
    with _at_revision(name, args) as target:
        for report in _replace_in_target(
            target, inputs, args, rules, cross_check=cross_check, device=device, timing=timing
        ):
            before, after = (replace(one, target=name) for one in (report.before, report.after))
            yield replace(report, before=before, after=after)


@contextmanager
def _at_revision(name: str, args: Mapping[str, object]) -> Iterator[str]:
    """The target without its revision, whose files the current folder and the import path have until the end."""
    side = parse_side(name, args)
    if side.revision is None:
        yield side.target
        return
    from convcost.nn.load.source_tree import SourceTree, imports_from

    with checked_out(side.revision, side.folder, "revision") as checkout:
        budget, tree = side.budget((), "auto", checkout), SourceTree(checkout.folder, checkout.project)
        try:
            with imports_from(tree, budget.target, budget.folder), chdir(budget.folder):
                yield budget.target
        except ConvcostError as error:
            raise ConvcostError(checkout.without_folder(error)) from error


def _replace_in_target(  # noqa: PLR0913 - as above
    target: str,
    inputs: tuple[Input, ...],
    args: Mapping[str, object],
    rules: Rules,
    *,
    cross_check: bool,
    device: str,
    timing: ReplacementTiming | None,
) -> Iterator[ReplaceReport]:
    show_progress("importing torch ...")
    from convcost.nn.alter.altered import alter
    from convcost.nn.alter.output_error import SEED
    from convcost.nn.count.isolation import seeded
    from convcost.nn.load.target import WITHOUT_WEIGHTS, load_target, tensors_for
    from convcost.nn.load.user_code import user_code_context
    from convcost.nn.load.weights import UNTRAINED

    require_count_device(device)
    first = "cpu" if device == "cpu" or rules.keep is not None else "meta"
    show_progress(f"loading {target} ...")
    with user_code_context(target), nullcontext() if rules.keep is None else seeded(SEED):
        loaded = load_target(target, args, first)
        positional, named = tensors_for(inputs_of(target, inputs, loaded), "meta" if rules.keep else first)
        notes = () if loaded.note is None else (loaded.note,)
    if rules.keep is not None and loaded.note == WITHOUT_WEIGHTS:
        raise ConvcostError(f"target (={target}) must have weights to keep, and is {loaded.note}; load them in it.")
    if rules.keep is not None and target.startswith(UNTRAINED):
        notes = (*notes, f"{target} has no trained weights: those that are kept are made with seed {SEED}.")
    real = None if rules.keep is not None else partial(load_target, target, args, "cpu")
    steps = replace_layers(loaded.module, positional, named, rules, device=device, cross_check=cross_check, load=real)
    for step in _in_context(target, steps):
        altered, report = step
        before, after = (replace(one, target=target) for one in (report.before, report.after))
        counted = replace(report, before=before, after=after, notes=(*notes, *report.notes))
        yield counted
    if timing is None:
        return
    with user_code_context(target):
        if rules.keep is None:  # what was counted has no weights
            show_progress(f"loading {target} with weights ...")
            forward = load_as_counted(target, inputs, args, counted.before)
            altered = alter(forward[0], (tuple(forward[1]), dict(forward[2])), counted.before, rules)
        else:  # other weights may have other ranks
            forward = (loaded.module, *tensors_for(inputs_of(target, inputs, loaded), "cpu"))
    yield from _in_context(target, time_replacements((counted, altered), forward, rules, timing))


def _in_context(target: str, steps: Iterator[T]) -> Iterator[T]:
    """The results of steps that run the code of a target."""
    from convcost.nn.load.user_code import user_code_context

    while True:
        with user_code_context(target):
            result = next(steps, None)
        if result is None:
            return
        yield result


def replace_layers(  # noqa: PLR0913 - the arguments of `convcost.replace`, and how the model is loaded anew
    model: object,
    inputs: object,
    kwargs: Mapping[str, Any] | None,
    rules: Rules,
    *,
    device: str,
    cross_check: bool,
    load: Callable[[], Loaded] | None = None,
) -> Iterator[tuple[Altered, ReplaceReport]]:
    """Replace layers in a copy of a module: the copy and the report, then again with the results of other counters.

    Args:
        model: The module, which stays as it is.
        inputs: Positional arguments, real or meta tensors; or a single tensor.
        kwargs: Keyword arguments.
        rules: Which layers are replaced, and by what.
        device: Device of the count.
        cross_check: Whether to run torch's FlopCounterMode and fvcore on the altered model too.
        load: Loads the model on the CPU, where `model` is made for the meta device.

    Raises:
        ConvcostError: No layer is left to replace, or the altered model does not run as the model does.
    """
    from convcost.nn.alter.altered import alter
    from convcost.nn.count.counted_call import call_of, module_of
    from convcost.nn.count.cpu_trial import with_values
    from convcost.nn.count.model_report import report, reports, with_zeros

    module, call = module_of(model), call_of(inputs, kwargs)
    given = call
    show_progress("counting the model ...")
    load_real = None if load is None else lambda: load().module
    *_, before = reports(module, *call, device=device, load_real=load_real)
    if before.conditions["device"] == "cpu":
        module, call = with_values(module if load is None else load().module), with_zeros(call)
    show_progress("replacing layers ...")
    altered = alter(module, call, before, rules)
    result = ReplaceReport(
        before,
        altered.counted,
        altered.layers,
        (*rules.notes, *altered.notes, *dict.fromkeys((*before.warnings, *altered.counted.warnings))),
    )
    yield altered, result
    if rules.keep is not None:
        result = _with_output_errors(result, rules.keep, (module, *given), altered)
        yield altered, result
    if cross_check:
        show_progress("counting the altered model with the other counters ...")
        after = report(altered.model, *call, device=str(before.conditions["device"]), cross_check=True)
        yield altered, replace(result, after=after)


def _with_output_errors(result: ReplaceReport, choice: RankChoice, forward: Forward, altered: Altered) -> ReplaceReport:
    """The report with the errors of the outputs, of the whole altered model and of each layer replaced alone."""
    from convcost.nn.alter.output_error import SEED, has_values, output_errors

    paths = [row.replacement.name for row in result.layers if row.replacement is not None]
    errors: dict[str | None, float | str] = {}
    model, call = forward[0], (tuple(forward[1]), dict(forward[2]))
    for path, error in output_errors(model, altered.model, paths, call):
        errors[path] = error
        show_progress(f"comparing outputs, {len(errors) - 1} of {len(paths)} layers ...")
    layers = tuple(
        row if row.replacement is None else replace(row, output_error=_number(errors[row.replacement.name]))
        for row in result.layers
    )
    given = "the given input" if has_values(call) else f"random input (seed {SEED})"
    whole = errors[None]
    outcome = whole if isinstance(whole, str) else f"is off by {human_percent(whole)}"
    kept = f"{choice}, {given}: the output {outcome}"
    return replace(result, layers=layers, kept=kept, output_error=_number(whole))


def _number(error: float | str) -> float | None:
    return None if isinstance(error, str) else error
